"""Sending rows: at their gaps, once each, from where it was asked, and with every fault told."""

import gzip
import io
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from webevents.errors import UserError
from webevents.sources.output import DeliveryError, FileOutput
from webevents.sources.pacing import SpeedPacer
from webevents.sources.replay import (
    Format,
    Progress,
    ReplayError,
    ReplayResult,
    replay,
    replay_settings,
)

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC).timestamp()
START = "2026-01-31T00:00:00Z"
TABLE = """\
id,event_type,gap
a,view,0
b,view,10
c,click,1
d,view,
e,view,2.5
"""


class Recorder:
    """An output that keeps what it gets, and when by a fake clock."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0, broken_at: int = -1) -> None:
        self.keys: list[bytes | None] = []
        self.values: list[bytes] = []
        self.times: list[float] = []
        self.flushed = 0
        self._now = now
        self._broken_at = broken_at

    @property
    def count(self) -> int:
        return self.flushed

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        if len(self.values) == self._broken_at:
            raise DeliveryError("the broker is gone")
        assert timestamp_ms is None
        self.keys.append(key)
        self.values.append(value)
        self.times.append(self._now())

    def flush(self, timeout_s: float) -> None:
        self.flushed = len(self.values)

    def close(self) -> None:
        raise AssertionError("a replay leaves its output open")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(value) for value in self.values]


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def run(
    path: Path | str, out: Recorder | None = None, **values: Any
) -> tuple[Recorder, ReplayResult]:
    passed = {name: values.pop(name) for name in ("stop", "stdin", "progress") if name in values}
    settings = replay_settings({"path": str(path), "speed": None, **values})
    out = out or Recorder()
    return out, replay(settings, out, clock=lambda: NOW, **passed)


def paced(path: Path, speed: float, **values: Any) -> tuple[list[float], Recorder]:
    """The moments at which rows were sent, counted from the start of the replay."""
    fake = FakeTime()
    out = Recorder(fake.clock)
    settings = replay_settings({"path": str(path), "speed": speed, **values})
    pacer = SpeedPacer(speed, clock=fake.clock, sleep=fake.sleep)
    replay(settings, out, pacer=pacer, clock=lambda: NOW)
    return [moment - 1000 for moment in out.times], out


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return path


BY_GAP: dict[str, Any] = {"offset_column": "gap", "mapping": {"drop": ["gap"]}}


@pytest.mark.parametrize("speed", [1, 10, 0.5])
def test_gaps_are_kept_at_any_speed(table: Path, speed: float) -> None:
    moments, out = paced(table, speed, **BY_GAP)
    assert moments == pytest.approx([at / speed for at in (0, 10, 11, 11, 13.5)], abs=0.01)
    assert [event["id"] for event in out.events] == list("abcde")


def test_the_first_row_waits_for_its_own_gap(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("event_type,gap\nview,108\nview,2\n")
    assert paced(path, 1, **BY_GAP)[0] == pytest.approx([108, 110], abs=0.01)


def test_times_are_kept_and_do_not_go_back(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = ["00:00:05,a", "00:00:15,b", "00:00:10,c", "00:00:25,d"]
    path.write_text("event_timestamp,event_type\n" + "".join(f"2020-01-01 {r}\n" for r in rows))
    moments, out = paced(path, 2)
    assert moments == pytest.approx([0, 5, 5, 10], abs=0.01)
    assert out.events[2]["event_timestamp"] == "2020-01-01 00:00:10"


def test_full_speed_never_sleeps(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_sleep(_: float) -> None:
        raise AssertionError("slept")

    monkeypatch.setattr("time.sleep", no_sleep)
    assert run(table, **BY_GAP)[1].sent == 5


def test_offsets_count_from_the_start(table: Path) -> None:
    out, result = run(table, start=START, **BY_GAP)
    stamps = [event["event_timestamp"] for event in out.events]
    assert stamps[0] == "2026-01-31T00:00:00.000000Z"
    assert stamps[1:3] == ["2026-01-31T00:00:10.000000Z", "2026-01-31T00:00:11.000000Z"]
    assert stamps[4] == "2026-01-31T00:00:13.500000Z"
    assert result.start == datetime(2026, 1, 31, tzinfo=UTC)
    assert result.ahead_seconds == 0


def test_without_a_start_events_are_not_in_the_future(table: Path) -> None:
    out, result = run(table, **BY_GAP)
    assert result.start == datetime(2026, 3, 3, tzinfo=UTC)
    assert out.events[0]["event_timestamp"] == "2026-03-03T00:00:00.000000Z"
    _, out = paced(table, 1, **BY_GAP)
    assert out.events[0]["event_timestamp"] == "2026-03-04T15:00:00.000000Z"
    _, result = run(table, start="2026-03-04T15:01:00Z", **BY_GAP)
    assert result.ahead_seconds == pytest.approx(60 + 13.5)


def test_a_time_column_becomes_event_timestamp(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("ms,event_type\n1593959565407,a\n1593959566407,b\n")
    timed: dict[str, Any] = {"time_column": "ms", "time_unit": "ms", "mapping": {"drop": ["ms"]}}
    out, result = run(path, **timed)
    assert out.events[0]["event_timestamp"] == "2020-07-05T14:32:45.407000Z"
    assert "ms" not in out.events[0]
    assert result.start is None
    out, _ = run(path, start=START, **timed)
    assert [event["event_timestamp"] for event in out.events] == [
        "2026-01-31T00:00:00.000000Z",
        "2026-01-31T00:00:01.000000Z",
    ]
    renamed: dict[str, Any] = {"mapping": {"rename": {"ms": "event_timestamp"}}, "time_unit": "ms"}
    assert run(path, **renamed)[0].events[0]["event_timestamp"] == "2020-07-05T14:32:45.407000Z"


def test_made_identifiers_are_the_same_each_time(table: Path, tmp_path: Path) -> None:
    first = [event["event_id"] for event in run(table, **BY_GAP)[0].events]
    packed = tmp_path / "other name.csv.gz"
    packed.write_bytes(gzip.compress(TABLE.encode()))
    second = [event["event_id"] for event in run(packed, start=START, **BY_GAP)[0].events]
    assert first == second
    assert len(set(first)) == 5
    third = [event["event_id"] for event in run(table, skip=3, **BY_GAP)[0].events]
    assert third == first[3:]
    mapping = {"rename": {"id": "event_id"}, "drop": ["gap"]}
    out, _ = run(table, offset_column="gap", mapping=mapping)
    assert [event["event_id"] for event in out.events] == list("abcde")
    out, _ = run(table, offset_column="gap", mapping={"event_id": ""})
    assert "event_id" not in out.events[0]


def test_an_empty_cell_is_absent_and_its_identifier_made(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("event_id,event_type,event_timestamp,page\nx,v,2020-01-01 00:00:00,\n,v,,p\n")
    out, _ = run(path)
    assert out.events[0] == {
        "event_id": "x",
        "event_type": "v",
        "event_timestamp": "2020-01-01 00:00:00",
    }
    assert set(out.events[1]) == {"event_id", "event_type", "page"}
    assert len(out.events[1]["event_id"]) == 32


@given(st.integers(0, 6), st.integers(0, 6))
def test_a_replay_in_pieces_is_the_whole(first: int, second: int) -> None:
    def piece(**values: Any) -> tuple[list[bytes], ReplayResult]:
        out, result = run(
            "-", stdin=io.BytesIO(TABLE.encode()), format="csv", start=START, **BY_GAP, **values
        )
        return out.values, result

    whole, _ = piece()
    a, at_a = piece(limit=first)
    b, at_b = piece(skip=at_a.position, limit=second)
    c, at_c = piece(skip=at_b.position)
    assert a + b + c == whole
    assert at_c.position == max(5, at_b.position)


def test_a_stop_tells_where_to_go_on(table: Path) -> None:
    out = Recorder()
    _, result = run(table, out, stop=lambda: len(out.values) >= 2, **BY_GAP)
    assert (result.sent, result.position, result.stopped) == (2, 2, True)
    assert out.flushed == 2
    rest, result = run(table, skip=result.position, **BY_GAP)
    assert [event["id"] for event in rest.events] == list("cde")
    assert not result.stopped


def test_a_stop_while_rows_are_passed_over_does_not_send_them_later(table: Path) -> None:
    out, result = run(table, skip=4, stop=lambda: True, **BY_GAP)
    assert (result.sent, result.position, result.stopped) == (0, 4, True)
    assert out.values == []


def test_a_stop_ends_a_long_gap(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("event_type,gap\nview,0\nview,100000\n")
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 8

    out, result = run(path, speed=1, stop=stop, **BY_GAP)
    assert (result.sent, result.stopped, result.position) == (1, True, 1)
    assert out.flushed == 1


def test_the_key_is_of_the_mapped_event(table: Path) -> None:
    mapping = {"rename": {"id": "user_id"}}
    out, _ = run(table, offset_column="gap", mapping=mapping, key_fields=["user_id", "event_type"])
    assert out.keys[2] == b"c|click"


def test_a_stop_ends_standard_input_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with os.fdopen(read) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        os.write(write, b'{"event_id":"1"}\n{"event_id":"2"}\n{"event_')
        out = Recorder()
        _, result = run("-", out, format="ndjson", stop=lambda: len(out.values) == 2)
        os.close(write)
    assert out.values == [b'{"event_id":"1"}', b'{"event_id":"2"}']
    assert (result.sent, result.position, result.stopped) == (2, 2, True)


LINES = (
    b'{"event_id":"1","event_type":"a",  "event_timestamp":"2020-01-01 00:00:00"}\n'
    b"{broken\n\n"
    b'[1]\n{"event_id":"\xff"}\n'
    b'{"event_id":"2","user_id":"u"}\n'
)


def test_lines_are_sent_byte_by_byte_where_nothing_is_to_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(LINES)
    out, result = run(path, key_fields=["user_id"])
    assert out.values == [line for line in LINES.split(b"\n") if line]
    assert out.keys == [None, None, None, None, b"u"]
    assert (result.sent, result.skipped, result.broken_sent) == (5, 0, 3)
    assert [(issue.row, issue.line) for issue in result.issues] == [(2, 2), (3, 4), (4, 5)]


def test_broken_lines_are_told_where_something_is_to_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(LINES)
    out, result = run(path, mapping={"constants": {"site": "x"}})
    assert [event["event_id"] for event in out.events] == ["1", "2"]
    assert (result.sent, result.skipped, result.broken_sent, result.position) == (2, 3, 0, 5)
    assert str(result.issues[0]) == "line 2: is not JSON"
    assert str(result.issues[1]) == "line 4: is JSON, but not an object"


@given(st.lists(st.binary(max_size=30)))
def test_every_line_that_is_not_blank_is_passed_on(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    assume(not data.startswith(b"\x1f\x8b"))  # the magic number of gzip, which is read as such
    out, result = run("-", stdin=io.BytesIO(data), format=Format.NDJSON)
    expected = [line.rstrip(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    expected = [line for line in expected if line and not line.isspace()]
    assert out.values == expected
    assert result.sent == len(expected)


def test_rows_that_cannot_be_events_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"event_type,quantity,gap\nv,1,5\nv,many,5\nv,2\nv,2,soon\nv,2,-1\n\xff,2,5\nv,3,nan\nv,3,5\n"
    )
    out, result = run(path, start=START, **BY_GAP)
    assert [event["quantity"] for event in out.events] == [1, 3]
    # The gap of a row that was skipped counts where it can be read.
    assert out.events[1]["event_timestamp"] == "2026-01-31T00:00:20.000000Z"
    assert (result.sent, result.skipped, result.position) == (2, 6, 8)
    assert [str(issue) for issue in result.issues] == [
        "line 3: quantity is not of type int",
        "line 4: has 2 cells, the heading has 3",
        "line 5: gap is not a number of seconds",
        "line 6: gap is not a span of 0 to 1,000,000,000 seconds",
        "line 7: is not UTF-8",
        "line 8: gap is not a span of 0 to 1,000,000,000 seconds",
    ]


def test_only_the_first_faults_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("event_type,gap\n" + "v\n" * 50)
    _, result = run(path, **BY_GAP)
    assert (result.skipped, len(result.issues)) == (50, 20)


def test_a_time_that_was_named_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"at":"2020-01-01 00:00:00"}\n{"at":"soon"}\n{}\n')
    out, result = run(path, time_column="at")
    assert out.events == [
        {"at": "2020-01-01 00:00:00", "event_timestamp": "2020-01-01T00:00:00.000000Z"}
    ]
    assert [issue.reason for issue in result.issues] == ["at is not a time", "at is empty"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"offset_column": "gpa"}, "offset column: .*table.csv has no column gpa; it has id"),
        ({"time_column": "at"}, "time column: .* has no column at"),
        ({"mapping": {"rename": {"nme": "x"}}, "offset_column": "gap"}, "no column nme"),
        ({"speed": 1}, "no column tells the gaps"),
        ({}, "would have no event_timestamp"),
        ({"mapping": {"drop": ["event_type"]}, "offset_column": "gap"}, "no event_type"),
        ({"start": START}, "start needs"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_sent(
    table: Path, values: dict[str, Any], told: str
) -> None:
    out = Recorder()
    with pytest.raises(UserError, match=told):
        run(table, out, **values)
    assert out.values == []


def test_an_empty_table_sends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"")
    assert run(path, **BY_GAP)[1].sent == 0
    path.write_text("event_type,gap\n")
    assert run(path, **BY_GAP)[1].sent == 0


def test_what_was_read_before_the_file_broke_off_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    rows = "".join(f"v,{at}\n" for at in range(50_000))
    packed = gzip.compress(f"event_type,n\n{rows}".encode())
    path.write_bytes(packed[: len(packed) // 2])
    out = Recorder()
    constants = {"event_timestamp": "2020-01-01 00:00:00"}
    with pytest.raises(ReplayError, match=r"is cut off after row .* events were sent") as told:
        run(path, out, mapping={"constants": constants})
    assert out.flushed == len(out.values) == told.value.result.sent > 1000


def test_a_broker_that_is_gone_ends_it(table: Path) -> None:
    with pytest.raises(DeliveryError, match="the broker is gone"):
        run(table, Recorder(broken_at=3), **BY_GAP)


def test_progress_reaches_the_end(table: Path) -> None:
    seen: list[Progress] = []
    run(table, progress=seen.append, **BY_GAP)
    last = seen[-1]
    assert (last.rows, last.sent, last.skipped, last.rows_total) == (5, 5, 0, None)
    assert last.bytes_read == last.bytes_total == table.stat().st_size


def test_a_file_gets_one_event_a_line(table: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.ndjson"
    settings = replay_settings({"path": str(table), "speed": None, "start": START, **BY_GAP})
    with FileOutput(target) as output:
        assert replay(settings, output).sent == 5
        assert output.count == 5
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["id"] for line in lines] == list("abcde")
    # What a replay wrote can be replayed, byte by byte.
    out, _ = run(target)
    assert b"\n".join(out.values) + b"\n" == target.read_bytes()
