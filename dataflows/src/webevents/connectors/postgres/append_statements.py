"""The statements by which rows of any table are added, or changed by their key."""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql

from webevents.connectors.postgres.replays import ReplayRecords
from webevents.connectors.postgres.target import TableName

_WITHOUT_ORDER = ("json", "xml")
"""Types whose values cannot be compared; their text is."""
_STAGE = "webevents_replayed"
_NUMBER = "webevents_row"


class Writing(NamedTuple):
    """What is written, and where to.

    :param columns: with their types' own names, in the order of a row's fields.
    :param key: columns that are unique: a row of the same key is changed, where it differs; without
        any, rows are added.
    """

    table: TableName
    columns: dict[str, str]
    key: Sequence[str]
    records: ReplayRecords
    lock: str
    """What only one connection at a time may do."""


def append_statements(writing: Writing) -> tuple[sql.Composed, sql.Composed, sql.Composed]:
    """COPY, the temporary table that it fills where there is a key, and the UPSERT from there."""
    names = [sql.Identifier(name) for name in writing.columns]
    key = sql.SQL(", ").join(map(sql.Identifier, writing.key))
    parts: dict[str, sql.Composable] = {
        "table": writing.table.sql,
        "columns": sql.SQL(", ").join(names),
        "stage": sql.Identifier("pg_temp", _STAGE),
        "number": sql.Identifier(_NUMBER),
        "key": key,
    }
    if not writing.key:
        copy = sql.SQL("COPY {table} ({columns}) FROM STDIN").format(**parts)
        return copy, sql.Composed([]), sql.Composed([])
    copy = sql.SQL("COPY {stage} ({number}, {columns}) FROM STDIN").format(**parts)
    stage = sql.SQL(
        "CREATE TEMPORARY TABLE IF NOT EXISTS {name} ON COMMIT DELETE ROWS AS "
        "SELECT 0::bigint AS {number}, {columns} FROM {table} WITH NO DATA"
    ).format(name=sql.Identifier(_STAGE), **parts)
    others = [name for name in writing.columns if name not in writing.key]
    action: sql.Composable = sql.SQL("NOTHING")
    if others:
        action = sql.SQL("UPDATE SET {changes} WHERE ({old}) IS DISTINCT FROM ({new})").format(
            changes=sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in others
            ),
            old=_comparable("t", others, writing.columns),
            new=_comparable("excluded", others, writing.columns),
        )
    upsert = sql.SQL(
        # The last one of a key counts, as if rows were written one by one.
        "INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM "
        "(SELECT DISTINCT ON ({key}) * FROM {stage} ORDER BY {key}, {number} DESC) AS s "
        "ON CONFLICT ({key}) DO {action}"
    ).format(action=action, **parts)
    return copy, stage, upsert


def _comparable(of: str, names: Sequence[str], types: dict[str, str]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.Identifier(of, name) + sql.SQL("::text" if types[name] in _WITHOUT_ORDER else "")
        for name in names
    )
