"""The WebEventPipeline: the resource that describes a whole pipeline."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from webevents.spec.alerts import AlertsSpec
from webevents.spec.analytics import AnalyticsSpec
from webevents.spec.base import Model
from webevents.spec.collector import CollectorSpec
from webevents.spec.elasticsearch import ElasticsearchSpec, IndexSpec
from webevents.spec.enrich import EnrichSpec
from webevents.spec.generator import GeneratorSpec
from webevents.spec.kafka import KafkaSpec, TopicsSpec
from webevents.spec.kibana import KibanaSpec
from webevents.spec.kubernetes import DeletionPolicySpec, PodsSpec
from webevents.spec.live import LiveSpec
from webevents.spec.postgres import PostgresSpec, StoreSpec
from webevents.spec.s3 import ArchiveSpec, LoaderSpec, S3Spec
from webevents.spec.source import SourceSpec
from webevents.spec.stages import EventsSpec, SessionsSpec, StagesSpec

API_VERSION = "webevents.dev/v1alpha1"
KIND = "WebEventPipeline"
_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class PipelineSpec(Model):
    """What the pipeline does; everything has a default."""

    generator: GeneratorSpec | None = None
    """Simulated visitors that feed the raw topic; none when absent."""
    source: SourceSpec = SourceSpec()
    collector: CollectorSpec | None = None
    """An HTTP server for the trackers of real websites and apps; none when absent."""
    kafka: KafkaSpec = KafkaSpec()
    """The Kafka cluster that holds the topics."""
    topics: TopicsSpec = TopicsSpec()
    """The pipeline's topics."""
    events: EventsSpec = EventsSpec()
    """What counts as a valid event."""
    enrich: EnrichSpec = EnrichSpec()
    """What is added to events, removed and made unrecognisable."""
    sessions: SessionsSpec = SessionsSpec()
    """How events become sessions."""
    analytics: AnalyticsSpec = AnalyticsSpec()
    """Funnels, transitions, retention and attribution, derived from sessions."""
    elasticsearch: ElasticsearchSpec = ElasticsearchSpec()
    """The Elasticsearch cluster and how to log in."""
    index: IndexSpec = IndexSpec()
    """What is written to Elasticsearch."""
    kibana: KibanaSpec = KibanaSpec()
    """The Kibana that gets the pipeline's data views and dashboards."""
    postgres: PostgresSpec = PostgresSpec()
    """The PostgreSQL database and how to log in."""
    store: StoreSpec = StoreSpec()
    """What is written to PostgreSQL."""
    s3: S3Spec = S3Spec()
    """The object store and how to log in."""
    archive: ArchiveSpec = ArchiveSpec()
    """Raw events as objects in the object store."""
    loader: LoaderSpec = LoaderSpec()
    """Archived events in PostgreSQL."""
    alerts: AlertsSpec = AlertsSpec()
    """What is watched, when it is an alert, and who is told."""
    live: LiveSpec = LiveSpec()
    """A page in the browser that shows the pipeline at work."""
    stages: StagesSpec = StagesSpec()
    """Workers and pace of each stage."""
    pods: PodsSpec = PodsSpec()
    """How workloads run as pods; only Kubernetes looks at it."""
    paused: bool = False
    """Whether the operator leaves everything as it is; only Kubernetes looks at it."""
    deletion_policy: DeletionPolicySpec = DeletionPolicySpec()
    """What becomes of the data when the resource is deleted; only Kubernetes looks at it."""

    @model_validator(mode="after")
    def _one_visitor_one_partition(self) -> Self:
        """Sessions need one visitor's events in one partition, which the same count keeps."""
        if self.sessions.enabled and self.topics.raw.partitions > self.topics.enriched.partitions:
            raise ValueError(
                "topics.enriched.partitions must not be smaller than topics.raw.partitions"
            )
        return self

    @model_validator(mode="after")
    def _key_stays(self) -> Self:
        for name in self.enrich.drop_fields:
            if name in self.sessions.key:
                raise ValueError(
                    f"enrich.dropFields names {name}, which sessions.key needs: hash it instead "
                    "(enrich.privacy.hashFields), or choose another key"
                )
        return self

    @model_validator(mode="after")
    def _policy_of_the_engine(self) -> Self:
        if self.index.lifecycle_policy and self.elasticsearch.engine == "opensearch":
            raise ValueError(
                "index.lifecyclePolicy is Elasticsearch's: take it out, and let an ISM policy of "
                "OpenSearch name the indices"
            )
        return self

    @model_validator(mode="after")
    def _kibana_of_elasticsearch(self) -> Self:
        if self.kibana.url and self.elasticsearch.engine == "opensearch":
            raise ValueError(
                "kibana shows what is in Elasticsearch, but elasticsearch.engine is opensearch: "
                "take kibana out, or write to Elasticsearch"
            )
        return self

    @model_validator(mode="after")
    def _sessions_to_store(self) -> Self:
        if self.store.enabled and self.store.of_sessions and not self.sessions.enabled:
            raise ValueError(
                "store.tables names a table of sessions, but sessions.enabled is false: take it "
                "out, or enable sessions"
            )
        return self

    @model_validator(mode="after")
    def _sessions_to_analyze(self) -> Self:
        if not self.analytics.enabled:
            return self
        if not self.sessions.enabled:
            raise ValueError(
                "analytics.enabled needs sessions.enabled: analytics are derived from sessions"
            )
        if self.topics.sessions.partitions % self.topics.enriched.partitions:
            raise ValueError(
                "analytics.enabled needs topics.sessions.partitions to be that of topics.enriched, "
                "or a multiple of it, so that each partition of sessions has one stream time"
            )
        for name in self.enrich.drop_fields:
            if name in self.analytics.fields:
                raise ValueError(
                    f"enrich.dropFields names {name}, which spec.analytics matches by: take it out "
                    "of one of them"
                )
        return self

    @model_validator(mode="after")
    def _objects_to_load(self) -> Self:
        if self.loader.enabled and not self.archive.enabled:
            raise ValueError("loader.enabled needs archive.enabled: it loads archived objects")
        return self


class Metadata(Model):
    """The resource's name; whatever else Kubernetes keeps here is let through."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(pattern=_NAME, max_length=52)
    """The pipeline's name; part of consumer groups and session identifiers."""
    namespace: str | None = None
    """The resource's namespace on Kubernetes."""


class WebEventPipeline(Model):
    """A pipeline: sources, topics, stages and destinations."""

    api_version: Literal["webevents.dev/v1alpha1"]
    """Version of the resource's format."""
    kind: Literal["WebEventPipeline"]
    """Kind of the resource."""
    metadata: Metadata
    """The resource's name."""
    spec: PipelineSpec = PipelineSpec()
    """What the pipeline does."""

    def logged_in_as(self, account: str) -> Self:
        """The pipeline as a workload, the operator or a tool logs in to Kafka."""
        kafka = self.spec.kafka.logged_in_as(account)
        if kafka is self.spec.kafka:
            return self
        return self.model_copy(update={"spec": self.spec.model_copy(update={"kafka": kafka})})

    @property
    def name(self) -> str:
        """The pipeline's name; part of consumer groups and session identifiers."""
        return self.metadata.name

    @property
    def failed_prefix(self) -> str:
        """What the names of the indices of failed events begin with."""
        return self.spec.index.failed.prefix or f"failed-{self.name}"

    @property
    def samples_prefix(self) -> str:
        """What the names of the indices of the stages' samples begin with."""
        return self.spec.index.samples.prefix or f"stages-{self.name}"
