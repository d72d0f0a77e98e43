"""Sessions from topic to topic: the sessionize stage against session windows in Flink's SQL.

Usage: ``python tests/bench/sessions_kafka.py [--events N] [--visitors N] [--rounds N]
[--report FILE]``, with tests/support in PYTHONPATH. Both read a topic of 4 partitions of enriched
events (30% of them up to 5 minutes out of order, a session ends after 30 minutes without one), on
one worker. The stage makes its whole records, keeps open sessions in its state topic, exactly once;
Flink counts, and finds the first and last event. A third one is the stage without its state topic,
to tell what that costs (peers/no_state.py).

What counts is CPU between the first and the last tenth of the events, as in ``enrich.py``, told by
what each has committed of its group, and memory. The sessions of both are held against those that
a plain recount finds; a difference ends the measurement.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from environments import flink_jars, python_of
from measure import Spread, arguments, in_the_middle, interleaved, publish, wait_until, watching
from pipelines import Servers, TestPipeline
from sessions import dictionary, stream

from webevents.connectors.kafka import Topic, ensure_topics
from webevents.events.times import parse_time
from webevents.local.kafka_server import EmbeddedKafka
from webevents.plan.make import make_plan
from webevents.sources.output import KafkaOutput

HERE = Path(__file__).resolve().parent
NO_STATE = HERE / "peers" / "no_state.py"
PARTITIONS = 4
AFTER_US = 6 * 3600 * 1_000_000
"""How long after the last event one more comes in each partition, so that all sessions close."""


class Bench:
    """A Kafka with the events, and what must come out of them."""

    def __init__(self, kafka: str, folder: Path, events: int, visitors: int) -> None:
        self.kafka, self.folder = kafka, folder
        self.events = events
        made = stream(visitors, events, replay=True)
        self.expected = {
            (key, *_ms(start, end), count) for key, start, end, count in dictionary(made)
        }
        self._admin = AdminClient({"bootstrap.servers": kafka})
        self.source = "enriched"
        ensure_topics(self._admin, [Topic(self.source, PARTITIONS, {}, 1)])
        with KafkaOutput({"bootstrap.servers": kafka}, self.source) as output:
            for number, (key, at) in enumerate(made):
                output.send(key.encode(), _event(number, key, at), at // 1000)
        newest = max(at for _, at in made) + AFTER_US
        # A visitor's partition is its hash's, so a hundred of them reach all partitions.
        with KafkaOutput({"bootstrap.servers": kafka}, self.source) as output:
            for number in range(100):
                key = f"end-{number}"
                output.send(key.encode(), _event(-number, key, newest), newest // 1000)

    def ours(self, *program: str) -> tuple[list[str], str, str]:
        """Command, consumer group and topic of the sessionize stage.

        :param program: Python's arguments that run it; ``-m webevents`` unless given.
        """
        spec = {
            "generator": {"replicas": 0},
            "index": {"enabled": False},
            "topics": {"enriched": {"name": self.source, "partitions": PARTITIONS}},
            "stages": {"sessionize": {"commitInterval": "2s"}},
        }
        pipeline = TestPipeline(Servers(self.kafka, ""), self.folder, spec)
        pipeline.make_topics()
        plan = make_plan(pipeline.connected())
        [workload] = [each for each in plan.workloads if each.name == "sessionize"]
        settings: Any = workload.settings
        file = self.folder / f"{pipeline.name}.json"
        file.write_text(settings.model_dump_json(by_alias=True))
        run = program or ("-m", "webevents")
        command = [sys.executable, *run, "stage", "--settings", str(file)]
        return command, settings.group, settings.output_topic

    def flink(self) -> tuple[list[str], str, str]:
        """The same of Flink."""
        target = f"flink-{time.time_ns()}"
        ensure_topics(self._admin, [Topic(target, PARTITIONS, {}, 1)])
        script = str(HERE / "peers" / "flink_sessions.py")
        checkpoints = str(self.folder / target)
        command = [python_of("flink"), script, self.kafka, self.source, target, flink_jars()]
        return [*command, checkpoints], f"flink-{target}", target

    def run(self, name: str, make: Callable[[], tuple[list[str], str, str]]) -> dict[str, float]:
        """Measure one run.

        :raises AssertionError: when other sessions come out than must.
        """
        command, group, target = make()
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": group,
                             "enable.auto.commit": False})  # fmt: skip
        read = partial(self._read, consumer)
        with closing(consumer), watching(name, command) as watched:
            figures = in_the_middle(watched, read, self.events)
            wait_until("all events", lambda: read() >= self.events + 100, 900)
            found = self._sessions(target)
        assert found == self.expected, f"{name}: {len(found ^ self.expected)} other sessions"
        return figures | {"rss_mb": watched.rss / 1e6}

    def _read(self, consumer: Consumer) -> int:
        """Events that are committed as read."""
        parts = [TopicPartition(self.source, number) for number in range(PARTITIONS)]
        return sum(max(part.offset, 0) for part in consumer.committed(parts, timeout=10))

    def _sessions(self, target: str) -> set[tuple[Any, ...]]:
        """What a reader of the topic holds to be the sessions, in the end."""
        reader = Consumer({"bootstrap.servers": self.kafka, "group.id": "reader",
                           "isolation.level": "read_committed", "enable.auto.commit": False,
                           "auto.offset.reset": "earliest"})  # fmt: skip
        reader.assign([TopicPartition(target, number, 0) for number in range(PARTITIONS)])
        newest: dict[Any, tuple[int, tuple[Any, ...]]] = {}
        quiet = time.monotonic()
        while time.monotonic() - quiet < 10:
            for message in reader.consume(1000, 0.5):
                quiet = time.monotonic()
                record = json.loads(message.value())
                if record["session_key"].startswith("end-"):
                    continue
                if "session_id" not in record:
                    one = tuple(record.values())
                    newest[one] = (0, one)
                    continue
                known = newest.get(record["session_id"])
                if known is None or record["version"] >= known[0]:
                    newest[record["session_id"]] = (record["version"], _of(record))
        reader.close()
        return {one for _, one in newest.values() if one[3]}


def _ms(*times_us: int) -> tuple[int, ...]:
    """Times as Flink tells them: whole seconds."""
    return tuple(at // 1_000_000 * 1000 for at in times_us)


def _of(record: dict[str, Any]) -> tuple[str, int, int, int]:
    if record.get("retracted"):
        return (record["session_key"], 0, 0, 0)
    start, end = (parse_time(record[f"{which}_event_timestamp"]) for which in ("first", "last"))
    first, last = _ms(start, end)
    return (record["session_key"], first, last, record["total_events"])


def _event(number: int, key: str, at_us: int) -> bytes:
    whole, part = divmod(at_us, 1_000_000)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(whole))
    event = {
        "event_id": f"event-{number}",
        "event_timestamp": f"{stamp}.{part:06d}",
        "event_type": f"type-{number % 5}",
        "user_domain_id": key,
        "page_url": f"/page-{number * 7 % 100}",
    }
    return json.dumps(event).encode()


def measure(events: int, visitors: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Both, in interleaved rounds."""
    with tempfile.TemporaryDirectory() as name, EmbeddedKafka(Path(name) / "kafka") as kafka:
        bench = Bench(kafka.bootstrap, Path(name), events, visitors)
        variants = {
            "webevents, sessionize": bench.ours,
            "the same without its state topic": partial(bench.ours, str(NO_STATE)),
            "PyFlink, SQL SESSION": bench.flink,
        }
        return interleaved({n: partial(bench.run, n, make) for n, make in variants.items()}, rounds)


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """The figures as a table in Markdown: min / **median** / max."""
    lines = ["| | CPU-s per million | events/s | RSS MB |", "|---|---|---|---|"]
    for what, figures in found.items():
        cells = (str(Spread(tuple(values))) for values in figures.values())
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    asked = arguments(__doc__, events=600_000, visitors=100_000, rounds=3).parse_args()
    found = measure(asked.events, asked.visitors, asked.rounds)
    publish(table(found), found, asked.report)


if __name__ == "__main__":
    main()
