"""Making the tables and views, and moving them forward; nothing of a table is ever dropped."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from psycopg import Connection, errors, sql
from psycopg.rows import TupleRow

from webevents.connectors.postgres.queries import Query, queries_of
from webevents.connectors.postgres.statements import lock_key
from webevents.errors import UserError
from webevents.logic.rows.tables import Column, Table, with_companions

_MARK = "webevents view"
"""How the comment of a view of ours begins; one without it is left alone."""


@dataclass(frozen=True, slots=True)
class _Step:
    said: str
    statements: Sequence[sql.Composed]


@dataclass(slots=True)
class _Found:
    """What the schema holds of what we look for."""

    schema: bool = False
    kinds: dict[str, str] = field(default_factory=dict)
    """pg_class.relkind by name."""
    comments: dict[str, str] = field(default_factory=dict)
    columns: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    indexed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """First columns of the indexes of each table."""
    unique: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Columns that are unique by themselves."""


def ensure_tables(
    connection: Connection[TupleRow],
    tables: Sequence[Table],
    schema: str = "public",
    *,
    views: bool = True,
) -> list[str]:
    """Make what is missing of tables, columns, indexes and views; write nothing where all is there.

    Several may do so at once: they wait for each other.

    :param connection: see :func:`webevents.connectors.postgres.connect`.
    :param views: whether the views of the named queries are made too.
    :returns: a line for each thing that was made.
    :raises UserError: when something else has the name of a table, or a key is not unique.
    :raises psycopg.Error: when the server cannot be asked, or does not permit it.
    """
    queries = queries_of(tables) if views else []
    wanted = with_companions(tables)

    def steps() -> list[_Step]:
        found = _look(connection, schema, wanted, queries)
        return list(_steps(found, schema, wanted, queries))

    if not steps():
        return []
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_key(f"schema {schema}"),))
        made = steps()
        for step in made:
            try:
                for statement in step.statements:
                    connection.execute(statement)
            except errors.UniqueViolation:
                raise UserError(
                    f"PostgreSQL: {step.said} cannot be done, because values stand twice: remove "
                    "the doubled rows, or set spec.store.schemaName to a schema of its own"
                ) from None
    return [step.said for step in made]


def _look(
    connection: Connection[TupleRow], schema: str, tables: Sequence[Table], queries: Sequence[Query]
) -> _Found:
    found = _Found()
    names = [table.name for table in tables]
    found.schema = bool(
        connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,)).rowcount
    )
    for name, kind, comment in connection.execute(
        "SELECT relname, relkind::text, obj_description(c.oid, 'pg_class') FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relname = ANY(%s)",
        (schema, [*names, *(query.view for query in queries)]),
    ):
        found.kinds[name] = kind
        found.comments[name] = comment or ""
    for name, column in connection.execute(
        "SELECT relname, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid "
        "JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = %s AND relname = ANY(%s) AND attnum > 0 AND NOT attisdropped",
        (schema, names),
    ):
        found.columns[name].add(column)
    for name, column, alone in connection.execute(
        "SELECT relname, attname, indisunique AND indnkeyatts = 1 AND indpred IS NULL "
        "FROM pg_index i JOIN pg_class c ON c.oid = indrelid "
        "JOIN pg_namespace n ON n.oid = relnamespace "
        "JOIN pg_attribute a ON a.attrelid = indrelid AND attnum = indkey[0] "
        "WHERE nspname = %s AND relname = ANY(%s) AND indisvalid",
        (schema, names),
    ):
        found.indexed[name].add(column)
        if alone:
            found.unique[name].add(column)
    return found


def _steps(
    found: _Found, schema: str, tables: Sequence[Table], queries: Sequence[Query]
) -> Iterator[_Step]:
    if not found.schema:
        made = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema))
        yield _Step(f"schema {schema} is made", [made])
    for table in tables:
        yield from _table_steps(found, schema, table)
    views = [(query, parts) for query in queries if (parts := _view(found, schema, query))]
    if views:
        names = ", ".join(query.view for query, _ in views)
        statements = [statement for _, parts in views for statement in parts]
        yield _Step(f"views of schema {schema} are made: {names}", statements)


def _table_steps(found: _Found, schema: str, table: Table) -> Iterator[_Step]:
    name, full = sql.Identifier(schema, table.name), f"{schema}.{table.name}"
    kind = found.kinds.get(table.name)
    if kind is None:
        columns = [_column(column) for column in table.columns]
        columns.append(sql.SQL("PRIMARY KEY ({})").format(sql.Identifier(table.key)))
        made = sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(
            name, sql.SQL(", ").join(columns)
        )
        indexes = [_plain_index(table, name, column) for column in table.indexes]
        yield _Step(f"table {full} is made", [made, *indexes])
        return
    if kind not in ("r", "p"):
        raise UserError(
            f"PostgreSQL: {full} is there and is no table: rename it, or set "
            "spec.store.schemaName to a schema of its own"
        )
    for column in table.columns:
        if column.name not in found.columns[table.name]:
            added = sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}").format(
                name, _column(column)
            )
            yield _Step(f"column {full}.{column.name} is added", [added])
    if table.key not in found.unique[table.name]:
        key = _index("CREATE UNIQUE INDEX", f"{table.name}_{table.key}_key", name, table.key)
        yield _Step(f"a unique index on {full}.{table.key} is made", [key])
    for column_name in table.indexes:
        if column_name not in found.indexed[table.name]:
            index = _plain_index(table, name, column_name)
            yield _Step(f"an index on {full}.{column_name} is made", [index])


def _column(column: Column) -> sql.Composed:
    words = sql.SQL(f" {column.type} {column.constraint}".rstrip())
    return sql.Identifier(column.name) + words


def _plain_index(table: Table, name: sql.Identifier, column: str) -> sql.Composed:
    return _index("CREATE INDEX", f"{table.name}_{column}_idx", name, column)


def _index(what: str, index: str, table: sql.Identifier, column: str) -> sql.Composed:
    return sql.SQL(what + " IF NOT EXISTS {} ON {} ({})").format(
        sql.Identifier(index), table, sql.Identifier(column)
    )


def _view(found: _Found, schema: str, query: Query) -> list[sql.Composed]:
    """The statements that make a view, none where it is as it should be."""
    kind, comment = found.kinds.get(query.view), found.comments.get(query.view, "")
    if kind is not None and (kind != "v" or not comment.startswith(_MARK)):
        return []  # somebody else's
    text = query.sql(schema, query.limit)
    mark = f"{_MARK} {blake2b(repr(text).encode(), digest_size=8).hexdigest()}: {query.title}"
    if comment == mark:
        return []
    view = sql.Identifier(schema, query.view)
    statements = [
        sql.SQL("CREATE VIEW {} AS {}").format(view, text),
        sql.SQL("COMMENT ON VIEW {} IS {}").format(view, sql.Literal(mark)),
    ]
    if kind is not None:
        # Its columns may have changed, which CREATE OR REPLACE refuses; a view holds no data.
        statements.insert(0, sql.SQL("DROP VIEW {}").format(view))
    return statements
