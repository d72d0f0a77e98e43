"""Enrichment end to end against other engines: the same events, the same work, the same result.

Usage: ``python tests/bench/enrich.py [--events N] [--rounds N] [--only NAME …] [--report FILE]``
(``make bench`` runs it with the others). Every implementation reads a topic of 4 partitions of
simulated events and writes the enriched ones to another, on one worker; the work is the project's
own logic (``peers/work.py``) for all. Rounds are interleaved, because machines are shared.

CPU is that of the implementation's whole process tree between its first and its last tenth of the
output, per million events: starting up counts for nobody. What comes out is held against what the
logic makes of the same events, message by message; a difference ends the measurement.
"""

import hashlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "peers"))

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from environments import flink_jars, python_of
from measure import Spread, arguments, in_the_middle, interleaved, publish, watching
from work import on_bytes

from webevents.connectors.kafka import Topic, ensure_topics
from webevents.local.kafka_server import EmbeddedKafka
from webevents.sources.simulator import Simulator
from webevents.spec.generator import GeneratorSpec

HERE = Path(__file__).resolve().parent
PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Peer:
    """An implementation."""

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    environment: str = "own"
    share: float = 1.0
    """Of the events: slow engines get fewer."""
    settings: tuple[tuple[str, str], ...] = ()
    copies: bool = False
    """Whether it leaves the events as they are."""
    partitions: int = PARTITIONS
    """Of both topics."""
    poison_every: int = 0
    """After so many events comes one that cannot be processed; 0 for none."""


PEERS = (
    Peer("raw copy", "copy_raw.py", copies=True),
    Peer("plain loop", "loop.py"),
    Peer("webevents, exactly once", "ours.py", ("failed",)),
    Peer("webevents, at least once", "ours.py", ("failed",), settings=(("AT_LEAST_ONCE", "1"),)),
    Peer("Bytewax, op.map, Struct", "bytewax_ops.py", ("struct",), share=0.5),
    Peer("Bytewax, op.map, json", "bytewax_ops.py", ("json",), share=0.5),
    Peer("quixstreams, bytes", "quix.py", ("bytes",), "quixstreams", share=0.5),
    Peer("quixstreams, json", "quix.py", ("json",), "quixstreams", share=0.5),
    Peer("PyFlink, threads", "flink.py", ("thread",), "flink", share=0.3),
    Peer("PyFlink, processes", "flink.py", ("process",), "flink", share=0.3),
    Peer("faust-streaming", "faust_app.py", (), "faust", share=0.1),
)


def events(number: int) -> list[tuple[bytes | None, bytes]]:
    """Simulated events without faults: keys and values."""
    spec = GeneratorSpec.model_validate({"time": {"mode": "backdated"}, "eventsPerSecond": 500})
    made: list[tuple[bytes | None, bytes]] = []
    for message in Simulator(spec):
        made.append((message.key, message.value))
        if len(made) == number:
            break
    return made


def poisoned(
    messages: Iterable[tuple[bytes | None, bytes]], every: int
) -> Iterator[tuple[bytes | None, bytes]]:
    """The messages, with one that cannot be processed behind each so many-th; none for 0."""
    for number, (key, value) in enumerate(messages, 1):
        yield key, value
        if every and number % every == 0:
            wrong = value.replace(b'"event_type":"', b'"event_type":7,"was":"')
            kinds = (value[:-9], b"\xff" + value, wrong)
            yield key, kinds[number // every % len(kinds)]


def digest(values: Iterable[bytes]) -> Counter[bytes]:
    """The messages as a multiset, whatever their order and that of their members."""

    def one(value: bytes) -> bytes:
        text = json.dumps(json.loads(value), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).digest()

    return Counter(map(one, values))


class Bench:
    """A Kafka with the events in topics, and the measurement of one implementation."""

    def __init__(self, kafka: str, messages: Sequence[tuple[bytes | None, bytes]]) -> None:
        self.kafka = kafka
        self._admin = AdminClient({"bootstrap.servers": kafka})
        self._messages = messages
        self._expected: dict[tuple[int, bool], Counter[bytes]] = {}
        self._sources: dict[tuple[int, int, int], str] = {}
        ensure_topics(self._admin, [Topic("failed", 1, {}, 1)])

    def source(self, number: int, partitions: int, poison_every: int) -> str:
        """The topic that holds the first so many events, and poison between them."""
        known = (number, partitions, poison_every)
        if known not in self._sources:
            name = f"source-{number}-{partitions}-{poison_every}"
            ensure_topics(self._admin, [Topic(name, partitions, {}, 1)])
            settings = {"linger.ms": 20, "compression.type": "lz4", "partitioner": "murmur2_random"}
            producer = Producer({"bootstrap.servers": self.kafka} | settings)
            for key, value in poisoned(self._messages[:number], poison_every):
                while True:
                    try:
                        producer.produce(name, value, key)
                        break
                    except BufferError:
                        producer.poll(0.1)
            assert producer.flush(60) == 0
            self._sources[known] = name
        return self._sources[known]

    def expected(self, number: int, copies: bool) -> Counter[bytes]:
        """What must come out."""
        key = (number, copies)
        if key not in self._expected:
            work: Callable[[bytes], tuple[str | None, bytes]] = (
                (lambda raw: (None, raw)) if copies else on_bytes()
            )
            self._expected[key] = digest(work(value)[1] for _, value in self._messages[:number])
        return self._expected[key]

    def run(self, peer: Peer, number: int) -> dict[str, float]:
        """Measure one run.

        :raises AssertionError: when something else comes out than must.
        """
        source = self.source(number, peer.partitions, peer.poison_every)
        target = f"target-{time.time_ns()}"
        ensure_topics(self._admin, [Topic(target, peer.partitions, {}, 1)])
        extra = (flink_jars(),) if peer.environment == "flink" else ()
        command = [python_of(peer.environment), str(HERE / "peers" / peer.script),
                   self.kafka, source, target, *peer.arguments, *extra]  # fmt: skip
        consumer = self._consumer()
        where = [TopicPartition(target, part, 0) for part in range(peer.partitions)]

        def written() -> int:
            return sum(consumer.get_watermark_offsets(each, timeout=10)[1] for each in where)

        environment = os.environ | dict(peer.settings) | {"PYTHONPATH": str(HERE / "peers")}
        with closing(consumer), watching(peer.name, command, env=environment) as watched:
            figures = in_the_middle(watched, written, number)
            values = self._read(consumer, where, number)
        self._admin.delete_topics([target])[target].result()
        assert digest(values) == self.expected(number, peer.copies), f"{peer.name}: other results"
        return figures | {"rss_mb": watched.rss / 1e6}

    def _consumer(self) -> Consumer:
        return Consumer({"bootstrap.servers": self.kafka, "group.id": "bench",
                         "isolation.level": "read_committed", "enable.auto.commit": False,
                         "auto.offset.reset": "earliest"})  # fmt: skip

    def _read(self, consumer: Consumer, where: list[TopicPartition], number: int) -> list[bytes]:
        consumer.assign(where)
        values: list[bytes] = []
        deadline = time.monotonic() + 300
        while len(values) < number:
            assert time.monotonic() < deadline, f"{len(values)} of {number} messages"
            values += [message.value() for message in consumer.consume(1000, 0.5)]
        return values + [message.value() for message in consumer.consume(1000, 2)]


def measure(chosen: Sequence[Peer], number: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Run implementations in interleaved rounds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedKafka(Path(folder), heap_mb=512) as server,
    ):
        most = max(int(number * peer.share) for peer in chosen)
        bench = Bench(server.bootstrap, events(most))
        cases = {
            peer.name: partial(bench.run, peer, max(1000, int(number * peer.share)))
            for peer in chosen
        }
        return interleaved(cases, rounds)


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """The figures as a table in Markdown: min / **median** / max."""
    lines = [
        "| implementation | CPU-s per million | events/s | RSS MB | CPU against ours |",
        "|---|---|---|---|---|",
    ]
    own = found.get("webevents, exactly once", {}).get("cpu_s_per_million")
    base = Spread(tuple(own)).median if own else None
    for name, figures in found.items():
        cpu = Spread(tuple(figures["cpu_s_per_million"]))
        against = f"{cpu.median / base:.2f}×" if base else "–"
        rate, rss = Spread(tuple(figures["events_per_s"])), Spread(tuple(figures["rss_mb"]))
        lines.append(f"| {name} | {cpu} | {rate} | {rss} | {against} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, events=300_000, rounds=3)
    parser.add_argument("--only", nargs="*", default=[])
    asked = parser.parse_args()
    chosen = [
        peer for peer in PEERS if not asked.only or any(part in peer.name for part in asked.only)
    ]
    found = measure(chosen, asked.events, asked.rounds)
    publish(table(found), found, asked.report)


if __name__ == "__main__":
    main()
