"""Decoding a message of Debezium: the envelope of one change of one row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from webevents.events.event import InvalidEvent
from webevents.events.times import is_time
from webevents.logic.changes.values import UNAVAILABLE, Convert, convert_row, converters

KNOWN_SCHEMAS = 256
"""Schemas that are remembered; a table has one until it is altered."""
MAX_VERSION = 2**63 - 1
"""The greatest version that Elasticsearch takes."""
OPS = ("c", "r", "u", "d")
"""Insert, read by a snapshot, update, delete."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one row."""

    table: str
    """schema.table."""
    op: str
    """One of :data:`OPS`."""
    key: str
    """The primary key's values as text; a JSON array where it has several columns."""
    row: dict[str, Any]
    """The columns after the change; of a delete those before it, as far as they are known."""
    whole: bool
    """Whether the row is known in full: of a delete the replica identity decides that."""
    version: int
    """The position in the database's log: grows with each change of a row."""
    changed_us: int
    """When it was committed, in microseconds since the epoch."""

    @property
    def deleted(self) -> bool:
        """Whether the row is no more."""
        return self.op == "d"

    @property
    def is_new(self) -> bool:
        """Whether it tells of a row for the first time."""
        return self.op in ("c", "r")


class _Source(msgspec.Struct, gc=False):
    table: str
    schema: str | None = None
    lsn: int | None = None
    ts_us: int | None = None
    ts_ms: int = 0


class _Payload(msgspec.Struct, gc=False):
    op: str
    source: _Source
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class _Message(msgspec.Struct, gc=False):
    schema: Raw | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET


_message = msgspec.json.Decoder(_Message).decode
_payload = msgspec.json.Decoder(_Payload).decode
_columns = msgspec.json.Decoder(dict[str, Any]).decode
_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_NO_SCHEMA = b"null"


class ChangeDecoder:
    """Decodes messages with or without a schema (``schemas.enable``)."""

    def __init__(self) -> None:
        self._known: dict[bytes, Mapping[str, Convert]] = {}

    def decode(self, key: bytes | None, value: bytes, offset: int) -> Change:
        """Decode one message.

        :param offset: the message's; the version of a change whose database tells no position.
        :raises InvalidEvent: when it is no change of one row.
        """
        try:
            message = _message(value)
            schema, payload = message.schema, message.payload
            envelope = _payload(value if payload is UNSET else payload)
        except msgspec.ValidationError as error:
            raise _invalid(f"not the envelope of a change: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidEvent("invalid_json", "not one JSON object in UTF-8") from None
        if envelope.op not in OPS:
            raise _invalid("op is not c, r, u or d: it is no change of one row")
        source = envelope.source
        version = offset if source.lsn is None else source.lsn
        if not 0 <= version <= MAX_VERSION:
            raise _invalid("source.lsn is no position of a log")
        changed_us = source.ts_ms * 1000 if source.ts_us is None else source.ts_us
        if not is_time(changed_us):
            raise _invalid("source.ts_us is no time of the years 1970 to 2261")
        by_column = {} if payload is UNSET else self._converters(schema)
        identity = _identity(key)
        row = _row(envelope, by_column)
        return Change(
            f"{source.schema}.{source.table}" if source.schema else source.table,
            envelope.op,
            _key_text(identity),
            row,
            envelope.op != "d" or _is_whole(row, identity),
            version,
            changed_us,
        )

    def _converters(self, schema: Raw | UnsetType) -> Mapping[str, Convert]:
        raw = _NO_SCHEMA if schema is UNSET else bytes(schema)
        known = self._known.get(raw)
        if known is None:
            try:
                known = {} if raw == _NO_SCHEMA else converters(_any(raw))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise _invalid("its schema is not that of an envelope") from None
            if len(self._known) >= KNOWN_SCHEMAS:
                self._known.clear()
            self._known[raw] = known
        return known


def _row(envelope: _Payload, by_column: Mapping[str, Convert]) -> dict[str, Any]:
    before = envelope.before
    row = before or {} if envelope.op == "d" else envelope.after
    if row is None:
        raise _invalid("the row after the change is missing")
    if UNAVAILABLE in row.values():
        known = before or {}
        row = {
            name: known.get(name, value) if value == UNAVAILABLE else value
            for name, value in row.items()
        }
        for name, value in row.items():
            if value == UNAVAILABLE:
                raise _invalid(
                    f"column {name} is not in the change: ALTER TABLE … REPLICA IDENTITY FULL, or "
                    "leave the column out (tables[].exclude)"
                )
    try:
        return convert_row(row, by_column)
    except ValueError as error:
        raise _invalid(str(error)) from None


def _identity(key: bytes | None) -> dict[str, Any]:
    """The columns of the primary key."""
    if key is None:
        raise _invalid(
            "the message has no key: give the table a primary key, or name one in the connector's "
            "message.key.columns"
        )
    try:
        payload = _message(key).payload
        columns = _columns(key if payload is UNSET else payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        columns = {}
    if not columns:
        raise _invalid("the message's key does not name the columns of a primary key")
    return columns


def _key_text(identity: Mapping[str, Any]) -> str:
    values = list(identity.values())
    if len(values) == 1 and isinstance(values[0], str | int):
        return str(values[0])
    return _encode(values).decode()


def _is_whole(row: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Whether a deleted row tells more than its key, as it does with REPLICA IDENTITY FULL."""
    others = [value for name, value in row.items() if name not in identity]
    return bool(row) and (not others or any(value is not None for value in others))


def _invalid(detail: str) -> InvalidEvent:
    return InvalidEvent("invalid_change", detail)
