"""The archive stage's promise, on a log and a store in memory: whatever the moment of a crash,
each message is in exactly one object, and an object never changes once it was written."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from webevents.connectors.s3 import Upload
from webevents.events.ledger import METADATA_LIMIT, Counts, PartitionLedger
from webevents.logic.objects import HOUR_MS, ObjectName, read_object
from webevents.spec.kafka import KafkaSpec
from webevents.spec.s3 import ArchiveSpec
from webevents.stages import archive
from webevents.stages.archive import ArchiveProcessor
from webevents.stages.chunk import Chunk, Outcome
from webevents.stages.settings import StageSettings

ROOT = "raw/shop"


def settings_of(**options: Any) -> StageSettings:
    return StageSettings(
        pipeline="shop",
        stage="archive",
        group="g",
        topics=("t",),
        failed_topic="f",
        commit_interval="1s",  # type: ignore[arg-type]
        chunk_size=10,
        kafka=KafkaSpec(),
        archive=ArchiveSpec.model_validate({"enabled": True, **options}),
    )


@dataclass
class Clock:
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Store:
    """Takes uploads when the test says so, those of workers that are gone too."""

    objects: dict[str, bytes] = field(default_factory=dict)
    waiting: deque[Upload] = field(default_factory=deque)

    def submit(self, key: str, body: bytes, kind: str, metadata: Any = None) -> Upload:
        upload = Upload(key, body, kind, metadata or {})
        self.waiting.append(upload)
        return upload

    def close(self) -> None: ...

    def take(self, position: int) -> None:
        upload = self.waiting[position % len(self.waiting)]
        self.waiting.remove(upload)
        known = self.objects.setdefault(upload.key, upload.body)
        assert known == upload.body, f"{upload.key} was rewritten with other content"
        upload._done.set()


Log = dict[int, list[tuple[int, bytes, int]]]


class Worker:
    """What the stream task does around the processor, without Kafka."""

    def __init__(self, lab: "Lab") -> None:
        self.lab = lab
        stage = lab.settings
        self.processor = ArchiveProcessor(stage, lab.store, lab.store)  # type: ignore[arg-type]
        self.unsettled: deque[tuple[Chunk, Outcome]] = deque()
        self.ledgers = {
            number: PartitionLedger.decode(metadata, offset)
            for number, (offset, metadata) in lab.committed.items()
        }
        self.position = {number: ledger.next for number, ledger in self.ledgers.items()}
        for number, ledger in self.ledgers.items():
            self.processor.assigned("t", number, ledger.note)

    def read(self, number: int, count: int) -> None:
        messages = [m for m in self.lab.log[number] if m[0] >= self.position[number]][:count]
        if not messages:
            return
        offsets, values, times = map(list, zip(*messages, strict=True))
        keys: list[bytes | None] = [None] * len(offsets)
        chunk = Chunk("t", number, offsets, keys, values, times)  # type: ignore[arg-type]
        self.position[number] = messages[-1][0] + 1
        self.unsettled.append((chunk, self.processor.process(chunk)))

    def settle(self) -> None:
        while self.unsettled:
            chunk, outcome = self.unsettled[0]
            assert outcome.pending
            if not outcome.pending.done():
                return
            self.unsettled.popleft()
            ledger = self.ledgers[chunk.partition]
            ledger.counts.add(outcome.counts)
            ledger.next = chunk.offsets[-1] + 1

    def commit(self, crash: bool = False) -> None:
        found = {}
        for number, ledger in self.ledgers.items():
            ledger.note = self.processor.flush("t", number).note
            found[number] = (ledger.next, ledger.encode())
            assert len(ledger.encode()) < METADATA_LIMIT
        if not crash:
            self.lab.committed.update(found)


@dataclass
class Lab:
    log: Log
    settings: StageSettings
    store: Store = field(default_factory=Store)
    committed: dict[int, tuple[int, str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.committed = dict.fromkeys(self.log, (0, None))

    def finish(self, clock: Clock) -> Counts:
        """Let the last worker come to the end of the log."""
        worker = Worker(self)
        for _ in range(10_000):
            for number in self.log:
                worker.read(number, 7)
            clock.now += 0.3
            while self.store.waiting:
                self.store.take(0)
            worker.settle()
            worker.commit()
            ends = {n: m[-1][0] + 1 if m else 0 for n, m in self.log.items()}
            if all(self.committed[n][0] == end for n, end in ends.items()):
                total = Counts()
                for offset, metadata in self.committed.values():
                    total.add(PartitionLedger.decode(metadata, offset).counts)
                return total
        raise AssertionError("the archive does not come to an end")

    def found(self) -> Iterator[tuple[int, int, bytes | None]]:
        for key, body in self.store.objects.items():
            name = ObjectName.parse(key, ROOT)
            assert name
            records = list(read_object(body, name.format))
            assert records[0].offset == name.first
            for record in records:
                assert record.partition == name.partition
                yield record.partition, record.offset, record.value


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(archive, "time", clock)
    return clock


def log_of(rng: Random) -> Log:
    log: Log = {}
    for number in range(rng.randint(1, 3)):
        offset, time_ms, messages = 0, 5 * HOUR_MS, []
        for _ in range(rng.randint(0, 40)):
            offset += rng.choice((1, 1, 1, 2, 5))  # markers leave gaps
            time_ms += rng.choice((0, 0, 0, 1000, -2000, HOUR_MS // 3))
            messages.append((offset, b"%d/%d" % (number, offset), time_ms))
        log[number] = messages
    return log


STEPS = ("read", "read", "read", "settle", "settle", "commit", "take", "take", "wait", "crash")


@pytest.mark.parametrize("seed", range(8))
def test_crashes_at_any_moment_leave_each_message_in_one_object(
    seed: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded and not by hypothesis: it takes thousands of long histories to meet every crash."""
    for trial in range(150):
        rng = Random(f"{seed}/{trial}")
        monkeypatch.setattr(archive, "OPEN_BYTES", rng.choice((20, 10_000)))
        lab = Lab(log_of(rng), settings_of(interval="1s", compressionLevel=1))
        # Objects of a few messages, which the specification does not let anyone ask for.
        few = lab.settings.archive.model_copy(update={"object_bytes": rng.randint(8, 80)})
        lab.settings = lab.settings.model_copy(update={"archive": few})
        _live(lab, rng, clock)
        counts = lab.finish(clock)
        while lab.store.waiting:
            lab.store.take(0)  # uploads of workers that are long gone
        sent = [(number, o, value) for number, log in lab.log.items() for o, value, _ in log]
        assert sorted(lab.found()) == sorted(sent)
        assert counts.received == counts.delivered == len(sent)


def _live(lab: Lab, rng: Random, clock: Clock) -> None:
    worker = Worker(lab)
    for _ in range(rng.randint(10, 120)):
        step = rng.choice(STEPS)
        if step == "read":
            worker.read(rng.choice(sorted(lab.log)), rng.randint(1, 9))
        elif step == "settle":
            worker.settle()
        elif step == "commit":
            worker.commit()
        elif step == "take" and lab.store.waiting:
            lab.store.take(rng.randint(0, 5))
        elif step == "wait":
            clock.now += 0.7
        elif step == "crash" and rng.random() < 0.5:
            if rng.random() < 0.3:
                worker.commit(crash=rng.random() < 0.5)
            worker = Worker(lab)


def test_an_object_is_uploaded_only_after_its_end_is_committed(clock: Clock) -> None:
    lab = Lab({0: [(n, b"x", 0) for n in range(10)]}, settings_of(interval="1s"))
    worker = Worker(lab)
    worker.read(0, 5)
    clock.now += 2
    worker.settle()
    assert not lab.store.waiting
    worker.commit()
    assert '"0":5' in str(lab.committed[0][1])
    assert not lab.store.waiting
    worker.settle()
    assert len(lab.store.waiting) == 1
    # The offset stands before it until it is stored, and moves with the next commit.
    worker.commit()
    assert lab.committed[0][0] == 0
    lab.store.take(0)
    worker.settle()
    worker.commit()
    assert lab.committed[0][0] == 5
    assert '"stored":5' in str(lab.committed[0][1])


def test_an_object_holds_one_hour_and_late_times_do_not_cut_it(clock: Clock) -> None:
    times = [HOUR_MS - 2, HOUR_MS + 1, HOUR_MS - 1, HOUR_MS + 2, 2 * HOUR_MS]
    lab = Lab({0: [(n, b"x", time_ms) for n, time_ms in enumerate(times)]}, settings_of())
    lab.finish(clock)
    assert sorted(lab.store.objects) == [
        f"{ROOT}/1970/01/01/{hour:02}/t-0-{first:020}.ndjson.zst"
        for hour, first in ((0, 0), (1, 1), (2, 4))
    ]


def test_memory_is_bounded_by_closing_the_largest(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "OPEN_BYTES", 3000)
    log: Log = {n: [(o, b"x" * (300 if n else 900), 0) for o in range(4)] for n in range(2)}
    lab = Lab(log, settings_of())
    worker = Worker(lab)
    worker.read(1, 4)
    worker.read(0, 2)
    assert not any(p.closed for p in worker.processor._partitions.values())
    worker.read(0, 1)
    closed = {key[1]: len(p.closed) for key, p in worker.processor._partitions.items()}
    assert closed == {0: 1, 1: 0}
    # What is under way counts by the kB, so that large messages cannot fill the memory.
    assert sum(len(chunk.offsets) for chunk, _ in worker.unsettled) == 4 + 2 + 1


def test_tombstones_and_empty_messages_are_kept(clock: Clock) -> None:
    log: Any = {0: [(0, None, 0), (1, b"", 0), (2, b"\xff", 0)]}
    lab = Lab(log, settings_of(format="parquet"))
    counts = lab.finish(clock)
    assert [value for _, _, value in lab.found()] == [None, b"", b"\xff"]
    assert (counts.received, counts.delivered) == (3, 3)
