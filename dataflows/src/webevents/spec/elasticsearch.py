"""spec.elasticsearch and spec.index: where Elasticsearch is, how to log in, what is written."""

from datetime import timedelta
from itertools import permutations
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from webevents.spec.base import Duration, Model
from webevents.spec.log_in import check_one_way_in


def _node_url(text: str) -> str:
    mend = "write it as https://host:9200"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"not a URL: {mend}") from None
    if "@" in parts.netloc:
        # The text may hold a password, so it is not repeated.
        raise ValueError(f"a URL holds no user or password: {mend}, and set username and a file")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text} is no http or https URL: {mend}")
    if port is None:
        raise ValueError(f"{text} has no port: {mend} (9200 is usual, 443 behind a proxy)")
    if parts.query or parts.fragment:
        raise ValueError(f"{text} must end after the path: {mend}")
    return text.rstrip("/")


NodeUrl = Annotated[str, AfterValidator(_node_url)]


class ElasticsearchTls(Model):
    """TLS to Elasticsearch; files are PEM and are read again when a connection is refused."""

    ca_file: str | None = None
    """Certificate authority that signed the nodes' certificates; the usual public ones when
    absent."""
    cert_file: str | None = None
    """Client certificate, for mutual TLS; goes with keyFile."""
    key_file: str | None = None
    """Key of the client certificate."""
    verify: bool = True
    """Whether certificate and host name are checked; false is for trials only."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile go together: set both, or neither")
        if not self.verify and self.ca_file is not None:
            raise ValueError("caFile has no use where verify is false: remove one of them")
        return self


class ElasticsearchSpec(Model):
    """The Elasticsearch or OpenSearch cluster; secrets come from files or the environment, never
    from here."""

    engine: Literal["elasticsearch", "opensearch"] = "elasticsearch"
    """What answers there; OpenSearch is reached by its own client."""
    urls: tuple[NodeUrl, ...] | None = Field(default=None, min_length=1)
    """Nodes as https://host:port; the runtime's own Elasticsearch when absent."""
    username: str | None = Field(default=None, min_length=1)
    """User of basic authentication; goes with passwordFile or passwordEnv."""
    password_file: str | None = None
    """File that holds the password; read again when it changes."""
    password_env: str | None = None
    """Environment variable that holds the password."""
    api_key_file: str | None = None
    """File that holds an API key in its encoded form; read again when it changes."""
    api_key_env: str | None = None
    """Environment variable that holds an API key in its encoded form."""
    tls: ElasticsearchTls | None = None
    """Certificates for https; the system's authorities when absent."""
    request_timeout: Duration = timedelta(seconds=30)
    """How long one request may take before it is repeated."""
    compression: bool = False
    """Whether requests are compressed (gzip): less network, more CPU."""

    @property
    def product(self) -> str:
        """The engine's name for people."""
        return {"elasticsearch": "Elasticsearch", "opensearch": "OpenSearch"}[self.engine]

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        passwords = [self.password_file, self.password_env]
        keys = [self.api_key_file, self.api_key_env]
        if any(keys) and self.engine == "opensearch":
            raise ValueError("OpenSearch has no API keys: set username and passwordFile")
        check_one_way_in(self.username, passwords, keys)
        if self.tls and any(url.startswith("http:") for url in self.urls or ()):
            raise ValueError("tls is set, but a URL begins with http: write https")
        if self.request_timeout < timedelta(seconds=1):
            raise ValueError("requestTimeout must be at least 1s")
        return self


_PREFIX = r"^[a-z0-9][a-z0-9._-]*$"


DocumentType = Literal[
    "keyword",
    "text",
    "date",
    "boolean",
    "long",
    "double",
    "float",
    "ip",
    "geo_point",
    "flattened",
]
"""Types of a document's fields, as Elasticsearch calls them."""


class DocumentField(Model):
    """One field of a document."""

    field: str | None = Field(default=None, min_length=1)
    """Field of the event that it is taken from; the one of the same name when absent."""
    type: DocumentType
    """Its type in the index."""


class EventIndexSpec(Model):
    """Daily indices of events."""

    prefix: str = Field(default="web-events", pattern=_PREFIX, max_length=200)
    """Indices are named <prefix>-YYYY.MM.dd by the event's time in UTC."""
    fields: dict[str, DocumentField] | None = Field(default=None, min_length=1)
    """The documents' fields by name, where not all of the event's are wanted under their own
    names; what is not named is left out."""


class SessionIndexSpec(Model):
    """Daily indices of sessions."""

    prefix: str = Field(default="web-sessions", pattern=_PREFIX, max_length=200)
    """Indices are named <prefix>-YYYY.MM.dd by the session's start in UTC."""


class AnalyticsIndexSpec(Model):
    """Monthly indices of analytics."""

    prefix: str = Field(default="web-analytics", pattern=_PREFIX, max_length=180)
    """Indices are named <prefix>-<kind>-YYYY.MM by the document's timestamp in UTC, with the kinds
    funnels, transitions, retention and attribution."""


class FailedIndexSpec(Model):
    """Daily indices of failed events: where each was and why it failed, not what was in it."""

    enabled: bool = True
    """Whether failed events are written to Elasticsearch."""
    prefix: str | None = Field(default=None, pattern=_PREFIX, max_length=200)
    """Indices are named <prefix>-YYYY.MM.dd by the day of the failure in UTC;
    failed-<pipeline> when absent."""


class SamplesIndexSpec(Model):
    """Daily indices of samples: counts, lag, rates and waits of each stage, taken regularly."""

    enabled: bool = True
    """Whether samples of the stages are written to Elasticsearch."""
    prefix: str | None = Field(default=None, pattern=_PREFIX, max_length=200)
    """Indices are named <prefix>-YYYY.MM.dd by the day of the sample in UTC; stages-<pipeline>
    when absent."""
    every: Duration = timedelta(seconds=10)
    """How often a sample of each stage is taken."""
    retention: Duration = timedelta(days=7)
    """How long samples are kept; older indices of theirs are deleted."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.every < timedelta(seconds=1):
            raise ValueError("every must be at least 1s")
        if self.retention < timedelta(days=1):
            raise ValueError("retention must be at least 1d, because indices are daily")
        return self


class BulkSpec(Model):
    """How documents are sent."""

    max_bytes: int = Field(default=5_000_000, ge=100_000, le=90_000_000)
    """Size of a request in bytes; Elasticsearch itself takes 100 MB."""
    max_documents: int = Field(default=5_000, ge=1, le=100_000)
    """Documents in a request."""
    in_flight: int = Field(default=2, ge=1, le=32)
    """Requests of one worker that are under way at the same time."""


class IndexSpec(Model):
    """What is written to Elasticsearch."""

    enabled: bool = True
    """Whether events and sessions are written to Elasticsearch."""
    events: EventIndexSpec = EventIndexSpec()
    """Where events go."""
    sessions: SessionIndexSpec = SessionIndexSpec()
    """Where sessions go."""
    analytics: AnalyticsIndexSpec = AnalyticsIndexSpec()
    """Where documents of analytics go."""
    failed: FailedIndexSpec = FailedIndexSpec()
    """Where failed events are told of."""
    samples: SamplesIndexSpec = SamplesIndexSpec()
    """Where it is told how the stages stand."""
    unknown_fields: Literal["keep", "fail"] = "keep"
    """keep: fields that the event model does not know go into the field extra, where they can be
    searched; fail: such an event goes to failed events."""
    shards: int = Field(default=1, ge=1, le=1024)
    """Primary shards of each daily index."""
    replicas: int | None = Field(default=None, ge=0, le=16)
    """Copies of each shard; when absent one, or none while the cluster has a single node."""
    refresh_interval: Duration = timedelta(seconds=1)
    """How long a document may take to become searchable."""
    lifecycle_policy: str | None = Field(default=None, min_length=1, max_length=255)
    """Name of an index lifecycle policy (ILM) that exists on the cluster, such as one that deletes
    old indices; a cluster without ILM refuses it."""
    bulk: BulkSpec = BulkSpec()
    """How documents are sent."""

    @model_validator(mode="after")
    def _unknown_are_left_out(self) -> Self:
        if self.events.fields is not None and self.unknown_fields == "fail":
            raise ValueError(
                "unknownFields: fail has no effect where events.fields names the fields, because "
                "others are left out: take one of them out"
            )
        return self

    @model_validator(mode="after")
    def _apart(self) -> Self:
        prefixes = {
            "events.prefix": self.events.prefix,
            "sessions.prefix": self.sessions.prefix,
            "analytics.prefix": self.analytics.prefix,
        }
        if self.failed.prefix:
            prefixes["failed.prefix"] = self.failed.prefix
        if self.samples.prefix:
            prefixes["samples.prefix"] = self.samples.prefix
        for (one, first), (other, second) in permutations(prefixes.items(), 2):
            if f"{first}-".startswith(f"{second}-"):
                raise ValueError(
                    f"{one} and {other} must differ, and neither may begin with the "
                    "other and a hyphen, because <prefix>-* would then match both"
                )
        if self.refresh_interval < timedelta(milliseconds=100):
            raise ValueError("refreshInterval must be at least 100ms")
        return self
