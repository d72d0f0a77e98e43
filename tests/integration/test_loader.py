"""The batch loader on a real PostgreSQL and an S3 server: crashes at each step, objects that
change, outages; and the object-store example, whose tables hold what the raw topic holds."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from loaded import Loaded, loaded_tables, raw_messages
from pipelines import Servers, TestPipeline
from prometheus_client.parser import text_string_to_metric_families

from webevents.connectors.postgres import connect
from webevents.connectors.s3 import ObjectStore
from webevents.errors import UserError
from webevents.local.postgres_server import EmbeddedPostgres
from webevents.local.s3_server import EmbeddedS3
from webevents.logic.objects import ArchivedRecord, ObjectName, hour_of, make_builder, root_of
from webevents.spec.s3 import LoaderSpec
from webevents.stages.loader.run import run_loader
from webevents.stages.loader.settings import LoaderSettings
from webevents.stop import Stop

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "object-store.yaml"
STEPS = (
    *("listing", "read", "transaction", "events", "scrolls", "noted"),
    *("committed", "checked", "removed"),
)
CRASH = """
import os, sys
from pathlib import Path
from webevents.stages.loader.run import run_loader
from webevents.stages.loader.settings import LoaderSettings
from webevents.stop import Stop

path, step, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def on_step(name):
    global left
    left -= name == step
    if left == 0:
        os._exit(9)
run_loader(LoaderSettings.model_validate_json(path.read_text()), Stop(), once=True, on_step=on_step)
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedS3]:
    with EmbeddedS3(tmp_path_factory.mktemp("s3"), bucket="clickstream-storage") as server:
        yield server


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    try:
        server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres")).start()
    except UserError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@dataclass
class Lab:
    """Objects of one pipeline, and a schema of its own for the tables."""

    s3: EmbeddedS3
    database: EmbeddedPostgres
    folder: Path
    delete: bool = False

    def __post_init__(self) -> None:
        self.name = f"p{uuid.uuid4().hex[:8]}"
        self.store = ObjectStore(self.s3.spec)
        self.root = root_of("raw", self.name)
        self.sent: dict[tuple[int, int], dict[str, Any] | None] = {}

    @property
    def settings(self) -> LoaderSettings:
        spec = {"enabled": True, "every": "1s", "deleteObjects": self.delete}
        return LoaderSettings(
            pipeline=self.name,
            prefix="raw",
            loader=LoaderSpec.model_validate({**spec, "schemaName": self.name}),
            s3=self.s3.spec,
            postgres=self.database.spec,
        )

    @property
    def settings_file(self) -> Path:
        path = self.folder / f"{self.name}.json"
        path.write_text(self.settings.model_dump_json(by_alias=True))
        return path

    def put(self, partition: int, offsets: Sequence[int], hour: int = 500_000) -> str:
        """Archive messages: clicks, scrolls, views, some of them no events."""
        time_ms = hour * 3_600_000
        builder = make_builder("ndjson", 3)
        for offset in offsets:
            event: dict[str, Any] | None = {
                "event_id": f"{partition}-{offset}",
                "event_type": ("click", "scroll", "view", "scroll", "purchase")[offset % 5],
                "event_timestamp": f"2026-03-01T10:{offset // 60 % 60:02}:{offset % 60:02}Z",
                "page_url": f"https://shop/{offset % 3}",
                "user_id": f"u{offset % 4}",
            }
            value = b"broken" if offset % 11 == 10 else json.dumps(event).encode()
            if offset % 13 == 12:
                event, value_ = None, None
            else:
                event, value_ = (event if value != b"broken" else {}), value
            self.sent[partition, offset] = event
            record = ArchivedRecord("clickstream", partition, offset, time_ms)
            builder.add(record, None, value_)
        name = ObjectName("clickstream", partition, offsets[0], hour_of(time_ms), "ndjson")
        key = name.path(self.root)
        self.store.put(key, builder.finish(), "application/zstd")
        return key

    def keys(self) -> set[str]:
        return {each.key for each in self.store.list(f"{self.root}/")}

    def load(self, on_step: Callable[[str], None] | None = None) -> None:
        run_loader(self.settings, Stop(), once=True, on_step=on_step)

    def crash(self, step: str, occurrence: int = 1) -> int:
        """Load in a process that ends without a word at a step."""
        return subprocess.run(
            [sys.executable, "-c", CRASH, self.settings_file, step, str(occurrence)],
            stderr=subprocess.DEVNULL,
            timeout=60,
        ).returncode

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with connect(self.database.spec) as connection:
            connection.execute(f"SET search_path = {self.name}")
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def check(self) -> None:
        """Hold the tables against what was archived."""
        events, scrolls, failed, newest = {}, Counter[str](), set(), {}
        tombstones = 0
        for (partition, offset), event in sorted(self.sent.items()):
            where = f"{self.name}/clickstream/{partition}/{offset}"
            if event is None:
                tombstones += 1
            elif not event:
                failed.add((where, "invalid_json"))
            elif event["event_type"] == "scroll":
                url, moment = event["page_url"], event["event_timestamp"]
                scrolls[url] += 1
                newest[url] = max(newest.get(url, ""), moment)
            else:
                wanted = ("user_id", "event_type", "page_url", "event_id")
                events[where] = tuple(event[name] for name in wanted)
        found = self.rows("SELECT record, user_id, event_type, url, event_id FROM events")
        assert {row[0]: row[1:] for row in found} == events
        assert len(found) == len(events)
        by_url = self.rows("SELECT url, scroll_count, timestamp FROM scroll_events")
        assert {url: count for url, count, _ in by_url} == scrolls
        assert {url: f"{moment.isoformat()}Z" for url, _, moment in by_url} == newest
        assert set(self.rows("SELECT record, reason FROM load_failures")) == failed
        (totals,) = self.rows(
            "SELECT sum(records), sum(events), sum(scrolls), sum(failed), sum(tombstones) "
            "FROM loaded_objects"
        )
        assert totals == (*(len(self.sent), len(events), scrolls.total(), len(failed), tombstones),)


LabFactory = Callable[..., Lab]


@pytest.fixture
def lab(s3: EmbeddedS3, database: EmbeddedPostgres, tmp_path: Path) -> Iterator[LabFactory]:
    made: list[Lab] = []

    def make(**options: Any) -> Lab:
        made.append(Lab(s3, database, tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_loses_and_doubles_nothing(lab: LabFactory, step: str) -> None:
    loader = lab(delete=True)
    for partition in range(2):
        loader.put(partition, range(60))
        loader.put(partition, range(60, 90))
    # At the first object, at the next one after that, and at one in the middle.
    assert loader.crash(step) == 9
    for occurrence in (1, 2):
        assert loader.crash(step, occurrence) in (9, 0)  # 0: there was nothing left to do
    loader.load()
    loader.check()
    assert not loader.keys()
    loader.load()
    loader.check()


def test_each_step_is_really_met(lab: LabFactory) -> None:
    """Otherwise the test above would crash nowhere."""
    loader = lab(delete=True)
    loader.put(0, range(30))
    met: list[str] = []
    loader.load(met.append)
    assert list(dict.fromkeys(met)) == list(STEPS)


def test_an_archive_is_kept_and_loaded_once(lab: LabFactory) -> None:
    loader = lab()
    keys = {loader.put(0, range(40)), loader.put(1, range(25))}
    for _ in range(3):
        loader.load()
        loader.check()
    assert loader.keys() == keys
    # Whatever the order in which objects appear, also one of an earlier hour.
    loader.put(0, range(80, 120))
    loader.load()
    loader.put(0, range(40, 80), hour=499_000)
    loader.load()
    loader.check()


def test_tables_of_the_reference_system_are_loaded_into_and_keep_their_rows(
    lab: LabFactory,
) -> None:
    loader = lab()
    with connect(loader.database.spec) as connection:
        connection.execute(f"CREATE SCHEMA {loader.name}")
        connection.execute(f"SET search_path = {loader.name}")
        connection.execute(
            "CREATE TABLE events (user_id text, event_type text, url text, timestamp timestamp); "
            "CREATE TABLE scroll_events (url text PRIMARY KEY, scroll_count integer, "
            "user_id text, timestamp timestamp); "
            "INSERT INTO events VALUES ('ann', 'click', '/', '2020-01-01'); "
            "INSERT INTO scroll_events VALUES ('https://shop/0', 100, 'ann', '2020-01-01')"
        )
    loader.put(0, range(40))
    for _ in range(2):
        loader.load()
        assert loader.rows("SELECT user_id, url FROM events WHERE record IS NULL") == [("ann", "/")]
        sent = [event for event in loader.sent.values() if event]
        scrolls = Counter(e["page_url"] for e in sent if e["event_type"] == "scroll")
        found = dict(loader.rows("SELECT url, scroll_count FROM scroll_events"))
        assert found == scrolls | {"https://shop/0": 100 + scrolls["https://shop/0"]}
        others = sum(e["event_type"] != "scroll" for e in sent)
        assert loader.rows("SELECT count(*) FROM events") == [(others + 1,)]


def test_an_object_that_grew_brings_only_its_new_lines(lab: LabFactory) -> None:
    loader = lab()
    key = loader.put(0, range(10, 40))
    loader.load()
    loader.check()
    assert loader.put(0, range(10, 70)) == key
    loader.load()
    loader.check()
    # Shorter, or cut in another way under other names, it brings nothing twice.
    loader.put(0, range(10, 30))
    loader.put(0, range(30, 75))
    loader.load()
    loader.check()


def test_what_was_written_anew_after_the_commit_is_not_removed(lab: LabFactory) -> None:
    loader = lab(delete=True)
    key = loader.put(0, range(20))
    done = []

    def grow(step: str) -> None:
        if step == "committed" and not done:
            done.append(loader.put(0, range(50)))
            assert loader.keys() == {key}
        elif step == "listing" and len(done) == 1:
            assert loader.keys() == {key}
            done.append("listed")

    loader.load(grow)
    assert "listed" in done
    loader.check()
    assert not loader.keys()


def test_a_damaged_object_stays_and_holds_nobody_up(lab: LabFactory) -> None:
    loader = lab(delete=True)
    good = loader.put(0, range(20))
    body, _ = loader.store.get(good)
    name = ObjectName("clickstream", 0, 20, 0, "ndjson").path(loader.root)
    loader.store.put(name, body[: len(body) // 2], "application/zstd")
    loader.store.put(f"{loader.root}/notes.txt", b"somebody else's", "text/plain")
    loader.load()
    loader.check()
    assert loader.keys() == {name, f"{loader.root}/notes.txt"}


def test_two_loaders_at_once_double_nothing(lab: LabFactory) -> None:
    loader = lab()
    for first in range(0, 400, 10):
        loader.put(first % 3, range(first, first + 10))
    command = [sys.executable, "-m", "webevents", "load", "--once"]
    both = [
        subprocess.Popen([*command, "--settings", loader.settings_file], stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    loader.check()


def test_outages_delay_and_lose_nothing(tmp_path: Path) -> None:
    with EmbeddedS3(tmp_path / "s3") as s3:
        try:
            database = EmbeddedPostgres(tmp_path / "postgres").start()
        except UserError as error:
            pytest.skip(str(error))
        with database:
            loader = Lab(s3, database, tmp_path)
            loader.put(0, range(30))
            log = tmp_path / "log"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "webevents", "load"),
                        *("--settings", loader.settings_file),
                    ],
                    stderr=out,
                )
            try:
                _eventually(loader)
                database.kill()
                loader.put(0, range(30, 50))
                time.sleep(3)
                assert process.poll() is None, log.read_text()
                database.start()
                _eventually(loader)
                s3.stop()
                time.sleep(2)
                assert process.poll() is None, log.read_text()
                s3.start()  # it is empty now, as no real store would be
                loader.put(0, range(50, 70))
                _eventually(loader)
                loader.put(0, range(70, 80))
                process.terminate()
                assert process.wait(20) == 0, log.read_text()
                # A stop loads what is there by then.
                loader.check()
            finally:
                process.kill()
                process.wait()
            loader.store.close()


def _eventually(loader: Lab, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            loader.check()
            return
        except (AssertionError, psycopg.Error):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.3)


class Example:
    """The object-store example on the servers of the tests."""

    def __init__(
        self, kafka: str, s3: EmbeddedS3, database: EmbeddedPostgres, folder: Path
    ) -> None:
        spec = yaml.safe_load(EXAMPLE.read_text())["spec"]
        self.schema = f"s{uuid.uuid4().hex[:8]}"
        for topic in spec["topics"].values():
            topic.pop("name")
        spec["generator"]["eventsPerSecond"] = 300
        spec["generator"]["faults"] = {"corrupt": 0.01, "duplicates": 0.02}
        spec["archive"]["interval"] = "2s"
        spec["loader"] |= {"every": "2s", "schemaName": self.schema}
        plain: dict[str, Any] = {"mode": "json", "by_alias": True, "exclude_none": True}
        spec["s3"] = s3.spec.model_dump(**plain)
        spec["postgres"] = database.spec.model_dump(**plain)
        self.folder = folder
        self.database = database
        servers = Servers(kafka, "http://127.0.0.1:1")
        self.pipeline = TestPipeline(servers, folder, spec)
        quiet = {**spec, "generator": None}
        self.again = TestPipeline(servers, folder / "again", quiet, name=self.pipeline.name)

    def load(self) -> None:
        """Load what was archived after the run had stopped its loader."""
        settings = self.folder / self.pipeline.name / "workloads" / "loader.json"
        subprocess.run(
            [sys.executable, "-m", "webevents", "load", "--once", "--settings", settings],
            check=True,
            timeout=60,
        )

    def tables(self) -> Loaded:
        """What the tables hold."""
        return loaded_tables(self.database.spec, self.schema)


def test_the_example_has_the_raw_topics_figures_whatever_is_killed(
    kafka: str, s3: EmbeddedS3, database: EmbeddedPostgres, tmp_path: Path
) -> None:
    example = Example(kafka, s3, database, tmp_path)
    with example.pipeline.running("--seconds", "40", "--metrics") as run:
        for name in ("loader", "archive", "generator", "enrich", "loader", "archive"):
            time.sleep(4)
            run.kill_worker(name)
        # The store cannot be killed here: it keeps its objects in memory.
        database.kill()
        time.sleep(1)
        database.start()
        _wait_for_metric(example, "loader", "webevents_loader_messages_total")
        _wait_for_metric(example, "archive", "webevents_objects_waiting", at_least=0)
        report = run.finish()
    assert report["restarts"] == 6
    example.load()
    tables = example.tables()
    # A purchase needs a cart and some time, which a slow machine may not give.
    assert {"click", "view", "page_view"} == tables.events.keys() - {"purchase"}
    assert tables == raw_messages(example.pipeline)
    assert tables.failures > 0
    assert tables.events.total() + tables.scrolls.total() + tables.failures == report["events"]
    assert report["stages"]["archive"]["out"] == report["events"] > 5_000
    # Run again, the same: nothing is archived or loaded a second time.
    example.again.run()
    example.load()
    assert example.tables() == tables


def _wait_for_metric(example: Example, stage: str, name: str, at_least: float = 1) -> None:
    """Wait until a process of the run shows the metric, at least so high."""
    folder = example.folder / example.pipeline.name
    targets = json.loads((folder / "prometheus-targets.json").read_text())
    (address,) = (t["targets"][0] for t in targets if t["labels"]["stage"] == stage)
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError):
            text = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
            values = [
                sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == name
            ]
            if sum(values) >= at_least and values:
                return
        assert time.monotonic() < deadline, f"{stage} shows no {name}"
        time.sleep(0.3)
