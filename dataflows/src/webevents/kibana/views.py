"""The data views of a pipeline: its indices, and what fields are called in their documents."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from webevents.events.analytics import KINDS
from webevents.events.failed import FAILED_FIELDS
from webevents.events.fields import FIELDS, Field, Kind
from webevents.events.samples import SAMPLE_FIELDS
from webevents.events.session import SESSION_FIELDS
from webevents.spec.elasticsearch import DocumentType
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.source import CapturedTable

DataType = Literal["string", "number", "date", "boolean", "ip", "geo_point", "flattened"]
"""Types as Kibana knows them."""

_OF_KIND: dict[Kind, DataType] = {
    Kind.KEYWORD: "string",
    Kind.ID: "string",
    Kind.TEXT: "string",
    Kind.STRINGS: "string",
    Kind.DATE: "date",
    Kind.IP: "ip",
    Kind.BOOLEAN: "boolean",
    Kind.LONG: "number",
    Kind.DOUBLE: "number",
    Kind.GEO_POINT: "geo_point",
    Kind.COUNTS: "flattened",
}
_OF_TYPE: dict[DocumentType, DataType] = {
    "keyword": "string",
    "text": "string",
    "date": "date",
    "boolean": "boolean",
    "long": "number",
    "double": "number",
    "float": "number",
    "ip": "ip",
    "geo_point": "geo_point",
    "flattened": "flattened",
}


@dataclass(frozen=True, slots=True)
class DocumentField:
    """A field of a view's documents."""

    name: str
    """What queries call it."""
    type: DataType


@dataclass(frozen=True, slots=True)
class View:
    """A data view."""

    key: str
    """events, sessions, a kind of analytics, failed, samples, or the name of a table."""
    id: str
    """Of the saved object; the key until it is known."""
    title: str
    """Pattern of the indices."""
    name: str
    """For people."""
    time: str
    """The time field."""
    fields: Mapping[str, DocumentField]
    """By the name that events, sessions or rows have for it."""
    open: bool = False
    """Whether documents have further fields, which are keywords."""

    def find(self, field: str) -> DocumentField | None:
        """The field in the documents; None where they have no such field."""
        if found := self.fields.get(field):
            return found
        head, dot, rest = field.partition(".")
        outer = self.fields.get(head)
        if dot and outer is not None and outer.type == "flattened":
            return DocumentField(f"{outer.name}.{rest}", "string")
        return DocumentField(field, "string") if self.open else None

    def name_of(self, field: str) -> str:
        """What queries call a field.

        :raises KeyError: where the documents have no such field.
        """
        found = self.find(field)
        if found is None:
            raise KeyError(field)
        return found.name


_BLIND = {Kind.STORED}
"""Kinds that are kept but cannot be asked for."""


def views_of(pipeline: WebEventPipeline) -> dict[str, View]:
    """The data views of a pipeline, by key: one for each kind of document that it indexes."""
    spec = pipeline.spec
    if not spec.index.enabled:
        return {}
    events = _events(pipeline)
    # Without a time there is nothing that a dashboard could show of them.
    made = [] if events is None else [events]
    if spec.sessions.enabled:
        made.append(_sessions(pipeline))
    if spec.source.debezium:
        made += [_table(pipeline, table) for table in spec.source.debezium.tables]
    made += [_analytics(pipeline, kind) for kind in spec.analytics.kinds]
    if spec.index.failed.enabled:
        made.append(_failed(pipeline))
    if spec.index.samples.enabled:
        made.append(_samples(pipeline))
    return {view.key: view for view in made}


def _known(field: Field) -> DocumentField:
    # The words of a text are searched; what is counted is the keyword beside it.
    name = f"{field.name}.keyword" if field.kind is Kind.TEXT else field.name
    return DocumentField(name, _OF_KIND[field.kind])


def _fields(fields: Iterable[Field]) -> dict[str, DocumentField]:
    return {field.name: _known(field) for field in fields if field.kind not in _BLIND}


def _events(pipeline: WebEventPipeline) -> View | None:
    spec = pipeline.spec.index.events
    fields = _fields(FIELDS)
    if spec.fields is not None:
        fields = {
            each.field or name: DocumentField(
                f"{name}.keyword" if each.type == "text" else name, _OF_TYPE[each.type]
            )
            for name, each in spec.fields.items()
        }
    time = fields.get("event_timestamp")
    if time is None or time.type != "date":
        return None
    return View(
        "events",
        "events",
        f"{spec.prefix}-*",
        f"Events of {pipeline.name}",
        time.name,
        fields,
    )


def _of_kind(key: str, prefix: str, title: str, time: str, fields: Sequence[Field]) -> View:
    """The view of documents whose fields are those of a table."""
    return View(key, key, f"{prefix}-*", title, time, _fields(fields))


def _sessions(pipeline: WebEventPipeline) -> View:
    prefix, title = pipeline.spec.index.sessions.prefix, f"Sessions of {pipeline.name}"
    return _of_kind("sessions", prefix, title, "first_event_timestamp", SESSION_FIELDS)


def _analytics(pipeline: WebEventPipeline, kind: str) -> View:
    prefix = f"{pipeline.spec.index.analytics.prefix}-{kind}"
    title = f"{kind.capitalize()} of {pipeline.name}"
    return _of_kind(kind, prefix, title, "timestamp", KINDS[kind])


def _failed(pipeline: WebEventPipeline) -> View:
    title = f"Failed events of {pipeline.name}"
    return _of_kind("failed", pipeline.failed_prefix, title, "failed_at", FAILED_FIELDS)


def _samples(pipeline: WebEventPipeline) -> View:
    title = f"Stages of {pipeline.name}"
    return _of_kind("samples", pipeline.samples_prefix, title, "timestamp", SAMPLE_FIELDS)


def _table(pipeline: WebEventPipeline, table: CapturedTable) -> View:
    fields = {
        column: DocumentField(f"{column}.keyword" if kind == "text" else column, _OF_TYPE[kind])
        for column, kind in table.columns.items()
    }
    key = table.short_name.lower()
    time = table.timestamp if table.columns.get(table.timestamp or "") == "date" else None
    return View(
        key,
        key,
        table.index_of(pipeline.name),
        f"Table {table.name} of {pipeline.name}",
        time or "__changed_at",
        fields,
        open=True,
    )
