"""spec.source: where events come from beside the generator: changes of a database."""

from typing import Literal, Self

from pydantic import Field, model_validator

from webevents.spec.base import Model
from webevents.spec.elasticsearch import DocumentType
from webevents.spec.postgres import PostgresSpec

_TABLE = r"^[^.\s,:]+\.[^.\s,:]+$"
_INDEX = r"^[a-z0-9][a-z0-9._-]*$"
RESERVED = ("event_id", "event_timestamp", "event_type", "change")
"""Fields that a change's event has of itself."""


class CapturedTable(Model):
    """A table whose rows become events, and documents of an index of its own."""

    name: str = Field(pattern=_TABLE, max_length=127)
    """Schema and table, such as public.clicks. The table needs a primary key."""
    event_type: str | None = None
    """Column that holds the event's type; the table's name where absent or empty."""
    timestamp: str | None = None
    """Column that holds the event's time; the time of the change where absent or empty."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Fields of the event and the columns that they are taken from, such as
    session_id: session_id; sessions are made from these."""
    exclude: tuple[str, ...] = ()
    """Columns that are never read from the database."""
    index: str | None = Field(default=None, pattern=_INDEX, max_length=200)
    """Name of the index; <pipeline>-<table> when absent."""
    columns: dict[str, DocumentType] = Field(default_factory=dict)
    """Types of columns in the index; others get theirs from the first value: text is a keyword,
    a number long or double."""

    @property
    def short_name(self) -> str:
        """The table's name without its schema."""
        return self.name.partition(".")[2]

    def index_of(self, pipeline: str) -> str:
        """The index that its rows go to.

        :param pipeline: the pipeline's name.
        """
        return self.index or f"{pipeline}-{self.short_name.lower()}"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name in RESERVED:
            if name in self.fields:
                raise ValueError(f"fields.{name}: the event has that of itself; take it out")
        used = {
            "eventType": self.event_type,
            "timestamp": self.timestamp,
            **{f"fields.{name}": column for name, column in self.fields.items()},
            **{f"columns.{name}": name for name in self.columns},
        }
        for place, column in used.items():
            if column in self.exclude:
                raise ValueError(f"{place} needs column {column}, which exclude names")
        return self


class ConnectSpec(Model):
    """The Kafka Connect that runs the connector."""

    url: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    """Address of its REST API; the runtime's own Kafka Connect when absent."""
    cluster: str | None = None
    """On Kubernetes: name of Strimzi's KafkaConnect, which must allow KafkaConnector resources."""


class DebeziumSpec(Model):
    """Changes of PostgreSQL tables, read from the database's log by Debezium."""

    postgres: PostgresSpec = PostgresSpec()
    """The database; its wal_level must be logical. A local one when no host is named."""
    tables: tuple[CapturedTable, ...] = Field(min_length=1, max_length=100)
    """The tables that are captured."""
    on_delete: Literal["remove", "mark"] = "remove"
    """remove: the document goes with its row; mark: it stays, with __deleted true. For that the
    connector sets the tables' REPLICA IDENTITY to FULL, which their owner may."""
    topic_prefix: str = Field(
        default="streaming", pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$", max_length=100
    )
    """Topics are named <topicPrefix>.<schema>.<table>."""
    partitions: int = Field(default=4, ge=1, le=1000)
    """Partitions of each table's topic; changes of one row stay in one."""
    connector: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=200)
    """Name of the connector; <pipeline>-connector when absent."""
    snapshot: Literal["initial", "always", "when_needed", "no_data"] = "initial"
    """Which rows that are there already are read: initial: all, once; always: all, at each start;
    when_needed: all, where the position in the log is lost; no_data: none."""
    slot: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$", max_length=63)
    """Name of the replication slot and of the publication; webevents_<pipeline> when absent."""
    connect: ConnectSpec = ConnectSpec()
    """The Kafka Connect that runs the connector."""
    config: dict[str, str] = Field(default_factory=dict)
    """Further settings of the connector in Debezium's own names; they win over ours."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = [table.name for table in self.tables]
        if len(set(names)) < len(names):
            raise ValueError("tables: the same table is named twice")
        indices = [table.index for table in self.tables if table.index]
        if len(set(indices)) < len(indices):
            raise ValueError("tables: two tables have the same index; keys would meet there")
        return self

    def topic(self, table: CapturedTable) -> str:
        """The topic of a table's changes."""
        return f"{self.topic_prefix}.{table.name}"


class SourceSpec(Model):
    """Where events come from beside spec.generator."""

    debezium: DebeziumSpec | None = None
    """Change data capture; none when absent."""
