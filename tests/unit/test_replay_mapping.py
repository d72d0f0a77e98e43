"""From a row to an event: names, types, identifiers, keys and times."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.errors import UserError
from webevents.events.event import EventDecoder
from webevents.events.key import key_reader
from webevents.events.times import format_time, parse_time
from webevents.sources.replay import ColumnMapping, ValueType, replay_settings, with_preset
from webevents.sources.replay.convert import CONVERTERS
from webevents.sources.replay.mapping import (
    RowError,
    compile_id,
    compile_key,
    compile_mapping,
)
from webevents.sources.replay.timing import time_reader


def mapped(row: dict[str, Any], columns: list[str] | None = None, **mapping: Any) -> dict[str, Any]:
    apply = compile_mapping(ColumnMapping(**mapping), columns or list(row), "the file")
    return apply(dict(row))


def test_renamed_dropped_and_completed() -> None:
    row = {"event_name": "CLICK", "gap": "3", "shop": "b"}
    event = mapped(row, rename={"event_name": "event_type"}, drop=["gap"], constants={"shop": "a"})
    assert event == {"event_type": "CLICK", "shop": "a"}


def test_names_can_be_exchanged() -> None:
    assert mapped({"a": 1, "b": 2}, rename={"a": "b", "b": "a"}) == {"b": 1, "a": 2}


def test_known_fields_of_tables_get_their_type() -> None:
    row = {"quantity": "3.0", "price": "12", "device_is_mobile": "true", "other": "1"}
    event = mapped(row)
    assert event == {"quantity": 3, "price": 12.0, "device_is_mobile": True, "other": "1"}
    assert type(event["quantity"]) is int
    assert mapped({"utm_campaign": 7}) == {"utm_campaign": "7"}


def test_lines_keep_their_types_unless_asked() -> None:
    asked = ColumnMapping.model_validate({"types": {"n": "int"}, "rename": {"n": "number"}})
    apply = compile_mapping(asked, None, "the file")
    assert apply({"n": "3", "quantity": "4"}) == {"number": 3, "quantity": "4"}
    assert apply({"quantity": None, "n": None}) == {"quantity": None, "number": None}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("int", " 42 ", 42),
        ("int", "9007199254740993.0", 9007199254740993),
        ("int", 3.0, 3),
        ("int", "-1e3", -1000),
        ("float", "1.5", 1.5),
        ("float", 2, 2.0),
        ("bool", "Yes", True),
        ("bool", 0, False),
        ("bool", "F", False),
        ("string", 5, "5"),
        ("string", True, "true"),
    ],
)
def test_conversions(kind: str, value: Any, expected: Any) -> None:
    converted = CONVERTERS[ValueType(kind)](value)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("int", value) for value in ("1.5", "x", "1_000", "1e999999", str(2**63), "nan", 0.5)),
        *(("float", value) for value in ("x", "inf", "nan", "1_0", [1])),
        *(("bool", value) for value in ("2", 2, "maybe", 0.5)),
    ],
)
def test_what_has_another_type_is_told_without_its_value(kind: str, value: Any) -> None:
    with pytest.raises(RowError, match=f"^field is not of type {kind}$"):
        mapped({"field": value}, types={"field": kind})


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_are_exact_as_text_too(number: int) -> None:
    to_int = CONVERTERS[ValueType.INT]
    assert to_int(str(number)) == to_int(f"{number}.0") == number


@pytest.mark.parametrize("part", ["rename", "types", "drop"])
def test_a_missing_column_is_named(part: str) -> None:
    value: Any = {"rename": {"nme": "x"}, "types": {"nme": "int"}, "drop": ["nme"]}[part]
    with pytest.raises(UserError, match=f"{part}: the file has no column nme; it has name, size"):
        mapped({"name": "a", "size": "1"}, **{part: value})


def test_two_columns_cannot_become_one_field() -> None:
    with pytest.raises(UserError, match="has a column b already"):
        mapped({"a": "1", "b": "2"}, rename={"a": "b"})
    with pytest.raises(UserError, match="two columns become b"):
        replay_settings({"path": "x.csv", "mapping": {"rename": {"a": "b", "c": "b"}}})
    apply = compile_mapping(ColumnMapping(rename={"a": "b"}), None, "the file")
    assert apply({"a": 1}) == {"b": 1}
    with pytest.raises(RowError, match="two columns become the same field"):
        apply({"a": 1, "b": 2})


def test_the_hash_is_of_content_and_position() -> None:
    make = compile_id("{hash}", None, "the file")
    row = {"a": "1", "b": "2"}
    assert make(dict(row), 1, None) == make(dict(row), 1, None)
    # As a constant, so that other versions give old files the same identifiers.
    assert make(row, 1, None) == "bbc51887c0175e53491f07759077c912"
    others = [(row, 2), ({"a": "1", "b": "3"}, 1), ({"a": "12", "b": ""}, 1), ({"a": "1"}, 1)]
    assert len({make(*other, None) for other in [(row, 1), *others]}) == 5
    assert make({}, 1, b"{}") != make({}, 1, b"{ }")


def test_templates_of_event_id() -> None:
    make = compile_id("t-{shop}-{row}", ["shop"], "the file")
    assert make({"shop": "a"}, 7, None) == "t-a-7"
    with pytest.raises(RowError, match="shop is empty"):
        make({}, 7, None)
    with pytest.raises(UserError, match="event_id: the file has no column shp"):
        compile_id("{shp}", ["shop"], "the file")
    for wrong in ("same", "{row:>10}", "{row!r}", "{row"):
        with pytest.raises(UserError, match="template of event_id"):
            compile_id(wrong, ["shop"], "the file")


def test_keys() -> None:
    assert compile_key(["a"])({"a": "x"}) == b"x"
    assert compile_key(["a", "b"])({"a": "x", "b": 1}) == b"x|1"
    assert compile_key(["a", "b"])({"b": "ü"}) == "|ü".encode()
    assert compile_key(["a", "b"])({}) is None
    assert compile_key([])({"a": "x"}) is None


@given(
    st.dictionaries(
        st.sampled_from(["ip_address", "host", "user_id", "session_id"]),
        st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    ),
    st.lists(st.sampled_from(["ip_address", "host", "user_id"]), min_size=1, unique=True),
)
def test_keys_are_those_of_the_stages(values: dict[str, str | None], fields: list[str]) -> None:
    base = {"event_id": "1", "event_timestamp": "2020-01-01 00:00:00", "event_type": "x"}
    decoded = EventDecoder().decode(json.dumps(base | values).encode())
    theirs = key_reader(fields)(decoded)
    assert compile_key(fields)(values) == (None if theirs is None else theirs.encode())


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("s", "2020-07-05 14:32:45.407110"),
        ("s", "2020-07-05T16:32:45.407110+02:00"),
        ("s", datetime(2020, 7, 5, 14, 32, 45, 407110)),
        ("s", datetime(2020, 7, 5, 14, 32, 45, 407110, UTC)),
        ("s", 1593959565.40711),
        ("s", "1593959565.40711"),
        ("us", 1593959565407110),
        ("us", "1593959565407110"),
        ("ns", 1593959565407110999),
    ],
)
def test_times_are_read(unit: str, value: Any) -> None:
    assert time_reader(unit)(value) == parse_time("2020-07-05T14:32:45.407110Z")


@given(st.datetimes(datetime(1970, 1, 1), datetime(2261, 1, 1)))
def test_times_in_any_form_are_the_same(moment: datetime) -> None:
    us = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    assert time_reader("s")(moment) == time_reader("s")(format_time(us)) == us
    assert time_reader("us")(us) == time_reader("ns")(us * 1000) == us


@pytest.mark.parametrize("value", ["", "soon", None, True, float("nan"), [], "nan"])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        time_reader("s")(value)


def test_settings_of_a_person_go_over_a_preset() -> None:
    values: dict[str, Any] = {
        "path": "day.csv",
        "speed": 60,
        "mapping": {"rename": {"promo_code": "coupon"}, "constants": {"currency": "EUR"}},
    }
    settings = replay_settings(with_preset("fashion-campus-clicks", values))
    assert settings.speed == 60
    assert settings.offset_column == "event_offset"
    assert settings.mapping.rename["event_name"] == "event_type"
    assert settings.mapping.rename["promo_code"] == "coupon"
    assert settings.mapping.constants == {"currency": "EUR"}
    assert settings.mapping.drop == ("event_offset",)
    timed = replay_settings(with_preset("fashion-campus-clicks", {"path": "x", "time_column": "t"}))
    assert (timed.time_column, timed.offset_column) == ("t", None)
    with pytest.raises(UserError, match="did you mean fashion-campus-clicks"):
        with_preset("fashion-campus-click", {})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"speed": 0}, "speed"),
        ({"offset_column": "a", "time_column": "b"}, "exclude each other"),
        ({"encoding": "klingon"}, "encoding: klingon is unknown"),
        ({"mapping": {"drop": ["a"], "types": {"a": "int"}}}, "mapping: drop: a"),
        ({"mapping": {"types": {"a": "date"}}}, "mapping.types.a"),
        ({"columns": ["a", "a"]}, "two columns have the same name"),
        ({"sped": 1}, "sped"),
    ],
)
def test_wrong_settings_are_named(values: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        replay_settings({"path": "a.csv", **values})
