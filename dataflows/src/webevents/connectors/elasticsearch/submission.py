"""What a submission of documents comes to, and the parts that it travels in."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from webevents.connectors.elasticsearch.responses import Answer, ItemError


@dataclass(slots=True)
class BulkResult:
    """What became of the documents of one submission."""

    accepted: int
    """Documents that are there, in this version or a newer one (a deleted one is gone)."""
    failed: list[ItemError] = field(default_factory=list)
    """Documents that were refused for good, in order of their position."""


class BulkHandle:
    """Documents on their way; made by :meth:`BulkWriter.submit`."""

    __slots__ = ("_done", "_failed", "_lock", "_open", "lines")

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        self._open = len(lines)
        self._failed: list[ItemError] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        if not lines:
            self._done.set()

    def done(self) -> bool:
        """Whether the destination has answered for every document."""
        return self._done.is_set()

    def result(self, timeout: float | None = None) -> BulkResult:
        """Wait for the answers.

        :param timeout: seconds; None waits without end.
        :raises TimeoutError: when they are not complete by then.
        """
        if not self._done.wait(timeout):
            raise TimeoutError("not all documents are answered for")
        return BulkResult(len(self.lines) - len(self._failed), sorted(self._failed))

    def settle(self, size: int, failed: Sequence[ItemError]) -> None:
        """Count documents as answered for, some of them refused; for the writer."""
        with self._lock:
            self._failed.extend(failed)
            self._open -= size
            if self._open == 0:
                self._done.set()


@dataclass(slots=True)
class Part:
    """Documents of one submission that travel in one request."""

    handle: BulkHandle
    positions: Sequence[int]
    size: int
    """Bytes of their lines."""

    def lines(self) -> Iterator[bytes]:
        """The lines of its documents."""
        return map(self.handle.lines.__getitem__, self.positions)


def make_part(handle: BulkHandle, positions: Sequence[int]) -> Part:
    """A part with its size."""
    lines = handle.lines
    return Part(handle, positions, sum(len(lines[position]) for position in positions))


def cut(handle: BulkHandle, max_bytes: int, max_documents: int) -> list[Part]:
    """Cut a submission into parts; a document that is larger by itself is one of its own."""
    parts: list[Part] = []
    start = size = 0
    for position, line in enumerate(handle.lines):
        if position > start and (size + len(line) > max_bytes or position - start >= max_documents):
            parts.append(Part(handle, range(start, position), size))
            start, size = position, 0
        size += len(line)
    if handle.lines:
        parts.append(Part(handle, range(start, len(handle.lines)), size))
    return parts


def halves(parts: list[Part]) -> tuple[list[Part], list[Part]] | None:
    """Split what one request held into two; None where it was a single document."""
    if len(parts) > 1:
        middle = len(parts) // 2
        return parts[:middle], parts[middle:]
    handle, positions = parts[0].handle, parts[0].positions
    middle = len(positions) // 2
    if middle == 0:
        return None
    first, second = positions[:middle], positions[middle:]
    return [make_part(handle, first)], [make_part(handle, second)]


def settle(parts: list[Part], answer: Answer) -> list[Part]:
    """Tell the submissions what became of their documents.

    :returns: parts of the documents that are to be sent again.
    """
    if not answer.repeat and not answer.failed:
        for part in parts:
            part.handle.settle(len(part.positions), ())
        return []
    again = set(answer.repeat)
    failed = {error.position: error for error in answer.failed}
    left = []
    place = 0
    for part in parts:
        repeated, refused = [], []
        for position in part.positions:
            if place in again:
                repeated.append(position)
            elif place in failed:
                refused.append(failed[place]._replace(position=position))
            place += 1
        part.handle.settle(len(part.positions) - len(repeated), refused)
        if repeated:
            left.append(make_part(part.handle, repeated))
    return left
