"""``webevents query``: the named queries over the tables of a pipeline."""

import csv
import json
import sys
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from webevents.cli import connections as c
from webevents.errors import UserError
from webevents.logic.rows.tables import tables_of
from webevents.spec.load import load_pipeline
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.postgres import PostgresSpec

if TYPE_CHECKING:
    from webevents.connectors.postgres import Query

MAX_WIDTH = 10_000
"""Of a table, in characters; wide enough for any."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(query)


def query(
    name: Annotated[
        str | None, typer.Argument(help="The query; without one, they are listed.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Rows to show; by default 100, and 10 of last-sessions."),
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="The pipeline, where several run here.")
    ] = None,
    file: c.OptionalFile = None,
    postgres: c.Postgres = None,
    postgres_user: c.PostgresUser = None,
    postgres_password_file: c.PostgresPasswordFile = None,
    postgres_ca: c.PostgresCa = None,
    as_json: c.AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show the result of a named query over a pipeline's tables in PostgreSQL."""
    from webevents.connectors.postgres import QUERIES

    if as_json and as_csv:
        raise UserError("--json and --csv do not go together: choose one")
    if name is None:
        _print(
            ["query", "shows", "table"],
            [(each.name, each.title, each.table.name) for each in QUERIES],
            "Queries",
            as_json=as_json,
            as_csv=as_csv,
        )
        return
    found = next((each for each in QUERIES if each.name == name.replace("_", "-")), None)
    if found is None:
        names = ", ".join(each.name for each in QUERIES)
        raise UserError(f"there is no query {name}; the queries are {names}")
    spec = c.postgres_spec(
        postgres, user=postgres_user, password_file=postgres_password_file, ca=postgres_ca
    )
    columns, rows = _run(_pipeline(pipeline, file, spec), found, limit)
    _print(columns, rows, found.title, as_json=as_json, as_csv=as_csv)


def _pipeline(name: str | None, file: Path | None, spec: PostgresSpec | None) -> WebEventPipeline:
    """The pipeline with the connection to its database.

    :raises UserError: when it is not known where the database is.
    """
    if file is None and spec is not None:
        raise UserError("--postgres needs the pipeline's file as well: -f FILE")
    if file is not None:
        pipeline = load_pipeline(file)
        if spec is not None:
            updated = pipeline.spec.model_copy(update={"postgres": spec})
            return pipeline.model_copy(update={"spec": updated})
        if pipeline.spec.postgres.host is not None:
            return pipeline
        name = pipeline.name
    from webevents.local.running import find

    return find(name)


def _run(
    pipeline: WebEventPipeline, query: "Query", limit: int | None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    from webevents.connectors.postgres import connect, explained

    store = pipeline.spec.store
    if not store.enabled or query.table not in tables_of(store):
        raise UserError(
            f"the pipeline {pipeline.name} does not write {query.table.name}: enable spec.store "
            "and name the table in spec.store.tables"
        )
    text = query.sql(store.schema_name, limit or query.limit or 100)
    with explained(pipeline.spec.postgres), connect(pipeline.spec.postgres) as connection:
        result = connection.execute(text)
        return [column.name for column in result.description or ()], result.fetchall()


def _print(
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    title: str,
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    if as_json:
        objects = [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
        sys.stdout.write(json.dumps(objects, indent=2, ensure_ascii=False) + "\n")
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(value) for value in row] for row in rows)
    else:
        _show(columns, rows, title)


def _show(columns: Sequence[str], rows: Sequence[tuple[Any, ...]], title: str) -> None:
    """Print a table; where it is too wide for the terminal, a list of each row's values."""
    table = Table(title=title, title_justify="left", show_edge=False)
    for position, column in enumerate(columns):
        numbers = any(isinstance(row[position], int | float | Decimal) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(_shown, row))
    console = Console()
    width = Measurement.get(console, console.options.update(width=MAX_WIDTH), table).maximum
    if width <= console.width or not console.is_terminal:
        console.width = max(width, console.width)
        console.print(table, markup=False)
    else:
        console.print(title, style="italic", markup=False)
        longest = max(map(len, columns))
        for row in rows:
            console.rule(style="dim")
            for column, value in zip(columns, row, strict=True):
                line = f"{column:>{longest}}  {_shown(value)}"
                console.print(line, markup=False, highlight=False)
    if not rows:
        console.print("No rows yet.")


def _plain(value: Any) -> Any:
    """A value as JSON has it; decimals become numbers."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):
        return str(_text(value))
    return value


def _text(value: Any) -> Any:
    return value.isoformat(" ") if isinstance(value, datetime) else value


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        value = round(value, 2)
    if isinstance(value, int | float | Decimal):
        return f"{value:,}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    # What a visitor sent must not steer the terminal.
    return "".join(c if c.isprintable() else "\ufffd" for c in str(value))
