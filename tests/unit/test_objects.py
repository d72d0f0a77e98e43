"""Archived objects: names, and messages that come back byte for byte."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from webevents.logic.objects import (
    ArchivedRecord,
    DamagedObject,
    Format,
    ObjectName,
    Replayed,
    hour_of,
    make_builder,
    read_object,
)

HOUR = round(datetime(2026, 3, 1, 13, tzinfo=UTC).timestamp() * 1000)
FORMATS: tuple[Format, ...] = ("ndjson", "parquet")
Message = tuple[bytes | None, bytes | None, int]


def build(messages: Sequence[Message], format_: Format) -> bytes:
    builder = make_builder(format_, 3)
    for offset, (key, value, timestamp) in enumerate(messages):
        builder.add(ArchivedRecord("raw", 2, offset * 3, timestamp), key, value)
    assert builder.size == sum(len(k or b"") + len(v or b"") for k, v, _ in messages)
    return builder.finish()


message = st.tuples(
    st.none() | st.binary(max_size=20) | st.text(max_size=5).map(str.encode),
    st.none() | st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
    st.integers(-1, 4_102_444_800_000),
)


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=60, deadline=None)
@given(messages=st.lists(message, min_size=1, max_size=30))
def test_messages_come_back_byte_for_byte(format_: Format, messages: list[Message]) -> None:
    found = list(read_object(build(messages, format_), format_))
    assert found == [
        Replayed("raw", 2, offset * 3, timestamp, key, value)
        for offset, (key, value, timestamp) in enumerate(messages)
    ]


@pytest.mark.parametrize("format_", FORMATS)
def test_large_objects_come_back_and_are_the_same_bytes_each_time(format_: Format) -> None:
    # Beyond a block of NDJSON and a row group of Parquet.
    messages: list[Message] = [
        (b"k%d" % n, b'{"n":%d,"pad":"%s"}' % (n, b"x" * (n % 700)), HOUR + n)
        for n in range(30_000)
    ]
    body = build(messages, format_)
    assert body == build(messages, format_)
    found = list(read_object(body, format_))
    assert [(r.key, r.value, r.timestamp) for r in found] == messages


def test_ndjson_is_what_other_tools_read() -> None:
    body = build([(b"u1", b'{"a":"\n"}', HOUR), (None, b"\xff\x00", HOUR)], "ndjson")
    # One frame: some readers stop after the first.
    text = zstandard.ZstdDecompressor().decompressobj().decompress(body).decode()
    first, second = map(msgspec.json.decode, text.splitlines())
    assert first == {
        "topic": "raw", "partition": 2, "offset": 0, "timestamp": HOUR,
        "key": "u1", "value": '{"a":"\n"}',
    }  # fmt: skip
    assert second["value_base64"] == "/wA="
    assert "key" not in second


@pytest.mark.parametrize("format_", FORMATS)
def test_a_damaged_object_is_told_from_a_whole_one(format_: Format) -> None:
    body = build([(b"k", b"secret-value", HOUR)] * 50, format_)
    for damaged in (body[: len(body) // 2], body[:-1], b"", b"no object at all"):
        with pytest.raises(DamagedObject) as caught:
            list(read_object(damaged, format_))
        assert "secret" not in str(caught.value)


names = st.builds(
    ObjectName,
    topic=st.from_regex(r"[a-zA-Z0-9._-]{1,30}", fullmatch=True),
    partition=st.integers(0, 10_000),
    first=st.integers(0, 2**63 - 1),
    hour_ms=st.integers(-1, 4_102_444_800_000).map(hour_of),
    format=st.sampled_from(FORMATS),
)


@given(name=names)
def test_names_are_read_back(name: ObjectName) -> None:
    assert ObjectName.parse(name.path("raw/shop"), "raw/shop") == name


def test_a_name_has_pipeline_hour_and_first_offset() -> None:
    name = ObjectName("raw-web-events", 3, 1234, HOUR, "ndjson")
    assert (
        name.path("raw/shop")
        == "raw/shop/2026/03/01/13/raw-web-events-3-00000000000000001234.ndjson.zst"
    )


@pytest.mark.parametrize(
    "key",
    [
        "raw/other/2026/03/01/13/t-3-00000000000000001234.parquet",
        "raw/shop/2026/03/01/13/notes.txt",
        "raw/shop/2026/13/01/13/t-3-00000000000000001234.parquet",
        "raw/shop/2026/03/01/13/t-3-1234.parquet",
    ],
)
def test_other_keys_are_no_objects(key: str) -> None:
    assert ObjectName.parse(key, "raw/shop") is None


def test_a_time_that_is_not_known_counts_as_1970() -> None:
    assert hour_of(-1) == 0
    assert hour_of(HOUR + 3_599_999) == HOUR
    assert ObjectName("t", 0, 0, hour_of(2**62), "ndjson").path("r").startswith("r/9999/12/31/23/")
