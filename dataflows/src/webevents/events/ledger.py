"""The ledger: what a stage counted for one partition of its input.

The counts travel in the metadata of the offset that the stage commits, so that they are exactly as
true as the offset: both are written by one atomic act, also in a transaction, and a restart goes
on counting where the committed offset stands (docs/decisions/0001).
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import msgspec

METADATA_LIMIT = 4096
"""Bytes of metadata that a broker takes with an offset (its offset.metadata.max.bytes)."""


@dataclass(slots=True)
class Counts:
    """Counts of events: ``received = delivered + failed + dropped``."""

    received: int = 0
    delivered: int = 0
    failed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count events that are left out on purpose, by reason."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def add(self, other: "Counts") -> None:
        """Add the counts of another."""
        self.received += other.received
        self.delivered += other.delivered
        self.failed += other.failed
        for reason, count in other.dropped.items():
            self.drop(reason, count)

    @property
    def balanced(self) -> bool:
        """Whether every event that came in is accounted for."""
        return self.received == self.delivered + self.failed + sum(self.dropped.values())

    def report(self) -> dict[str, Any]:
        """The counts under their public names."""
        return {
            "in": self.received,
            "out": self.delivered,
            "failed": self.failed,
            "dropped": dict(sorted(self.dropped.items())),
        }


class Waits(NamedTuple):
    """How long messages took from being written until a stage had committed them, in milliseconds:
    of those that it committed within the last seconds."""

    p50: int
    p99: int


@dataclass(slots=True)
class PartitionLedger:
    """Counts of one stage over the offsets ``[first, next)`` of one partition."""

    first: int
    next: int
    counts: Counts = field(default_factory=Counts)
    emitted: int = 0
    """Records that the stage wrote to its output topic because of these events."""
    note: dict[str, int] = field(default_factory=dict)
    """What the stage itself needs to go on from ``next`` (the sessionize stage: its clocks)."""
    waits: Waits | None = None
    worker: str = ""
    """The instance that committed last."""

    def encode(self) -> str:
        """The ledger as offset metadata (compact JSON)."""
        counts = self.counts
        dropped = dict(sorted(counts.dropped.items()))
        parts = [1, self.first, self.next, counts.received, counts.delivered, counts.failed]
        more = [dropped, self.emitted, self.note, self.waits, self.worker]
        return msgspec.json.encode([*parts, *more]).decode()

    @classmethod
    def decode(cls, metadata: str | None, offset: int) -> Self:
        """Read offset metadata.

        :param metadata: what was committed with the offset; empty where another tool set it, in
            which case counting starts anew at ``offset``.
        """
        try:
            # What a later release adds stands behind, so that an older worker goes on counting.
            version, first, next_, received, delivered, failed, dropped, emitted, note, *more = (
                msgspec.json.decode(metadata or "")
            )
            waits, worker = more[:2] if len(more) > 1 else (None, "")
            waits = Waits(*waits) if waits else None
        except (msgspec.DecodeError, ValueError, TypeError):
            return cls(offset, offset)
        if version != 1 or next_ != offset:
            return cls(offset, offset)
        counts = Counts(received, delivered, failed, dropped)
        return cls(first, next_, counts, emitted, note, waits, worker)
