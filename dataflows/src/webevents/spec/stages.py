"""spec.events and spec.sessions, and what every stage's settings have in common."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from webevents.spec.base import Duration, Model


class EventsSpec(Model):
    """What counts as a valid event."""

    max_bytes: int = Field(default=1_000_000, ge=1_000, le=10_000_000)
    """Largest message in bytes; a larger one goes to failed events."""
    max_ahead: Duration = timedelta(hours=1)
    """How far event_timestamp may lie ahead of the Kafka record's own time."""
    on_future: Literal["fail", "clamp"] = "fail"
    """fail: a clock further ahead sends the event to failed events; clamp: the record's time is
    taken instead and the event keeps its own as event_timestamp_original."""


class SessionsSpec(Model):
    """How events become sessions; event time only."""

    enabled: bool = True
    """Whether sessions are made."""
    key: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=16)] = (
        "user_domain_id",
    )
    """Fields whose values together name the visitor; also the key of the messages, so that one
    visitor's events stay in order in one partition."""
    gap: Duration = timedelta(minutes=30)
    """A pause longer than this ends the session."""
    max_length: Duration = timedelta(hours=12)
    """A chain of events that lasts longer is cut at multiples of this length since 1970 (UTC)."""
    allowed_lateness: Duration = timedelta(hours=1)
    """An event older than its partition's newest by more than this is dropped as late."""
    publish_open_every: Duration = timedelta(seconds=5)
    """How often a session that is still open is published with its totals so far."""
    idle_timeout: Duration = timedelta(seconds=60)
    """After this long without an event, a partition's sessions close by the wall clock's pace."""
    page_view_types: tuple[str, ...] = ("pageview", "page_view", "page", "screen", "view")
    """Event types that count as a page view (for bounces, entry and exit pages)."""
    purchase_types: tuple[str, ...] = ("purchase", "transaction", "order_completed")
    """Event types whose price times quantity counts as revenue where revenue is absent."""
    max_events: int = Field(default=10_000, ge=10, le=100_000)
    """Events that one session takes; more are dropped as session_full and the session is marked
    as truncated."""
    max_values: int = Field(default=500, ge=10, le=5_000)
    """Distinct pages, referrers, products, search queries and event types that a session lists,
    each."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.key or len(set(self.key)) < len(self.key):
            raise ValueError("key needs at least one field, each once")
        if not timedelta(0) < self.gap <= self.max_length:
            raise ValueError("gap must be longer than 0s and not longer than maxLength")
        return self


class StageSpec(Model):
    """How a stage runs."""

    replicas: int = Field(default=1, ge=0, le=1000)
    """Workers; more than the topic has partitions stay idle."""
    commit_interval: Duration = timedelta(milliseconds=200)
    """How often results and offsets are committed; the delay that a stage adds at most."""
    chunk_size: int = Field(default=1000, ge=1, le=10_000)
    """Messages that are processed at a time."""


class SessionizeStageSpec(StageSpec):
    """How the sessionize stage runs."""

    commit_interval: Duration = timedelta(seconds=1)
    """How often results and offsets are committed; the delay that a stage adds at most."""


class SinkStageSpec(StageSpec):
    """How a stage that writes to a database runs."""

    commit_interval: Duration = timedelta(milliseconds=500)
    """How often results and offsets are committed; the delay that a stage adds at most."""


class AnalyzeStageSpec(StageSpec):
    """How the analyze stage runs."""

    commit_interval: Duration = timedelta(seconds=1)
    """How often results and offsets are committed; the delay that a stage adds at most."""


class DetectStageSpec(StageSpec):
    """How the detect stage runs."""

    replicas: int = Field(default=1, ge=0, le=1)
    """One worker at most: alerts are about all partitions together."""
    commit_interval: Duration = timedelta(seconds=1)
    """How often results and offsets are committed; the delay that a stage adds at most."""


class StagesSpec(Model):
    """How each stage runs."""

    capture: StageSpec = StageSpec()
    """The stage that makes events of captured changes."""
    enrich: StageSpec = StageSpec()
    """The stage that checks and enriches events."""
    sessionize: SessionizeStageSpec = SessionizeStageSpec()
    """The stage that makes sessions of events."""
    analyze: AnalyzeStageSpec = AnalyzeStageSpec()
    """The stage that makes documents of analytics of sessions."""
    index: SinkStageSpec = SinkStageSpec()
    """The stage that writes to Elasticsearch."""
    store: SinkStageSpec = SinkStageSpec()
    """The stage that writes to PostgreSQL."""
    detect: DetectStageSpec = DetectStageSpec()
    """The stage that raises alerts."""
