"""From a produced event to a search that finds it, by load.

Usage: ``python tests/bench/latency.py [--backlog N] [--seconds S] [--report FILE]``, with
tests/support in PYTHONPATH. A pipeline with the stages enrich, sessionize and index runs on this
machine's own Kafka and Elasticsearch. First a backlog is worked off: its rate is full load. Then
a generator sends a share of that rate, and four times a second one more event is produced whose id
is looked for until a search finds it.
"""

import json
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from measure import arguments, publish, wait_until
from pipelines import Run, Servers, TestPipeline

from webevents.connectors.elasticsearch import connect
from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.kafka_server import EmbeddedKafka
from webevents.sources.output import KafkaOutput
from webevents.sources.simulator import Simulator, run_simulator
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.generator import GeneratorSpec

SHARES = (0.1, 0.5, 0.8)
PROBE_EVERY_S = 0.25
LOOK_EVERY_S = 0.05


class Latency:
    """A pipeline under load."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.pipeline = TestPipeline(servers, folder, {"generator": {"replicas": 0}})
        self.pipeline.make_topics()
        urls = ElasticsearchSpec.model_validate({"urls": [servers.elasticsearch]})
        self.search: Any = connect(urls)
        self.indices = f"{self.pipeline.name}-events-*"
        self._event = json.loads(next(iter(Simulator(GeneratorSpec()))).value)

    def feed(self, **options: Any) -> None:
        """Send simulated events: so many, or at a rate for some time."""
        rate = options.pop("rate", None)
        spec = (
            {"eventsPerSecond": rate}
            if rate
            else {"time": {"mode": "backdated"}, "eventsPerSecond": 100}
        )
        with KafkaOutput(self.pipeline.servers.config, self.pipeline.raw_topic) as output:
            run_simulator(GeneratorSpec.model_validate(spec), output, **options)

    def count(self) -> int:
        """Documents that a search finds."""
        # An index that was just made cannot be searched for a moment (503).
        patient = self.search.options(ignore_status=503)
        found = patient.count(index=self.indices, ignore_unavailable=True)
        return int(found.get("count", 0))

    def full_rate(self, backlog: int) -> float:
        """Events per second from the first fifth of a backlog to the last."""
        marks: list[tuple[float, int]] = []

        def done() -> bool:
            marks.append((time.monotonic(), self.count()))
            return marks[-1][1] >= backlog

        wait_until("the backlog", done, 900)
        inner = [mark for mark in marks if backlog * 0.1 <= mark[1] <= backlog * 0.95]
        (began, first), (ended, last) = inner[0], inner[-1]
        return (last - first) / (ended - began)

    def probe(self, seconds: float) -> list[float]:
        """Produce an event now and then; how long each took until a search found it."""
        producer = Producer(self.pipeline.servers.config | {"linger.ms": 0})
        sent: dict[str, float] = {}
        took: list[float] = []
        ends, due = time.monotonic() + seconds, 0.0
        while sent or time.monotonic() < ends:
            now = time.monotonic()
            assert now < ends + 120, f"{len(sent)} events are not found"
            if due <= now < ends:
                due, name = now + PROBE_EVERY_S, str(uuid.uuid4())
                event = self._event | {"event_id": name, "event_timestamp": _clock()}
                producer.produce(self.pipeline.raw_topic, json.dumps(event))
                sent[name] = now
            producer.poll(0)
            for name in self._found(list(sent)):
                took.append(time.monotonic() - sent.pop(name))
            time.sleep(LOOK_EVERY_S)
        return took

    def _found(self, names: list[str]) -> list[str]:
        answer = self.search.search(
            index=self.indices, ignore_unavailable=True, size=len(names) + 1,
            query={"ids": {"values": names}}, source=False,
        )  # fmt: skip
        return [hit["_id"] for hit in answer["hits"]["hits"]]


def _clock() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@contextmanager
def running(latency: Latency) -> Iterator[Run]:
    """The pipeline as `webevents run` has it; it must end in balance."""
    with latency.pipeline.running() as run:
        yield run
        run.interrupt()
        run.finish(300)


def measure(backlog: int, seconds: float) -> dict[str, Any]:
    """All loads, the idle pipeline first."""
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedKafka(Path(name) / "kafka") as kafka,
        EmbeddedElasticsearch(Path(name) / "elasticsearch") as elasticsearch,
    ):
        latency = Latency(Servers(kafka.bootstrap, elasticsearch.url), Path(name))
        latency.feed(count=backlog)
        with running(latency):
            full = latency.full_rate(backlog)
            print(f"full load: {full:,.0f} events/s", flush=True)
            found: dict[str, list[float]] = {}
            for share in (0.0, *SHARES):
                options = {"rate": max(full * share, 1), "seconds": seconds + 10}
                feeder = threading.Thread(target=latency.feed, kwargs=options)
                if share:
                    feeder.start()
                    time.sleep(5)
                found[f"{share:.0%}"] = took = latency.probe(seconds)
                if share:
                    feeder.join()
                print(f"{share:.0%}: {_row(took)}", flush=True)
    return {"full": full, "seconds": found}


def _row(took: list[float]) -> str:
    ordered = sorted(took)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{statistics.median(took):.2f} s | {p99:.2f} s | {ordered[-1]:.2f} s"


def table(found: dict[str, Any]) -> str:
    """The figures as a table in Markdown."""
    lines = ["| load | events/s | p50 | p99 | longest |", "|---|---|---|---|---|"]
    for share, took in found["seconds"].items():
        rate = found["full"] * float(share.rstrip("%")) / 100
        lines.append(f"| {share} | {rate:,.0f} | {_row(took)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    asked = arguments(__doc__, backlog=200_000, seconds=60.0).parse_args()
    found = measure(asked.backlog, asked.seconds)
    publish(table(found), found, asked.report)


if __name__ == "__main__":
    main()
