"""One partition of a stage's compacted state topic: read back, written, and missed when gone."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from webevents.errors import UserError
from webevents.stages.chunk import Record

_WRITTEN = "s"
"""In the note beside the committed offset: whether any state was ever written."""


class StateReader(Protocol):
    """Reads back what the owner of a partition wrote before."""

    def read(self, topic: str, partition: int) -> Iterator[bytes]:
        """The newest value of every key of a compacted partition."""
        ...

    def is_untouched(self, topic: str, partition: int) -> bool:
        """Whether nothing was ever written to a partition."""
        ...


class StatePartition:
    """The state of one partition of a stage's input.

    :param topic: the state topic; its partitions have the numbers of the input's.
    :param note: what the last owner committed with the offset.
    """

    def __init__(
        self, reader: StateReader, topic: str, partition: int, note: Mapping[str, int]
    ) -> None:
        self._reader, self._topic, self._partition = reader, topic, partition
        self._written = _WRITTEN in note

    def read(self) -> Iterator[bytes]:
        """What the last owner wrote.

        :raises UserError: at the end, when it wrote something and the topic is as new: whoever went
            on without it would make other results of what was under way.
        """
        empty = True
        for value in self._reader.read(self._topic, self._partition):
            empty = False
            yield value
        if empty and self._written and self._reader.is_untouched(self._topic, self._partition):
            raise UserError(
                f"the state in topic {self._topic} is gone: it was deleted or made anew, while "
                "offsets say that it had been written. Stop the stage and have it read again what "
                "Kafka still has: webevents rewind (docs/runbooks/state-lost.md)"
            )

    def records(self, changes: Iterable[tuple[str, bytes | None]]) -> list[Record]:
        """The messages that write changes of keys; None deletes one."""
        made = [Record(self._topic, key, value, self._partition) for key, value in changes]
        self._written = self._written or bool(made)
        return made

    def note(self, more: Mapping[str, int]) -> dict[str, int]:
        """What is to be committed with the offset, with a stage's own values."""
        return {**more, _WRITTEN: 1} if self._written else dict(more)
