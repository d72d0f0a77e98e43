"""The load under which faults happen, and what is asked of the pipeline meanwhile and after."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from accounts import check_everything
from pipelines import Run, Servers, TestPipeline

from webevents.connectors.elasticsearch import Unreachable, connect, documents_by_index
from webevents.connectors.kafka_observe import Observer
from webevents.plan.make import make_plan
from webevents.spec.elasticsearch import ElasticsearchSpec

RATE = 200
SPEC: dict[str, Any] = {
    "generator": {
        "eventsPerSecond": RATE,
        "faults": {"corrupt": 0.01, "duplicates": 0.02, "outOfOrder": 0.1},
    },
    "sessions": {"publishOpenEvery": "2s"},
}


def wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    """Wait until something holds; what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.05)
    return found


class Progress:
    """How much each stage has committed."""

    def __init__(self, pipeline: TestPipeline) -> None:
        stages = make_plan(pipeline.connected()).stages()
        self._groups = {stage.name: (stage.group or stage.name, stage.reads) for stage in stages}
        self._observer = Observer(pipeline.servers.config)

    def of(self, stage: str) -> int:
        """Messages that a stage has committed."""
        group, topics = self._groups[stage]
        return self._observer.groups({group: topics})[group].counts().received

    def close(self) -> None:
        """Let go of the connections."""
        self._observer.close()


def searchable(pipeline: TestPipeline) -> int:
    """Events that a search finds; 0 where nobody answers."""
    client = connect(ElasticsearchSpec(urls=(pipeline.servers.elasticsearch,)))
    found = 0
    with contextlib.suppress(Unreachable):
        found = sum(documents_by_index(client, f"{pipeline.name}-events-*").values())
    client.close()
    return found


def caught_up(pipeline: TestPipeline, more: int = 5 * RATE, seconds: float = 300) -> int:
    """Wait until so many events more are searchable; how many there are."""
    before = searchable(pipeline)
    return int(wait_for(lambda: (n := searchable(pipeline)) >= before + more and n, seconds))


def megabytes(run: Run, *stages: str) -> float:
    """Memory of the workers of some stages, or of all (RSS)."""
    which = stages or ("enrich", "sessionize", "index")
    total = 0
    for pid in [pid for stage in which for pid in run.workers(stage)]:
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(pid).memory_info().rss
    return total / 1e6


class Load:
    """A pipeline that runs under load."""

    def __init__(self, pipeline: TestPipeline, run: Run) -> None:
        self.pipeline, self.run = pipeline, run
        self.told = ""
        """What happened, for the table; to be said before the block ends."""
        self.report: dict[str, Any] = {}
        """The run's, once the block has ended."""


@contextlib.contextmanager
def under_load(
    servers: Servers,
    folder: Path,
    seen: Callable[[str], None],
    spec: dict[str, Any] = SPEC,
    drain_s: float = 300,
) -> Iterator[Load]:
    """Run a pipeline while the block brings faults about; then hold everything against the raw
    topic."""
    pipeline = TestPipeline(servers, folder, spec)
    with pipeline.running() as run:
        caught_up(pipeline)
        load = Load(pipeline, run)
        yield load
        run.interrupt()
        load.report = run.finish(drain_s)
    check(pipeline, load.report, seen, load.told)


def freeze(pid: int, seconds: float) -> None:
    """Stop a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def check(
    pipeline: TestPipeline, report: dict[str, Any], seen: Callable[[str], None], what: str
) -> None:
    """Hold everything against the raw topic, and tell of it."""
    check_everything(pipeline, report)
    events = report["stages"]["enrich"]["in"]
    seen(f"{what}; {events:,} events, 0 lost, 0 doubled")
