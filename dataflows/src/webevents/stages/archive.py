"""The archive stage: messages of the raw topic in, objects of an S3 store out.

Where an object ends is decided once: its end is committed to Kafka, beside the offsets, *before*
its first byte is uploaded. Whoever repeats the work after a crash, or did not yet notice that it
was replaced, makes the same object under the same name. What is stored is committed by the next
transaction; until then the offset stays at the object's begin.
"""

import time
from collections import deque
from dataclasses import dataclass, field

from webevents.connectors.s3 import ObjectStore, Upload, Uploader
from webevents.events.ledger import Counts
from webevents.logic.objects import (
    CONTENT_TYPES,
    HOUR_MS,
    ArchivedRecord,
    ObjectBuilder,
    ObjectName,
    hour_of,
    make_builder,
    root_of,
)
from webevents.spec.s3 import ArchiveSpec
from webevents.stages.chunk import Chunk, Flush, Outcome, Processor, StageStatus
from webevents.stages.settings import StageSettings

OPEN_BYTES = 250_000_000
"""Bytes of messages in open objects beyond which the largest is closed; half of what the worker
lets be under way, so that reading never waits for objects that nobody closes."""
UNIT_BYTES = 1_000
"""A message that is larger counts as several of those that may be under way."""
SMALL_CHUNK = 100
LINGER_S = 0.05
"""After a small chunk the stage waits for more messages; nobody waits for the archive."""
MOST_ENDS = 16
"""Ends of one partition in a commit; the metadata of an offset takes 4,096 bytes."""
_STORED = "stored"


@dataclass(slots=True)
class _Object:
    """One object from its first message until it is stored."""

    name: ObjectName
    builder: ObjectBuilder | None
    born: float
    next: int
    """The offset behind its last message."""
    body: bytes = b""
    decided: bool = False
    """Whether its end is committed."""
    upload: Upload | None = None


@dataclass(slots=True)
class _Partition:
    """One partition's objects, in the order of their offsets."""

    stored: int = 0
    """All messages before this offset are in objects."""
    ends: deque[int] = field(default_factory=deque)
    """Ends that were decided before a restart, of objects that are to be made again."""
    filling: _Object | None = None
    closed: deque[_Object] = field(default_factory=deque)


class _Stored:
    """Done when all messages of a chunk are stored."""

    __slots__ = ("_last", "_partition", "_stage")

    def __init__(self, stage: "ArchiveProcessor", partition: _Partition, last: int) -> None:
        self._stage = stage
        self._partition = partition
        self._last = last

    def done(self) -> bool:
        """Whether they are; also moves the uploads on."""
        if self._partition.stored <= self._last:
            self._stage.advance()
        return self._partition.stored > self._last


class ArchiveProcessor(Processor):
    """Keeps every message, byte for byte, in objects.

    :param uploader: closed with the processor.
    """

    def __init__(self, settings: StageSettings, uploader: Uploader, store: ObjectStore) -> None:
        assert settings.archive
        self._spec: ArchiveSpec = settings.archive
        self._root = root_of(settings.archive.prefix, settings.pipeline)
        self._interval_s = settings.archive.interval.total_seconds()
        self._uploader = uploader
        self._store = store
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._flushed: list[_Object] = []
        self._lingered = 0.0

    # What the task calls.

    def assigned(self, topic: str, partition: int, note: dict[str, int]) -> None:
        """Go on where the partition's last owner was: what is stored, and which ends it decided."""
        stored = note.get(_STORED, 0)
        ends = deque(sorted(end for name, end in note.items() if name != _STORED and end > stored))
        self._partitions[topic, partition] = _Partition(stored, ends)

    def revoked(self, topic: str, partition: int) -> None:
        """Leave the partition's open objects to its next owner, who makes them again."""
        self._partitions.pop((topic, partition), None)

    def process(self, chunk: Chunk) -> Outcome:
        """Add a chunk to its partition's object; pending until all of it is stored."""
        partition = self._partitions[chunk.topic, chunk.partition]
        count, last = len(chunk.offsets), chunk.offsets[-1]
        size = self._fill(partition, chunk)
        self._bound_open()
        # The task keeps the chunk until all of it is stored, to count what is under way and for
        # its last offset; the messages themselves are in the object.
        chunk.offsets = [last] * max(count, size // UNIT_BYTES)
        chunk.keys, chunk.values, chunk.timestamps = [], [], []
        if count < SMALL_CHUNK:
            self._linger()
        return Outcome(Counts(count, count), pending=_Stored(self, partition, last))

    def flush(self, topic: str, partition: int) -> Flush:
        """Close what is old enough, and commit which messages are stored and where objects end."""
        mine = self._partitions[topic, partition]
        filling = mine.filling
        if filling and not mine.ends and time.monotonic() - filling.born >= self._interval_s:
            self._close(mine)
        note = {_STORED: mine.stored} if mine.stored else {}
        ends = [each.next for each in mine.closed]
        for number, end in enumerate([*ends, *mine.ends][:MOST_ENDS]):
            note[str(number)] = end
        self._flushed += list(mine.closed)[:MOST_ENDS]
        return Flush(note=note)

    def status(self) -> StageStatus:
        """Whether the store takes objects, and how many wait for it."""
        outage = self._uploader.outage
        return StageStatus(
            outage_since=outage.since if outage else None,
            repeated=self._uploader.repeated,
            objects_waiting=sum(len(each.closed) for each in self._partitions.values()),
        )

    def close(self) -> None:
        """Give up what is under way; it is made again, the same."""
        self._uploader.close()
        self._store.close()

    # Uploads.

    def advance(self) -> None:
        """Move uploads on.

        Called outside of commits only: what was flushed is committed by then, because a commit
        that fails ends the task.
        """
        for each in self._flushed:
            each.decided = True
        self._flushed.clear()
        for partition in self._partitions.values():
            if partition.closed:
                self._advance(partition)

    def _advance(self, partition: _Partition) -> None:
        # One after the other, so that nobody sees an object whose predecessor is not there.
        while partition.closed and partition.closed[0].decided:
            head = partition.closed[0]
            if head.upload is None:
                metadata = {"first-offset": str(head.name.first), "next-offset": str(head.next)}
                head.upload = self._uploader.submit(
                    head.name.path(self._root),
                    head.body,
                    CONTENT_TYPES[head.name.format],
                    metadata,
                )
            if not head.upload.done():
                return
            partition.stored = head.next
            partition.closed.popleft()

    # Filling.

    def _fill(self, partition: _Partition, chunk: Chunk) -> int:
        """Add a chunk's messages.

        :returns: bytes of its keys and values.
        """
        size = 0
        topic, number = chunk.topic, chunk.partition
        limit = self._spec.object_bytes
        for offset, key, value, timestamp in zip(
            chunk.offsets, chunk.keys, chunk.values, chunk.timestamps, strict=True
        ):
            if offset < partition.stored:
                continue  # read again, because a later chunk of its object was not yet committed
            ends = partition.ends
            while ends and offset >= ends[0]:
                # Its last messages have expired meanwhile, or all of them.
                self._close(partition, ends.popleft())
            filling = partition.filling
            if filling and not ends and timestamp >= filling.name.hour_ms + HOUR_MS:
                self._close(partition)
                filling = None
            if filling is None:
                name = ObjectName(topic, number, offset, hour_of(timestamp), self._spec.format)
                builder = make_builder(self._spec.format, self._spec.compression_level)
                filling = partition.filling = _Object(name, builder, time.monotonic(), offset)
            size += len(key or b"") + len(value or b"")
            assert filling.builder
            filling.builder.add(ArchivedRecord(topic, number, offset, timestamp), key, value)
            filling.next = offset + 1
            if ends:
                if filling.next == ends[0]:
                    self._close(partition, ends.popleft())
            elif filling.builder.size >= limit:
                self._close(partition)
        return size

    @staticmethod
    def _close(partition: _Partition, end: int | None = None) -> None:
        """End the object that is being filled, where there is one.

        :param end: as it was decided before.
        """
        filling, partition.filling = partition.filling, None
        if filling is None:
            return
        assert filling.builder
        filling.body, filling.builder = filling.builder.finish(), None
        if end is not None:
            filling.next, filling.decided = end, True
        partition.closed.append(filling)

    def _bound_open(self) -> None:
        """Close the largest object where all that are open are too large together."""
        fillings = [each for each in self._partitions.values() if each.filling and not each.ends]
        if sum(map(_open_bytes, fillings)) > OPEN_BYTES:
            self._close(max(fillings, key=_open_bytes))

    def _linger(self) -> None:
        now = time.monotonic()
        if now - self._lingered > LINGER_S:  # once for all chunks that were read together
            time.sleep(LINGER_S)
            self._lingered = time.monotonic()


def _open_bytes(partition: _Partition) -> int:
    filling = partition.filling
    return filling.builder.size if filling and filling.builder else 0


def make_archive(settings: StageSettings) -> ArchiveProcessor:
    """Make the processor with its connection.

    :raises UserError: when a key cannot be read.
    """
    assert settings.archive
    assert settings.s3
    store = ObjectStore(settings.s3)
    return ArchiveProcessor(settings, Uploader(store, settings.archive.uploads), store)
