"""Replay into tables without a server: types by values, cells by types, names, options."""

import gzip
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from webevents.cli import app
from webevents.cli.connections import replayed_database
from webevents.connectors.postgres.target import TableName, Target, TargetColumn
from webevents.errors import UserError
from webevents.events.event import InvalidEvent
from webevents.local import running
from webevents.logic.rows.tables import Column
from webevents.sources.replay import replay_settings
from webevents.sources.replay.mapping import RowError
from webevents.sources.replay.table import TableTarget, replay_into_table, table_name
from webevents.sources.replay.table.cells import cell_of
from webevents.sources.replay.table.infer import Survey, survey
from webevents.sources.replay.table.job import TableJob, define
from webevents.sources.replay.table.run import content_digest
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.postgres import PostgresSpec

T = TableName("public", "t")


def type_of(*values: Any) -> str:
    found = Survey()
    for value in values:
        found.look("c", value)
    return found.types()["c"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("1", "-20", "0"), "bigint"),
        (("9223372036854775807",), "bigint"),
        (("9223372036854775808",), "double precision"),
        (("1", "2.5"), "double precision"),
        (("37070.0", None), "double precision"),
        (("1e3", "-0.5"), "double precision"),
        (("0812", "1"), "text"),
        (("+62", "1"), "text"),
        (("1_000",), "text"),
        (("\u0661",), "text"),
        (("nan",), "text"),
        (("true", "FALSE"), "boolean"),
        (("true", "1"), "text"),
        (("2026-03-01", "1990-12-31"), "date"),
        (("2026-02-30",), "text"),
        (("2026-03-01", "1"), "text"),
        (("2026-03-01 10:00:00", "2026-03-01T10:00:00Z"), "timestamp"),
        (("01/03/2026",), "text"),
        ((), "text"),
        ((None,), "text"),
        ((True, False), "boolean"),
        ((1, 2**70), "double precision"),
        ((1, True), "text"),
        ((1, 2.5, Decimal("1.2")), "double precision"),
        ((datetime(2026, 3, 1), None), "timestamp"),
        ((date(2026, 3, 1),), "date"),
        (({"a": 1},), "text"),
    ],
)
def test_a_type_holds_all_values(values: tuple[Any, ...], kind: str) -> None:
    assert type_of(*values) == kind if values else type_of(None) == kind


@given(st.lists(st.text() | st.integers().map(str) | st.dates().map(str), min_size=1))
def test_what_a_type_was_found_for_its_cells_take(values: list[str]) -> None:
    """No value is refused by the type that was chosen for it, but for U+0000."""
    names = {"bigint": "int8", "double precision": "float8", "boolean": "bool"}
    kind = type_of(*values)
    cell = cell_of(TargetColumn("c", names.get(kind, kind)))
    for value in values:
        if "\x00" not in value:
            cell(value)


def test_a_survey_reads_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + "1,x,\n" * 1_000 + "1,2\n2.5,y,\n")
    settings = replay_settings({"path": str(path), "mapping": {"types": {"c": "int"}}})
    assert survey(settings) == {"a": "double precision", "b": "text", "c": "bigint"}
    lines = tmp_path / "t.ndjson"
    lines.write_text('{"a":1}\n[]\n{"b":"x","a":2}\n')
    assert survey(replay_settings({"path": str(lines)})) == {"a": "bigint", "b": "text"}


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        ("int4", "3.0", "3"),
        ("int4", 2**31 - 1, "2147483647"),
        ("int2", "-32768", "-32768"),
        ("int8", "9223372036854775807", "9223372036854775807"),
        ("float8", "1e3", "1000.0"),
        ("numeric", "1.10", "1.10"),
        ("numeric", Decimal("2.5"), "2.5"),
        ("bool", "Yes", "t"),
        ("bool", 0, "f"),
        ("varchar", "abc", "abc"),
        ("text", "a\tb\\n\n", r"a\tb\\n\n"),
        ("text", 12, "12"),
        ("text", True, "true"),
        ("text", ["x", 1], '["x",1]'),
        ("bytea", b"\x01\xff", r"\\x01ff"),
        ("jsonb", {"a": [1]}, '{"a":[1]}'),
        ("jsonb", '{"a": 1}', '{"a": 1}'),
        ("date", "1990-01-31", "1990-01-31"),
        ("date", datetime(1990, 1, 31), "1990-01-31"),
        ("timestamp", "2026-03-01T10:00:00+02:00", "2026-03-01 08:00:00"),
        ("timestamp", date(2026, 3, 1), "2026-03-01 00:00:00"),
        ("timestamptz", datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01 00:00:00+00:00"),
        ("inet", "whatever", "whatever"),
    ],
)
def test_cells_by_type(kind: str, value: Any, made: str) -> None:
    assert cell_of(TargetColumn("c", kind, 3 if kind == "varchar" else None))(value) == made


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("int4", "many", "not an integer"),
        ("int4", "1.5", "not an integer"),
        ("int4", "", "not an integer"),
        ("int4", 2**31, "out of the range"),
        ("int2", "32768", "out of the range"),
        ("int8", str(2**63), "not an integer"),
        ("float8", "nan", "not a number"),
        ("float8", "1_0", "not a number"),
        ("float8", [1], "not a number"),
        ("numeric", "Infinity", "not a number"),
        ("numeric", "x", "not a number"),
        ("bool", "maybe", "not true or false"),
        ("varchar", "abcd", "longer than 3 characters"),
        ("text", "a\x00", "U[+]0000"),
        ("date", "2026-02-30", "not a date"),
        ("date", "2026-02-01 10:00:00", "not a date"),
        ("timestamp", "soon", "not a time"),
        ("timestamp", "20260301", "not a time"),
        ("timestamp", 5, "not a time"),
        ("timestamp", "0001-01-01T00:00:00+02:00", "not a time"),
    ],
)
def test_cells_that_a_column_cannot_hold(kind: str, value: Any, told: str) -> None:
    cell = cell_of(TargetColumn("c", kind, 3 if kind == "varchar" else None))
    with pytest.raises(InvalidEvent, match=f"c: .*{told}") as error:
        cell(value)
    assert str(value) not in error.value.detail or value in ("", 5, "x")


def job(
    values: Mapping[str, Any] = {},
    columns: tuple[str, ...] = ("a", "b", "gap"),
    **target: Any,
) -> TableJob:
    settings = replay_settings({"path": "t.csv", "speed": None, **values})
    found = Target(
        {name: TargetColumn(name, kind) for name, kind in (("a", "int4"), ("b", "text"))}
        | {"at": TargetColumn("at", "timestamp"), "gap": TargetColumn("gap", "float8")},
        (frozenset({"a"}),),
    )
    return TableJob(settings, TableTarget(T, **target), columns, found, 0)


def test_a_row_becomes_a_line_of_copy() -> None:
    made = job({"mapping": {"drop": ["gap"], "constants": {"b": "x\ty"}}})
    assert made.types == {"a": "int4", "b": "text"}
    assert made.message({"a": "1", "b": "z", "gap": "2"}, 1, None, None).value == b"1\tx\\ty\n"
    assert made.message({}, 2, None, None).value == b"\\N\tx\\ty\n"
    with pytest.raises(RowError, match="a: not an integer"):
        made.message({"a": "one"}, 3, None, None)
    with pytest.raises(RowError, match="is not UTF-8"):
        job().message({"b": "\udcff"}, 4, None, None)


def test_the_replayed_time_gets_its_column() -> None:
    made = job(
        {"offset_column": "gap", "start": "2026-03-01T00:00:00Z", "mapping": {"drop": ["gap"]}},
        timestamp="at",
    )
    row: dict[str, Any] = {"a": "1", "gap": "1.5"}
    message = made.message(row, 1, None, made.times.advance(row))
    assert message.value == b"1\t\\N\t2026-03-01 00:00:01.500000\n"
    with pytest.raises(RowError, match="out of range"):
        made.message(row, 2, None, 1 << 62)
    with pytest.raises(UserError, match="--timestamp at: no column tells when"):
        job(timestamp="at")


def test_a_key_needs_a_value() -> None:
    made = job(key=("a",))
    for empty in ({}, {"a": ""}, {"a": None}):
        with pytest.raises(RowError, match="a is empty, which is the key"):
            made.message(dict(empty), 1, None, None)
    with pytest.raises(UserError, match=r"--key c: the rows have no such column; they have a, b"):
        job(key=("c",))


def test_a_new_table_by_the_files_columns() -> None:
    settings = replay_settings(
        {
            "path": "t.csv",
            "offset_column": "gap",
            "mapping": {"rename": {"a": "A"}, "drop": ["gap"], "constants": {"year": "2026"}},
        }
    )
    types = {"a": "bigint", "b": "date", "gap": "bigint"}
    columns = (
        Column("A", "bigint"),
        Column("b", "date"),
        Column("year", "bigint"),
        Column("at", "timestamp", "DEFAULT now()"),
    )
    keyed = define(settings, TableTarget(T, key=("A",), timestamp="at"), types)
    assert keyed == (columns, ("A",), ())
    serial = define(settings, TableTarget(T, timestamp="at"), types)
    assert serial == ((Column("id", "bigserial"), *columns), ("id",), ())
    with pytest.raises(UserError, match=r"key: t\.csv has no column z; it has A, b, year"):
        define(settings, TableTarget(T, key=("z",)), types)
    with pytest.raises(UserError, match="63 bytes at most"):
        define(settings, TableTarget(T), {**types, "ü" * 32: "text"})


def test_names_of_tables() -> None:
    assert table_name("clicks") == TableName("public", "clicks")
    assert table_name("shop.Clicks") == TableName("shop", "Clicks")
    for wrong in ("", ".x", "x.", "x" * 64):
        with pytest.raises(UserError, match="--table"):
            table_name(wrong)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"a\n1\n"))
    (tmp_path / "c.csv").write_text("a\n2\n")
    digests = [content_digest(str(tmp_path / name)) for name in ("a.csv", "b.csv.gz", "c.csv")]
    assert digests[0] == digests[1] != digests[2]
    broken = tmp_path / "d.csv.gz"
    broken.write_bytes((tmp_path / "b.csv.gz").read_bytes()[:-10])
    settings = replay_settings({"path": str(broken), "speed": None})
    with pytest.raises(UserError, match="cut off"):
        replay_into_table(settings, TableTarget(T), PostgresSpec(host="127.0.0.1", port=1))


def test_standard_input_is_refused() -> None:
    settings = replay_settings({"path": "-", "format": "csv", "speed": None})
    with pytest.raises(UserError, match="replay a file"):
        replay_into_table(settings, TableTarget(T), PostgresSpec(host="127.0.0.1", port=1))


def pipeline(**spec: Any) -> WebEventPipeline:
    return WebEventPipeline.model_validate(
        {
            "apiVersion": "webevents.dev/v1alpha1",
            "kind": "WebEventPipeline",
            "metadata": {"name": "p"},
            "spec": spec,
        }
    )


def test_the_database_is_the_one_that_is_captured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = PostgresSpec(host="given")
    assert replayed_database(None, None, given) is given
    captured = {
        "postgres": {"host": "target"},
        "source": {
            "debezium": {"postgres": {"host": "captured"}, "tables": [{"name": "public.clicks"}]}
        },
    }
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(pipeline(**captured).model_dump(mode="json", by_alias=True)))
    assert replayed_database(None, path, None).host == "captured"
    written = pipeline(postgres={"host": "target"})
    path.write_text(yaml.safe_dump(written.model_dump(mode="json", by_alias=True)))
    assert replayed_database(None, path, None).host == "target"
    # A file that names no server is about the pipeline of its name that runs here.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path.write_text(yaml.safe_dump(pipeline().model_dump(mode="json", by_alias=True)))
    with pytest.raises(UserError, match=r"no pipeline p runs .* --postgres HOST"):
        replayed_database(None, path, None)
    with running.announced(written):
        assert replayed_database(None, path, None).host == "target"
        assert replayed_database("p", None, None).host == "target"
    with running.announced(pipeline()), pytest.raises(UserError, match="has no PostgreSQL"):
        replayed_database(None, None, None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--to", "mysql"), "can be postgres only"),
        (("--to", "postgres", "--topic", "t"), "choose one"),
        (("--to", "postgres", "--out", "f"), "choose one"),
        (("--to", "postgres", "--event-id", "{hash}"), "leave it out"),
        (("--to", "postgres", "--postgres-user", "u"), "need --postgres HOST"),
        (("--to", "postgres", "--postgres", "127.0.0.1:1"), "needs --table TABLE, or a preset"),
        (("--to", "postgres", "--postgres", "127.0.0.1:1", "--preset", "fc"), "no preset fc"),
        (("--table", "t"), "--table is for a table: add --to postgres"),
        (("--again",), "--again is for a table"),
        (("--postgres", "h"), "--postgres is for a table"),
    ],
)
def test_options_that_do_not_go_together(
    options: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    result = CliRunner().invoke(app, ["replay", str(path), *options])
    assert isinstance(result.exception, UserError)
    assert told in str(result.exception)


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    options = ("--to", "postgres", "--postgres", "127.0.0.1:1", "--table", "t", "--speed", "full")
    result = CliRunner().invoke(app, ["replay", str(path), *options])
    assert "127.0.0.1:1/webevents does not answer" in str(result.exception)
