"""The statements that write a batch, and what a batch of rows comes to for each table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from psycopg import sql

from webevents.connectors.postgres.submission import Item
from webevents.logic.rows.tables import RETRACTED_SESSIONS, RETRACTIONS_KEPT, Row, Table


@dataclass(slots=True)
class TableBatch:
    """What is written to one table: each key once, by its highest version."""

    lines: list[bytes] = field(default_factory=list)
    retracted: list[tuple[str, int]] = field(default_factory=list)
    """(key, version)."""


def gather(items: Iterable[Item]) -> dict[str, TableBatch]:
    """Sort rows by table and keep the newest of each key; where versions tie, the later one."""
    newest: dict[str, dict[str, Row]] = {}
    for item in items:
        for row in item:
            rows = newest.setdefault(row.table, {})
            known = rows.get(row.key)
            if known is None or row.version >= known.version:
                rows[row.key] = row
    batches: dict[str, TableBatch] = {}
    for table, rows in newest.items():
        batch = batches[table] = TableBatch()
        for row in rows.values():
            if row.line is None:
                batch.retracted.append((row.key, row.version))
            else:
                batch.lines.append(row.line)
    return batches


class TableStatements:
    """The statements of one table.

    :param schema: where the table is.
    """

    def __init__(self, table: Table, schema: str) -> None:
        self.table = table
        # Of another definition in another version, so that a pooled session's does not disturb.
        definition = repr(table.columns).encode()
        stage = f"webevents_{table.name[:32]}_{blake2b(definition, digest_size=4).hexdigest()}"
        columns = sql.SQL(", ").join(map(sql.Identifier, table.names))
        names: dict[str, sql.Composable] = {
            "table": sql.Identifier(schema, table.name),
            "retracted": sql.Identifier(schema, RETRACTED_SESSIONS.name),
            "stage": sql.Identifier(stage),
            "columns": columns,
            "key": sql.Identifier(table.key),
        }
        typed = [sql.Identifier(c.name) + sql.SQL(" " + c.type) for c in table.columns]
        self.stage = sql.SQL(
            "CREATE TEMPORARY TABLE IF NOT EXISTS {stage} ({typed}) ON COMMIT DELETE ROWS"
        ).format(typed=sql.SQL(", ").join(typed), **names)
        self.copy = sql.SQL("COPY {stage} ({columns}) FROM STDIN").format(**names)
        self.upsert = _upsert(table, names)
        self.delete = sql.SQL(
            "DELETE FROM {table} AS t USING unnest(%s::text[], %s::bigint[]) AS r (id, version) "
            "WHERE t.{key} = r.id AND t.version <= r.version"
        ).format(**names)


def _upsert(table: Table, names: dict[str, sql.Composable]) -> sql.Composed:
    """One statement for all rows; in the keys' order, so that two writers cannot deadlock."""
    others = [sql.Identifier(name) for name in table.names if name != table.key]
    excluded = [sql.SQL("excluded.") + name for name in others]
    changes = [
        name + sql.SQL(" = ") + new for name, new in zip(others, excluded, strict=True)
    ]  # fmt: skip
    if table.versioned:
        alive = sql.SQL(
            " WHERE NOT EXISTS (SELECT FROM {retracted} AS r "
            "WHERE r.session_id = s.session_id AND r.version >= s.version)"
        ).format(**names)
        newer: sql.Composable = sql.SQL("excluded.version > t.version")
    else:
        alive = sql.Composed([])
        # What is the same already is not written again.
        newer = sql.SQL("({}) IS DISTINCT FROM ({})").format(
            sql.SQL(", ").join([sql.SQL("t.") + name for name in others]),
            sql.SQL(", ").join(excluded),
        )
    return sql.SQL(
        "INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM {stage} AS s{alive} "
        "ORDER BY {key} ON CONFLICT ({key}) DO UPDATE SET {changes} WHERE {newer}"
    ).format(alive=alive, changes=sql.SQL(", ").join(changes), newer=newer, **names)


def remember_retracted(schema: str) -> Sequence[sql.Composed]:
    """Statements that keep the versions of retracted sessions, given their keys and versions."""
    retracted = sql.Identifier(schema, RETRACTED_SESSIONS.name)
    return (
        sql.SQL(
            "INSERT INTO {} AS t (session_id, version) "
            "SELECT id, version FROM unnest(%s::text[], %s::bigint[]) AS r (id, version) "
            "ORDER BY id ON CONFLICT (session_id) DO UPDATE "
            "SET version = excluded.version, retracted_at = excluded.retracted_at "
            "WHERE excluded.version > t.version"
        ).format(retracted),
        sql.SQL("DELETE FROM {} WHERE retracted_at < now() - {}::interval").format(
            retracted, sql.Literal(RETRACTIONS_KEPT)
        ),
    )


SETTINGS = (
    "SELECT set_config('statement_timeout', %(statement_ms)s, true), "
    "set_config('lock_timeout', %(lock_ms)s, true), "
    # A transaction whose client has vanished must not hold its locks for hours.
    "set_config('idle_in_transaction_session_timeout', '60000', true)"
)
"""Of the transaction only, because a pooler may give the session to others."""

LOCK = "SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key"


def lock_key(source: str) -> int:
    """The number that stands for a source in PostgreSQL's advisory locks."""
    return int.from_bytes(
        blake2b(f"webevents {source}".encode(), digest_size=8).digest(), signed=True
    )
