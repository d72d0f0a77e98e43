"""Examples on servers of their own, with every process of the run killed in turn.

Steps: `webevents run -f` starts the example's servers and workloads; each of its processes, servers
too, gets SIGKILL, one after the other; Ctrl-C; the servers are started on the same folders, and
everything is held against the raw topic; the example runs once more, without new events.
Expected: nothing lost, nothing doubled, no figure changed. The S3 server of object-store is left
alone: it keeps its objects in memory, and a run says what was lost with it.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from accounts import check_everything, check_topics
from fashion import Day
from fashion import check as check_day
from fashion import example as fashion_example
from loaded import Loaded, loaded_tables, raw_messages
from pipelines import Run, Servers, TestPipeline

from webevents.connectors.postgres import connect
from webevents.errors import UserError
from webevents.local.connect_server import EmbeddedConnect
from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.jars import ensure_jars
from webevents.local.java import find_jdk
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.opensearch_server import EmbeddedOpenSearch
from webevents.local.ports import free_port
from webevents.local.postgres_server import EmbeddedPostgres

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

MANIFESTS = Path(__file__).parents[2] / "manifests" / "examples"
KINDS: dict[str, Any] = {
    "kafka": EmbeddedKafka,
    "elasticsearch": EmbeddedElasticsearch,
    "opensearch": EmbeddedOpenSearch,
    "postgres": EmbeddedPostgres,
    "source": EmbeddedPostgres,
}
"""By the name of its data folder."""
CASES = {
    "web-events": ("kafka", "elasticsearch"),
    "session-metrics": ("kafka", "opensearch", "postgres"),
    "site-family": ("kafka", "postgres"),
    "object-store": ("kafka", "postgres"),
}


def own_server(name: str, folder: Path) -> Any:
    return KINDS[name](folder / name)


@dataclass
class Example:
    """An example that has run, and its servers, started again on the same folders."""

    name: str
    pipeline: TestPipeline
    servers: Mapping[str, Any]

    def options(self) -> list[str]:
        """Names the servers for a further run."""
        if (database := self.servers.get("postgres")) is None:
            return []
        spec = database.spec
        return [
            *("--postgres", spec.address, "--postgres-user", spec.username),
            *("--postgres-password-file", str(spec.password_file)),
        ]

    def rows(self, query: str) -> list[Any]:
        with connect(self.servers["postgres"].spec) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def figures(self) -> tuple[Any, ...]:
        """Everything that people see."""
        match self.name:
            case "site-family":
                return self.rows("SELECT * FROM processed_events ORDER BY event_id"), self.rows(
                    "SELECT start_session, end_session, ip, host, web_events "
                    "FROM session_events_aggregated_ip ORDER BY 1, 2, 3, 4"
                )
            case "object-store":
                return loaded_tables(self.servers["postgres"].spec), self.rows(
                    "SELECT record FROM events ORDER BY 1"
                )
        documents = self.pipeline.documents("events"), self.pipeline.documents("sessions")
        if self.name == "web-events":
            return documents
        return *documents, self.rows(
            "SELECT session_id, total_events, total_revenue FROM session_metrics ORDER BY 1"
        )

    def check(self, report: dict[str, Any]) -> None:
        """Hold everything against the raw topic."""
        if self.name == "object-store":
            tables: Loaded = loaded_tables(self.servers["postgres"].spec)
            assert tables == raw_messages(self.pipeline)
            assert tables.events.total() + sum(tables.scrolls.values()) > 300
            return
        if self.name == "site-family":
            raw, sessions = check_topics(self.pipeline, report)
            events, aggregated = self.figures()
            assert Counter(row[0] for row in events) == Counter(raw.keys())
            found = Counter(
                (f"{ip}|{host}", start, end, events) for start, end, ip, host, events in aggregated
            )
            bounds = ("first_event_timestamp", "last_event_timestamp")
            assert found == Counter(
                (s["session_key"], *(_ms(s[bound]) for bound in bounds), s["total_events"])
                for s in sessions.values()
            )
            assert len(raw) > 300
            return
        check_everything(self.pipeline, report)
        documents, sessions, *more = self.figures()
        assert len(documents) > 300
        for rows in more:
            assert {row[0] for row in rows} == sessions.keys()
            assert sum(row[1] for row in rows) == len(documents)


def _ms(moment: str) -> datetime:
    """A time as PostgreSQL's timestamp(3) has it, rounded."""
    half = datetime.fromisoformat(moment).replace(tzinfo=None) + timedelta(microseconds=500)
    return half.replace(microsecond=half.microsecond // 1000 * 1000)


def kill(run: Run, mark: str) -> None:
    """SIGKILL a process of the run, and wait for its successor."""
    pid = run.kill(mark)
    run.wait_for(lambda: set(run.processes(mark)) - {pid}, f"{mark} did not come back")


def kill_server(run: Run, folder: Path) -> None:
    """SIGKILL a server of the run, and wait until its successor answers."""
    kill(run, f"{folder}/")
    run.wait_for_line(f"{KINDS[folder.name].name} is ready again")


def require(servers: Sequence[str], folder: Path, *jars: str) -> None:
    """Skip where a server cannot be had."""
    try:
        find_jdk()
        own = (name for each in servers for name in own_server(each, folder).jar_sets)
        ensure_jars(*own, *jars)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("name", "servers"), CASES.items(), ids=CASES)
def test_each_process_is_killed_and_the_figures_are_right(
    name: str, servers: Sequence[str], tmp_path: Path
) -> None:
    require(servers, tmp_path)
    spec = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())["spec"]
    # A generator that is killed would begin its accelerated day anew.
    spec["generator"] |= {"eventsPerSecond": 30, "time": {"mode": "wallClock"}}
    spec["generator"].pop("sessionsPerDay", None)
    if spec["sessions"].get("enabled", True):
        # A slow machine would close sessions by the clock.
        spec["sessions"]["idleTimeout"] = "1h"
    for http in ("collector", "live"):
        if http in spec:
            spec[http]["port"] = free_port()
    pipeline = TestPipeline(Servers(), tmp_path, spec)
    data = pipeline.data

    with pipeline.running() as run:
        run.wait_for(lambda: re.search(r" enrich [1-9]", run.said()), "no events")
        workloads = sorted(path.stem for path in (data / "workloads").glob("*.log"))
        assert {"generator", "enrich"} < set(workloads)
        for each in servers:
            kill_server(run, data / each)
        for each in workloads:
            kill(run, f"/{each}.json")
        run.interrupt()
        report = run.finish(300)
    assert report["restarts"] >= len(workloads)

    with ExitStack() as stack:
        started = {each: stack.enter_context(own_server(each, data)) for each in servers}
        search = started.get("opensearch") or started.get("elasticsearch")
        pipeline.servers = Servers(started["kafka"].bootstrap, search.url if search else "")
        example = Example(name, pipeline, started)
        example.check(report)
        before = example.figures()
        document = yaml.safe_load(pipeline.file.read_text())
        document["spec"].pop("generator")
        document["spec"].pop("collector", None)
        pipeline.file.write_text(yaml.safe_dump(document))
        with pipeline.running("--until-drained", *example.options()) as run:
            again = run.finish(300)
        assert (again["documents"], again["tables"]) == (report["documents"], report["tables"])
        assert example.figures() == before


def test_each_process_of_the_captured_shop_is_killed_and_its_day_is_right(tmp_path: Path) -> None:
    """The same of fashion-campus, whose events come from its database: see
    tests/integration/test_fashion_campus.py."""
    servers = ("kafka", "elasticsearch", "source")
    require(servers, tmp_path, *EmbeddedConnect.jar_sets)
    name = "fashion-campus"
    pipeline = TestPipeline(Servers(), tmp_path, fashion_example(name, None), name=name)
    data = pipeline.data
    with pipeline.running() as run:
        ready = r"PostgreSQL is ready on port (\d+)"
        (port,) = run.wait_for(lambda: re.findall(ready, run.said()), "no database")
        database = EmbeddedPostgres(data / "source", port=int(port)).spec
        day = Day(name, database, "http://127.0.0.1:1")
        day.replay("transactions")
        with connect(database) as connection:
            for seconds in (5, 20, 80):
                day.replay("clicks", kill_after=seconds)
                (made,) = connection.execute("SELECT to_regclass('public.clicks')").fetchall()
                if made[0]:
                    break
        run.wait_for_line(" reads ")
        for each in servers:
            kill_server(run, data / each)
        run.kill("ConnectDistributed")
        day.replay("clicks")
        for each in ("capture", "enrich", "sessionize", "index"):
            kill(run, f"/{each}.json")
        run.interrupt()
        report = run.finish(600)
    assert report["restarts"] >= 4
    assert report["stages"]["capture"]["failed"] == 0

    with ExitStack() as stack:
        extra = {"source": {"wal_level": "logical"}}
        kafka, search, source = (
            stack.enter_context(KINDS[each](data / each, extra=extra.get(each))) for each in servers
        )
        day = Day(name, source.spec, search.url)
        pipeline = TestPipeline(
            Servers(kafka.bootstrap, search.url),
            tmp_path,
            fashion_example(name, source.spec),
            name=name,
        )
        check_day(day, pipeline)
        with pipeline.running() as run:
            run.wait_for_line(" reads ")
            run.interrupt()
            run.finish(300)
        check_day(day, pipeline)
