"""Tables of any shape that rows are appended to: what they look like, and making new ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from webevents.connectors.postgres.statements import lock_key
from webevents.errors import UserError
from webevents.logic.rows.tables import Column


class TableName(NamedTuple):
    """A table and its schema."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> sql.Identifier:
        """The name as a part of a statement."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column of a table that is there."""

    name: str
    type: str
    """The type's own name (pg_type.typname), such as int4 or varchar."""
    limit: int | None = None
    """Characters that it holds, as in varchar(20)."""
    required: bool = False
    """Whether it takes no NULL and has no default."""
    made: bool = False
    """Whether the server makes its values, and takes no others."""


@dataclass(frozen=True, slots=True)
class Target:
    """A table that is there."""

    columns: dict[str, TargetColumn]
    keys: tuple[frozenset[str], ...]
    """Sets of columns that are unique."""


def lock_schema(connection: Connection[TupleRow], schema: str) -> None:
    """Wait for others that make tables in the schema, until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_key(f"schema {schema}"),))


def find_target(connection: Connection[TupleRow], table: TableName) -> Target | None:
    """What a table looks like; None where it is not there.

    :raises UserError: when something that is no table has the name.
    :raises psycopg.Error: when the server cannot be asked.
    """
    row = connection.execute(
        "SELECT c.oid, relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = %s AND relname = %s",
        table,
    ).fetchone()
    if row is None:
        return None
    oid, kind = row
    if kind not in ("r", "p"):
        raise UserError(f"PostgreSQL: {table} is there and is no table: name another table")
    columns = connection.execute(
        "SELECT attname, typname::text, "
        "CASE WHEN typname IN ('varchar', 'bpchar') AND atttypmod > 4 THEN atttypmod - 4 END, "
        "attnotnull AND NOT atthasdef AND attidentity = '', attgenerated <> '' "
        "FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid "
        "WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (oid,),
    ).fetchall()
    keys = connection.execute(
        # What ON CONFLICT takes: no expressions, no condition, checked at once.
        "SELECT array_agg(attname::text) FROM pg_index i "
        "JOIN pg_attribute a ON a.attrelid = indrelid AND attnum = ANY(indkey[0:indnkeyatts - 1]) "
        "WHERE indrelid = %s AND indisunique AND indisvalid AND indimmediate "
        "AND indpred IS NULL AND indexprs IS NULL GROUP BY indexrelid",
        (oid,),
    ).fetchall()
    return Target(
        {column[0]: TargetColumn(*column) for column in columns},
        tuple(frozenset(key) for (key,) in keys),
    )


def make_target(
    connection: Connection[TupleRow],
    table: TableName,
    columns: Sequence[Column],
    key: Sequence[str],
    unique: Sequence[str] = (),
) -> None:
    """Make a table whose changes can be captured whole (REPLICA IDENTITY FULL).

    :param key: the columns of the primary key.
    :param unique: columns that are unique beside it.
    :raises psycopg.Error: when the server does not permit it.
    """
    words = [
        sql.Identifier(column.name) + sql.SQL(f" {column.type} {column.constraint}".rstrip())
        for column in columns
    ]
    for what, of in (("PRIMARY KEY", key), ("UNIQUE", unique)):
        if of:
            names = sql.SQL(", ").join(map(sql.Identifier, of))
            words.append(sql.SQL(what + " ({})").format(names))
    made = sql.SQL("CREATE TABLE {} ({})").format(table.sql, sql.SQL(", ").join(words))
    connection.execute(made)
    connection.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(table.sql))


def make_schema(connection: Connection[TupleRow], schema: str) -> None:
    """Make a schema where it is not there."""
    there = connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,)).rowcount
    if not there:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
