"""Rows: what a column holds, and what is refused by name before PostgreSQL sees it."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.events.event import InvalidEvent
from webevents.logic.rows import values
from webevents.logic.rows.events import EventRows
from webevents.logic.rows.sessions import SessionRows
from webevents.logic.rows.tables import (
    PROCESSED_EVENTS,
    SESSION_EVENTS_AGGREGATED_IP,
    SESSION_METRICS,
    Table,
)

BOTH = [SESSION_METRICS, SESSION_EVENTS_AGGREGATED_IP]


def fields(line: bytes) -> list[str | None]:
    """Read a line as COPY does."""
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1

    def read(field: str) -> str | None:
        if field == r"\N":
            return None
        escapes = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
        return re.sub(r"\\(.)", lambda found: escapes[found[1]], field)

    return [read(field) for field in line[:-1].decode().split("\t")]


def stored(table: Table, line: bytes | None) -> dict[str, str | None]:
    assert line is not None
    return dict(zip(table.names, fields(line), strict=True))


def event(**changes: Any) -> bytes:
    made = {
        "event_id": "e1",
        "event_timestamp": "2026-03-01 12:00:00.123456",
        "event_type": "pageview",
        "ip_address": "203.0.113.9",
        "referer_url": "https://search.example/",
        "host": "blog.example.com",
        "page_url": "https://blog.example.com/a",
        "geo_country": "DE",
        "geo_region_name": "Hessen",
        "geo_city": "Kassel",
    }
    made |= changes
    return json.dumps({name: value for name, value in made.items() if value != "absent"}).encode()


def session(**changes: Any) -> bytes:
    made = {
        "session_id": "ab" * 16,
        "pipeline": "shop",
        "session_key": "u1",
        "version": 7,
        "open": False,
        "user_id": "u1",
        "total_events": 3,
        "event_type_counts": {"click": 1, "page_view": 2},
        "first_event_timestamp": "2026-03-01T12:00:00.000001Z",
        "last_event_timestamp": "2026-03-01T12:01:30.000001Z",
        "session_duration_minutes": 1.5,
        "unique_pages_count": 2,
        "unique_pages": ["/a", "/b"],
        "total_revenue": 12.5,
        "products_viewed_count": 1,
        "products_viewed": ["p1"],
        "search_queries": ["desk lamp"],
        "unique_referrers_count": 0,
        "referrers": [],
        "user_agent": "Mozilla/5.0",
        "ip_address": "203.0.113.9",
        "host": "shop.example.com",
    }
    made |= changes
    return json.dumps({name: value for name, value in made.items() if value != "absent"}).encode()


def test_session_metrics_has_the_references_seventeen_columns_first() -> None:
    types = [f"{column.name} {column.type}" for column in SESSION_METRICS.columns]
    assert types[:17] == [
        "session_id varchar(255)",
        "user_id varchar(255)",
        "total_events integer",
        "event_type_counts jsonb",
        "first_event_timestamp timestamp",
        "last_event_timestamp timestamp",
        "session_duration_minutes float",
        "unique_pages_count integer",
        "unique_pages jsonb",
        "total_revenue decimal(10,2)",
        "products_viewed_count integer",
        "products_viewed jsonb",
        "search_queries jsonb",
        "unique_referrers_count integer",
        "referrers jsonb",
        "user_agent text",
        "ip_address inet",
    ]
    assert types[17:] == ["pipeline text", "version bigint"]


def test_a_session_becomes_a_row_of_each_table() -> None:
    metrics, aggregated = SessionRows(BOTH).build(session())
    assert (metrics.table, metrics.key, metrics.version) == ("session_metrics", "ab" * 16, 7)
    row = stored(SESSION_METRICS, metrics.line)
    assert row["user_id"] == "u1"
    assert row["total_events"] == "3"
    assert json.loads(row["event_type_counts"] or "") == {"click": 1, "page_view": 2}
    assert row["first_event_timestamp"] == "2026-03-01 12:00:00.000001"
    assert row["total_revenue"] == "12.50"
    assert row["search_queries"] == '["desk lamp"]'
    assert row["version"] == "7"
    assert stored(SESSION_EVENTS_AGGREGATED_IP, aggregated.line) == {
        "session_id": "ab" * 16,
        "start_session": "2026-03-01 12:00:00.000001",
        "end_session": "2026-03-01 12:01:30.000001",
        "ip": "203.0.113.9",
        "host": "shop.example.com",
        "web_events": "3",
        "pipeline": "shop",
        "version": "7",
    }


def test_only_the_tables_that_are_asked_for_are_built() -> None:
    assert [row.table for row in SessionRows([SESSION_METRICS]).build(session())] == [
        "session_metrics"
    ]
    assert SessionRows([PROCESSED_EVENTS]).build(session()) == []
    assert EventRows([SESSION_METRICS]).build(event()) == []


def test_a_retraction_has_no_line() -> None:
    raw = json.dumps(
        {
            "session_id": "x",
            "version": 9,
            "first_event_timestamp": "2026-03-01T12:00:00Z",
            "retracted": True,
        }
    ).encode()
    assert [(row.key, row.version, row.line) for row in SessionRows(BOTH).build(raw)] == [
        ("x", 9, None),
        ("x", 9, None),
    ]


def test_what_a_session_lacks_is_null() -> None:
    raw = session(user_id=None, user_agent=None, ip_address=None, host="absent")
    metrics, aggregated = SessionRows(BOTH).build(raw)
    row = stored(SESSION_METRICS, metrics.line)
    assert (row["user_id"], row["user_agent"], row["ip_address"]) == (None, None, None)
    assert stored(SESSION_EVENTS_AGGREGATED_IP, aggregated.line)["host"] is None


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"user_id": "u" * 256}, "user_id: longer than 255 characters"),
        ({"user_id": "a\0b"}, "user_id: holds the character U+0000"),
        ({"session_id": "s" * 256}, "session_id: longer than 255 characters"),
        ({"user_agent": "\0"}, "user_agent: holds the character U+0000"),
        ({"unique_pages": ["/a", "/\0"]}, "unique_pages: holds the character U+0000"),
        ({"event_type_counts": {"\0": 1}}, "event_type_counts: holds the character U+0000"),
        ({"total_revenue": 1e8}, "total_revenue: does not fit into decimal(10,2)"),
        ({"total_revenue": -99_999_999.996}, "total_revenue: does not fit"),
        ({"total_events": 2**31}, "total_events: out of the range"),
        ({"version": 2**63}, "version: out of the range"),
        ({"version": -1}, "version: out of the range"),
        ({"ip_address": "203.0.113.256"}, "ip_address: not an IP address"),
        ({"ip_address": "fe80::1%eth0"}, "ip_address: not an IP address"),
        ({"ip_address": "203.0.113.0/24"}, "ip_address: not an IP address"),
        ({"last_event_timestamp": "tomorrow"}, "last_event_timestamp: not a time"),
        ({"first_event_timestamp": "0001-01-01T00:00:00Z"}, "first_event_timestamp: not a time"),
    ],
)
def test_what_a_column_cannot_hold_is_refused_by_name(changes: dict[str, Any], detail: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        SessionRows(BOTH).build(session(**changes))
    assert caught.value.reason == "rejected"
    assert caught.value.detail.startswith(detail)
    for value in changes.values():
        assert str(value) not in caught.value.detail


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "invalid_json"),
        (b'"text"', "wrong_type"),
        (session(version="absent"), "wrong_type"),
        (session(unique_pages=[1]), "wrong_type"),
        (session(session_id=""), "missing_field"),
        (session(last_event_timestamp="absent"), "missing_field"),
    ],
)
def test_what_is_no_session_record(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        SessionRows(BOTH).build(raw)
    assert caught.value.reason == reason


def test_a_value_just_within_its_column() -> None:
    raw = session(total_revenue=99_999_999.99, user_id="u" * 255, total_events=2**31 - 1)
    row = stored(SESSION_METRICS, SessionRows(BOTH).build(raw)[0].line)
    assert row["total_revenue"] == "99999999.99"


def test_an_event_becomes_a_row() -> None:
    (row,) = EventRows([PROCESSED_EVENTS]).build(event())
    assert (row.key, row.version) == ("e1", 0)
    found = stored(PROCESSED_EVENTS, row.line)
    geodata = json.loads(found.pop("geodata") or "")
    assert geodata == {"country": "DE", "state": "Hessen", "city": "Kassel"}
    assert found == {
        "event_id": "e1",
        "ip": "203.0.113.9",
        "event_timestamp": "2026-03-01 12:00:00.123456",
        "referrer": "https://search.example/",
        "host": "blog.example.com",
        "url": "https://blog.example.com/a",
    }


def test_times_with_a_zone_are_stored_in_utc() -> None:
    (row,) = EventRows([PROCESSED_EVENTS]).build(event(event_timestamp="2026-03-01T01:00:00+02:00"))
    assert stored(PROCESSED_EVENTS, row.line)["event_timestamp"] == "2026-02-28 23:00:00"


def test_a_place_that_is_not_known_is_an_empty_object() -> None:
    nowhere = {"geo_country": "absent", "geo_region_name": None, "geo_city": ""}
    (row,) = EventRows([PROCESSED_EVENTS]).build(event(**nowhere))
    assert stored(PROCESSED_EVENTS, row.line)["geodata"] == "{}"


def test_host_and_url_fall_back_to_what_enriching_found() -> None:
    raw = event(host="absent", page_host="a.example", page_url="absent", page_url_path="/p")
    found = stored(PROCESSED_EVENTS, EventRows([PROCESSED_EVENTS]).build(raw)[0].line)
    assert (found["host"], found["url"]) == ("a.example", "/p")


@pytest.mark.parametrize(
    ("name", "column"),
    [("event_id", "event_id"), ("page_url", "url"), ("host", "host"), ("geo_city", "geodata")],
)
def test_an_event_with_u0000_is_refused_by_name(name: str, column: str) -> None:
    with pytest.raises(InvalidEvent, match=f"rejected: {column}: holds the character U"):
        EventRows([PROCESSED_EVENTS]).build(event(**{name: "a\0b"}))


def test_an_identifier_that_no_index_could_hold_is_hashed() -> None:
    (row,) = EventRows([PROCESSED_EVENTS]).build(event(event_id="x" * 5000))
    assert re.fullmatch("[0-9a-f]{64}", row.key)
    assert stored(PROCESSED_EVENTS, row.line)["event_id"] == row.key


plain = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.lists(plain, min_size=1))
def test_any_text_is_read_back_from_its_line(texts: list[str]) -> None:
    assert fields(values.line(values.text("c", each) for each in texts)) == texts


nested = st.recursive(
    plain | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain, inner, max_size=4),
    max_leaves=10,
)


@given(nested)
def test_any_json_is_read_back_from_its_line(value: Any) -> None:
    (found,) = fields(values.line([values.jsonb("c", value)]))
    assert json.loads(found or "") == value


@given(plain)
def test_an_escape_that_the_text_itself_spells_is_no_u0000(text: str) -> None:
    (found,) = fields(values.line([values.jsonb("c", [text + r"\u0000"])]))
    assert json.loads(found or "") == [text + r"\u0000"]


@given(st.ip_addresses())
def test_any_address_is_held(address: Any) -> None:
    made = values.inet("c", str(address))
    assert "%" not in made
    assert made == str(address)


@given(st.floats(min_value=-99_999_999.99, max_value=99_999_999.99))
def test_any_revenue_that_fits_is_rounded_to_the_cent(amount: float) -> None:
    made = values.decimal("c", amount, 10, 2)
    assert abs(float(made) - amount) <= 0.00501
    assert re.fullmatch(r"-?[0-9]{1,8}\.[0-9]{2}", made)
