"""Reading rows: the formats agree, gzipped or not, and what is broken is told, not dropped."""

import csv
import gzip
import io
import json
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from webevents.errors import UserError
from webevents.sources.replay import Format, ReplaySettings, open_source, read_rows
from webevents.sources.replay.rows import Row, Unreadable
from webevents.sources.replay.streams import format_of

ROWS: list[Row] = [
    {"name": "plain", "text": "a,b"},
    {"name": "quoted", "text": 'she said "no",\nand left\r\nat once'},
    {"name": "wide", "text": "münchen 東京 🦆"},
    {"name": "empty"},
]


def as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["name", "text"], restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_ndjson(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_parquet(rows: list[Row]) -> bytes:
    out = io.BytesIO()
    names = ("name", "text")
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    parquet.write_table(table, out, row_group_size=2)
    return out.getvalue()


WRITERS: dict[str, Callable[[list[Row]], bytes]] = {
    "rows.csv": as_csv,
    "rows.ndjson": as_ndjson,
    "rows.jsonl": as_ndjson,
    "rows.parquet": as_parquet,
}


def items(path: Path, stdin: io.BytesIO | None = None, **settings: Any) -> list[Row | Unreadable]:
    source = open_source(ReplaySettings(path=str(path), **settings), stdin)
    try:
        return list(source)
    finally:
        source.close()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, packed: bool) -> None:
    data = WRITERS[name](ROWS)
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert list(read_rows(path)) == ROWS


@pytest.mark.parametrize("form", [Format.CSV, Format.NDJSON])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_standard_input_is_read_too(form: Format, packed: bool) -> None:
    data = as_csv(ROWS) if form is Format.CSV else as_ndjson(ROWS)
    stdin = io.BytesIO(gzip.compress(data) if packed else data)
    assert items(Path("-"), stdin, format=form) == ROWS


def test_the_format_may_be_named_against_the_file_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes(as_csv(ROWS))
    assert list(read_rows(path, Format.CSV)) == ROWS
    with pytest.raises(UserError, match="does not tell its format"):
        list(read_rows(path))


def test_what_has_no_format_is_refused() -> None:
    assert format_of("/a/B.CSV.GZ") is Format.CSV
    with pytest.raises(UserError, match="standard input has no name"):
        format_of("-")
    with pytest.raises(UserError, match="give a file, not standard input"):
        items(Path("-"), io.BytesIO(), format=Format.PARQUET)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            st.text(st.characters(exclude_categories=["Cs"])),
        ),
        max_size=8,
    )
)
def test_any_text_comes_back_from_csv(cells: list[tuple[str, str]]) -> None:
    rows: list[Row] = [{"name": a, "text": b} if b else {"name": a} for a, b in cells]
    assert items(Path("-"), io.BytesIO(as_csv(rows)), format=Format.CSV) == rows


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    table, lines = tmp_path / "a.csv", tmp_path / "a.ndjson"
    table.write_bytes(b"\xef\xbb\xbfid\r\n1\r\n")
    lines.write_bytes(b'\xef\xbb\xbf{"id": 1}\r\n')
    assert list(read_rows(table)) == [{"id": "1"}]
    assert list(read_rows(lines)) == [{"id": 1}]


def test_csv_dialects(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("1;grün\n".encode("latin-1"))
    settings: dict[str, Any] = {"delimiter": ";", "encoding": "latin-1", "columns": ("id", "name")}
    assert items(path, **settings) == [{"id": "1", "name": "grün"}]
    with pytest.raises(UserError, match="is not utf-16"):
        items(path, encoding="utf-16", columns=("id",))


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",b\n0,x\n")
    assert list(read_rows(path)) == [{"column_1": "0", "b": "x"}]
    path.write_text("b,b\n0,x\n")
    with pytest.raises(UserError, match="two columns named b"):
        list(read_rows(path))


def test_rows_of_another_width_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,"two\nlines"\n\n1\n1,2,3\n5,6\n')
    source = open_source(ReplaySettings(path=str(path)))
    told = [(source.line, row) for row in source]
    source.close()
    assert told == [
        (2, {"a": "1", "b": "two\nlines"}),
        (5, Unreadable("has 1 cells, the heading has 2")),
        (6, Unreadable("has 3 cells, the heading has 2")),
        (7, {"a": "5", "b": "6"}),
    ]
    with pytest.raises(UserError, match=r"line 5: has 1 cells"):
        list(read_rows(path))


def test_an_open_quote_is_told_with_how_far_it_reaches(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,"open\n2,x\n3,y\n')
    (row,) = items(path)
    assert isinstance(row, Unreadable)
    assert "a quote is open up to line 4" in row.reason


def test_broken_lines_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"a":1}\n\n{"a":\n[1]\n{"a":"\xff"}\n  \n{"a":2}')
    read = items(path)
    assert [row for row in read if not isinstance(row, Unreadable)] == [{"a": 1}, {"a": 2}]
    reasons = [row.reason for row in read if isinstance(row, Unreadable)]
    assert reasons == ["is not JSON", "is JSON, but not an object", "is not JSON"]


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.csv.gz", "a.ndjson.gz"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert list(read_rows(path)) == []
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(b""))
        assert list(read_rows(path)) == []


def big_rows() -> bytes:
    return b"id,name\n" + b"".join(b"%d,name %d\n" % (at, at * 7919) for at in range(50_000))


def test_a_cut_gzip_names_the_row_reached(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    packed = gzip.compress(big_rows())
    path.write_bytes(packed[: len(packed) // 2])
    rows: Iterator[Row] = read_rows(path)
    read = 0
    with pytest.raises(
        UserError, match=r"is cut off after row [\d,]+: its gzip has no end"
    ) as told:
        for read, _ in enumerate(rows, 1):  # noqa: B007 - the last one counts
            pass
    assert read > 10_000
    assert f"row {read:,}:" in str(told.value)


def test_a_damaged_gzip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    packed = bytearray(gzip.compress(big_rows()))
    packed[len(packed) // 2 : len(packed) // 2 + 40] = b"\0" * 40
    path.write_bytes(packed)
    # What comes out before the checksum shows it may be wrong rows too.
    with pytest.raises(UserError, match=r"is damaged after row [1-9]"):
        items(path)


def test_files_that_are_not_what_their_name_says(tmp_path: Path) -> None:
    plain, table = tmp_path / "a.csv.gz", tmp_path / "a.parquet"
    plain.write_text("a\n1\n")
    with pytest.raises(UserError, match="is not gzipped"):
        list(read_rows(plain))
    for data in (b"", b"a\n1\n", as_parquet(ROWS)[:-20]):
        table.write_bytes(data)
        with pytest.raises(UserError, match="is not Parquet, or is cut off"):
            list(read_rows(table))
    with pytest.raises(UserError, match=r"cannot read .*missing\.csv: No such file"):
        list(read_rows(tmp_path / "missing.csv"))
    with pytest.raises(UserError, match="cannot read"):
        list(read_rows(tmp_path, Format.CSV))


def test_damaged_pages_of_parquet_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    out = io.BytesIO()
    table = pa.table({"a": [f"value {at * 7919}" for at in range(20_000)]})
    parquet.write_table(table, out, row_group_size=5_000, use_dictionary=False)
    data = bytearray(out.getvalue())
    data[len(data) // 2 : len(data) // 2 + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged after row [1-9]"):
        for _ in read_rows(path):
            pass


def test_a_cell_of_parquet_without_a_value_costs_its_row_only(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    at = pa.array([0, 2**62, 1_000_000], pa.int64()).view(pa.timestamp("us"))
    text = pa.StringArray.from_buffers(
        3, pa.py_buffer(struct.pack("<4i", 0, 1, 2, 3)), pa.py_buffer(b"ab\xff")
    )
    parquet.write_table(pa.table({"at": at, "text": text, "n": [1, 2, 3]}), path)
    first, second, third = items(path)
    assert isinstance(first, dict)
    assert (first["text"], first["n"]) == ("a", 1)
    assert second == Unreadable("at is out of range, or a text that is not UTF-8")
    assert third == Unreadable("text is out of range, or a text that is not UTF-8")


def test_parquet_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    moment = datetime(2020, 7, 5, 14, 32, 45, 407110, tzinfo=UTC)
    ns = pa.array([1_593_959_565_407_110_999], pa.timestamp("ns", "UTC"))
    columns = {
        "at": ns,
        "missing": pa.array([float("nan")]),
        "null": pa.array([None], pa.int64()),
        "tags": [["a", "b"]],
        "kind": pa.array(["x"]).dictionary_encode(),
    }
    parquet.write_table(pa.table(columns), path, version="2.6")
    assert list(read_rows(path)) == [{"at": moment, "tags": ["a", "b"], "kind": "x"}]


def test_progress_of_the_bytes_is_of_the_packed_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(big_rows()))
    source = open_source(ReplaySettings(path=str(path)))
    assert sum(1 for _ in source) == 50_000
    assert source.bytes_read == source.bytes_total == path.stat().st_size
    source.close()


@pytest.mark.parametrize("name", ["a.csv.gz", "a.ndjson.gz"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    line = b'"' + b"x" * 998 + b'"\n'
    if name == "a.ndjson.gz":
        line = b'{"a":"' + b"x" * 990 + b'"}\n'
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"a\n" if name == "a.csv.gz" else b"")
        for _ in range(20):
            file.write(line * 1000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_rows(path)) == 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # of 20 MB
