"""The Fashion Campus day: its synthetic twin always, the real day where its files are there."""

import csv
import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fashion import CLICKS as CLICK_COUNTS
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from webevents.events.event import EventDecoder, event_time_us
from webevents.sources.output import FileOutput
from webevents.sources.replay import ReplayResult, replay, replay_settings, with_preset

ROOT = Path(__file__).parents[2]
TWIN = ROOT / "tests/data"
REAL = ROOT.parent / "shared/data/fashion-campus"
CLICKS, TRANSACTIONS = "fashion-campus-clicks", "fashion-campus-transactions"
START = "2026-01-31T00:00:00Z"

real_day = pytest.mark.skipif(
    not (REAL / "one-day-clicks.csv").is_file(),
    reason="the Fashion Campus day is not in ../shared/data/fashion-campus",
)


def replayed(
    path: Path, preset: str, folder: Path, **values: Any
) -> tuple[list[dict[str, Any]], ReplayResult]:
    own = {"path": str(path), "speed": None, "start": START, **values}
    target = folder / "events.ndjson"
    with FileOutput(target) as output:
        result = replay(replay_settings(with_preset(preset, own)), output)
    return [json.loads(line) for line in target.read_bytes().splitlines()], result


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_twin_is_what_its_script_makes() -> None:
    spec = importlib.util.spec_from_file_location("twin", TWIN / "make_clicks_twin.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    clicks, transactions = module.make()
    assert (TWIN / "twin-clicks.csv").read_text(encoding="utf-8") == clicks
    assert (TWIN / "twin-transactions.csv").read_text(encoding="utf-8") == transactions


@real_day
@pytest.mark.parametrize("kind", ["clicks", "transactions"])
def test_the_twin_has_the_columns_of_the_real_day_and_none_of_its_rows(kind: str) -> None:
    twin, real = cells(TWIN / f"twin-{kind}.csv"), cells(REAL / f"one-day-{kind}.csv")
    assert list(twin[0]) == list(real[0])
    assert not {row["session_id"] for row in twin} & {row["session_id"] for row in real}


def test_clicks_of_the_twin_become_valid_events(tmp_path: Path) -> None:
    events, result = replayed(TWIN / "twin-clicks.csv", CLICKS, tmp_path)
    rows = cells(TWIN / "twin-clicks.csv")
    assert (result.sent, result.skipped) == (len(rows), 0)
    decoder, at = EventDecoder(), 0
    for row, event in zip(rows, events, strict=True):
        decoded = decoder.decode(json.dumps(event).encode())
        at += int(row["event_offset"])
        assert event_time_us(decoded) == 1_769_817_600_000_000 + at * 1_000_000
        expected = {
            "session_id": row["session_id"],
            "event_type": row["event_name"],
            "event_id": row["event_id"],
            "traffic_source": row["traffic_source"],
            "product_id": int(float(row["product_id"])) if row["product_id"] else None,
            "quantity": int(float(row["quantity"])) if row["quantity"] else None,
            "price": float(row["item_price"]) if row["item_price"] else None,
            "payment_status": row["payment_status"],
            "search_query": row["search_keywords"],
            "promo_code": row["promo_code"],
            "promo_amount": float(row["promo_amount"]) if row["promo_amount"] else None,
            "event_timestamp": event["event_timestamp"],
            "currency": "IDR",
        }
        assert event == {name: value for name, value in expected.items() if value or value == 0}


def test_transactions_of_the_twin_become_valid_events(tmp_path: Path) -> None:
    events, result = replayed(TWIN / "twin-transactions.csv", TRANSACTIONS, tmp_path)
    rows = cells(TWIN / "twin-transactions.csv")
    assert (result.sent, result.skipped) == (len(rows), 0)
    decoder = EventDecoder()
    for row, event in zip(rows, events, strict=True):
        decoder.decode(json.dumps(event).encode())
        assert (event["event_type"], event["currency"]) == ("transaction", "IDR")
        assert event["order_id"] == row["booking_id"]
        assert event["user_id"] == row["customer_id"]
        assert event["total_amount"] == int(row["total_amount"])
        assert "revenue" not in event
    assert len({event["event_id"] for event in events}) == len(rows)
    assert replayed(TWIN / "twin-transactions.csv", TRANSACTIONS, tmp_path)[0] == events


def test_the_twin_as_parquet_gives_the_same_events(tmp_path: Path) -> None:
    path = tmp_path / "clicks.parquet"
    options = arrow_csv.ConvertOptions(strings_can_be_null=True)
    table = arrow_csv.read_csv(TWIN / "twin-clicks.csv", convert_options=options)
    assert table.schema.field("quantity").type == pa.float64()
    parquet.write_table(table, path)
    from_csv, _ = replayed(TWIN / "twin-clicks.csv", CLICKS, tmp_path)
    assert replayed(path, CLICKS, tmp_path)[0] == from_csv


@real_day
def test_the_clicks_of_the_real_day(tmp_path: Path) -> None:
    events, result = replayed(REAL / "one-day-clicks.csv", CLICKS, tmp_path)
    assert (result.sent, result.skipped, result.broken_sent) == (27_759, 0, 0)
    assert Counter(event["event_type"] for event in events) == CLICK_COUNTS
    assert len({event["session_id"] for event in events}) == 2_763
    assert len({event["event_id"] for event in events}) == 27_759
    # The day fits into one day, so it is in one index.
    assert {event["event_timestamp"][:10] for event in events} == {START[:10]}
    decoder = EventDecoder()
    for event in events:
        decoder.decode(json.dumps(event).encode())


@real_day
def test_the_transactions_of_the_real_day(tmp_path: Path) -> None:
    events, result = replayed(REAL / "one-day-transactions.csv", TRANSACTIONS, tmp_path)
    assert (result.sent, result.skipped) == (1_667, 0)
    assert Counter(event["payment_status"] for event in events) == {"Success": 1_582, "Failed": 85}
    assert sum(event["total_amount"] for event in events) == 1_828_852_234
    assert len({event["event_id"] for event in events}) == 1_667
    decoder = EventDecoder()
    for event in events:
        decoder.decode(json.dumps(event).encode())
