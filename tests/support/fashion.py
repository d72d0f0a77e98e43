"""The fashion-campus example: its day as files, and what both indices must hold of it."""

import subprocess
import sys
from collections import Counter
from csv import DictReader
from pathlib import Path
from typing import Any

import yaml
from elasticsearch import Elasticsearch
from kibana_queries import answer, body, lens_layers, shown
from pipelines import TestPipeline

from webevents.connectors.postgres import connect
from webevents.kibana.objects import saved_objects
from webevents.spec.postgres import PostgresSpec

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


def example(name: str, database: PostgresSpec | None) -> dict[str, Any]:
    """The example's spec, with names of its own for what belongs to one test alone.

    :param database: the shop's; None has the run start one.
    """
    spec: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())["spec"]
    del spec["topics"]
    debezium = spec["source"]["debezium"]
    if database:
        debezium["postgres"] = database.model_dump(mode="json", by_alias=True, exclude_none=True)
    debezium["topicPrefix"] = debezium["connector"] = name
    for table in debezium["tables"]:
        table["index"] = f"{name}-{table['name'].partition('.')[2]}"
    return spec


class Day:
    """One day's files (the real one's, or its twin's), and where they go and come out.

    :param name: as :func:`example` had it.
    """

    def __init__(self, name: str, database: PostgresSpec, elasticsearch: str) -> None:
        self.name = name
        self.database = database
        self.search = Elasticsearch(elasticsearch)
        self.real = REAL.is_dir()
        folder, prefix = (REAL, "one-day") if self.real else (TWIN, "twin")
        self.files = {
            table: folder / f"{prefix}-{table}.csv" for table in ("clicks", "transactions")
        }

    def _options(self) -> list[str]:
        spec = self.database
        return [
            *("--to", "postgres", "--speed", "full"),
            *("--postgres", spec.address, "--postgres-user", spec.username),
            *("--postgres-password-file", str(spec.password_file)),
        ]

    def replay(self, table: str, *, kill_after: float | None = None) -> str:
        """``webevents replay --to postgres`` at full speed; what it said."""
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "webevents", "replay", str(self.files[table])),
                *("--preset", f"fashion-campus-{table}", *self._options()),
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

    def load_dimensions(self, folder: Path) -> dict[str, int]:
        """Load the day's customers and products by their keys, in batch; the number of rows."""
        with self.files["transactions"].open() as file:
            transactions = list(DictReader(file))
        rows = {}
        for table in ("customer", "product"):
            keys = sorted({int(float(row[f"{table}_id"])) for row in transactions})
            path = folder / f"{table}s.csv"
            lines = (f"{key},{table} {key}\n" for key in keys)
            path.write_text(f"{table}_id,name\n{''.join(lines)}")
            command = [
                *(sys.executable, "-m", "webevents", "replay", str(path)),
                *("--table", table, "--key", f"{table}_id", *self._options()),
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
            rows[table] = len(keys)
        return rows

    def dimensions(self) -> dict[str, tuple[int, int]]:
        """Rows of the two tables, and the transactions that find theirs."""
        found = {}
        with connect(self.database) as connection:
            for table in ("customer", "product"):
                row = connection.execute(
                    f"SELECT (SELECT count(*) FROM {table}), count(*) "
                    f"FROM transactions JOIN {table} USING ({table}_id)"
                ).fetchone()
                assert row is not None
                found[table] = (row[0], row[1])
        return found

    def count(self, table: str, **body: Any) -> Any:
        index = f"{self.name}-{table}"
        self.search.indices.refresh(index=index)
        return self.search.search(index=index, size=0, track_total_hits=True, **body)

    def by(self, table: str, field: str) -> dict[str, int]:
        answer = self.count(table, aggs={"by": {"terms": {"field": field, "size": 100}}})
        return {
            bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["by"]["buckets"]
        }

    def total(self) -> float:
        answer = self.count("transactions", aggs={"sum": {"sum": {"field": "total_amount"}}})
        return float(answer["aggregations"]["sum"]["value"])


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


def check(day: Day, pipeline: TestPipeline) -> None:
    """Both indices, and the sessions, against the files; of the real day also as published."""
    with day.files["clicks"].open() as file:
        clicks = list(DictReader(file))
    with day.files["transactions"].open() as file:
        transactions = list(DictReader(file))
    events = day.by("clicks", "event_name")
    payments = day.by("transactions", "payment_status")
    sessions = pipeline.documents("sessions")
    assert events == Counter(row["event_name"] for row in clicks)
    assert payments == Counter(row["payment_status"] for row in transactions)
    assert day.total() == sum(float(row["total_amount"]) for row in transactions)
    assert len(sessions) == len({row["session_id"] for row in clicks})
    assert sum(session["total_events"] for session in sessions.values()) == len(clicks)
    check_panels(day, pipeline, clicks, transactions)
    if day.real:
        assert events == CLICKS
        assert payments == PAYMENTS
        assert day.total() == TOTAL_AMOUNT
        assert len(sessions) == 2_763
