"""The settings file of a stage: everything that the workload needs, made by the plan."""

from typing import Literal

from pydantic import Field

from webevents.spec.alerts import AlertsSpec
from webevents.spec.analytics import AnalyticsSpec
from webevents.spec.base import Duration, Model
from webevents.spec.elasticsearch import ElasticsearchSpec, IndexSpec
from webevents.spec.enrich import EnrichSpec
from webevents.spec.kafka import KafkaSpec
from webevents.spec.postgres import PostgresSpec, StoreSpec
from webevents.spec.s3 import ArchiveSpec, S3Spec
from webevents.spec.source import DebeziumSpec
from webevents.spec.stages import EventsSpec, SessionsSpec

StageName = Literal[
    "capture", "enrich", "sessionize", "analyze", "index", "store", "archive", "detect"
]


class ShadowSettings(Model):
    """Where the index stage of a backfill writes: beside the daily indices, not into them."""

    indices: dict[str, str]
    """The shadow of each daily index; documents of other indices are left out."""


class StageSettings(Model):
    """One stage of one pipeline."""

    pipeline: str
    stage: StageName
    group: str
    """Consumer group."""
    topics: tuple[str, ...]
    """Topics that the stage reads."""
    output_topic: str | None = None
    state_topic: str | None = None
    failed_topic: str
    commit_interval: Duration
    chunk_size: int
    kafka: KafkaSpec
    events: EventsSpec = EventsSpec()
    sessions: SessionsSpec = SessionsSpec()
    enrich: EnrichSpec | None = None
    index: IndexSpec | None = None
    elasticsearch: ElasticsearchSpec | None = None
    store: StoreSpec | None = None
    postgres: PostgresSpec | None = None
    archive: ArchiveSpec | None = None
    s3: S3Spec | None = None
    debezium: DebeziumSpec | None = None
    table_indices: dict[str, str] = Field(default_factory=dict)
    """The index of each captured table."""
    sessions_topic: str | None = None
    """The topic among ``topics`` that holds session records."""
    analytics: AnalyticsSpec | None = None
    analytics_topic: str | None = None
    """The topic among ``topics`` that holds documents of analytics."""
    alerts: AlertsSpec | None = None
    failed_prefix: str | None = None
    """Where failed events are indexed; the topic of failed events is among ``topics`` then."""
    samples_prefix: str | None = None
    """Where the stages of ``groups`` are told of, if they are."""
    shadow: ShadowSettings | None = None
    """Set for a backfill's index stage only."""
    groups: dict[str, tuple[str, tuple[str, ...]]] = Field(default_factory=dict)
    """Stages that are looked at, to see how far they are: consumer group and topics of each."""
