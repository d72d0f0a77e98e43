"""spec.s3, spec.archive and spec.loader: where objects are kept, what is kept, what is loaded."""

from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from webevents.spec.base import Duration, Model
from webevents.spec.stages import StageSpec


def _endpoint(text: str) -> str:
    mend = "write it as https://host or https://host:port"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(f"not a URL: {mend}") from None
    if "@" in parts.netloc:
        # The text may hold a secret, so it is not repeated.
        raise ValueError(f"an endpoint holds no user or password: {mend}, and name key files")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text} is no http or https URL: {mend}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{text} must end after the host; the bucket has a field of its own")
    return text.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class S3Tls(Model):
    """TLS to the object store."""

    ca_file: str | None = None
    """Certificate authority (PEM) that signed the server's certificate; the usual public ones
    when absent."""
    verify: bool = True
    """Whether certificate and host name are checked; false is for trials only."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.verify and self.ca_file is not None:
            raise ValueError("caFile has no use where verify is false: remove one of them")
        return self


class S3Spec(Model):
    """An object store that speaks the S3 API; keys come from files or the environment, never from
    here. Where no keys are named, the usual AWS ways are tried (a role of the pod or machine)."""

    endpoint: Endpoint | None = None
    """The service as https://host; the runtime's own S3 server when absent."""
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]+$")
    """Region that requests are signed for; other stores than AWS mostly take any."""
    bucket: str = Field(
        default="web-events", pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$", min_length=3, max_length=63
    )
    """The bucket; it must exist, except in the runtime's own server."""
    access_key_file: str | None = None
    """File that holds the access key's id; read again when it changes."""
    access_key_env: str | None = None
    """Environment variable that holds the access key's id."""
    secret_key_file: str | None = None
    """File that holds the secret key; read again when it changes."""
    secret_key_env: str | None = None
    """Environment variable that holds the secret key."""
    tls: S3Tls | None = None
    """Certificates for https; the usual public authorities when absent."""
    path_style: bool = True
    """Whether the bucket stands in the path (https://host/bucket), which most stores want, or in
    the host name (https://bucket.host), which AWS prefers."""
    request_timeout: Duration = timedelta(seconds=60)
    """How long a request may wait for the next bytes before it is repeated."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        access = [self.access_key_file, self.access_key_env]
        secret = [self.secret_key_file, self.secret_key_env]
        for what, sources in (("accessKey", access), ("secretKey", secret)):
            if all(sources):
                raise ValueError(f"set only one of {what}File and {what}Env")
        if any(access) != any(secret):
            raise ValueError("accessKeyFile or accessKeyEnv goes with secretKeyFile or -Env")
        if self.tls and (self.endpoint or "").startswith("http:"):
            raise ValueError("tls is set, but endpoint begins with http: write https")
        if self.request_timeout < timedelta(seconds=1):
            raise ValueError("requestTimeout must be at least 1s")
        return self


class ArchiveSpec(StageSpec):
    """The archive stage: every message of the raw topic, byte for byte, in objects."""

    enabled: bool = False
    """Whether raw events are archived as objects."""
    commit_interval: Duration = timedelta(seconds=1)
    """How often it is decided which objects are full, and offsets are committed."""
    format: Literal["ndjson", "parquet"] = "ndjson"
    """ndjson: a JSON object a line, compressed with Zstandard as a whole; parquet: the same
    columns, compressed with Zstandard by page."""
    compression_level: int = Field(default=3, ge=1, le=19)
    """Zstandard's level: higher is smaller and slower."""
    prefix: str = Field(default="raw", pattern=r"^[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*$")
    """What the objects' names begin with, before /<pipeline>/YYYY/MM/dd/HH/."""
    object_bytes: int = Field(default=64_000_000, ge=1_000_000, le=200_000_000)
    """Bytes of messages, before compression, after which an object is full."""
    interval: Duration = timedelta(seconds=30)
    """How long messages wait at most for their object to be full; a longer one makes fewer and
    larger objects."""
    uploads: int = Field(default=4, ge=1, le=32)
    """Objects of one worker that are uploaded at the same time."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not timedelta(seconds=1) <= self.interval <= timedelta(hours=1):
            raise ValueError("interval must be from 1s to 1h: an object holds one hour at most")
        return self


_TABLE = r"^[a-z_][a-z0-9_]*$"


class LoaderSpec(Model):
    """The batch loader: archived events into PostgreSQL, scrolls aggregated by URL."""

    enabled: bool = False
    """Whether archived objects are loaded into PostgreSQL."""
    every: Duration = timedelta(seconds=15)
    """How often the loader looks for new objects."""
    delete_objects: bool = False
    """Whether objects are removed once PostgreSQL has committed what they hold; the archive is
    then a buffer and cannot serve a backfill."""
    schema_name: str = Field(default="public", pattern=_TABLE, max_length=63)
    """Schema of the tables; made when it is not there."""
    scroll_types: tuple[str, ...] = ("scroll",)
    """Event types that are aggregated by URL; the others are inserted one by one."""
    events_table: str = Field(default="events", pattern=_TABLE, max_length=50)
    """Table of single events."""
    scroll_table: str = Field(default="scroll_events", pattern=_TABLE, max_length=50)
    """Table of scrolls by URL."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.every < timedelta(seconds=1):
            raise ValueError("every must be at least 1s")
        own = {"loaded_objects", "load_failures"}
        if len({self.events_table, self.scroll_table} - own) < 2:
            raise ValueError(
                "eventsTable and scrollTable must differ, also from loaded_objects and "
                "load_failures, the loader's own tables"
            )
        return self
