"""A plan: what must be there for a pipeline to run, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from webevents.connectors.kafka import Topic
from webevents.spec.base import Model


@dataclass(frozen=True, slots=True)
class Template:
    """A component template or a composable index template of Elasticsearch."""

    kind: Literal["component", "index"]
    name: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Connector:
    """A connector of Kafka Connect."""

    name: str
    config: Mapping[str, str]
    """Without the database's password, which each runtime brings in its own way."""
    topics: tuple[str, ...]
    """What it writes."""
    marker_topic: str
    """Where logical messages of the database come to."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A command that runs in one or more copies."""

    name: str
    command: tuple[str, ...]
    """Arguments of ``webevents``; the settings file's path is added by the runtime."""
    settings: Model
    """Written as JSON into the workload's settings file."""
    replicas: int
    live: Mapping[str, Any] = field(default_factory=dict)
    """Settings that may change while it runs, in a file of their own."""
    group: str | None = None
    """Consumer group, where the workload is a stage."""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    """Topics that it reads and writes; the runtime drains them in this order."""
    port: int | None = None
    """Where it serves HTTP to the world, with /healthz and /readyz, if it does."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a runtime has to bring about."""

    pipeline: str
    topics: Sequence[Topic]
    templates: Sequence[Template]
    workloads: Sequence[Workload]
    indices: Mapping[str, str] = field(default_factory=dict)
    """What is written to Elasticsearch: events, sessions, each with its index pattern."""
    tables: Sequence[str] = ()
    """Tables of PostgreSQL that are written, as schema.table."""

    connector: Connector | None = None
    """Reads changes of a database."""

    def stages(self) -> list[Workload]:
        """The workloads that read topics, each after those that write what it reads."""
        return [workload for workload in self.workloads if workload.reads]
