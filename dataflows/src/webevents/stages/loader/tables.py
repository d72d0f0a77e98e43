"""The loader's tables; ``docs/archive.md`` explains them."""

from dataclasses import replace

from webevents.logic.rows.tables import Column, Table
from webevents.spec.s3 import LoaderSpec

_RECORD = Column("record", "text")
"""Where the message stood: pipeline/topic/partition/offset."""

EVENTS = Table(
    "events",
    (
        _RECORD,
        Column("user_id", "text"),
        Column("event_type", "text"),
        Column("url", "text"),
        Column("timestamp", "timestamp"),
        Column("event_id", "text"),
    ),
    key="record",
    indexes=("timestamp",),
)
SCROLL_EVENTS = Table(
    "scroll_events",
    (
        Column("url", "text"),
        Column("scroll_count", "bigint", "NOT NULL DEFAULT 0"),
        Column("user_id", "text"),
        Column("timestamp", "timestamp"),
    ),
    key="url",
)
LOADED_OBJECTS = Table(
    "loaded_objects",
    (
        Column("key", "text"),
        Column("etag", "text", "NOT NULL"),
        Column("pipeline", "text", "NOT NULL"),
        Column("topic", "text", "NOT NULL"),
        Column("partition", "integer", "NOT NULL"),
        Column("first_offset", "bigint", "NOT NULL"),
        Column("next_offset", "bigint", "NOT NULL"),
        Column("records", "bigint", "NOT NULL DEFAULT 0"),
        Column("events", "bigint", "NOT NULL DEFAULT 0"),
        Column("scrolls", "bigint", "NOT NULL DEFAULT 0"),
        Column("failed", "bigint", "NOT NULL DEFAULT 0"),
        Column("tombstones", "bigint", "NOT NULL DEFAULT 0"),
        Column("loaded_at", "timestamptz", "NOT NULL DEFAULT now()"),
    ),
    key="key",
    indexes=("next_offset",),
)
"""What was loaded: ``records`` = ``events`` + ``scrolls`` + ``failed`` + ``tombstones``."""
LOAD_FAILURES = Table(
    "load_failures",
    (
        _RECORD,
        Column("reason", "text", "NOT NULL"),
        Column("detail", "text", "NOT NULL"),
        Column("failed_at", "timestamptz", "NOT NULL DEFAULT now()"),
    ),
    key="record",
)
"""Messages that are no events, or that a column cannot hold; the object has their bytes."""


def tables_of(spec: LoaderSpec) -> tuple[Table, Table, Table, Table]:
    """Events, scrolls, loaded objects and failures, under the names of the specification."""
    return (
        replace(EVENTS, name=spec.events_table),
        replace(SCROLL_EVENTS, name=spec.scroll_table),
        LOADED_OBJECTS,
        LOAD_FAILURES,
    )
