"""What the operator says about a pipeline: the models of ``status``, its types and reasons."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from webevents.spec.base import Model


class ConditionType(StrEnum):
    """The conditions of a pipeline."""

    READY = "Ready"
    TOPICS_READY = "TopicsReady"
    TEMPLATES_READY = "TemplatesReady"
    TABLES_READY = "TablesReady"
    DASHBOARDS_READY = "DashboardsReady"
    WORKLOADS_READY = "WorkloadsReady"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"


class Reason(StrEnum):
    """Why a condition is as it is; no other word is used."""

    AS_WANTED = "AsWanted"
    """Everything is as the resource wants it."""
    NOT_NEEDED = "NotNeeded"
    """The pipeline has no such thing."""
    PROGRESSING = "Progressing"
    """On the way; nothing has to be done."""
    PAUSED = "Paused"
    """The operator leaves everything as it is."""
    INVALID_SPEC = "InvalidSpec"
    """The specification contradicts itself, or has no meaning on Kubernetes."""
    RESOURCE_CONFLICT = "ResourceConflict"
    """An older pipeline, or something else, has what this one claims."""
    SECRET_MISSING = "SecretMissing"  # noqa: S105  # a word, not a secret
    """A Secret or a key of it is not there."""
    DEPENDENCY_MISSING = "DependencyMissing"
    """Something that the pipeline names is not there, such as a Kafka resource or an address."""
    KAFKA_UNAVAILABLE = "KafkaUnavailable"
    """Kafka does not answer or refuses."""
    ELASTICSEARCH_UNAVAILABLE = "ElasticsearchUnavailable"
    """Elasticsearch does not answer or refuses."""
    POSTGRES_UNAVAILABLE = "PostgresUnavailable"
    """PostgreSQL does not answer or refuses."""
    KIBANA_UNAVAILABLE = "KibanaUnavailable"
    """Kibana does not answer or refuses."""
    PARTITIONS_CANNOT_SHRINK = "PartitionsCannotShrink"
    """A topic on the cluster has more partitions than the resource wants."""
    REPLICAS_CAPPED = "ReplicasCapped"
    """A stage is given no more replicas than its topic has partitions."""
    PODS_FAILING = "PodsFailing"
    """Pods cannot start or keep ending."""
    CONNECTOR_FAILING = "ConnectorFailing"
    """Kafka Connect does not run the connector."""
    ROUTE_REFUSED = "RouteRefused"
    """A Gateway does not take the collector's route."""
    LEDGER_UNBALANCED = "LedgerUnbalanced"
    """Events are unaccounted for."""
    API_ERROR = "ApiError"
    """The API server refused an object of the pipeline."""
    DELETING = "Deleting"
    """The resource is on its way out."""


class Condition(Model):
    """One aspect of the pipeline's state."""

    type: str = Field(max_length=316)
    """What is meant, such as Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: str = Field(max_length=1024)
    """Why, in one word of a fixed list."""
    message: str = Field(max_length=32768)
    """Why, for people, with what to do about it."""
    observed_generation: int
    """The generation of the resource that this is about."""
    last_transition_time: str
    """When status last changed (RFC 3339)."""


class StageStatus(Model):
    """One workload."""

    name: str
    """The workload."""
    replicas: int = 0
    """Pods that should run."""
    ready: int = 0
    """Pods that are ready."""
    lag: int | None = None
    """Messages still to be read."""
    events_per_second: float | None = None
    """Messages read in a second, lately."""
    received: int | None = None
    """Messages read so far."""
    delivered: int | None = None
    """Those that went on."""
    failed: int | None = None
    """Those that cannot be processed."""
    dropped: int | None = None
    """Those that are left out for a reason."""


class CollectorStatus(Model):
    """The collector."""

    replicas: int = 0
    """Pods that should run."""
    ready: int = 0
    """Pods that take events."""
    address: str
    """Where it is reached: by its Ingress, Gateway or load balancer, or within the cluster."""


class LedgerStatus(Model):
    """Whether every event is accounted for."""

    balanced: bool = True
    """True where nothing is unaccounted for."""
    problems: tuple[str, ...] = Field(default=(), max_length=10)
    """What is unaccounted for, a sentence each."""


class Status(Model):
    """The state of the pipeline as the operator last saw it."""

    observed_generation: int | None = None
    """The generation of the resource that this is about."""
    conditions: tuple[Condition, ...] = ()
    """Aspects of the state: Ready, TopicsReady, TemplatesReady, TablesReady,
    DashboardsReady, WorkloadsReady, Progressing, Degraded."""
    replicas: int | None = None
    """Pods of the generator, for the scale subresource."""
    selector: str | None = None
    """Labels of the generator's pods, for the scale subresource."""
    generators: str | None = None
    """Ready pods of the generator, of those that should run."""
    events_per_second: float | None = None
    """Messages read by the first stage in a second, lately."""
    lag: int | None = None
    """Messages that some stage has still to read."""
    stages: tuple[StageStatus, ...] = ()
    """The workloads one by one."""
    collector: CollectorStatus | None = None
    """The collector, if there is one."""
    ledger: LedgerStatus | None = None
    """Whether every event is accounted for."""
    paused: bool | None = None
    """Whether the operator leaves everything as it is."""
