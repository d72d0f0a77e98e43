"""A stage's metrics for Prometheus, and whether its worker is alive and ready.

The task tells what happens once per chunk and once per commit; counts change with the commit, so
that a metric never shows what a crash would undo. The reference is docs/metrics.md.
"""

import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webevents.events.ledger import PartitionLedger
from webevents.stages.chunk import Chunk, Outcome, StageStatus
from webevents.stages.metrics_families import (
    WHO,
    Committed,
    build_info,
    lag_family,
    ledger_families,
    status_families,
)
from webevents.stages.observer import Look, Source, TaskObserver

DURATION_BUCKETS = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds; those of the reference system that has such metrics (PARITY.md, C)."""
RESTORE_BUCKETS = (*DURATION_BUCKETS, 10.0, 30.0, 60.0, 120.0)
MAX_TYPES = 50
"""Event types with a label of their own: types come from outside, and each costs a series."""
MAX_TYPE_LENGTH = 100
OTHER = "other"
HUNG_AFTER_S = 300.0
"""A loop that does not come round for this long hangs; each of its waits for other systems is
shorter, or says by itself that it is alive."""
READY_GRACE_S = 60.0
"""How long a task that starts anew may take to join its group before its worker is not ready."""


class _Reason(msgspec.Struct):
    reason: str


_decode_reason = msgspec.json.Decoder(_Reason).decode


def silence(beat: float) -> str | None:
    """Why a loop hangs that last came round at ``beat``, by the monotonic clock; None otherwise."""
    silent = time.monotonic() - beat
    return f"the loop has stood still for {silent:.0f} s" if silent > HUNG_AFTER_S else None


class TaskMetrics(TaskObserver, Collector):
    """The metrics of one worker, through all restarts of its task.

    :param pipeline: the pipeline's name.
    :param stage: the stage's name.
    :param failed_topic: the topic of failed events; their reasons are read from its records.
    :param keeps_state: whether taking a partition over means reading its state back.
    """

    def __init__(
        self, pipeline: str, stage: str, failed_topic: str, *, keeps_state: bool = False
    ) -> None:
        self.registry = CollectorRegistry()
        self._who = (pipeline, stage)
        self._failed_topic = failed_topic
        self._keeps_state = keeps_state
        self._partitions: dict[Source, Committed] = {}
        self._lags: dict[Source, int] = {}
        self._status = StageStatus()
        # Of what is not yet committed.
        self._reasons: Tally[str] = Tally()
        self._types: Tally[str] = Tally()
        self._known_types: set[str] = set()
        self._beat = time.monotonic()
        self._joined = False
        self._left_at: float | None = None
        self._register()

    def _register(self) -> None:
        registry, who = self.registry, self._who
        self._commits = Counter(
            "webevents_commits",
            "Commits that wrote something: executions of the pipeline.",
            WHO,
            registry=registry,
        ).labels(*who)
        self._last_commit = Gauge(
            "webevents_last_commit_timestamp_seconds",
            "When the worker last committed, in seconds since the epoch; 0 before its first time.",
            WHO,
            registry=registry,
        ).labels(*who)
        self._commit_duration = Histogram(
            "webevents_commit_duration_seconds",
            "How long a commit took, with the collecting of what the stage writes with it.",
            WHO,
            registry=registry,
            buckets=DURATION_BUCKETS,
        ).labels(*who)
        self._duration = Histogram(
            "webevents_processing_duration_seconds",
            "How long a chunk took from its reading until it was processed and, where it goes to a "
            "destination, confirmed there.",
            WHO,
            registry=registry,
            buckets=DURATION_BUCKETS,
        ).labels(*who)
        self._restore_duration = Histogram(
            "webevents_state_restore_duration_seconds",
            "How long it took to read the sessions of a partition back when it was taken over.",
            WHO,
            registry=registry,
            buckets=RESTORE_BUCKETS,
        ).labels(*who)
        self._restarts = Counter(
            "webevents_task_restarts",
            "Times that the task started anew from what was committed, within its process.",
            WHO,
            registry=registry,
        ).labels(*who)
        self._processed = Counter(
            "webevents_processed_events",
            "Events that the enrich stage delivered, by type: 50 types at most, the rest is other.",
            (*WHO, "type"),
            registry=registry,
        )
        self._failed = Counter(
            "webevents_failed_events",
            "Events sent to failed events, by reason.",
            (*WHO, "reason"),
            registry=registry,
        )
        build_info(registry, *who)
        ProcessCollector(registry=registry)
        registry.register(self)

    # What the task tells, in its thread.

    def alive(self) -> None:
        """Remember that the loop comes round."""
        self._beat = time.monotonic()

    def joined(self) -> None:
        """Be ready."""
        self._joined = True

    def assigned(self, topic: str, partition: int, ledger: PartitionLedger, seconds: float) -> None:
        """Show the ledger as the partition's last owner committed it."""
        self.alive()
        self._partitions[topic, partition] = Committed.of(ledger)
        if self._keeps_state:
            self._restore_duration.observe(seconds)

    def revoked(self, topic: str, partition: int) -> None:
        """Show no more of the partition: its next owner does."""
        self._partitions.pop((topic, partition), None)
        self._lags.pop((topic, partition), None)

    def processed(self, chunk: Chunk, outcome: Outcome) -> None:
        """Measure the chunk, and keep what it counts for the commit."""
        self._duration.observe(time.monotonic() - chunk.read_at)
        if outcome.counts.failed:
            for record in outcome.records:
                if record.topic == self._failed_topic and record.value is not None:
                    self._reasons[_decode_reason(record.value).reason] += 1
        if outcome.types:
            self._types.update(outcome.types)

    def committed(self, ledgers: Mapping[Source, PartitionLedger], seconds: float) -> None:
        """Show what is committed now."""
        self._commits.inc()
        self._commit_duration.observe(seconds)
        self._last_commit.set(time.time())
        for source, ledger in ledgers.items():
            self._partitions[source] = Committed.of(ledger)
        for reason, count in self._reasons.items():
            self._failed.labels(*self._who, reason).inc(count)
        for event_type, count in self._types.items():
            self._processed.labels(*self._who, self._type_label(event_type)).inc(count)
        self._reasons.clear()
        self._types.clear()

    def looked(self, look: Look) -> None:
        """Show the lag and the status."""
        # Here and not at the commit, when the end is older than the committed offset.
        for source, end in look.ends.items():
            if source in self._partitions:
                self._lags[source] = max(end - self._partitions[source].next, 0)
        self._status = look.status

    def restarted(self) -> None:
        """Forget what ended with the task."""
        self.alive()
        self._restarts.inc()
        self._reasons.clear()
        self._types.clear()
        self._partitions.clear()
        self._lags.clear()
        self._status = StageStatus()
        if self._joined:
            self._joined, self._left_at = False, time.monotonic()

    def _type_label(self, event_type: str) -> str:
        known = self._known_types
        if event_type not in known:
            if len(known) >= MAX_TYPES or len(event_type) > MAX_TYPE_LENGTH:
                return OTHER
            known.add(event_type)
        return event_type

    # What the server asks, in threads of its own.

    def unhealthy(self) -> str | None:
        """Why the process should be started again; None where it is alive."""
        return silence(self._beat)

    def unready(self) -> str | None:
        """Why the worker is not ready; None where it is.

        An outage of the destination is no reason: see docs/metrics.md.
        """
        left = self._left_at
        if self._joined or (left is not None and time.monotonic() - left < READY_GRACE_S):
            return None
        return "the group has not given this worker its partitions yet"

    def collect(self) -> Iterator[Metric]:
        """What is read off when Prometheus asks for it."""
        yield from ledger_families(self._who, self._partitions.copy())
        yield lag_family(self._who, self._lags.copy())
        yield from status_families(self._who, self._status)
