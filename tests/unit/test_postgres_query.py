"""``webevents query``: what it lists, how it shows rows, what it says when it cannot."""

import csv
import io
import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from webevents.cli import app, query
from webevents.errors import UserError

COLUMNS = ["host", "events", "share", "day", "at", "nothing"]
ROWS: list[tuple[Any, ...]] = [
    ("a.example", 12_345, Decimal("99.90"), date(2026, 3, 1), datetime(2026, 3, 1, 12), None),
    ("[b] 'x', \x1by", 1, Decimal("0.10"), date(2026, 3, 2), datetime(2026, 3, 2, 12), None),
]


def ask(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["query", *arguments])


def pipeline(folder: Path, **spec: Any) -> str:
    path = folder / "p.yaml"
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "shop"},
        "spec": spec,
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The query's result without a database."""
    monkeypatch.setattr(query, "_pipeline", lambda *_: None)
    monkeypatch.setattr(query, "_run", lambda *_: (COLUMNS, ROWS))


def test_without_a_name_it_lists_the_queries() -> None:
    listed = ask("--json")
    assert {"last-sessions", "events-by-country"} <= {
        each["query"] for each in json.loads(listed.stdout)
    }
    assert "sessions-by-ip-and-host" in ask().stdout


def test_json_has_numbers_and_plain_text(rows: None) -> None:
    found = json.loads(ask("last_sessions", "--json").stdout)
    assert found[0] == {
        "host": "a.example",
        "events": 12_345,
        "share": 99.9,
        "day": "2026-03-01",
        "at": "2026-03-01 12:00:00",
        "nothing": None,
    }


def test_csv_is_read_back(rows: None) -> None:
    found = list(csv.reader(io.StringIO(ask("last-sessions", "--csv").stdout)))
    assert found[0] == COLUMNS
    assert found[2] == ["[b] 'x', \x1by", "1", "0.10", "2026-03-02", "2026-03-02 12:00:00", ""]


def test_a_table_shows_each_value_whole(rows: None) -> None:
    shown = ask("last-sessions").stdout
    for text in ("12,345", "99.90", "2026-03-01 12:00:00", "[b] 'x', \ufffdy", "–"):
        assert text in shown


def test_on_a_narrow_terminal_each_row_is_a_list(
    rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = ask("last-sessions").stdout
    assert "│" not in shown
    assert shown.count("host") == len(ROWS)
    assert "[b] 'x', \ufffdy" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "there is no query nonsense; the queries are last-sessions"),
        (["last-sessions", "--json", "--csv"], "choose one"),
        (["last-sessions", "--postgres", "db"], "needs the pipeline's file"),
    ],
)
def test_what_it_cannot_do(arguments: list[str], message: str) -> None:
    error = ask(*arguments).exception
    assert isinstance(error, UserError)
    assert message in str(error)


def test_a_pipeline_that_does_not_write_the_table(tmp_path: Path) -> None:
    path = pipeline(tmp_path, store={"enabled": True}, postgres={"host": "127.0.0.1", "port": 1})
    error = ask("events-by-country", "-f", path).exception
    assert isinstance(error, UserError)
    assert "does not write processed_events: enable spec.store and name the table" in str(error)


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    path = pipeline(tmp_path, store={"enabled": True}, postgres={"host": "127.0.0.1", "port": 1})
    error = ask("last-sessions", "-f", path).exception
    assert isinstance(error, UserError)
    assert "PostgreSQL at 127.0.0.1:1/webevents does not answer: start it" in str(error)


def test_a_secret_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    for secret, message in (
        ({"passwordFile": str(tmp_path / "none")}, "passwordFile: .*none: No such file"),
        ({"passwordEnv": "NO_SUCH_SECRET"}, "passwordEnv: the variable NO_SUCH_SECRET is not set"),
    ):
        postgres = {"host": "127.0.0.1", "port": 1, **secret}
        path = pipeline(tmp_path, store={"enabled": True}, postgres=postgres)
        error = ask("last-sessions", "-f", path).exception
        assert isinstance(error, UserError)
        with pytest.raises(UserError, match=message):
            raise error
