"""What a submission of rows comes to, and the parts that it travels in."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from webevents.logic.rows.tables import Row

Item = Sequence[Row]
"""The rows of one message; all of them are stored, or none."""


class RowError(NamedTuple):
    """An item that PostgreSQL refused for good."""

    position: int
    """Its place among the submitted items."""
    reason: str
    """The error's code and name and the column; never a value."""


@dataclass(slots=True)
class StoreResult:
    """What became of the items of one submission."""

    accepted: int
    """Items whose rows are there, in this version or a newer one (a retracted one is gone)."""
    failed: list[RowError] = field(default_factory=list)
    """Items that were refused for good, in order of their position."""


class StoreHandle:
    """Items on their way; made by :meth:`PostgresWriter.submit`."""

    __slots__ = ("_done", "_failed", "_lock", "_open", "_size")

    def __init__(self, size: int) -> None:
        self._size = self._open = size
        self._failed: list[RowError] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        if not size:
            self._done.set()

    def done(self) -> bool:
        """Whether the destination has answered for every item."""
        return self._done.is_set()

    def result(self, timeout: float | None = None) -> StoreResult:
        """Wait for the answers.

        :param timeout: seconds; None waits without end.
        :raises TimeoutError: when they are not complete by then.
        """
        if not self._done.wait(timeout):
            raise TimeoutError("not all items are answered for")
        return StoreResult(self._size - len(self._failed), sorted(self._failed))

    def settle(self, size: int, failed: Sequence[RowError] = ()) -> None:
        """Count items as answered for, some of them refused; for the writer."""
        with self._lock:
            self._failed.extend(failed)
            self._open -= size
            if self._open == 0:
                self._done.set()


@dataclass(slots=True)
class Part:
    """Items of one submission that are written in one transaction."""

    handle: StoreHandle
    items: Sequence[Item]
    first: int
    """The position of the first one."""
    size: int
    """Bytes of their rows."""
    lock: int | None
    """Where set, held while they are written; see :meth:`PostgresWriter.submit`."""


def size_of(item: Item) -> int:
    """Bytes of an item's rows, with something for one that has none."""
    return sum(len(row.line or b"") for row in item) + 1


def cut(
    handle: StoreHandle, items: Sequence[Item], lock: int | None, max_rows: int, max_bytes: int
) -> list[Part]:
    """Cut a submission into parts; an item that is larger by itself is one of its own."""
    parts: list[Part] = []
    start = size = 0
    for position, item in enumerate(items):
        more = size_of(item)
        if position > start and (size + more > max_bytes or position - start >= max_rows):
            parts.append(Part(handle, items[start:position], start, size, lock))
            start, size = position, 0
        size += more
    if items:
        parts.append(Part(handle, items[start:], start, size, lock))
    return parts


def halves(parts: list[Part]) -> Iterator[list[Part]]:
    """Split what one transaction held into two, in its order; it must hold two items at least."""
    if len(parts) > 1:
        middle = len(parts) // 2
        yield parts[:middle]
        yield parts[middle:]
        return
    (part,) = parts
    middle = len(part.items) // 2
    for first, items in (
        (part.first, part.items[:middle]),
        (part.first + middle, part.items[middle:]),
    ):
        yield [Part(part.handle, items, first, sum(map(size_of, items)), part.lock)]
