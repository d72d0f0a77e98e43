"""PostgreSQL: the connection, the tables and views, the named queries and the writer."""

from webevents.connectors.postgres.client import (
    Unreachable,
    connect,
    count_rows,
    explained,
    password_of,
)
from webevents.connectors.postgres.queries import QUERIES, Query, queries_of
from webevents.connectors.postgres.schema import ensure_tables
from webevents.connectors.postgres.submission import RowError, StoreHandle, StoreResult
from webevents.connectors.postgres.writer import PostgresWriter

__all__ = [
    "QUERIES",
    "PostgresWriter",
    "Query",
    "RowError",
    "StoreHandle",
    "StoreResult",
    "Unreachable",
    "connect",
    "count_rows",
    "ensure_tables",
    "explained",
    "password_of",
    "queries_of",
]
