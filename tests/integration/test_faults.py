"""A pipeline under load while servers and processes die: nothing lost, nothing doubled.

In each case the generator sends some 500 events a second, 1% of them corrupt and 2% twice, until
Ctrl-C; then everything is held against the raw topic (tests/support/accounts.py).
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accounts import check_everything, read
from chaos_load import searchable
from pipelines import Servers, TestPipeline, children
from rich.console import Console

from webevents.local import runtime
from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.ports import is_listening
from webevents.sources.output import KafkaOutput
from webevents.sources.simulator import run_simulator
from webevents.spec.generator import FaultsSpec, GeneratorSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

FAULTS = {"corrupt": 0.01, "duplicates": 0.02, "outOfOrder": 0.1}
SPEC: dict[str, Any] = {
    "generator": {"eventsPerSecond": 500, "faults": FAULTS},
    "sessions": {"publishOpenEvery": "2s"},
}


def wait_for_documents(pipeline: TestPipeline, count: int, seconds: float = 180) -> int:
    """Wait until so many events are searchable; how many there are."""
    deadline = time.monotonic() + seconds
    while (found := searchable(pipeline)) < count:
        assert time.monotonic() < deadline, f"{found} of {count} documents after {seconds} s"
        time.sleep(0.3)
    return found


def test_elasticsearch_dies_and_comes_back(
    kafka: str,
    elasticsearch_server: Callable[..., EmbeddedElasticsearch],
    tmp_path: Path,
) -> None:
    server = elasticsearch_server()
    pipeline = TestPipeline(Servers(kafka, server.url), tmp_path, SPEC)
    with pipeline.running() as run:
        wait_for_documents(pipeline, 500)
        server.kill()
        time.sleep(15)
        server.start()
        run.interrupt()
        report = run.finish(150)
    assert report["restarts"] == 0
    check_everything(pipeline, report)


def test_kafka_dies_and_comes_back(
    elasticsearch: str, kafka_server: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    server = kafka_server()
    pipeline = TestPipeline(Servers(server.bootstrap, elasticsearch), tmp_path, SPEC)
    with pipeline.running() as run:
        before = wait_for_documents(pipeline, 500)
        server.kill()
        time.sleep(3)
        server.start()
        wait_for_documents(pipeline, before + 3_000)
        run.interrupt()
        report = run.finish(60)
    check_everything(pipeline, report)


def test_workers_that_froze_are_replaced_and_change_nothing(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    """Longer than the group's session timeout: others take their partitions over meanwhile."""
    stages = {"enrich": {"replicas": 2}, "sessionize": {"replicas": 2}}
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, SPEC | {"stages": stages})
    with pipeline.running() as run:
        before = wait_for_documents(pipeline, 500)
        frozen = [run.workers(stage)[0] for stage in stages]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(22)  # the session timeout is 20 s
        seen = {stage: assignments(pipeline, stage) for stage in stages}
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        # They come back and take partitions again; a stop meanwhile is another matter.
        deadline = time.monotonic() + 90
        while any(assignments(pipeline, stage) == seen[stage] for stage in stages):
            assert time.monotonic() < deadline, "a worker that froze has no partition again"
            time.sleep(0.5)
        wait_for_documents(pipeline, before + 3_000)
        run.interrupt()
        report = run.finish(90)
    assert report["restarts"] == 0
    check_everything(pipeline, report)


def test_a_worker_that_cannot_publish_when_it_stops_is_started_again_to_do_so(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    """It has processed everything, but is frozen when it is told to stop, and killed for that."""
    spec = {
        "generator": {"enabled": False},
        "sessions": {"publishOpenEvery": "1h", "idleTimeout": "1h"},
        "stages": {"sessionize": {"replicas": 2}},
    }
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, spec)
    pipeline.make_topics()
    with KafkaOutput(pipeline.servers.config, pipeline.raw_topic) as output:
        run_simulator(GeneratorSpec(faults=FaultsSpec.model_validate(FAULTS)), output, count=3_000)
    with pipeline.running() as run:
        wait_for_documents(pipeline, 2_900)
        time.sleep(5)  # its last commit too is behind it
        os.kill(run.workers("sessionize")[0], signal.SIGSTOP)
        run.interrupt()
        report = run.finish(150)
    assert "was started again" in run.log.read_text()
    check_everything(pipeline, report)


def test_kafka_that_stands_still_at_the_very_end_is_waited_for(
    kafka_server: Callable[..., EmbeddedKafka], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = kafka_server()
    spec = SPEC | {"index": {"enabled": False}}
    pipeline = TestPipeline(Servers(server.bootstrap, "http://127.0.0.1:1"), tmp_path, spec)
    drain = runtime._Run._drain
    frozen: list[threading.Timer] = []

    def drain_and_freeze(run: Any) -> list[str]:
        problems = drain(run)
        assert server.pid
        os.kill(server.pid, signal.SIGSTOP)
        # Longer than one request, or two, wait for an answer.
        thaw = threading.Timer(22, os.kill, (server.pid, signal.SIGCONT))
        thaw.start()
        frozen.append(thaw)
        return problems

    monkeypatch.setattr(runtime._Run, "_drain", drain_and_freeze)
    options = runtime.RunOptions(seconds=5)
    summary = runtime.run_pipeline(pipeline.connected(), options, Console(quiet=True))
    assert frozen[0].finished.is_set()
    assert summary.problems == [], summary.verdict()
    assert summary.ledger.balanced
    assert summary.raw_events > 500


def assignments(pipeline: TestPipeline, stage: str) -> int:
    """How often the first worker of a stage was given partitions, by its log."""
    log = pipeline.folder / pipeline.name / "workloads" / f"{stage}-0.log"
    return log.read_text().count('"event": "assigned"')


def test_an_interrupt_drains(kafka: str, elasticsearch: str, tmp_path: Path) -> None:
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, SPEC)
    with pipeline.running() as run:
        wait_for_documents(pipeline, 1_000)
        run.interrupt()
        report = run.finish(30)
    check_everything(pipeline, report)


def test_two_interrupts_stop_at_once(kafka: str, elasticsearch: str, tmp_path: Path) -> None:
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, SPEC)
    with pipeline.running() as run:
        wait_for_documents(pipeline, 1_000)
        run.interrupt()
        time.sleep(0.5)
        run.interrupt()
        assert run.process.wait(10) == 130
    assert "Traceback" not in run.log.read_text()
    assert read(pipeline, pipeline.raw_topic)


def test_a_killed_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """With servers of its own; the kernel kills them, whatever happened to the run."""
    pipeline = TestPipeline(Servers(), tmp_path, SPEC)
    data = pipeline.data
    with pipeline.running() as run:
        wait_until(lambda: (data / "workloads" / "index.log").exists(), 120)
        settings = json.loads((data / "workloads" / "index.json").read_text())
        ports = [
            int(address.rpartition(":")[2])
            for address in (
                settings["kafka"]["bootstrapServers"],
                *settings["elasticsearch"]["urls"],
            )
        ]
        pids = [pid for pid, _ in children(run.process.pid)]
        assert len(pids) == 6  # two servers, the generator and three stages
        assert all(map(is_listening, ports))
        run.process.kill()
        run.process.wait()
        wait_until(lambda: not any(map(runs, pids)) and not any(map(is_listening, ports)), 15)
        assert not [entry for entry in Path("/proc").glob("[0-9]*") if of_folder(entry, data)]


def of_folder(entry: Path, folder: Path) -> bool:
    """Whether a process' command line names a folder."""
    try:
        return str(folder) in (entry / "cmdline").read_text()
    except OSError:
        return False


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s"
        time.sleep(0.1)
