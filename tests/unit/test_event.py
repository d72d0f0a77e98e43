"""Decoding events: what is refused, and with which reason."""

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.events.event import (
    MAX_DEPTH,
    REASONS,
    EventDecoder,
    InvalidEvent,
    decode_event,
    depth_exceeds,
    event_time_us,
)
from webevents.events.times import format_time, parse_time

GOOD = {"event_id": "1", "event_timestamp": "2020-07-05 14:32:45.407110", "event_type": "pageview"}


def encoded(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


def reason_of(raw: bytes) -> str:
    with pytest.raises(InvalidEvent) as caught:
        event_time_us(decode_event(raw))
    assert caught.value.reason in REASONS
    return caught.value.reason


def test_a_good_event_is_decoded() -> None:
    event = decode_event(encoded(price=2, user_id=7, unknown={"a": [1]}))
    assert (event.event_id, event.price, event.user_id) == ("1", 2.0, 7)
    assert event_time_us(event) == 1593959565407110


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (encoded()[:-5], "invalid_json"),
        (encoded() + b" x", "invalid_json"),
        (encoded()[:-1] + b',"price":NaN}', "invalid_json"),
        (encoded()[:-1] + b',"x":NaN}', "invalid_json"),
        (encoded()[:-1] + b',"x":"\xff\xfe"}', "invalid_json"),
        (encoded()[:-1] + b',"x":"\\ud800"}', "invalid_json"),
        (b"\xff\xfe\x00", "invalid_json"),
        (b"[]", "wrong_type"),
        (b'"text"', "wrong_type"),
        (b"null", "wrong_type"),
        (encoded(price="1"), "wrong_type"),
        (encoded(device_is_mobile="yes"), "wrong_type"),
        (encoded(page_url=["a"]), "wrong_type"),
        (encoded(user_id=True), "wrong_type"),
        (encoded(event_id=5), "wrong_type"),
        (encoded(event_id=None), "missing_field"),
        (encoded(event_id=""), "missing_field"),
        (encoded(event_type=""), "missing_field"),
        (b"{}", "missing_field"),
        (encoded(event_timestamp=None), "missing_field"),
        (encoded(event_timestamp=""), "invalid_timestamp"),
        (encoded(event_timestamp="yesterday, at noon sharp"), "invalid_timestamp"),
        (encoded(event_timestamp="2020-13-05 14:32:45"), "invalid_timestamp"),
        (encoded(event_timestamp="0001-01-01 00:00:00+14:00"), "invalid_timestamp"),
        (encoded(event_timestamp="9999-12-31 23:59:59-14:00"), "invalid_timestamp"),
        (encoded()[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}", "too_deep"),
        (encoded()[:-1] + b',"x":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", "too_deep"),
    ],
)
def test_bad_input_has_its_reason(raw: bytes, reason: str) -> None:
    assert reason_of(raw) == reason


def test_details_never_hold_values() -> None:
    secret = "jane.doe@example.com"
    for raw in (
        encoded(price=secret),
        encoded(device_is_mobile=secret),
        encoded(page_url=[secret]),
    ):
        with pytest.raises(InvalidEvent) as caught:
            decode_event(raw)
        assert secret not in str(caught.value)
    with pytest.raises(InvalidEvent) as caught:
        event_time_us(decode_event(encoded(event_timestamp=secret)))
    assert secret not in str(caught.value)


def test_depth_counts_brackets_outside_strings_only() -> None:
    nested = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert not depth_exceeds(nested, MAX_DEPTH)
    assert depth_exceeds(b"[" + nested + b"]", MAX_DEPTH)
    assert not depth_exceeds(json.dumps({"a": "[{" * 50 + '"' + "\\"}).encode(), MAX_DEPTH)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_decoder(raw: bytes) -> None:
    try:
        event_time_us(decode_event(raw))
    except InvalidEvent as error:
        assert error.reason in REASONS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)) | st.text(max_size=12), json_values))
def test_no_object_crashes_the_decoder(fields: dict[str, object]) -> None:
    try:
        event_time_us(decode_event(json.dumps(GOOD | fields).encode()))
    except InvalidEvent as error:
        assert error.reason in REASONS


def test_a_decoder_reads_fields_of_the_users_own() -> None:
    decode = EventDecoder(extra=("cart_id",), only=("cart_id", "host")).decode
    event = decode(encoded(cart_id=5, host="a.example", price="skipped"))
    assert (event.cart_id, event.host) == (5, "a.example")
    assert not hasattr(event, "price")
    with pytest.raises(InvalidEvent):
        decode(encoded(cart_id=["a"]))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2020-07-05 14:32:45.407110", "2020-07-05T14:32:45.407110Z"),
        ("2020-07-05T14:32:45Z", "2020-07-05T14:32:45.000000Z"),
        ("2020-07-05T14:32:45+02:00", "2020-07-05T12:32:45.000000Z"),
        ("2020-07-05 14:32:45.5-03:30", "2020-07-05T18:02:45.500000Z"),
        ("1970-01-01 00:00:00", "1970-01-01T00:00:00.000000Z"),
        ("1960-01-01 00:00:00", None),
        ("2262-01-01 00:00:00", None),
        ("2020-07-05", None),
        ("20200705T143245", None),
    ],
)
def test_times(text: str, same: str | None) -> None:
    if same is None:
        with pytest.raises(ValueError, match=r"."):
            parse_time(text)
    else:
        assert format_time(parse_time(text)) == same


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2261, 12, 31)))
def test_times_survive_a_round_trip(moment: datetime) -> None:
    us = parse_time(str(moment))
    assert parse_time(format_time(us)) == us
