"""spec.collector: the HTTP server that takes the events of real websites and apps."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from webevents.spec.base import Duration, Model
from webevents.spec.exposure import (
    AutoscalingSpec,
    GatewaySpec,
    IngressSpec,
    Network,
    ServiceSpec,
    SpoolVolumeSpec,
)
from webevents.spec.kubernetes import bytes_of

_NAME = r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$"
_COOKIE_NAME = r"^[A-Za-z0-9_-]+$"
_ORIGIN = re.compile(r"\*|https?://(\*\.)?[A-Za-z0-9.-]+(:[0-9]+)?")
_PRINTABLE = r"^[!-~]+$"


def _origin(value: str) -> str:
    if not _ORIGIN.fullmatch(value):
        raise ValueError(
            "an origin is a scheme and a host (https://shop.example), with *. for all hosts "
            "below one (https://*.shop.example), or * for all"
        )
    return value.lower()


Origin = Annotated[str, AfterValidator(_origin)]
WriteKey = Annotated[str, Field(pattern=_PRINTABLE, max_length=200)]
OptOut = Literal["ignore", "anonymous", "drop"]


class SiteSpec(Model):
    """A site or an app that may send events, told by its write key."""

    name: str = Field(pattern=_NAME, max_length=100)
    """Kept in each event as site."""
    write_keys: tuple[WriteKey, ...] = ()
    """Keys that its trackers send; several hold at once, so that one can replace another. For
    Snowplow's trackers the app id is the key."""
    write_keys_file: str | None = None
    """File with further keys, one a line; read again when it changes."""
    allowed_origins: tuple[Origin, ...] | None = None
    """Origins whose pages may send; those of spec.collector.allowedOrigins when absent."""
    events_per_second: float | None = Field(default=None, gt=0)
    """Most events a second, shared by the replicas; ten seconds' worth may come at once."""

    @model_validator(mode="after")
    def _some_key(self) -> Self:
        if not self.write_keys and self.write_keys_file is None:
            raise ValueError("set writeKeys or writeKeysFile: without a key nobody can send")
        return self


class CollectorTls(Model):
    """TLS of the collector itself; files are PEM, read at the start."""

    cert_file: str
    """The certificate, with those in between up to the authority's."""
    key_file: str
    """The certificate's key."""
    key_password_file: str | None = None
    """File that holds the password of the key."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is spoken."""


class ProxiesSpec(Model):
    """Proxies in front of the collector, which tell the visitor's address."""

    trusted: tuple[Network, ...] = ()
    """Networks whose word is taken, such as 10.0.0.0/8; nobody's when empty."""
    header: Literal["X-Forwarded-For", "Forwarded", "X-Real-IP"] = "X-Forwarded-For"
    """The header that the proxies set."""


class CookieSpec(Model):
    """The first-party cookie that holds the visitor's identifier."""

    name: str = Field(default="webevents_id", pattern=_COOKIE_NAME, max_length=100)
    """The cookie's name."""
    domain: str | None = Field(default=None, pattern=r"^\.?[A-Za-z0-9.-]+$")
    """Such as shop.example, so that it holds for all hosts below; the collector's own host when
    absent."""
    max_age: Duration = timedelta(days=365)
    """How long it lasts from the latest visit on; browsers keep none longer than 400 days."""
    secure: bool = True
    """Whether it goes over HTTPS only (and to localhost)."""
    http_only: bool = True
    """Whether scripts cannot read it."""
    same_site: Literal["Lax", "Strict", "None"] = "Lax"
    """With requests of which sites it goes; None, for a collector of another site, needs secure."""

    @model_validator(mode="after")
    def _browsers_take_it(self) -> Self:
        if self.same_site == "None" and not self.secure:
            raise ValueError("sameSite None needs secure: browsers refuse it otherwise")
        return self


class VisitorSpec(Model):
    """How a visitor is told (user_domain_id)."""

    mode: Literal["cookie", "cookieless", "tracker"] = "cookie"
    """Where the tracker sends no identifier. cookie: one of the collector's own, in a first-party
    cookie. cookieless: a hash of day, site, address and user agent, which cannot be followed into
    the next day. tracker: none."""
    prefer: Literal["tracker", "collector"] = "tracker"
    """Whose identifier holds where there are two; browsers keep a cookie that a server sets longer
    than one that a script sets."""
    cookie: CookieSpec = CookieSpec()
    """The cookie of mode cookie."""
    hash_key_file: str | None = None
    """Secret of the cookieless hash, the same for all replicas; one of the process when absent."""
    hash_key_env: str | None = None
    """Environment variable with that secret."""

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.hash_key_file is not None and self.hash_key_env is not None:
            raise ValueError("set at most one of hashKeyFile and hashKeyEnv")
        return self


class ConsentSpec(Model):
    """Consent as the site's consent manager tells it."""

    required: bool = True
    """Whether a visitor who has not said anything counts as one who has refused."""
    cookie: str | None = Field(default=None, pattern=_COOKIE_NAME)
    """First-party cookie in which the answer is; it is not looked for when absent."""
    granted: tuple[str, ...] = ("granted", "true", "yes", "1")
    """Values of the cookie that mean consent; every other value is a refusal."""
    category: str = "analytics"
    """Category in Segment's context.consent.categoryPreferences; upper and lower case are alike."""
    without: Literal["anonymous", "drop"] = "anonymous"
    """What becomes of events without consent."""


class CollectorPrivacySpec(Model):
    """Events of visitors who do not want to be followed.

    anonymous: no identifier, no cookie, and the address without its last part. drop: the tracker
    gets its answer, and the event is only counted.
    """

    do_not_track: OptOut = "anonymous"
    """What the header DNT: 1 does."""
    global_privacy_control: OptOut = "anonymous"
    """What the header Sec-GPC: 1 does."""
    consent: ConsentSpec | None = None
    """Consent is not asked for when absent."""
    anonymous: bool = False
    """Whether all events are anonymous."""


class CollectorLimitsSpec(Model):
    """What a request may take; a copy of the collector counts for itself."""

    max_body_bytes: int = Field(default=1_000_000, ge=1_000, le=10_000_000)
    """Largest body, compressed or not (413; 422 for Snowplow's trackers, which would send it again
    for ever)."""
    max_batch: int = Field(default=1_000, ge=1, le=10_000)
    """Most events in one request (the same status)."""
    max_header_bytes: int = Field(default=32_768, ge=8_192, le=1_000_000)
    """Largest head of a request, with its URL (431)."""
    header_timeout: Duration = timedelta(seconds=15)
    """How long a connection may take to send a request's head, or stay idle (it is closed)."""
    body_timeout: Duration = timedelta(seconds=15)
    """How long a request may take to send its body (408)."""
    max_connections: int = Field(default=20_000, ge=10, le=1_000_000)
    """Open connections; more wait for a place."""
    max_in_flight_bytes: int = Field(default=67_108_864, ge=1_000_000)
    """Bytes of events that wait for Kafka's acknowledgement (503)."""
    events_per_second_per_address: float | None = Field(default=None, gt=0)
    """Most events a second from one address; ten seconds' worth may come at once (429)."""


class SpoolSpec(Model):
    """Where events wait on disk while the brokers are away."""

    path: str | None = None
    """Folder on a disk that outlives the process, one for each replica; beside the settings file
    when absent."""
    max_bytes: int = Field(default=1_000_000_000, ge=1_000_000)
    """Bytes of events that wait at most; then the trackers get 503."""
    volume: SpoolVolumeSpec = SpoolVolumeSpec()
    """On Kubernetes: where the folder is."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if bytes_of(self.volume.size) < 2 * self.max_bytes:
            raise ValueError(
                "volume.size must be at least twice maxBytes: the spool's file and its log of "
                "changes are in it"
            )
        return self


class CollectorSpec(Model):
    """An HTTP server that existing trackers already speak to (docs/collect.md)."""

    enabled: bool = True
    """Whether it runs."""
    replicas: int = Field(default=1, ge=0, le=1000)
    """Copies; each takes any event. On Kubernetes this may change without a restart."""
    port: int = Field(default=8080, ge=1, le=65535)
    """The port to listen on; `webevents run` takes a free one where it is taken."""
    tls: CollectorTls | None = None
    """Plain HTTP, for a proxy in front, when absent."""
    sites: tuple[SiteSpec, ...] = ()
    """Who may send; whoever can reach the collector when empty. May change without a restart."""
    allowed_origins: tuple[Origin, ...] = ("*",)
    """Origins whose pages may send, where a site names none."""
    event_types: Mapping[str, str] = Field(default_factory=dict)
    """Event types by the name that the tracker gives, such as `Product Added: add_to_cart`;
    otherwise the name in lower case with _ between words."""
    proxies: ProxiesSpec = ProxiesSpec()
    """Proxies in front of the collector."""
    visitor: VisitorSpec = VisitorSpec()
    """How a visitor is told."""
    privacy: CollectorPrivacySpec = CollectorPrivacySpec()
    """What becomes of events of visitors who do not want to be followed."""
    limits: CollectorLimitsSpec = CollectorLimitsSpec()
    """What a request may take."""
    clock_skew: Duration = timedelta(minutes=1)
    """A device's clock is corrected by whole multiples of this, so that what is sent again gets the
    same time; 0s corrects nothing."""
    acknowledge_within: Duration = timedelta(seconds=5)
    """How long a request waits for Kafka before the brokers count as away."""
    on_outage: Literal["refuse", "spool"] = "refuse"
    """While the brokers are away. refuse: 503 with Retry-After, and trackers send again. spool:
    events are kept on disk and sent in their order afterwards."""
    spool: SpoolSpec = SpoolSpec()
    """Where events wait while the brokers are away."""
    demo_page: bool = False
    """Serve a small shop under /demo whose visitors are you."""
    service: ServiceSpec = ServiceSpec()
    """On Kubernetes: the Service in front of the pods."""
    ingress: IngressSpec | None = None
    """On Kubernetes: an Ingress that leads to it; none when absent."""
    gateway: GatewaySpec | None = None
    """On Kubernetes: a route of the Gateway API that leads to it; none when absent."""
    autoscaling: AutoscalingSpec | None = None
    """On Kubernetes: as many copies as the load asks for, instead of replicas."""
    drain: Duration = timedelta(seconds=10)
    """On Kubernetes: how long a pod that is asked to stop still takes requests, while its address
    is withdrawn everywhere."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = [site.name for site in self.sites]
        keys = [key for site in self.sites for key in site.write_keys]
        if len(set(names)) < len(names):
            raise ValueError("two sites have the same name")
        if len(set(keys)) < len(keys):
            raise ValueError("a write key is given twice: each tells one site")
        if not timedelta(milliseconds=100) <= self.acknowledge_within <= timedelta(minutes=2):
            raise ValueError("acknowledgeWithin must be between 100ms and 2m")
        if self.drain > timedelta(minutes=10):
            raise ValueError("drain must not be longer than 10m")
        if self.autoscaling is not None and self.on_outage == "spool":
            raise ValueError(
                "autoscaling needs onOutage refuse: a copy that is taken away would leave its "
                "spool behind"
            )
        return self
