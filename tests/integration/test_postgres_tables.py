"""The five tables, column by column, and tables of the reference systems moved forward."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from webevents.connectors.postgres import PostgresWriter, connect, ensure_tables
from webevents.logic.rows.sessions import SessionRows
from webevents.logic.rows.tables import TABLES, Table
from webevents.spec.postgres import PostgresSpec
from webevents.stages.loader.tables import EVENTS, SCROLL_EVENTS

pytestmark = pytest.mark.integration

ALL: list[Table] = [*TABLES.values(), EVENTS, SCROLL_EVENTS]
Connection = psycopg.Connection[Any]

VARCHAR, TIME = "character varying", "timestamp without time zone"
MILLIS = "timestamp(3) without time zone"
OURS = {"pipeline": "text", "version": "bigint"}

COLUMNS = {
    "session_metrics": {
        "session_id": f"{VARCHAR}(255)",
        "user_id": f"{VARCHAR}(255)",
        "total_events": "integer",
        "event_type_counts": "jsonb",
        "first_event_timestamp": TIME,
        "last_event_timestamp": TIME,
        "session_duration_minutes": "double precision",
        "unique_pages_count": "integer",
        "unique_pages": "jsonb",
        "total_revenue": "numeric(10,2)",
        "products_viewed_count": "integer",
        "products_viewed": "jsonb",
        "search_queries": "jsonb",
        "unique_referrers_count": "integer",
        "referrers": "jsonb",
        "user_agent": "text",
        "ip_address": "inet",
        **OURS,
    },
    "processed_events": {
        "event_id": VARCHAR,
        "ip": VARCHAR,
        "event_timestamp": MILLIS,
        "referrer": VARCHAR,
        "host": VARCHAR,
        "url": VARCHAR,
        "geodata": VARCHAR,
    },
    "session_events_aggregated_ip": {
        "session_id": f"{VARCHAR}(255)",
        "start_session": MILLIS,
        "end_session": MILLIS,
        "ip": VARCHAR,
        "host": VARCHAR,
        "web_events": "bigint",
        **OURS,
    },
    "events": {
        "record": "text",
        "user_id": "text",
        "event_type": "text",
        "url": "text",
        "timestamp": TIME,
        "event_id": "text",
    },
    "scroll_events": {
        "url": "text",
        "scroll_count": "bigint",
        "user_id": "text",
        "timestamp": TIME,
    },
}
"""Each table's columns with their types, in PostgreSQL's own words."""

INDEXES = {
    "session_metrics": {"session_id*", "user_id", "last_event_timestamp"},
    "processed_events": {"event_id*"},
    "session_events_aggregated_ip": {"session_id*"},
    "events": {"record*", "timestamp"},
    "scroll_events": {"url*"},
}
"""Each table's indexes by their column; a star marks the primary key."""

REFERENCE = """
CREATE TABLE session_metrics (session_id VARCHAR(255) PRIMARY KEY, user_id VARCHAR(255),
  total_events INTEGER, event_type_counts JSONB, first_event_timestamp TIMESTAMP,
  last_event_timestamp TIMESTAMP, session_duration_minutes FLOAT, unique_pages_count INTEGER,
  unique_pages JSONB, total_revenue DECIMAL(10,2), products_viewed_count INTEGER,
  products_viewed JSONB, search_queries JSONB, unique_referrers_count INTEGER, referrers JSONB,
  user_agent TEXT, ip_address INET);
CREATE INDEX some_name ON session_metrics (user_id);
INSERT INTO session_metrics (session_id, user_id, total_events, total_revenue)
  VALUES ('old', 'ann', 3, 4.50);
CREATE TABLE session_events_aggregated_ip (start_session timestamp(3), end_session timestamp(3),
  ip varchar, host varchar, web_events bigint);
INSERT INTO session_events_aggregated_ip (ip, web_events) VALUES ('203.0.113.1', 2), ('x', 2);
CREATE TABLE events (user_id text, event_type text, url text, timestamp timestamp);
INSERT INTO events VALUES ('ann', 'click', '/', '2026-01-01'), ('ann', 'click', '/', '2026-01-01');
CREATE TABLE scroll_events (url text PRIMARY KEY, scroll_count integer, user_id text,
  timestamp timestamp);
INSERT INTO scroll_events VALUES ('/', 7, 'ann', '2026-01-01');
"""
"""Their tables, with rows; a test of test_postgres.py has the fifth."""


@pytest.fixture
def connection(postgres: PostgresSpec) -> Iterator[Connection]:
    with connect(postgres) as connection:
        yield connection


@pytest.fixture
def schema(connection: Connection) -> str:
    name = f"s{uuid.uuid4().hex[:10]}"
    connection.execute(f'CREATE SCHEMA "{name}"')
    connection.execute(f'SET search_path = "{name}"')
    return name


def columns(connection: Connection, table: str) -> dict[str, str]:
    """The columns' types in their order."""
    return dict(
        connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (table,),
        ).fetchall()
    )


def indexes(connection: Connection, table: str) -> set[str]:
    """The columns of the indexes; a star marks the primary key."""
    found = connection.execute(
        "SELECT attname || CASE WHEN indisprimary THEN '*' ELSE '' END FROM pg_index "
        "JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] "
        "WHERE indrelid = %s::regclass AND indnatts = 1 AND indisvalid",
        (table,),
    ).fetchall()
    return {name for (name,) in found}


def test_every_column_type_key_and_index(connection: Connection, schema: str) -> None:
    ensure_tables(connection, ALL, schema)
    for table, expected in COLUMNS.items():
        found = columns(connection, table)
        assert list(found.items()) == list(expected.items()), table
        assert indexes(connection, table) == INDEXES[table], table


def test_tables_of_the_reference_systems_keep_columns_types_and_rows(
    connection: Connection, schema: str, postgres: PostgresSpec
) -> None:
    connection.execute(REFERENCE)
    names = [name for name in COLUMNS if name != "processed_events"]
    before = {name: columns(connection, name) for name in names}
    rows = {
        name: connection.execute(f"SELECT {', '.join(before[name])} FROM {name}").fetchall()
        for name in names
    }
    made = ensure_tables(connection, ALL, schema)
    assert not any("user_id" in line for line in made if "session_metrics" in line)
    assert ensure_tables(connection, ALL, schema) == []
    for name in names:
        after = columns(connection, name)
        assert after == before[name] | {
            key: kind for key, kind in COLUMNS[name].items() if key not in before[name]
        }
        kept = connection.execute(f"SELECT {', '.join(before[name])} FROM {name}").fetchall()
        assert kept == rows[name]

    writer = PostgresWriter(postgres, list(TABLES.values()), schema=schema)
    record = {
        "session_id": "new",
        "pipeline": "p",
        "version": 1,
        "first_event_timestamp": "2026-03-01T12:00:00Z",
        "last_event_timestamp": "2026-03-01T12:10:00Z",
        "total_events": 9,
        "total_revenue": 1.25,
        "host": "a.example",
    }
    try:
        for _ in range(2):
            built = SessionRows(list(TABLES.values())).build(json.dumps(record).encode())
            assert writer.submit([built], "s").result(60).failed == []
    finally:
        writer.close()
    assert connection.execute(
        "SELECT session_id, total_events, total_revenue, last_event_timestamp "
        "FROM session_metrics ORDER BY 1"
    ).fetchall() == [
        ("new", 9, Decimal("1.25"), datetime(2026, 3, 1, 12, 10)),
        ("old", 3, Decimal("4.50"), None),
    ]
    assert connection.execute(
        "SELECT host, web_events FROM session_events_aggregated_ip ORDER BY ip"
    ).fetchall() == [(None, 2), (None, 2), ("a.example", 9)]
