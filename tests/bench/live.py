"""What viewers of the live page cost: the page's CPU and memory, and what a stage does meanwhile.

A pipeline enriches a backlog (`EVENTS`) three times on the same Kafka: without a page, with a page
that nobody looks at, and with `VIEWERS` (1000) streams open, all of which read, but a tenth slowly.
The viewers are a process of their own; its CPU is told apart. All share this machine's cores.
"""

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from live_pages import RunningPage, wait_for

from webevents.connectors.kafka_observe import Observer
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.ports import LOOPBACK
from webevents.sources.output import KafkaOutput
from webevents.sources.simulator import run_simulator
from webevents.spec.generator import GeneratorSpec

VIEWERS = int(os.environ.get("VIEWERS", "1000"))
EVENTS = int(os.environ.get("EVENTS", "200000"))
GENERATOR: dict[str, Any] = {
    "profile": "web-events",
    "eventsPerSecond": 1000,
    "time": {"mode": "backdated", "start": "2026-11-01T00:00:00Z"},
}


async def view(port: int, number: int, counts: list[int]) -> None:
    """Read a stream as a browser does; every tenth slowly."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
    try:
        while piece := await reader.read(16_384):
            counts[number] += len(piece)
            if number % 10 == 0:
                await asyncio.sleep(5)
    finally:
        writer.close()


async def viewers(port: int, count: int) -> None:
    """Open streams until this process is ended; report on each line of standard input."""
    counts = [0] * count
    tasks = [asyncio.create_task(view(port, number, counts)) for number in range(count)]
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        report = {
            "reading": sum(count > 0 for count in counts),
            "open": sum(not task.done() for task in tasks),
            "megabytes": sum(counts) / 1e6,
            "cpu": usage.ru_utime + usage.ru_stime,
        }
        print(json.dumps(report), flush=True)


class Stage:
    """The stage enrich, run anew over the raw topic by a group of its own."""

    def __init__(self, page: RunningPage, folder: Path) -> None:
        self._page = page
        self._folder = folder
        self._runs = 0

    def run(self) -> float:
        """Process all; events per second, from the first commit to the last."""
        self._runs += 1
        [workload] = [each for each in self._page.plan.workloads if each.name == "enrich"]
        settings = workload.settings.model_dump(mode="json", by_alias=True)
        settings["group"] = group = f"{settings['group']}-{self._runs}"
        path = self._folder / f"enrich-{self._runs}.json"
        path.write_text(json.dumps(settings))
        command = [sys.executable, "-m", "webevents", "stage", "--settings", str(path)]
        observer = Observer(self._page.config)
        topic = self._page.pipeline.spec.topics.raw.name
        with (self._folder / "stage.log").open("ab") as log:
            process = subprocess.Popen(command, stderr=log)
        try:
            seen: list[tuple[float, int]] = []
            while not seen or seen[-1][1] < EVENTS:
                received = 0
                with contextlib.suppress(KafkaException):  # the group's coordinator just starts
                    received = observer.groups({group: [topic]})[group].counts().received
                if received and (not seen or received > seen[-1][1]):
                    seen.append((time.monotonic(), received))
                assert process.poll() is None
                time.sleep(0.2)
            (began, first), (ended, last) = seen[0], seen[-1]
            return (last - first) / (ended - began)
        finally:
            process.terminate()
            process.wait(60)
            observer.close()


def measure(page: RunningPage | None, work: Any) -> tuple[Any, float, float]:
    """Do something; its result, and the page's share of a core and megabytes meanwhile."""
    began, before = time.monotonic(), page.usage()[0] if page else 0.0
    result = work()
    if page is None:
        return result, 0.0, 0.0
    cpu, memory = page.usage()
    return result, (cpu - before) / (time.monotonic() - began), memory


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, EmbeddedKafka(Path(name) / "kafka") as kafka:
        page = RunningPage(kafka.bootstrap, Path(name) / "page", {"maxViewers": VIEWERS + 10})
        page.make_topics()
        print(f"{EVENTS:,} events; {os.cpu_count()} cores", flush=True)
        with KafkaOutput(page.config, page.pipeline.spec.topics.raw.name) as output:
            run_simulator(GeneratorSpec.model_validate(GENERATOR), output, count=EVENTS)
        stage = Stage(page, Path(name))
        stage.run()  # once for the caches
        print("| | stage enrich, events/s | page, cores | page, MB |\n|---|---|---|---|")
        row("no page", *measure(None, stage.run))
        page.start()
        try:
            page.wait_for_ready()
            row("a page, nobody looks", *measure(page, stage.run))
            look(page, stage)
        finally:
            page.stop()


def look(page: RunningPage, stage: Stage) -> None:
    """The same with viewers."""
    command = [sys.executable, __file__, "viewers", str(page.port), str(VIEWERS)]
    crowd = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert crowd.stdin
    assert crowd.stdout

    def ask() -> dict[str, Any]:
        crowd.stdin.write("\n")  # type: ignore[union-attr]
        crowd.stdin.flush()  # type: ignore[union-attr]
        found: dict[str, Any] = json.loads(crowd.stdout.readline())  # type: ignore[union-attr]
        return found

    try:
        wait_for(lambda: ask()["reading"] == VIEWERS, 120)
        first, began = ask(), time.monotonic()
        row(f"{VIEWERS:,} viewers", *measure(page, stage.run))
        last, took = ask(), time.monotonic() - began
        _, cores, memory = measure(page, lambda: time.sleep(20))
        row(f"{VIEWERS:,} viewers, nothing flows", None, cores, memory)
        print(
            f"viewers: {last['open']:,} open, {(last['cpu'] - first['cpu']) / took:.2f} cores, "
            f"{(last['megabytes'] - first['megabytes']) / took:.2f} MB/s"
        )
    finally:
        crowd.kill()
        crowd.wait()


def row(what: str, rate: float | None, cores: float, memory: float) -> None:
    """Print a row."""
    shown = "" if rate is None else f"{rate:,.0f}"
    print(f"| {what} | {shown} | {cores:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
        asyncio.run(viewers(int(sys.argv[2]), int(sys.argv[3])))
    else:
        main()
