"""spec.kafka and spec.topics: where the broker is, how to log in, and the pipeline's topics."""

from typing import Literal, Self

from pydantic import Field, model_validator

from webevents.spec.base import Duration, Model


class KafkaTls(Model):
    """TLS to the brokers; files are PEM."""

    ca_file: str | None = None
    """Certificate authority that signed the brokers' certificates; the system's when absent."""
    cert_file: str | None = None
    """Client certificate, for mutual TLS; goes with keyFile."""
    key_file: str | None = None
    """Key of the client certificate."""
    key_password_file: str | None = None
    """File that holds the password of the key."""
    verify: bool = True
    """Whether the broker's host name must match its certificate."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile go together: set both, or neither")
        return self


class KafkaSasl(Model):
    """SASL log-in; the password is read from a file or an environment variable, never written."""

    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    username: str
    password_file: str | None = None
    password_env: str | None = None

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if (self.password_file is None) == (self.password_env is None):
            raise ValueError("set exactly one of passwordFile and passwordEnv")
        return self


class KafkaSpec(Model):
    """The Kafka cluster that holds the pipeline's topics."""

    bootstrap_servers: str | None = None
    """Brokers as host:port, comma-separated; the runtime's own Kafka when absent."""
    tls: KafkaTls | None = None
    sasl: KafkaSasl | None = None
    replication_factor: int = Field(default=1, ge=1, le=9)
    """Copies of each partition; at least 3 in production."""

    @model_validator(mode="after")
    def _tls_with_sasl(self) -> Self:
        if self.sasl and self.sasl.mechanism == "PLAIN" and not self.tls:
            raise ValueError("sasl.mechanism PLAIN sends the password in clear: set tls as well")
        return self


_NAME = r"^[a-zA-Z0-9._-]+$"


class TopicSpec(Model):
    """One topic."""

    name: str = Field(pattern=_NAME, min_length=1, max_length=249)
    partitions: int = Field(default=4, ge=1, le=1000)
    """Number of partitions; may grow, never shrink."""
    retention: Duration | None = None
    """How long messages are kept; the broker's own setting when absent."""


class TopicsSpec(Model):
    """The pipeline's topics; names default to the usual ones."""

    raw: TopicSpec = TopicSpec(name="raw-web-events")
    """Events as they came."""
    enriched: TopicSpec = TopicSpec(name="enriched-web-events")
    """Events with what the enrich stage added."""
    sessions: TopicSpec = TopicSpec(name="web-sessions")
    """Session records; its companion <name>-state holds the open sessions."""
    failed: TopicSpec = TopicSpec(name="failed-web-events", partitions=1)
    """What a stage could not process, with the reason."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [self.raw.name, self.enriched.name, self.sessions.name, self.failed.name]
        if len({*names, self.state_name}) <= len(names):
            raise ValueError("raw, enriched, sessions (and its -state) and failed need own names")
        return self

    @property
    def state_name(self) -> str:
        """The compacted topic of open sessions, co-partitioned with ``enriched``."""
        return f"{self.sessions.name}-state"
