"""spec.kafka and spec.topics: where the broker is, how to log in, and the pipeline's topics."""

from typing import Literal, Self

from pydantic import Field, model_validator

from webevents.spec.base import Duration, Model

_RESOURCE = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

ACCOUNT = "{workload}"
"""Stands in names of users and files for who logs in, so that each has a log-in of its own."""
OPERATOR = "operator"
"""Who makes the topics and looks at groups: the operator, or ``webevents run``."""
TOOLS = "tools"
"""Who reads what people ask for: backfills, ``webevents trace`` and its like, ``helm test``."""


class KafkaTls(Model):
    """TLS to the brokers; files are PEM."""

    ca_file: str | None = None
    """Certificate authority that signed the brokers' certificates; the system's when absent."""
    cert_file: str | None = None
    """Client certificate, for mutual TLS; goes with keyFile. {workload} in the names of these
    files stands for the workload (enrich, index, …), so that each logs in as itself."""
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
    """How the password is proved; PLAIN sends it, and needs TLS."""
    username: str
    """User that logs in; {workload} in it, and in passwordFile, stands for the workload (enrich,
    index, …), so that each logs in as itself."""
    password_file: str | None = None
    """File that holds the password, or secret:NAME/KEY."""
    password_env: str | None = None
    """Environment variable that holds the password; not on Kubernetes."""

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if (self.password_file is None) == (self.password_env is None):
            raise ValueError("set exactly one of passwordFile and passwordEnv")
        return self


class StrimziSpec(Model):
    """A Kafka cluster that Strimzi manages on the same Kubernetes cluster. Topics and the
    pipeline's user are then Strimzi's resources; address, certificates and log-in follow from it.
    Other runtimes than Kubernetes do not look at it."""

    cluster: str = Field(pattern=_RESOURCE, max_length=253)
    """Name of the Kafka resource."""
    namespace: str | None = Field(default=None, pattern=_RESOURCE, max_length=63)
    """Its namespace; the pipeline's own when absent. From another one Strimzi's secrets must be
    copied into the pipeline's."""
    listener: str | None = Field(default=None, pattern=_RESOURCE, max_length=11)
    """Name of the listener to use; when absent an internal one, the safest first."""


class KafkaSpec(Model):
    """The Kafka cluster that holds the pipeline's topics."""

    bootstrap_servers: str | None = None
    """Brokers as host:port, comma-separated; the runtime's own Kafka when absent."""
    strimzi: StrimziSpec | None = None
    """A Kafka cluster of the Strimzi operator, instead of bootstrapServers, tls and sasl."""
    tls: KafkaTls | None = None
    """TLS to the brokers; none when absent."""
    sasl: KafkaSasl | None = None
    """Log-in by SASL; none when absent."""
    replication_factor: int = Field(default=1, ge=1, le=9)
    """Copies of each partition; at least 3 in production."""

    def logged_in_as(self, account: str) -> Self:
        """The cluster as a workload, or one of OPERATOR and TOOLS, logs in to it."""
        update: dict[str, Model] = {}
        for name, part in (("tls", self.tls), ("sasl", self.sasl)):
            if part is not None:
                own = {
                    field: value.replace(ACCOUNT, account)
                    for field, value in part
                    if isinstance(value, str) and ACCOUNT in value
                }
                if own:
                    update[name] = part.model_copy(update=own)
        return self.model_copy(update=update) if update else self

    @model_validator(mode="after")
    def _one_cluster(self) -> Self:
        if self.strimzi and (self.bootstrap_servers or self.tls or self.sasl):
            raise ValueError(
                "strimzi goes without bootstrapServers, tls and sasl: they follow from the Kafka "
                "resource; remove them, or strimzi"
            )
        return self

    @model_validator(mode="after")
    def _tls_with_sasl(self) -> Self:
        if self.sasl and self.sasl.mechanism == "PLAIN" and not self.tls:
            raise ValueError("sasl.mechanism PLAIN sends the password in clear: set tls as well")
        return self


_NAME = r"^[a-zA-Z0-9._-]+$"


class TopicSpec(Model):
    """One topic."""

    name: str = Field(pattern=_NAME, min_length=1, max_length=249)
    """The topic's name on the cluster; it stays as it is."""
    partitions: int = Field(default=4, ge=1, le=1000)
    """Number of partitions; may grow, never shrink."""
    retention: Duration | None = None
    """How long messages are kept; the broker's own setting when absent."""


class RawTopicSpec(TopicSpec):
    """The topic of events as they came."""

    name: str = Field(default="raw-web-events", pattern=_NAME, min_length=1, max_length=249)
    """The topic's name on the cluster; it stays as it is."""


class EnrichedTopicSpec(TopicSpec):
    """The topic of enriched events."""

    name: str = Field(default="enriched-web-events", pattern=_NAME, min_length=1, max_length=249)
    """The topic's name on the cluster; it stays as it is."""


class SessionsTopicSpec(TopicSpec):
    """The topic of session records."""

    name: str = Field(default="web-sessions", pattern=_NAME, min_length=1, max_length=249)
    """The topic's name on the cluster; it stays as it is."""


class FailedTopicSpec(TopicSpec):
    """The topic of failed events."""

    name: str = Field(default="failed-web-events", pattern=_NAME, min_length=1, max_length=249)
    """The topic's name on the cluster; it stays as it is."""
    partitions: int = Field(default=1, ge=1, le=1000)
    """Number of partitions; may grow, never shrink."""


class AnalyticsTopicSpec(TopicSpec):
    """The topic of documents of analytics."""

    name: str = Field(default="web-analytics", pattern=_NAME, min_length=1, max_length=249)
    """The topic's name on the cluster; it stays as it is."""


class AlertsTopicSpec(TopicSpec):
    """The topic of alerts."""

    name: str = Field(default="web-alerts", pattern=_NAME, min_length=1, max_length=249)
    """The topic's name on the cluster; it stays as it is."""
    partitions: int = Field(default=1, ge=1, le=1000)
    """Number of partitions; may grow, never shrink."""


class TopicsSpec(Model):
    """The pipeline's topics; names default to the usual ones."""

    raw: RawTopicSpec = RawTopicSpec()
    """Events as they came."""
    enriched: EnrichedTopicSpec = EnrichedTopicSpec()
    """Events with what the enrich stage added."""
    sessions: SessionsTopicSpec = SessionsTopicSpec()
    """Session records; its companion <name>-state holds the open sessions."""
    failed: FailedTopicSpec = FailedTopicSpec()
    """What a stage could not process, with the reason."""
    analytics: AnalyticsTopicSpec = AnalyticsTopicSpec()
    """Documents of analytics; its companion <name>-state holds what is known of visitors."""
    alerts: AlertsTopicSpec = AlertsTopicSpec()
    """Alerts, a record for each change; its companion <name>-state holds what is usual."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        plain = [topic.name for topic in (self.raw, self.enriched, self.failed)]
        with_state = [topic.name for topic in (self.sessions, self.analytics, self.alerts)]
        states = [self.state_name, self.analytics_state_name, self.alerts_state_name]
        names = [*plain, *with_state, *states]
        if len(set(names)) < len(names):
            raise ValueError(
                "raw, enriched, failed, sessions, analytics and alerts (and the -state of these "
                "three) need own names"
            )
        return self

    @property
    def state_name(self) -> str:
        """The compacted topic of open sessions, co-partitioned with ``enriched``."""
        return f"{self.sessions.name}-state"

    @property
    def analytics_state_name(self) -> str:
        """The compacted topic of visitors, co-partitioned with ``sessions``."""
        return f"{self.analytics.name}-state"

    @property
    def alerts_state_name(self) -> str:
        """The compacted topic of the detect stage's state."""
        return f"{self.alerts.name}-state"
