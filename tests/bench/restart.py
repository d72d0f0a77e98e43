"""kill -9 of the sessionize stage while a million sessions are open: how soon it is where it was.

Usage: ``python tests/bench/restart.py [--sessions N] [--report FILE]``, with tests/support in
PYTHONPATH. Enriched events, one for each visitor, open the sessions; the worker gets SIGKILL; while
it is away more events arrive. What counts is the time from the start of its successor until all of
these are committed.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from measure import Watched, arguments, publish, wait_until
from pipelines import Servers, TestPipeline

from webevents.connectors.kafka_observe import Observer
from webevents.local.kafka_server import EmbeddedKafka
from webevents.plan.make import make_plan
from webevents.sources.output import KafkaOutput

LATER = 50_000
"""Events that arrive while the worker is away."""


class Sessions:
    """The sessionize stage of a pipeline, on a Kafka of its own."""

    def __init__(self, kafka: str, folder: Path) -> None:
        spec = {"generator": {"replicas": 0}, "index": {"enabled": False}}
        self._pipeline = TestPipeline(Servers(kafka, ""), folder, spec)
        self._pipeline.make_topics()
        plan = make_plan(self._pipeline.connected())
        [workload] = [each for each in plan.workloads if each.name == "sessionize"]
        self._settings: Any = workload.settings
        self._file = folder / "sessionize.json"
        self._file.write_text(self._settings.model_dump_json(by_alias=True))
        self._log = folder / "sessionize.log"

    def send(self, first: int, count: int) -> None:
        """An event now of each of so many visitors."""
        topic = self._settings.topics[0]
        with KafkaOutput(self._pipeline.servers.config, topic) as output:
            for number in range(first, first + count):
                now = time.time()
                stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
                event = {
                    "event_id": f"event-{first}-{number}",
                    "event_timestamp": f"{stamp}.{number % 1_000_000:06d}Z",
                    "event_type": "pageview",
                    "user_domain_id": (visitor := f"visitor-{number:07d}"),
                    "page_url": f"/page-{number % 100}",
                }
                output.send(visitor.encode(), json.dumps(event).encode(), None)

    def received(self) -> int:
        """Events that are in committed sessions."""
        observer = Observer(self._pipeline.servers.config)
        try:
            with suppress(KafkaException):  # the group's coordinator just starts
                groups = observer.groups({self._settings.group: self._settings.topics})
                return groups[self._settings.group].counts().received
            return 0
        finally:
            observer.close()

    @contextmanager
    def worker(self) -> Iterator[Watched]:
        """A worker, watched."""
        command = [sys.executable, "-m", "webevents", "stage", "--settings", str(self._file)]
        with self._log.open("ab") as log:
            watched = Watched(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield watched
        finally:
            watched.stop()


def measure(number: int) -> dict[str, float]:
    """Open the sessions, kill, restart."""
    with tempfile.TemporaryDirectory() as name, EmbeddedKafka(Path(name) / "kafka") as kafka:
        sessions = Sessions(kafka.bootstrap, Path(name))
        sessions.send(0, number)
        began = time.monotonic()
        with sessions.worker() as first:
            wait_until("all sessions", lambda: sessions.received() >= number, 900)
            opened, memory = time.monotonic() - began, first.rss
            first.process.kill()
            first.process.wait()
        sessions.send(number // 2, LATER)
        began = time.monotonic()
        with sessions.worker() as second:
            wait_until("the rest", lambda: sessions.received() >= number + LATER, 900)
            took, cpu, again = time.monotonic() - began, second.cpu(), second.rss
    return {"opened_s": opened, "rss_mb": memory / 1e6, "caught_up_s": took, "cpu_s": cpu,
            "rss_again_mb": again / 1e6}  # fmt: skip


def table(number: int, found: dict[str, float]) -> str:
    """The figures as a table in Markdown."""
    return "\n".join(
        [
            "| | |",
            "|---|---|",
            f"| {number:,} sessions opened in | {found['opened_s']:.1f} s |",
            f"| memory of the worker then (RSS) | {found['rss_mb']:,.0f} MB |",
            f"| from the restart until {LATER:,} later events are committed "
            f"| {found['caught_up_s']:.1f} s |",
            f"| of that on a processor | {found['cpu_s']:.1f} s |",
            f"| memory of its successor (RSS) | {found['rss_again_mb']:,.0f} MB |",
        ]
    )


def main() -> None:
    """Measure and print."""
    asked = arguments(__doc__, sessions=1_000_000).parse_args()
    found = measure(asked.sessions)
    told = table(asked.sessions, found)
    publish(told, found, asked.report)


if __name__ == "__main__":
    main()
