"""Messages of Debezium, decoded into changes, events and documents."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.events.event import InvalidEvent
from webevents.logic.changes.envelope import Change, ChangeDecoder
from webevents.logic.changes.events import ChangeDocuments, ChangeEvents
from webevents.logic.changes.values import UNAVAILABLE
from webevents.logic.documents import EventDocuments
from webevents.spec.source import CapturedTable

COLUMNS = [
    {"type": "int32", "optional": False, "field": "id"},
    {"type": "string", "optional": True, "field": "name"},
]


def typed(name: str, kind: str, field: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "optional": True, "name": name, "field": field, **more}


def value(
    op: str = "c",
    after: dict[str, Any] | None = None,
    before: dict[str, Any] | None = None,
    columns: list[dict[str, Any]] | None = None,
    **source: Any,
) -> bytes:
    """A message as Kafka Connect's JSON converter writes it, with its schema."""
    row = {"type": "struct", "optional": True, "fields": columns or COLUMNS}
    schema = {
        "type": "struct",
        "fields": [{**row, "field": "before"}, {**row, "field": "after"}],
    }
    told = {"schema": "public", "table": "clicks", "lsn": 100, "ts_us": 1_000_000, **source}
    payload = {"op": op, "before": before, "after": after, "source": told, "ts_ms": 2}
    return json.dumps({"schema": schema, "payload": payload}).encode()


def key(**columns: Any) -> bytes:
    return json.dumps({"schema": {"type": "struct"}, "payload": columns or {"id": 1}}).encode()


def decode(message: bytes, its_key: bytes | None = key(), offset: int = 7) -> Change:
    return ChangeDecoder().decode(its_key, message, offset)


def refused(message: bytes, its_key: bytes | None = key()) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        decode(message, its_key)
    return caught.value


# The envelope.


@pytest.mark.parametrize("op", ["c", "r", "u"])
def test_a_row_after_a_change(op: str) -> None:
    change = decode(value(op, {"id": 1, "name": "ann"}))
    assert change == Change(
        "public.clicks", op, "1", {"id": 1, "name": "ann"}, True, 100, 1_000_000
    )
    assert change.is_new == (op != "u")


def test_a_delete_has_the_row_before_it() -> None:
    change = decode(value("d", None, {"id": 1, "name": "ann"}))
    assert (change.deleted, change.whole, change.row["name"]) == (True, True, "ann")


def test_a_delete_without_replica_identity_full_knows_its_key_only() -> None:
    change = decode(value("d", None, {"id": 1, "name": None}))
    assert (change.key, change.whole) == ("1", False)
    assert not decode(value("d")).whole


def test_messages_without_schemas_are_taken_too() -> None:
    payload = json.loads(value("c", {"id": 1, "name": "ann"}))["payload"]
    change = decode(json.dumps(payload).encode(), b'{"id": 5}')
    assert (change.key, change.row) == ("5", {"id": 1, "name": "ann"})


def test_a_key_of_several_columns_is_unambiguous() -> None:
    row = value("c", {"id": 1})
    keys = [key(a="x|y", b="z"), key(a="x", b="y|z"), key(a="x", b=1), key(a="x", b="1")]
    assert len({decode(row, each).key for each in keys}) == len(keys)
    assert decode(row, keys[2]).key == '["x",1]'


def test_without_a_position_the_offset_is_the_version() -> None:
    message = value("c", {"id": 1}, lsn=None, ts_us=None, ts_ms=5)
    assert (decode(message).version, decode(message).changed_us) == (7, 5000)


def test_a_large_value_that_an_update_left_alone_is_taken_from_before_it() -> None:
    after = {"id": 1, "name": UNAVAILABLE}
    assert decode(value("u", after, {"id": 1, "name": "ann"})).row["name"] == "ann"
    error = refused(value("u", after))
    assert error.reason == "invalid_change"
    assert "column name" in error.detail
    assert "REPLICA IDENTITY FULL" in error.detail


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\xff", "invalid_json"),
        (b"[1]", "invalid_change"),
        (b"{}", "invalid_change"),
        (b'{"payload": null}', "invalid_change"),
        (b'{"payload": {"op": "c"}}', "invalid_change"),
        (value("t", {"id": 1}), "invalid_change"),
        (value("m", {"id": 1}), "invalid_change"),
        (value("c", None), "invalid_change"),
        (value("c", {"id": 1}, lsn=-1), "invalid_change"),
        (value("c", {"id": 1}, lsn=2**63), "invalid_change"),
        (value("c", {"id": 1}, ts_us=-1), "invalid_change"),
        (value("c", {"id": 1}, ts_us=2**63 - 1), "invalid_change"),
        (value("c", {"id": 1}, columns=["id"]), "invalid_change"),  # type: ignore[list-item]
        (b'{"a":' * 100_000, "invalid_json"),
        (json.dumps({**json.loads(value("c", {"id": 1})), "schema": 1}).encode(), "invalid_change"),
    ],
)
def test_what_is_no_change_is_refused_with_a_reason(message: bytes, reason: str) -> None:
    assert refused(message).reason == reason


@pytest.mark.parametrize("its_key", [None, b"", b"\xff", b"1", b"{}", b'{"payload": {}}'])
def test_a_message_without_a_primary_key_is_refused(its_key: bytes | None) -> None:
    error = refused(value("c", {"id": 1}), its_key)
    assert error.reason == "invalid_change"
    assert "key" in error.detail


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_bytes_bring_the_decoder_down(its_key: bytes, message: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode(message, its_key)


# Values.


def unscaled(number: int) -> str:
    return base64.b64encode(number.to_bytes(30, "big", signed=True)).decode()


@pytest.mark.parametrize(
    ("column", "raw", "expected"),
    [
        (typed("io.debezium.time.Date", "int32", "v"), 19_000, "2022-01-08"),
        (typed("io.debezium.time.Timestamp", "int64", "v"), 1_500, "1970-01-01T00:00:01.500000Z"),
        (
            typed("io.debezium.time.MicroTimestamp", "int64", "v"),
            -1,
            "1969-12-31T23:59:59.999999Z",
        ),
        (
            typed("io.debezium.time.NanoTimestamp", "int64", "v"),
            1_999,
            "1970-01-01T00:00:00.000001Z",
        ),
        (
            typed("io.debezium.time.ZonedTimestamp", "string", "v"),
            "2026-01-01T12:00:00.5+02:00",
            "2026-01-01T10:00:00.500000Z",
        ),
        (typed("io.debezium.time.MicroTime", "int64", "v"), 3_600_000_001, "01:00:00.000001"),
        (
            typed("org.apache.kafka.connect.data.Decimal", "bytes", "v", parameters={"scale": "2"}),
            unscaled(-12345),
            Decimal("-123.45"),
        ),
        (
            typed("io.debezium.data.VariableScaleDecimal", "struct", "v"),
            {"scale": 30, "value": unscaled(7)},
            Decimal("7E-30"),
        ),
        # More than the 28 digits of Python's own arithmetic.
        (
            typed("org.apache.kafka.connect.data.Decimal", "bytes", "v", parameters={"scale": "4"}),
            unscaled(-12345678901234567890123456789012345678901234567),
            Decimal("-1234567890123456789012345678901234567890123.4567"),
        ),
        (
            typed("io.debezium.data.VariableScaleDecimal", "struct", "v"),
            {"scale": -3, "value": unscaled(12345678901234567890123456789012345678)},
            Decimal("12345678901234567890123456789012345678000"),
        ),
        (
            {"type": "array", "field": "v", "items": typed("io.debezium.time.Date", "int32", "")},
            [0, None],
            ["1970-01-01", None],
        ),
        (typed("io.debezium.data.Json", "string", "v"), '{"a": 1}', '{"a": 1}'),
        (typed("io.debezium.data.Uuid", "string", "v"), "a-b", "a-b"),
        ({"type": "double", "field": "v"}, 1.5, 1.5),
    ],
)
def test_values_are_read_by_their_schema(column: dict[str, Any], raw: Any, expected: Any) -> None:
    columns = [COLUMNS[0], column]
    assert decode(value("c", {"id": 1, "v": raw}, columns=columns)).row["v"] == expected
    assert decode(value("c", {"id": 1, "v": None}, columns=columns)).row["v"] is None


def test_a_value_that_is_not_of_its_schema_names_the_column() -> None:
    columns = [COLUMNS[0], typed("io.debezium.time.Date", "int32", "day")]
    for wrong in ("x", 10**12, {}):
        error = refused(value("c", {"id": 1, "day": wrong}, columns=columns))
        assert "column day" in error.detail


def test_a_schema_that_changes_changes_how_values_are_read() -> None:
    decoder = ChangeDecoder()
    date = [COLUMNS[0], typed("io.debezium.time.Date", "int32", "v")]
    number = [COLUMNS[0], {"type": "int32", "field": "v"}]
    seen = [
        decoder.decode(key(), value("c", {"id": 1, "v": 1}, columns=columns), 0).row["v"]
        for columns in (date, number, date)
    ]
    assert seen == ["1970-01-02", 1, "1970-01-02"]


# Events.

TABLE = CapturedTable(
    name="public.clicks",
    event_type="kind",
    timestamp="at",
    fields={"session_id": "sid", "price": "cost", "product_id": "product"},
)


def event(change: Change, keys: tuple[str, ...] = ("session_id",)) -> tuple[str | None, Any]:
    its_key, raw = ChangeEvents([TABLE], keys).make(change)
    return its_key, json.loads(raw, parse_float=Decimal)


def change(op: str = "c", **row: Any) -> Change:
    return Change("public.clicks", op, "5", {"id": 5, **row}, True, 9, 1_000_000)


def test_a_new_row_is_an_event() -> None:
    its_key, made = event(
        change(sid="17", kind="SEARCH", at="2026-01-01 10:00:00", cost=Decimal("1.50"), product=3)
    )
    row = made.pop("change")["row"]
    assert its_key == "17"
    assert made == {
        "event_id": "public.clicks:5",
        "event_timestamp": "2026-01-01T10:00:00.000000Z",
        "event_type": "SEARCH",
        "session_id": "17",
        "price": Decimal("1.50"),
        "product_id": 3,
    }
    assert row["cost"] == Decimal("1.50")


@pytest.mark.parametrize("op", ["u", "d"])
def test_a_later_change_counts_in_no_session(op: str) -> None:
    its_key, made = event(change(op, sid=17, kind="SEARCH", at="2026-01-01 10:00:00"))
    assert its_key is None
    assert set(made) == {"event_id", "event_timestamp", "event_type", "change"}
    assert made["event_id"] == "public.clicks:5"


def test_what_a_row_does_not_say_comes_from_the_change() -> None:
    _, made = event(change(kind="", at=None))
    assert made["event_type"] == "clicks"
    assert made["event_timestamp"] == "1970-01-01T00:00:01.000000Z"


def test_a_time_that_is_none_names_its_column() -> None:
    with pytest.raises(InvalidEvent, match=r"column at of public\.clicks is not a time"):
        event(change(at="soon"))


def test_a_table_that_is_not_captured_is_refused() -> None:
    other = Change("public.other", "c", "1", {"id": 1}, True, 1, 1)
    with pytest.raises(InvalidEvent, match=r"spec\.source\.debezium\.tables"):
        event(other)


# Documents.


def document(of: Change, on_delete: Any = "remove") -> Any:
    _, raw = ChangeEvents([TABLE], ("session_id",)).make(of)
    builder = ChangeDocuments({"public.clicks": "shop-clicks"}, on_delete, EventDocuments("shop"))
    return builder.build(raw)


def test_a_row_is_one_document_with_the_change_that_made_it_so() -> None:
    made = document(change("u", name="a\nb", cost=Decimal("1.10")))
    assert (made.index, made.id, made.version) == ("shop-clicks", "5", 9)
    assert b"\n" not in made.body
    assert b'"cost":1.10' in made.body
    assert json.loads(made.body) == {
        "id": 5,
        "name": "a\nb",
        "cost": 1.1,
        "__table": "public.clicks",
        "__op": "u",
        "__changed_at": "1970-01-01T00:00:01.000000Z",
        "__deleted": False,
    }


def test_a_delete_removes_or_marks() -> None:
    gone = change("d", name="ann")
    assert document(gone).body is None
    assert document(gone).version == 9
    marked = json.loads(document(gone, "mark").body)
    assert (marked["__deleted"], marked["name"]) == (True, "ann")


def test_marking_needs_the_whole_row() -> None:
    bare = Change("public.clicks", "d", "5", {"id": 5}, False, 9, 1)
    assert document(bare).body is None
    with pytest.raises(InvalidEvent, match="onDelete"):
        document(bare, "mark")


def test_other_events_keep_their_own_documents() -> None:
    builder = ChangeDocuments({"public.clicks": "shop-clicks"}, "remove", EventDocuments("shop"))
    head = {"event_id": "e", "event_timestamp": "2026-01-01T00:00:00Z", "event_type": "view"}
    for more in ({}, {"change": 5}, {"change": {"table": "public.other", "row": {}}}):
        made = builder.build(json.dumps(head | more).encode())
        assert (made.index, made.id, made.version) == ("shop-2026.01.01", "e", None)
