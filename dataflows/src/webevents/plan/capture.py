"""What change data capture needs: the connector, the tables' topics and their indices."""

from typing import Any

from webevents.connectors.kafka import Topic
from webevents.logic.changes.events import CHANGED_AT, DELETED, OP, TABLE
from webevents.plan.model import Connector, Template
from webevents.plan.templates import (
    DATE_FORMAT,
    KEYWORD,
    TYPES,
    VERSIONED_SETTINGS,
    base_name,
    component,
    index_template,
)
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.source import CapturedTable, DebeziumSpec

CONNECTOR_CLASS = "io.debezium.connector.postgresql.PostgresConnector"
MARKER_PREFIX = "webevents"
"""Prefix of the logical messages by which a runtime learns that everything before them is read."""
HEARTBEAT_MS = 10_000
"""How often the connector confirms its position where only other tables change; without it the
database keeps its log for ever (Debezium's documentation, "WAL disk space consumption")."""


def table_indices(pipeline: WebEventPipeline, debezium: DebeziumSpec) -> dict[str, str]:
    """The index of each table, by the table's name."""
    return {table.name: table.index_of(pipeline.name) for table in debezium.tables}


def _marker_topic(debezium: DebeziumSpec) -> str:
    """The topic that logical messages come to."""
    return f"{debezium.topic_prefix}.message"


def capture_topics(pipeline: WebEventPipeline, config: dict[str, str]) -> list[Topic]:
    """The topics that the connector writes to.

    :param config: settings of each table's topic.
    """
    debezium = pipeline.spec.source.debezium
    assert debezium
    copies = pipeline.spec.kafka.replication_factor
    short = {**config, "retention.ms": "86400000"}
    return [
        *(Topic(debezium.topic(t), debezium.partitions, config, copies) for t in debezium.tables),
        Topic(_marker_topic(debezium), 1, short, copies),
        Topic(f"__debezium-heartbeat.{debezium.topic_prefix}", 1, short, copies),
    ]


def connector(pipeline: WebEventPipeline) -> Connector:
    """The connector; the runtime adds ``database.password`` in a form that hides it."""
    debezium = pipeline.spec.source.debezium
    assert debezium
    database = debezium.postgres
    slot = debezium.slot or f"webevents_{pipeline.name.replace('-', '_')}"
    config = {
        "connector.class": CONNECTOR_CLASS,
        "tasks.max": "1",
        "plugin.name": "pgoutput",
        "database.hostname": database.host or "",
        "database.port": str(database.port),
        "database.dbname": database.database,
        "database.user": database.username,
        "topic.prefix": debezium.topic_prefix,
        "table.include.list": ",".join(_literal(table.name) for table in debezium.tables),
        "slot.name": slot,
        "publication.name": slot,
        "publication.autocreate.mode": "filtered",
        "snapshot.mode": debezium.snapshot,
        "message.prefix.include.list": MARKER_PREFIX,
        "heartbeat.interval.ms": str(HEARTBEAT_MS),
        # The types travel with the values: a change of the schema needs nobody's attention.
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "key.converter.schemas.enable": "true",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "true",
        "decimal.handling.mode": "precise",
    }
    if debezium.on_delete == "mark":
        # A delete then tells the whole row, which the mark is put on.
        config["replica.identity.autoset.values"] = ",".join(
            f"{_literal(table.name)}:FULL" for table in debezium.tables
        )
    excluded = [_literal(f"{t.name}.{column}") for t in debezium.tables for column in t.exclude]
    if excluded:
        config["column.exclude.list"] = ",".join(excluded)
    if tls := database.tls:
        config["database.sslmode"] = tls.mode
        for name, file in (
            ("database.sslrootcert", tls.ca_file),
            ("database.sslcert", tls.cert_file),
            ("database.sslkey", tls.key_file),
        ):
            if file is not None:
                config[name] = file
    name = debezium.connector or f"{pipeline.name}-connector"
    topics = tuple(debezium.topic(table) for table in debezium.tables)
    return Connector(name, {**config, **debezium.config}, topics, _marker_topic(debezium))


def _literal(name: str) -> str:
    """A name as one of Debezium's regular expressions, which match whole names."""
    return "".join(c if c.isalnum() or c in "_-" else f"\\{c}" for c in name)


def table_templates(pipeline: WebEventPipeline) -> list[Template]:
    """Templates of each table's index: one index, because a row is one document while it lives."""
    debezium = pipeline.spec.source.debezium
    assert debezium
    indices = table_indices(pipeline, debezium)
    made = []
    for table in debezium.tables:
        what, name = f"table-{table.short_name.lower()}", indices[table.name]
        content = {"settings": VERSIONED_SETTINGS, "mappings": _mappings(table)}
        made.append(component(f"{base_name(pipeline)}-{what}", content))
        made.append(index_template(pipeline, what, name, len(name)))
    return made


def _mappings(table: CapturedTable) -> dict[str, Any]:
    """A column that comes later is let in: it is the database that decides which there are."""
    return {
        "dynamic": True,
        "date_detection": False,
        "dynamic_templates": [
            {"text": {"match_mapping_type": "string", "mapping": KEYWORD}},
            {"fraction": {"match_mapping_type": "double", "mapping": {"type": "double"}}},
        ],
        "properties": {
            **{name: TYPES[kind] for name, kind in table.columns.items()},
            TABLE: KEYWORD,
            OP: KEYWORD,
            CHANGED_AT: {"type": "date_nanos", "format": DATE_FORMAT},
            DELETED: {"type": "boolean"},
        },
    }
