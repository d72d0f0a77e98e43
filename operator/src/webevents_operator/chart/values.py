"""The values of the chart ``web-event-pipeline``.

The models are the source of ``values.yaml``, ``values.schema.json`` and the table in the chart's
README; ``scripts/make-chart`` writes them. Connections and the pipeline are the resource's own
models, so that what is refused there is refused by Helm already.
"""

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from webevents.spec.base import Duration, Model
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.kafka import KafkaSpec
from webevents.spec.kubernetes import AmountsSpec, Quantity, ResourcesSpec, WorkloadName
from webevents.spec.pipeline import PipelineSpec
from webevents.spec.postgres import PostgresSpec
from webevents.spec.s3 import S3Spec

_NAME = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"
_DIGEST = r"^(sha256:[0-9a-f]{64})?$"
Free = dict[str, Any]
"""Handed to Kubernetes as it is."""


def _asks(cpu: str, memory: str, limit: str | None = None) -> ResourcesSpec:
    return ResourcesSpec(
        requests=AmountsSpec(cpu=cpu, memory=memory), limits=AmountsSpec(memory=limit or memory)
    )


class ImageValues(Model):
    """One image."""

    repository: str
    """Its name behind the registry."""
    tag: str = ""
    """Its tag; the chart's appVersion when empty."""
    digest: str = Field(default="", pattern=_DIGEST)
    """Its digest, sha256:…; goes before the tag."""


class RegistryValues(Model):
    """Where images come from."""

    registry: str = "webevents.dev"
    """Stands before the images' names; a mirror's address goes here."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When nodes fetch images."""
    pull_secrets: tuple[str, ...] = ()
    """Secrets with the log-in to the registry."""


class WatchValues(Model):
    """The namespaces whose pipelines the operator looks after."""

    scope: Literal["own", "listed", "all"] = "own"
    """own: the release's; listed: the release's and those of `namespaces`; all: every one, which
    needs a ClusterRole."""
    namespaces: tuple[str, ...] = ()
    """With scope listed: further namespaces, which must exist."""


class ServiceAccountValues(Model):
    """The operator's service account."""

    create: bool = True
    """Whether the chart makes it."""
    name: str = ""
    """Its name; the release's when empty."""
    annotations: dict[str, str] = Field(default={})
    """Its annotations."""


class EnabledValues(Model):
    """A switch."""

    enabled: bool = False
    """Whether it is made."""


class OperatorValues(Model):
    """The operator."""

    image: ImageValues = ImageValues(repository="operator")
    """Its image."""
    watch: WatchValues = WatchValues()
    """The namespaces whose pipelines it looks after."""
    resources: ResourcesSpec = _asks("100m", "192Mi", "512Mi")
    """What it asks for."""
    resync_interval: Duration = timedelta(seconds=30)
    """How often topics, templates, tables and secrets are looked at again."""
    ledger_interval: Duration = timedelta(seconds=30)
    """How often lag, rates and the ledger are read from Kafka."""
    canary_interval: Duration | None = timedelta(seconds=60)
    """How often a paused pipeline of its own proves that it works; never when null."""
    workers: int = Field(default=8, ge=1, le=64)
    """Pipelines that are reconciled at the same time."""
    service_account: ServiceAccountValues = ServiceAccountValues()
    """Its service account."""
    rbac: bool = True
    """Whether roles and bindings are made."""
    pod_disruption_budget: EnabledValues = EnabledValues()
    """A budget of one pod, so that drains wait for its successor's node."""
    pod_labels: dict[str, str] = Field(default={})
    """Further labels of its pod."""
    pod_annotations: dict[str, str] = Field(default={})
    """Further annotations of its pod."""
    node_selector: dict[str, str] = Field(default={})
    """Labels that its node must have."""
    tolerations: tuple[Free, ...] = ()
    """Taints that its pod puts up with."""
    affinity: Free = Field(default={})
    """Where its pod goes, in Kubernetes' own form."""
    priority_class_name: str = ""
    """Priority of its pod."""


class DataflowsValues(Model):
    """The pods of pipelines."""

    image: ImageValues = ImageValues(repository="dataflows")
    """Their image."""
    resources: dict[WorkloadName, ResourcesSpec] = Field(default={})
    """What pods ask for, by workload; a pipeline's spec.pods.resources goes before it."""
    usual_resources: ResourcesSpec = _asks("100m", "256Mi", "1Gi")
    """What pods of the other workloads ask for."""


class CrdsValues(Model):
    """The CustomResourceDefinition."""

    create: bool = True
    """Whether the release installs and upgrades it; one release of a cluster does."""
    keep: bool = True
    """Whether it, and so every pipeline, outlives the release."""


class StorageValues(Model):
    """The volume of a pod."""

    size: Quantity = "10Gi"
    """Its size."""
    storage_class: str = ""
    """Its StorageClass; the cluster's default when empty."""
    ephemeral: bool = False
    """true: data goes with the pod; for trials only."""
    delete: bool = False
    """Whether volumes go with the release."""


class BrokersValues(Model):
    """The nodes that hold topics."""

    replicas: int = Field(default=3, ge=1)
    """How many; topics have min(3, replicas) copies."""
    resources: ResourcesSpec = _asks("500m", "2Gi")
    """What each asks for."""
    heap: str = Field(default="", pattern=r"^([0-9]+[mMgG])?$")
    """Heap, such as 1g; half of the memory when empty, as Strimzi does it."""
    storage: StorageValues = StorageValues(size="20Gi")
    """Their volumes."""


class ControllersValues(Model):
    """The nodes that keep the cluster's metadata."""

    replicas: int = Field(default=0, ge=0)
    """How many, an odd number; 0: the brokers do it beside."""
    resources: ResourcesSpec = _asks("250m", "1Gi")
    """What each asks for."""
    storage: StorageValues = StorageValues(size="5Gi")
    """Their volumes."""


class KafkaValues(Model):
    """Kafka: made by Strimzi, or one that exists."""

    create: bool = True
    """Whether the chart makes it; needs the Strimzi operator."""
    existing: KafkaSpec = KafkaSpec()
    """One that exists, as in a pipeline's spec.kafka; certificates and passwords are
    secret:NAME/KEY."""
    name: str = Field(default="", pattern=_NAME, max_length=40)
    """Name of the Kafka resource; the release's with -kafka when empty."""
    version: str = ""
    """Version of Kafka; Strimzi's default when empty."""
    metadata_version: str = ""
    """Version of its metadata; Strimzi's default when empty."""
    authentication: Literal["scram-sha-512", "tls"] = "scram-sha-512"
    """How clients log in; TLS it is in any case."""
    brokers: BrokersValues = BrokersValues()
    """The nodes that hold topics."""
    controllers: ControllersValues = ControllersValues()
    """The nodes that keep the cluster's metadata."""
    config: Free = Field(default={})
    """Further settings of the brokers, as in server.properties."""
    rack: str = ""
    """Node label that names the zone, such as topology.kubernetes.io/zone."""
    exporter: bool = False
    """Whether Strimzi's Kafka exporter runs beside it."""


class ElasticsearchValues(Model):
    """Elasticsearch: made by ECK, or one that exists."""

    create: bool = True
    """Whether the chart makes it; needs the ECK operator."""
    existing: ElasticsearchSpec = ElasticsearchSpec()
    """One that exists, as in a pipeline's spec.elasticsearch."""
    name: str = Field(default="", pattern=_NAME, max_length=36)
    """Name of the Elasticsearch resource; the release's when empty."""
    version: str = "9.5.3"
    """Version of Elasticsearch and Kibana."""
    nodes: int = Field(default=3, ge=1)
    """Data nodes; they are masters too where `masters` is 0."""
    masters: int = Field(default=0, ge=0)
    """Nodes that are only masters: 0 or 3."""
    resources: ResourcesSpec = _asks("500m", "4Gi")
    """What a data node asks for; half of the memory is heap."""
    master_resources: ResourcesSpec = _asks("250m", "2Gi")
    """What a master asks for."""
    storage: StorageValues = StorageValues(size="50Gi")
    """Volumes of the data nodes."""
    mmap: bool = False
    """Whether files are mapped into memory: faster, but nodes need vm.max_map_count 1048576."""
    config: Free = Field(default={})
    """Further settings, as in elasticsearch.yml."""


class KibanaValues(Model):
    """Kibana, made by ECK."""

    create: bool = True
    """Whether the chart makes it; needs the ECK operator."""
    count: int = Field(default=1, ge=1)
    """Pods."""
    resources: ResourcesSpec = _asks("250m", "1Gi")
    """What each asks for."""
    elasticsearch_secret: str = ""
    """For an Elasticsearch that exists: Secret with url, username, password and ca.crt, as ECK
    wants it."""
    config: Free = Field(default={})
    """Further settings, as in kibana.yml."""


class ConnectValues(Model):
    """Kafka Connect, made by Strimzi: captures changes of databases by Debezium."""

    create: bool = False
    """Whether the chart makes it; needs the Strimzi operator."""
    name: str = Field(default="", pattern=_NAME, max_length=40)
    """Name of the KafkaConnect resource; the release's with -connect when empty."""
    replicas: int = Field(default=1, ge=1)
    """Workers."""
    image: str = ""
    """Image of Kafka Connect that holds the connector; or set plugins."""
    plugins: dict[str, str] = Field(default={})
    """Connectors as OCI artifacts that are mounted: name and reference (Kubernetes 1.33+)."""
    topic_prefixes: tuple[str, ...] = ("streaming",)
    """What the captured tables' topics begin with: the worker may write those."""
    resources: ResourcesSpec = _asks("250m", "1Gi")
    """What each worker asks for."""
    config: Free = Field(default={})
    """Further settings of the workers."""


class PostgresValues(Model):
    """PostgreSQL, which the chart never makes."""

    existing: PostgresSpec = PostgresSpec()
    """For pipelines that name none, as in a pipeline's spec.postgres."""


class S3Values(Model):
    """The object store, which the chart never makes."""

    existing: S3Spec = S3Spec()
    """For pipelines that name none, as in a pipeline's spec.s3."""


class PipelineValues(Model):
    """A WebEventPipeline that comes and goes with the release."""

    create: bool = True
    """Whether it is made."""
    name: str = Field(default="web-events", pattern=_NAME, min_length=1, max_length=52)
    """Its name."""
    annotations: dict[str, str] = Field(default={})
    """Its annotations."""
    spec: PipelineSpec = PipelineSpec()
    """What it does: docs/reference.md has every field."""
    removal_timeout: Duration = timedelta(seconds=120)
    """How long `helm uninstall` waits until the operator has cleaned up behind it."""


class MonitoringValues(Model):
    """Prometheus; needs the Prometheus operator."""

    pod_monitors: bool = False
    """Whether the pods of operator and pipelines are scraped."""
    prometheus_rule: bool = False
    """Whether the alert rules are made."""
    labels: dict[str, str] = Field(default={})
    """Labels by which Prometheus finds both, such as release: kube-prometheus-stack."""
    runbook_base_url: str = ""
    """Stands before the runbooks' paths (docs/runbooks/…) in alerts."""


class NetworkPolicyValues(Model):
    """Who may reach the pods of operator and pipelines."""

    enabled: bool = True
    """Whether only the port of the metrics is open, and a collector's port."""
    metrics_from: tuple[Free, ...] = ()
    """Who may reach it, as peers of a NetworkPolicy; everyone in the cluster when empty."""


class ChartValues(Model):
    """Values of the chart."""

    name_override: str = Field(default="", pattern=_NAME, max_length=40)
    """Stands for the chart's name in names."""
    fullname_override: str = Field(default="", pattern=_NAME, max_length=40)
    """Stands for release and chart in names."""
    images: RegistryValues = RegistryValues()
    """Where images come from."""
    operator: OperatorValues = OperatorValues()
    """The operator."""
    dataflows: DataflowsValues = DataflowsValues()
    """The pods of pipelines."""
    crds: CrdsValues = CrdsValues()
    """The CustomResourceDefinition."""
    kafka: KafkaValues = KafkaValues()
    """Kafka: made by Strimzi, or one that exists."""
    elasticsearch: ElasticsearchValues = ElasticsearchValues()
    """Elasticsearch: made by ECK, or one that exists."""
    kibana: KibanaValues = KibanaValues()
    """Kibana, made by ECK."""
    connect: ConnectValues = ConnectValues()
    """Kafka Connect, made by Strimzi."""
    postgres: PostgresValues = PostgresValues()
    """PostgreSQL, which the chart never makes."""
    s3: S3Values = S3Values()
    """The object store, which the chart never makes."""
    pipeline: PipelineValues = PipelineValues()
    """A WebEventPipeline that comes and goes with the release."""
    monitoring: MonitoringValues = MonitoringValues()
    """Prometheus."""
    network_policy: NetworkPolicyValues = NetworkPolicyValues()
    """Who may reach the pods."""
    preflight: bool = True
    """Whether the cluster is asked for the operators that the release needs."""
    global_: Free = Field(default={}, alias="global")
    """Values that a parent chart shares; not looked at."""
