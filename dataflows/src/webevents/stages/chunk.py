"""What a stage works on at a time, and what comes out of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from webevents.events.ledger import Counts


class Record(NamedTuple):
    """A message to be written to a topic."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    partition: int = -1
    """-1: by the key."""


@dataclass(slots=True)
class Chunk:
    """Consecutive messages of one partition, as parallel lists."""

    topic: str
    partition: int
    offsets: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps: list[int]
    """The records' own times in milliseconds since the epoch."""
    read_at: float = 0.0
    """When it was read, by the monotonic clock."""


class Pending(Protocol):
    """Work that is under way at a destination."""

    def done(self) -> bool:
        """Whether the destination has answered for all of it."""
        ...


@dataclass(slots=True)
class Outcome:
    """What a stage made of one chunk."""

    counts: Counts
    records: list[Record] = field(default_factory=list)
    """To be written in the transaction that commits the chunk's offsets."""
    emitted: int = 0
    """How many of the records go to the stage's output topic."""
    pending: Pending | None = None
    """Where set, the chunk is not settled before this is done."""
    types: Mapping[str, int] | None = None
    """Events delivered by type, where the stage knows it."""


@dataclass(slots=True)
class Flush:
    """What a commit writes for one partition beside the chunks' records."""

    records: Sequence[Record] = ()
    emitted: int = 0
    """How many of the records go to the stage's output topic."""
    note: dict[str, int] = field(default_factory=dict)
    """What the stage needs to go on from the committed offset."""


@dataclass(frozen=True, slots=True)
class StageStatus:
    """How a stage is doing beside what it counts; None where it has no such thing."""

    open_sessions: int | None = None
    """Sessions in memory, which can still change."""
    outage_since: float | None = None
    """Since when the destination takes nothing, in seconds since the epoch; None where it does."""
    repeated: int | None = None
    """Documents, rows or objects that were sent again; counts up while the processor lives."""
    objects_waiting: int | None = None
    """Objects that are complete and wait to be stored or loaded."""
    alerts_firing: int | None = None
    """Alerts that are open."""
    notices_waiting: int | None = None
    """What receivers of alerts are still to be told."""
    visitors: int | None = None
    """Visitors that analytics remember."""


class Processor(ABC):
    """The logic of a stage; all calls come from one thread."""

    @abstractmethod
    def process(self, chunk: Chunk) -> Outcome:
        """Process one chunk. An exception stops the stage; nothing of the chunk is committed."""

    # What a stage does not need stays as it is here.

    def settle(self, outcome: Outcome) -> None:
        """Complete an outcome whose ``pending`` is done: its counts and failed events."""

    def assigned(self, topic: str, partition: int, note: dict[str, int]) -> None:
        """Take over a partition, with the note that was committed with its offset."""

    def revoked(self, topic: str, partition: int) -> None:
        """Give a partition up; everything of it is committed."""

    def reached_end(self, topic: str, partition: int) -> None:
        """Learn that everything of a partition is read at the moment."""

    def flush(self, topic: str, partition: int) -> Flush:
        """Collect what belongs into the commit beside the chunks' records."""
        return Flush()

    def leaving(self, topic: str, partition: int) -> None:
        """Learn that the next commit is the last before a partition is given up."""

    def stopping(self) -> None:
        """Learn that the next commit is the last before a stop."""

    def status(self) -> StageStatus:
        """Tell how the stage is doing; asked every few seconds."""
        return StageStatus()

    def close(self) -> None:
        """Let go of connections; quick also in an outage."""
