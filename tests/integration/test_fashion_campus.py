"""The fashion-campus example: a recorded day goes into PostgreSQL, and comes out in both indices.

Steps: the example runs; the day's clicks and transactions are replayed into the database at full
speed, while the replay, Kafka Connect and a worker of each stage are killed; the run drains.
Expected: the figures of the day, which are known; the same when all is done once more.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from csv import DictReader
from pathlib import Path
from typing import Any

import pytest
import yaml
from elasticsearch import Elasticsearch
from kibana_queries import answer, body, lens_layers, shown
from pipelines import Run, Servers, TestPipeline, children

from webevents.errors import UserError
from webevents.kibana.objects import saved_objects
from webevents.local.connect_server import EmbeddedConnect
from webevents.local.jars import ensure_jars
from webevents.local.java import find_jdk
from webevents.local.postgres_server import EmbeddedPostgres

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "manifests" / "examples" / "fashion-campus.yaml"
REAL = ROOT.parent / "shared" / "data" / "fashion-campus"
TWIN = ROOT / "tests" / "data"
CLICKS = {
    "CLICK": 6_146,
    "HOMEPAGE": 5_559,
    "SCROLL": 4_117,
    "ADD_TO_CART": 3_157,
    "ITEM_DETAIL": 2_895,
    "SEARCH": 2_827,
    "PROMO_PAGE": 1_702,
    "BOOKING": 1_145,
    "ADD_PROMO": 211,
}
"""Of the real day, as its publisher counts them."""
PAYMENTS = {"Success": 1_582, "Failed": 85}
TOTAL_AMOUNT = 1_828_852_234


@pytest.fixture
def source(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    try:
        find_jdk()
        ensure_jars(*EmbeddedConnect.jar_sets)
        folder = tmp_path / "source"
        server = EmbeddedPostgres(folder, extra={"wal_level": "logical"}).start()
    except UserError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


class Day:
    """One day's files, and the example with a database, topics and indices of its own."""

    def __init__(
        self, folder: Path, kafka: str, elasticsearch: str, source: EmbeddedPostgres
    ) -> None:
        self.source = source
        self.search = Elasticsearch(elasticsearch)
        prefix = "one-day" if folder == REAL else "twin"
        self.files = {
            table: folder / f"{prefix}-{table}.csv" for table in ("clicks", "transactions")
        }

    def fill(self, spec: dict[str, Any], name: str) -> None:
        """Name the database and what belongs to this test alone."""
        debezium = spec["source"]["debezium"]
        debezium["postgres"] = self.source.spec.model_dump(
            mode="json", by_alias=True, exclude_none=True
        )
        debezium["topicPrefix"] = debezium["connector"] = name
        for table in debezium["tables"]:
            table["index"] = f"{name}-{table['name'].partition('.')[2]}"

    def replay(self, table: str, *, kill_after: float | None = None) -> str:
        """``webevents replay --to postgres`` at full speed; what it said."""
        spec = self.source.spec
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "webevents", "replay", str(self.files[table])),
                *("--preset", f"fashion-campus-{table}", "--to", "postgres", "--speed", "full"),
                *("--postgres", spec.address, "--postgres-user", spec.username),
                *("--postgres-password-file", str(spec.password_file)),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, said = process.communicate(timeout=kill_after or 120)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
            assert kill_after, said
            return said
        assert process.returncode == 0, said
        return said

    def count(self, name: str, table: str, **body: Any) -> Any:
        index = f"{name}-{table}"
        self.search.indices.refresh(index=index)
        return self.search.search(index=index, size=0, track_total_hits=True, **body)

    def by(self, name: str, table: str, field: str) -> dict[str, int]:
        answer = self.count(name, table, aggs={"by": {"terms": {"field": field, "size": 100}}})
        return {
            bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["by"]["buckets"]
        }

    def total(self, name: str) -> float:
        answer = self.count(name, "transactions", aggs={"sum": {"sum": {"field": "total_amount"}}})
        return float(answer["aggregations"]["sum"]["value"])


def kill_connect(run: Run) -> None:
    """SIGKILL the run's Kafka Connect as soon as there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for pid, command in children(run.process.pid):
            if any("ConnectDistributed" in part for part in command):
                os.kill(pid, signal.SIGKILL)
                return
        time.sleep(0.2)
    raise AssertionError("no Kafka Connect")


def test_the_day_has_its_figures_whatever_is_killed(
    kafka: str, elasticsearch: str, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    folder = REAL if REAL.is_dir() else TWIN
    day = Day(folder, kafka, elasticsearch, source)
    spec = yaml.safe_load(EXAMPLE.read_text())["spec"]
    del spec["topics"]
    name = f"f{os.getpid()}x{time.time_ns() % 10**6}"
    day.fill(spec, name)
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, spec, name=name)

    with pipeline.running() as run:
        day.replay("clicks", kill_after=2.5)
        day.replay("clicks")
        day.replay("transactions")
        kill_connect(run)
        for stage in ("capture", "enrich", "index", "sessionize"):
            run.kill_worker(stage)
            time.sleep(1)
        deadline = time.monotonic() + 180
        while " reads " not in run.log.read_text():
            assert time.monotonic() < deadline, run.log.read_text()[-3000:]
            time.sleep(0.5)
        run.interrupt()
        report = run.finish(300)
    check(day, name, pipeline, folder)
    assert report["stages"]["capture"]["failed"] == 0

    assert "nothing was written" in day.replay("clicks")
    with pipeline.running() as run:
        time.sleep(15)
        run.interrupt()
        run.finish(200)
    check(day, name, pipeline, folder)


def check_panels(
    day: Day, pipeline: TestPipeline, clicks: list[dict[str, str]], sales: list[dict[str, str]]
) -> None:
    """The ten panels of the shop's dashboard, asked as Kibana would, against the files."""
    panels: dict[str, list[dict[Any, dict[str, Any]]]] = {}
    for layer in lens_layers(saved_objects(pipeline.pipeline)):
        if layer.dashboard == f"{pipeline.name}-shop":
            query = body(layer, "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
            response = day.search.search(index=layer.index, **query)
            panels.setdefault(layer.panel, []).append(shown(layer, answer(layer, response)))
    assert len(panels) == 10

    def one(panel: str) -> dict[str, Any]:
        [table] = panels[panel]
        [row] = table.values()
        return row

    def counts(panel: str, label: str) -> dict[str, float]:
        [table] = panels[panel]
        return {key[0]: row[label] for key, row in table.items()}

    def total(table: dict[Any, dict[str, Any]], label: str) -> float:
        return sum(row[label] for row in table.values())

    def of(rows: list[dict[str, str]], name: str) -> Counter[str]:
        return Counter(row[name] for row in rows if row[name])

    amount = sum(float(row["total_amount"]) for row in sales)
    paid = sum(float(row["total_amount"]) for row in sales if row["payment_status"] == "Success")
    assert one("Click records") == {"Clicks": len(clicks)}
    assert one("Transaction records") == {"Transactions": len(sales)}
    assert one("Total sale (rupiah)") == {"All transactions": amount, "paid": paid}
    assert 0 < paid < amount
    keywords = of(clicks, "search_keywords")
    found = counts("Search keywords", "Clicks")
    assert len(found) == min(100, len(keywords))
    assert sorted(found.values()) == sorted(n for _, n in keywords.most_common(100))
    assert all(keywords[keyword] == n for keyword, n in found.items())
    assert counts("Click sources", "Clicks") == of(clicks, "traffic_source")
    assert counts("Event names", "Clicks") == of(clicks, "event_name")
    assert counts("Payment methods", "Transactions") == of(sales, "payment_method")
    per_minute = panels["Clicks vs transactions per minute"]
    assert total(per_minute[0], "Clicks") == len(clicks)
    assert total(per_minute[1], "Transactions") == len(sales)
    [slots] = panels["Transactions per 10 minutes"]
    assert total(slots, "Quantity") == sum(int(float(row["quantity"] or 0)) for row in sales)
    assert total(slots, "Cost (rupiah)") == amount
    customers = len({row["customer_id"] for row in sales})
    assert customers * 0.97 <= total(slots, "Customers")
    assert max(row["Products"] for row in slots.values()) > 0
    [timeline] = panels["Click event names"]
    by_event = Counter[str]()
    for (name, _), row in timeline.items():
        by_event[name] += row["Clicks"]
    assert by_event == of(clicks, "event_name")


def check(day: Day, name: str, pipeline: TestPipeline, folder: Path) -> None:
    """Both indices, and the sessions, against the files; of the real day also as published."""
    with day.files["clicks"].open() as file:
        clicks = list(DictReader(file))
    with day.files["transactions"].open() as file:
        transactions = list(DictReader(file))
    events = day.by(name, "clicks", "event_name")
    payments = day.by(name, "transactions", "payment_status")
    sessions = pipeline.documents("sessions")
    assert events == Counter(row["event_name"] for row in clicks)
    assert payments == Counter(row["payment_status"] for row in transactions)
    assert day.total(name) == sum(float(row["total_amount"]) for row in transactions)
    assert len(sessions) == len({row["session_id"] for row in clicks})
    assert sum(session["total_events"] for session in sessions.values()) == len(clicks)
    check_panels(day, pipeline, clicks, transactions)
    if folder == REAL:
        assert events == CLICKS
        assert payments == PAYMENTS
        assert day.total(name) == TOTAL_AMOUNT
        assert len(sessions) == 2_763
