"""The loader's rows: scrolls added up by URL, the others one by one, faults by name."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from webevents.logic.objects import Replayed
from webevents.stages.loader.rows import MAX_URL_BYTES, Rows, Unloaded, make_rows


def record(offset: int, value: bytes | None) -> Replayed:
    return Replayed("t", 1, offset, 0, None, value)


def event(offset: int, kind: str, **fields: Any) -> Replayed:
    made = {
        "event_id": f"e{offset}",
        "event_timestamp": f"2026-03-01 10:00:{offset:02}.5",
        "event_type": kind,
        "page_url": "https://shop/a",
        "user_id": f"u{offset}",
    }
    return record(offset, json.dumps(made | fields).encode())


def rows_of(*records: Replayed) -> Rows:
    return make_rows(records, "shop", ("scroll",))


def test_events_and_scrolls_part() -> None:
    rows = rows_of(
        event(1, "click"),
        event(4, "scroll"),
        event(3, "scroll"),
        event(5, "scroll", page_url="https://shop/b"),
        event(6, "purchase", user_id=None, user_custom_id=7, page_url="tab\there"),
        record(7, None),
    )
    assert rows.events == [
        b"shop/t/1/1\tu1\tclick\thttps://shop/a\t2026-03-01 10:00:01.500000\te1\n",
        b"shop/t/1/6\t7\tpurchase\ttab\\there\t2026-03-01 10:00:06.500000\te6\n",
    ]
    # User and time are those of the newest scroll, whatever the order.
    assert rows.scroll_lines() == [
        b"https://shop/a\t2\tu4\t2026-03-01 10:00:04.500000\n",
        b"https://shop/b\t1\tu5\t2026-03-01 10:00:05.500000\n",
    ]
    assert (rows.records, rows.scroll_count, rows.tombstones, rows.failures) == (6, 3, 1, [])


def test_what_cannot_be_stored_is_named_without_its_values() -> None:
    rows = rows_of(
        record(1, b"\xff no json secret"),
        event(2, "click", page_url="secret\x00"),
        event(3, "scroll", page_url="https://" + "ü" * MAX_URL_BYTES),
        event(4, "click", page_url="https://" + "ü" * MAX_URL_BYTES),
        event(5, "scroll", page_url=None),
        event(6, "click", event_timestamp="secret"),
        event(7, "click", user_id={"secret": 1}),
    )
    failures = [line.decode().rstrip("\n").split("\t") for line in rows.failures]
    assert [(where, reason) for where, reason, _ in failures] == [
        ("shop/t/1/1", "invalid_json"),
        ("shop/t/1/2", "rejected"),
        ("shop/t/1/3", "rejected"),
        ("shop/t/1/5", "missing_field"),
        ("shop/t/1/6", "invalid_timestamp"),
        ("shop/t/1/7", "wrong_type"),
    ]
    assert len(rows.events) == 1
    assert not any("secret" in detail for *_, detail in failures)


spans = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: tuple(sorted(pair)))


@given(offsets=st.sets(st.integers(0, 30)), ranges=st.lists(spans, max_size=6))
def test_only_what_no_range_covers_is_new(offsets: set[int], ranges: list[tuple[int, int]]) -> None:
    unloaded = Unloaded([record(offset, None) for offset in sorted(offsets)], ranges)
    found = [each.offset for each in unloaded]
    covered = {offset for first, behind in ranges for offset in range(first, behind)}
    assert found == sorted(offsets - covered)
    assert unloaded.skipped == len(offsets & covered)
    assert unloaded.behind == (max(offsets) + 1 if offsets else 0)
