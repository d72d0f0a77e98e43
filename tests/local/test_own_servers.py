"""Examples on servers of their own, with every process of the run killed in turn.

Steps: `webevents run -f` starts the example's servers and workloads; each of its processes, servers
too, gets SIGKILL, one after the other; Ctrl-C; the servers are started on the same folders, and
everything is held against the raw topic; the example runs once more, without new events.
Expected: nothing lost, nothing doubled (tests/support/accounts.py), and no figure changed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from accounts import check_everything
from pipelines import Run, Servers, TestPipeline, children

from webevents.connectors.postgres import connect
from webevents.errors import UserError
from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.jars import ensure_jars
from webevents.local.java import find_jdk
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.opensearch_server import EmbeddedOpenSearch
from webevents.local.ports import free_port
from webevents.local.postgres_server import EmbeddedPostgres

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

MANIFESTS = Path(__file__).parents[2] / "manifests" / "examples"
KINDS: dict[str, Any] = {
    "kafka": EmbeddedKafka,
    "elasticsearch": EmbeddedElasticsearch,
    "opensearch": EmbeddedOpenSearch,
    "postgres": EmbeddedPostgres,
}
"""By the name of its data folder."""


def own_server(name: str, folder: Path) -> Any:
    return KINDS[name](folder / name)


@contextmanager
def running(pipeline: TestPipeline, data: Path, *options: str) -> Iterator[Run]:
    """`webevents run` on servers of its own, unless the options name some."""
    log, report = pipeline.folder / "run.log", pipeline.folder / "report.json"
    report.unlink(missing_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "webevents", "run", "-f", str(pipeline.file)),
                *("--data-dir", str(data), "--report", str(report), *options),
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Run(process, report, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def process_of(run: Run, mark: str) -> int | None:
    """The run's child whose command line holds a text."""
    for pid, command in children(run.process.pid):
        if any(mark in part for part in command):
            return pid
    return None


def kill(run: Run, mark: str) -> None:
    """SIGKILL a child of the run, and wait for its successor."""
    deadline = time.monotonic() + 180
    while (pid := process_of(run, mark)) is None:
        assert run.process.poll() is None, run.log.read_text()[-3000:]
        assert time.monotonic() < deadline, f"no {mark}: {run.log.read_text()[-3000:]}"
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    while process_of(run, mark) in (None, pid):
        assert run.process.poll() is None, run.log.read_text()[-3000:]
        assert time.monotonic() < deadline, f"{mark} did not come back"
        time.sleep(0.1)


def wait_for_line(run: Run, line: str, count: int = 1) -> None:
    deadline = time.monotonic() + 240
    while run.log.read_text().count(line) < count:
        assert run.process.poll() is None, run.log.read_text()[-3000:]
        assert time.monotonic() < deadline, run.log.read_text()[-3000:]
        time.sleep(0.2)


def rows(server: EmbeddedPostgres) -> list[Any]:
    """The sessions as PostgreSQL has them."""
    with connect(server.spec) as connection:
        return connection.execute(
            "SELECT session_id, total_events, total_revenue FROM session_metrics ORDER BY 1"
        ).fetchall()


CASES = {
    "web-events": ("kafka", "elasticsearch"),
    "session-metrics": ("kafka", "opensearch", "postgres"),
}


@pytest.mark.parametrize(("name", "servers"), CASES.items(), ids=CASES)
def test_each_process_is_killed_and_the_figures_are_right(
    name: str, servers: Sequence[str], tmp_path: Path
) -> None:
    try:
        find_jdk()
        ensure_jars(*(jars for each in servers for jars in own_server(each, tmp_path).jar_sets))
    except UserError as error:
        pytest.skip(str(error))
    spec = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())["spec"]
    # A generator that is killed would begin its accelerated day anew.
    spec["generator"] |= {"eventsPerSecond": 30, "time": {"mode": "wallClock"}}
    spec["generator"].pop("sessionsPerDay", None)
    if "collector" in spec:
        spec["collector"]["port"] = free_port()
    data = tmp_path / "data"
    pipeline = TestPipeline(Servers("", ""), tmp_path, spec)

    with running(pipeline, data) as run:
        wait_for_line(run, "documents: events ")
        workloads = sorted(path.stem for path in (data / "workloads").glob("*.log"))
        assert {"generator", "enrich", "sessionize", "index"} <= set(workloads)
        for each in servers:
            kill(run, f"{data / each}/")
            wait_for_line(run, f"{KINDS[each].name} is ready again")
        for each in workloads:
            kill(run, f"/{each}.json")
        run.interrupt()
        report = run.finish(300)
    assert report["restarts"] >= len(workloads)

    with ExitStack() as stack:
        started = {each: stack.enter_context(own_server(each, data)) for each in servers}
        search = started["opensearch" if "opensearch" in started else "elasticsearch"]
        pipeline.servers = Servers(started["kafka"].bootstrap, search.url)
        options = ["--kafka", pipeline.servers.kafka, "--elasticsearch", search.url]
        if database := started.get("postgres"):
            options += ["--postgres", database.spec.address]
            options += ["--postgres-user", database.spec.username]
            options += ["--postgres-password-file", str(database.spec.password_file)]
        check_everything(pipeline, report)

        def figures() -> tuple[Any, ...]:
            found = pipeline.documents("events"), pipeline.documents("sessions")
            return (*found, rows(database) if database else [])

        before = figures()
        assert len(before[0]) > 300
        if database:
            assert {row[0] for row in before[2]} == before[1].keys()
            assert sum(row[1] for row in before[2]) == len(before[0])
        document = yaml.safe_load(pipeline.file.read_text())
        document["spec"].pop("generator")
        document["spec"].pop("collector", None)
        pipeline.file.write_text(yaml.safe_dump(document))
        with running(pipeline, data, "--until-drained", *options) as run:
            again = run.finish(300)
        assert again["documents"] == report["documents"]
        assert figures() == before
