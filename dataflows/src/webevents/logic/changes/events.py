"""From a change of a row to an event of the raw topic, and from there to a document.

The event carries the row itself as ``change``. Only a new row's event has the fields that
sessions are made from, so that an update or a delete counts nowhere a second time.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from webevents.events.event import InvalidEvent
from webevents.events.fields import BY_NAME, Kind
from webevents.events.key import key_reader
from webevents.events.times import format_time, parse_time
from webevents.logic.changes.envelope import Change
from webevents.logic.documents import Document, EventDocuments, document_id
from webevents.spec.source import CapturedTable

CHANGE = "change"
"""The event's field that holds the row."""
TABLE, OP, CHANGED_AT, DELETED = "__table", "__op", "__changed_at", "__deleted"
"""What a document tells of the last change of its row, beside the columns."""

_encode = msgspec.json.Encoder(decimal_format="number").encode
_TEXTS = (Kind.KEYWORD, Kind.TEXT, Kind.DATE, Kind.IP)


class ChangeEvents:
    """Makes events of changes.

    :param tables: the tables that are captured.
    :param key_fields: the event's fields whose values are the message's key.
    """

    def __init__(self, tables: Sequence[CapturedTable], key_fields: Sequence[str]) -> None:
        self._tables = {table.name: table for table in tables}
        self._key_fields = key_fields
        self._event = msgspec.defstruct("Keyed", [(name, Any, None) for name in key_fields])
        self._key_of = key_reader(key_fields)

    def make(self, change: Change) -> tuple[str | None, bytes]:
        """The event of a change, with its key.

        :raises InvalidEvent: when the change is of another table, or its time cannot be read.
        """
        table = self._tables.get(change.table)
        if table is None:
            raise InvalidEvent("invalid_change", "its table is not in spec.source.debezium.tables")
        row = change.row
        kind = row.get(table.event_type) if table.event_type else None
        event: dict[str, Any] = {
            "event_id": f"{change.table}:{change.key}",
            "event_timestamp": _time(table, change),
            "event_type": str(kind) if kind not in (None, "") else table.short_name,
        }
        if change.is_new:
            for name, column in table.fields.items():
                value = row.get(column)
                if value is not None:
                    event[name] = _as_field(name, value)
        key = self._key_of(self._event(**{n: event[n] for n in self._key_fields if n in event}))
        event[CHANGE] = {
            "table": change.table,
            "key": change.key,
            "op": change.op,
            "version": change.version,
            "changed_at": format_time(change.changed_us),
            "whole": change.whole,
            "row": row,
        }
        return key, _encode(event)


def _time(table: CapturedTable, change: Change) -> str:
    value = change.row.get(table.timestamp) if table.timestamp else None
    if value is None:
        return format_time(change.changed_us)
    try:
        return format_time(parse_time(str(value)))
    except ValueError:
        raise InvalidEvent(
            "invalid_timestamp", f"column {table.timestamp} of {table.name} is not a time"
        ) from None


def _as_field(name: str, value: Any) -> Any:
    """A column's value as the event's field takes it; a number is text where text is wanted."""
    field = BY_NAME.get(name)
    if field is not None and field.kind in _TEXTS and not isinstance(value, str):
        return str(value)
    return value


class _Carried(msgspec.Struct, gc=False):
    table: str
    key: str
    op: str
    version: int
    changed_at: str
    whole: bool
    row: dict[str, Raw]


class _Carrier(msgspec.Struct, gc=False):
    change: _Carried | UnsetType = UNSET


class ChangeDocuments:
    """Builds the documents of events that carry a row; others are left to ``events``.

    A row is one document for as long as it lives, in an index of its table; the newest change
    holds, in whatever order they come.

    :param indices: the index of each table.
    :param on_delete: whether the document goes with its row, or stays and is marked.
    """

    def __init__(
        self,
        indices: Mapping[str, str],
        on_delete: Literal["remove", "mark"],
        events: EventDocuments,
    ) -> None:
        self._indices = indices
        self._marks = on_delete == "mark"
        self._events = events
        self._decode = msgspec.json.Decoder(_Carrier).decode

    def build(self, raw: bytes) -> Document:
        """Make the document of one enriched event.

        :raises InvalidEvent: when the event cannot be a document.
        """
        try:
            change = self._decode(raw).change
        except msgspec.ValidationError:
            return self._events.build(raw)  # a field of that name of somebody else's
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidEvent("invalid_json", "not one JSON object in UTF-8") from None
        if change is UNSET:
            return self._events.build(raw)
        index = self._indices.get(change.table)
        if index is None:
            return self._events.build(raw)
        deleted = change.op == "d"
        body: bytes | None = None
        if not deleted or self._marks:
            if not change.whole:
                raise InvalidEvent(
                    "invalid_change",
                    "the deleted row is not in the change: ALTER TABLE … REPLICA IDENTITY FULL, or "
                    "set spec.source.debezium.onDelete to remove",
                )
            about = {
                TABLE: change.table,
                OP: change.op,
                CHANGED_AT: change.changed_at,
                DELETED: deleted,
            }
            body = _encode({**change.row, **about})
            if b"\n" in body:
                body = msgspec.json.format(body, indent=-1)
        return Document(index, document_id(change.key), body, change.version)
