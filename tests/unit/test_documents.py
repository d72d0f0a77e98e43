"""From messages to documents."""

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.events.event import REASONS, InvalidEvent
from webevents.events.fields import BY_NAME, FIELDS, Kind
from webevents.events.times import format_time, parse_time
from webevents.logic.documents import (
    Document,
    EventDocuments,
    SessionDocuments,
    document_id,
)

build = EventDocuments("web-events").build
build_session = SessionDocuments("web-sessions").build

BASE = {
    "event_id": "e1",
    "event_timestamp": "2020-07-05 14:32:45.407110",
    "event_type": "pageview",
}


def event(**fields: Any) -> bytes:
    return json.dumps(BASE | fields).encode()


def reason_of(raw: bytes, documents: Any = build) -> str:
    with pytest.raises(InvalidEvent) as caught:
        documents(raw)
    assert caught.value.reason in REASONS
    return caught.value.reason


def body_of(document: Document) -> Any:
    assert document.body is not None
    return json.loads(document.body)


def test_a_known_event_is_the_document_as_it_stands() -> None:
    samples = {
        Kind.BOOLEAN: True,
        Kind.LONG: 1,
        Kind.DOUBLE: 1.5,
        Kind.STRINGS: ["a"],
        Kind.COUNTS: {"a": 1},
        Kind.ID: 443,
        Kind.DATE: "2020-07-05T14:32:45Z",
    }
    raw = json.dumps({f.name: samples.get(f.kind, "text") for f in FIELDS}, indent=None).encode()
    document = build(raw)
    assert document.body is raw
    assert (document.index, document.id, document.version) == (
        "web-events-2020.07.05",
        "text",
        None,
    )
    nulls = event(**{f.name: None for f in FIELDS if f.name not in BASE})
    assert build(nulls).body is nulls


@pytest.mark.parametrize(
    ("time", "day"),
    [
        ("2020-07-05 23:59:59.999999", "2020.07.05"),
        ("2020-07-05T23:59:59Z", "2020.07.05"),
        ("2020-07-05T23:59:59.123456789-00:30", "2020.07.06"),
        ("2020-07-05T00:10:00+02", "2020.07.04"),
        ("2020-07-05T00:10:00+0230", "2020.07.04"),
        ("2024-02-29 12:00:00", "2024.02.29"),
        ("1970-01-01 00:00:00", "1970.01.01"),
        ("2261-12-31 23:59:59", "2261.12.31"),
    ],
)
def test_usual_times_are_left_alone(time: str, day: str) -> None:
    raw = event(event_timestamp=time)
    document = build(raw)
    assert document.index == f"web-events-{day}"
    assert document.body is raw


@pytest.mark.parametrize(
    "time",
    [
        "2020-07-05T14:32:45.4071101234",
        "2020-07-05T14:32:45,407",
        "2020-07-05T14:32+05:00",
        "2020-07-05T14:32:45+05:30:15",
        "2020-W27-7T14:32:45",
        "2020-07-05T143245.123",
    ],
)
def test_unusual_times_are_rewritten(time: str) -> None:
    document = build(event(event_timestamp=time, page_title="ü"))
    written = body_of(document)
    assert written == BASE | {
        "event_timestamp": format_time(parse_time(time)),
        "page_title": "ü",
    }
    assert document.index == "web-events-2020.07.05"


@pytest.mark.parametrize(
    "time",
    [
        "",
        "yesterday",
        "2020-07-05",
        "2020-02-30 12:00:00",
        "2020-13-01 12:00:00",
        "2020-07-05 24:00:00",
        "2020-07-05 12:60:00",
        "2020-07-05 12:00:60",
        "1969-12-31 23:59:59",
        "1970-01-01T00:00:00+05:00",
        "2262-01-01 00:00:00",
        "2020-07-05 12:00:00+25:00",
        "٢٠٢٠-07-05 12:00:00",
    ],
)
def test_no_time(time: str) -> None:
    assert reason_of(event(event_timestamp=time)) == "invalid_timestamp"
    # A day that is remembered does not let a wrong hour in.
    build(event(event_timestamp="2020-07-05 00:00:00"))
    assert reason_of(event(event_timestamp=time)) == "invalid_timestamp"


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 2),
        max_value=datetime(2261, 12, 30),
    ),
    st.sampled_from([" ", "T"]),
    st.sampled_from(["", "Z", "+02:00", "-11", "+1400", "-05:30:15"]),
)
def test_the_index_is_the_day_in_utc(moment: Any, gap: str, zone: str) -> None:
    text = moment.isoformat(gap) + zone
    document = build(event(event_timestamp=text))
    written = format_time(parse_time(text))
    assert document.index == "web-events-" + written[:10].replace("-", ".")
    assert parse_time(body_of(document)["event_timestamp"]) == parse_time(text)


def test_ids_that_are_too_long_are_hashed() -> None:
    for short in ("a", "x" * 512, "ü" * 256, "€" * 170):
        assert build(event(event_id=short)).id == short
    long = ["x" * 513, "ü" * 257, "€" * 171, "x" * 514]
    hashed = [build(event(event_id=one)).id for one in long]
    assert len(set(hashed)) == len(long)
    assert all(len(one) == 64 for one in hashed)
    assert hashed == [document_id(one) for one in long]
    assert body_of(build(event(event_id=long[0])))["event_id"] == long[0]


def test_unknown_fields_move_into_extra() -> None:
    document = build(event(colour="blue", cart={"items": [1, {"a": None}]}, host="h"))
    assert body_of(document) == BASE | {
        "host": "h",
        "extra": {"colour": "blue", "cart": {"items": [1, {"a": None}]}},
    }


@pytest.mark.parametrize(
    ("fields", "extra"),
    [
        ({"extra": {"a": 1}, "b": 2}, {"a": 1, "b": 2}),
        ({"extra": {"a": 1}, "a": 2}, {"a": [1, 2]}),
        ({"extra": "text"}, {"extra": "text"}),
        ({"extra": ["a", {"b": 1}], "c": 1}, {"extra": ["a", {"b": 1}], "c": 1}),
        ({"extra": None, "b": 2}, {"b": 2}),
        ({"extra": {"a": 1}}, {"a": 1}),
    ],
)
def test_extra_that_the_event_carries_is_merged(
    fields: dict[str, Any], extra: dict[str, Any]
) -> None:
    assert body_of(build(event(**fields)))["extra"] == extra


def test_unknown_fields_may_fail_the_event() -> None:
    strict = EventDocuments("web-events", "fail").build
    raw = event(host="h")
    assert strict(raw).body is raw
    assert body_of(strict(event(extra={"a": 1})))["extra"] == {"a": 1}
    with pytest.raises(InvalidEvent, match="unknown field colour") as caught:
        strict(event(colour="jane"))
    assert "jane" not in caught.value.detail
    with pytest.raises(InvalidEvent) as caught:
        strict(event(**{"jane@mail.example": 1}))
    assert caught.value.detail == "unknown field (17 characters)"
    assert caught.value.reason in REASONS
    assert reason_of(event(colour="blue", price="1"), strict) == "wrong_type"


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=6).filter(lambda n: n not in BY_NAME and n != "extra"), _json),
    st.none() | st.dictionaries(st.sampled_from(["own", "carried"]), _json),
    st.sampled_from([None, 2]),
)
def test_nothing_is_lost_and_nothing_else_at_the_root(
    unknown: dict[str, Any], extra: dict[str, Any] | None, indent: int | None
) -> None:
    given_event = BASE | unknown | ({} if extra is None else {"extra": extra})
    document = build(json.dumps(given_event, indent=indent).encode())
    assert document.body is not None
    assert b"\n" not in document.body
    written = json.loads(document.body)
    assert set(written) <= {*BASE, "extra"}
    kept = {**(extra or {}), **unknown}
    both = set(extra or {}) & set(unknown)
    assert {k: v for k, v in (written.get("extra") or {}).items() if k not in both} == {
        k: v for k, v in kept.items() if k not in both
    }
    assert {name: written[name] for name in BASE} == BASE


def test_line_breaks_do_not_break_the_bulk_request() -> None:
    raw = json.dumps(BASE | {"page_title": "a\nb", "extra": {"a": [1, 2]}}, indent=2).encode()
    assert b"\n" in raw
    document = build(raw)
    assert document.body is not None
    assert b"\n" not in document.body
    assert json.loads(document.body) == json.loads(raw)


def test_a_name_that_comes_twice_is_written_once() -> None:
    """Elasticsearch refuses an object with the same name twice; the last one holds."""
    document = build(event(colour=1)[:-1] + b',"colour":2}')
    assert document.body is not None
    assert document.body.count(b"colour") == 1
    assert body_of(document)["extra"] == {"colour": 2}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "wrong_type"),
        (b"\xff", "invalid_json"),
        (event(host="h").replace(b'"h"', b'"\xff"'), "invalid_json"),
        (event(unknown="h").replace(b'"h"', b'"\xff"'), "invalid_json"),
        (event(price=1).replace(b"1}", b"NaN}"), "invalid_json"),
        (b"{}", "missing_field"),
        (event(event_id=""), "missing_field"),
        (event(event_id=None), "missing_field"),
        (event(event_type=""), "missing_field"),
        (event(price="12"), "wrong_type"),
        (event(is_bot="yes"), "wrong_type"),
        (event(quantity=1.5), "wrong_type"),
        (event(host={"a": 1}), "wrong_type"),
        (event(deep=json.loads("[" * 20 + "]" * 20)), "too_deep"),
        (event(extra={"a": json.loads("[" * 20 + "]" * 20)}), "too_deep"),
        (b'{"event_id":' + b"[" * 100_000, "too_deep"),
    ],
)
def test_what_cannot_be_a_document(raw: bytes, reason: str) -> None:
    assert reason_of(raw) == reason


def session(**fields: Any) -> bytes:
    base = {
        "session_id": "s1",
        "version": 7,
        "first_event_timestamp": "2020-07-05T23:59:59.407110Z",
        "total_events": 3,
    }
    return json.dumps(base | fields).encode()


def test_a_session_has_its_version() -> None:
    raw = session()
    assert build_session(raw) == Document("web-sessions-2020.07.05", "s1", raw, 7)
    assert build_session(raw).body is raw


def test_a_retraction_deletes() -> None:
    assert build_session(session(retracted=True)) == Document(
        "web-sessions-2020.07.05", "s1", None, 7
    )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "invalid_json"),
        (b"{}", "wrong_type"),
        (session(version="7"), "wrong_type"),
        (session(session_id=""), "missing_field"),
        (session(first_event_timestamp="x"), "invalid_timestamp"),
    ],
)
def test_what_is_no_session(raw: bytes, reason: str) -> None:
    assert reason_of(raw, build_session) == reason


def test_documents_are_small_values() -> None:
    document = build(event())
    with pytest.raises(AttributeError):
        document.id = "other"  # type: ignore[misc]
    assert msgspec.structs.asdict(document)["version"] is None


CHOSEN = {"timestamp": "event_timestamp", "referrer": "referer_url", "type": "event_type", "a": "b"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"referer_url": "https://x/"}, {"referrer": "https://x/"}),
        ({"referer_url": None, "price": 1.5}, {"referrer": None}),
        ({"referrer": "another field", "extra": {"a": 1}}, {}),
        ({"b": {"unknown": [1]}}, {"a": {"unknown": [1]}}),
    ],
)
def test_chosen_fields_are_the_document_under_their_names(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    document = EventDocuments("web-events", fields=CHOSEN).build(event(**fields))
    always = {"timestamp": BASE["event_timestamp"], "type": "pageview"}
    assert body_of(document) == always | expected
    assert (document.index, document.id) == ("web-events-2020.07.05", "e1")


def test_chosen_fields_hold_what_all_documents_hold() -> None:
    documents = EventDocuments("web-events", fields=CHOSEN).build
    rare = documents(event(event_timestamp="2020-07-05T14:32:45,407"))
    assert body_of(rare)["timestamp"] == "2020-07-05T14:32:45.407000Z"
    over_lines = json.dumps(BASE | {"b": {"c": 1}}, indent=1).encode()
    assert b"\n" not in (documents(over_lines).body or b"\n")
    assert reason_of(event(price="1"), documents) == "wrong_type"
    assert reason_of(b'{"event_id": "e1"}', documents) == "missing_field"
