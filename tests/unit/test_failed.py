"""Failed-event records: complete, and below 1 MB whatever came in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.events.event import InvalidEvent
from webevents.events.failed import PAYLOAD_LIMIT, decode_failed, failed_record

MEGABYTE = 1_000_000


def record(value: bytes, key: bytes | None = b"k") -> bytes:
    return failed_record(
        InvalidEvent("invalid_json", "not JSON"),
        pipeline="p",
        stage="enrich",
        topic="raw",
        partition=3,
        offset=42,
        key=key,
        value=value,
        now_us=0,
    )


def test_it_says_where_and_why() -> None:
    read = decode_failed(record(b'{"a": 1'))
    assert (read.topic, read.partition, read.offset, read.stage) == ("raw", 3, 42, "enrich")
    assert (read.reason, read.detail, read.key, read.size) == ("invalid_json", "not JSON", "k", 7)
    assert read.original() == b'{"a": 1'
    assert not read.truncated


@given(st.binary(max_size=2000), st.none() | st.binary(max_size=50))
def test_the_original_bytes_are_kept(value: bytes, key: bytes | None) -> None:
    assert decode_failed(record(value, key)).original() == value


@pytest.mark.parametrize(
    "value",
    [
        b"x" * 10_000_000,
        b"\x00" * 10_000_000,
        b'"' * 10_000_000,
        b"\xff" * 10_000_000,
        "é".encode() * 5_000_000,
        "\u2028".encode() * 3_000_000,
        b"\x01" * (PAYLOAD_LIMIT // 11) + b"x" * 10_000_000,
    ],
    ids=["text", "nul", "quotes", "binary", "latin", "separators", "mixed"],
)
def test_ten_megabytes_become_less_than_one(value: bytes) -> None:
    made = record(value)
    assert len(made) < MEGABYTE
    read = decode_failed(made)
    assert read.truncated
    assert read.size == len(value)
    assert value.startswith(read.original())
    assert len(read.original()) >= PAYLOAD_LIMIT - 3
