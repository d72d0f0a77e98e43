"""The settings file of the live page's workload, made by the plan."""

from webevents.spec.base import Duration, Model
from webevents.spec.kafka import KafkaSpec
from webevents.spec.live import LiveSpec


class LiveTopics(Model):
    """The topics that the page reads."""

    raw: str
    enriched: str
    sessions: str | None = None
    failed: str
    alerts: str | None = None


class LiveSettings(Model):
    """The live page of one pipeline."""

    pipeline: str
    topics: LiveTopics
    key: tuple[str, ...]
    """Fields that tell a visitor (spec.sessions.key)."""
    gap: Duration
    """The pause that ends a session (spec.sessions.gap)."""
    kafka: KafkaSpec
    live: LiveSpec
    groups: dict[str, tuple[str, tuple[str, ...]]]
    """Consumer group and topics of each stage, in the order of the pipeline."""
