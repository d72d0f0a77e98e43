"""The tables that the store stage writes: columns with their exact types, keys and indexes.

``docs/tables.md`` explains them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from webevents.spec.postgres import StoreSpec, StoreTable


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: str
    """The type in PostgreSQL's own words."""
    constraint: str = ""
    """What follows the type, such as NOT NULL."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table; a row is written by its key, however often it comes."""

    name: str
    columns: tuple[Column, ...]
    key: str
    """The column of the primary key."""
    indexes: tuple[str, ...] = ()
    """Columns with an index each."""
    versioned: bool = False
    """Whether the row with the highest version holds; otherwise the one that came last."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names in the order of a row's line."""
        return tuple(column.name for column in self.columns)


class Row(NamedTuple):
    """A row on its way to a table."""

    table: str
    key: str
    version: int
    """0 in tables without versions."""
    line: bytes | None
    """A line of COPY in text format, with its line break; None where the row is retracted."""


VERSION = Column("version", "bigint", "NOT NULL DEFAULT 0")
PIPELINE = Column("pipeline", "text")

SESSION_METRICS = Table(
    "session_metrics",
    (
        Column("session_id", "varchar(255)"),
        Column("user_id", "varchar(255)"),
        Column("total_events", "integer"),
        Column("event_type_counts", "jsonb"),
        Column("first_event_timestamp", "timestamp"),
        Column("last_event_timestamp", "timestamp"),
        Column("session_duration_minutes", "float"),
        Column("unique_pages_count", "integer"),
        Column("unique_pages", "jsonb"),
        Column("total_revenue", "decimal(10,2)"),
        Column("products_viewed_count", "integer"),
        Column("products_viewed", "jsonb"),
        Column("search_queries", "jsonb"),
        Column("unique_referrers_count", "integer"),
        Column("referrers", "jsonb"),
        Column("user_agent", "text"),
        Column("ip_address", "inet"),
        PIPELINE,
        VERSION,
    ),
    key="session_id",
    indexes=("user_id", "last_event_timestamp"),
    versioned=True,
)

PROCESSED_EVENTS = Table(
    "processed_events",
    (
        Column("event_id", "varchar"),
        Column("ip", "varchar"),
        Column("event_timestamp", "timestamp(3)"),
        Column("referrer", "varchar"),
        Column("host", "varchar"),
        Column("url", "varchar"),
        Column("geodata", "varchar"),
    ),
    key="event_id",
)

SESSION_EVENTS_AGGREGATED_IP = Table(
    "session_events_aggregated_ip",
    (
        Column("session_id", "varchar(255)"),
        Column("start_session", "timestamp(3)"),
        Column("end_session", "timestamp(3)"),
        Column("ip", "varchar"),
        Column("host", "varchar"),
        Column("web_events", "bigint"),
        PIPELINE,
        VERSION,
    ),
    key="session_id",
    versioned=True,
)

RETRACTED_SESSIONS = Table(
    "retracted_sessions",
    (
        Column("session_id", "varchar(255)"),
        VERSION,
        Column("retracted_at", "timestamptz", "NOT NULL DEFAULT now()"),
    ),
    key="session_id",
    indexes=("retracted_at",),
    versioned=True,
)
"""Versions of sessions that were merged into others, so that an older record cannot bring one
back; rows are dropped after :data:`RETRACTIONS_KEPT`."""

RETRACTIONS_KEPT = "7 days"

TABLES: dict[StoreTable, Table] = {
    "sessionMetrics": SESSION_METRICS,
    "processedEvents": PROCESSED_EVENTS,
    "sessionEventsAggregatedIp": SESSION_EVENTS_AGGREGATED_IP,
}
"""The tables by their names in ``spec.store.tables``."""


def tables_of(spec: StoreSpec) -> list[Table]:
    """The tables that a pipeline writes."""
    return [TABLES[name] for name in spec.tables]


def with_companions(tables: Sequence[Table]) -> list[Table]:
    """The tables and those that writing them needs."""
    made = list(tables)
    if any(table.versioned for table in tables):
        made.append(RETRACTED_SESSIONS)
    return made


def table_names(spec: StoreSpec) -> tuple[str, ...]:
    """The tables of a pipeline as ``schema.table``."""
    return tuple(f"{spec.schema_name}.{table.name}" for table in tables_of(spec))
