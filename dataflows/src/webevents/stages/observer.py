"""What a task tells whoever watches it; by itself nobody does."""

from collections.abc import Mapping
from dataclasses import dataclass

from webevents.events.ledger import PartitionLedger
from webevents.stages.chunk import Chunk, Outcome, StageStatus

Source = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a task stands at a moment without a commit."""

    ends: Mapping[Source, int]
    """The end offsets of the assigned partitions, as far as they are known."""
    status: StageStatus


class TaskObserver:
    """Learns what happens in a task; all calls come from the task's thread and must be quick.

    Nothing is called per event. What a subclass does not need stays as it is here.
    """

    def alive(self) -> None:
        """The task's loop has come round."""

    def joined(self) -> None:
        """The group has given the task its partitions, which may be none."""

    def assigned(self, topic: str, partition: int, ledger: PartitionLedger, seconds: float) -> None:
        """A partition was taken over.

        :param ledger: what was committed for it before.
        :param seconds: how long the processor took to be ready for it.
        """

    def revoked(self, topic: str, partition: int) -> None:
        """A partition was given up."""

    def processed(self, chunk: Chunk, outcome: Outcome) -> None:
        """A chunk is done with, also at its destination, and waits for the commit."""

    def committed(self, ledgers: Mapping[Source, PartitionLedger], seconds: float) -> None:
        """A commit has succeeded.

        :param ledgers: the ledgers of all assigned partitions as they are committed now.
        :param seconds: how long it took, with what the stage wrote for it.
        """

    def looked(self, look: Look) -> None:
        """The task has looked around, as it does every few seconds."""

    def restarted(self) -> None:
        """The task has ended before it was told to, and starts anew from what is committed."""
