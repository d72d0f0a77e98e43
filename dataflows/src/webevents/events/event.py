"""Decoding an event: typed, checked, and with a reason where it cannot be used."""

import re
from collections.abc import Container, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from webevents.events.fields import FIELDS, Kind
from webevents.events.times import parse_time

MAX_DEPTH = 20
"""Nesting of an event that Elasticsearch's flattened field takes (its depth_limit)."""

_TYPES: dict[Kind, Any] = {
    Kind.KEYWORD: str,
    Kind.ID: str | int | float,
    Kind.TEXT: str,
    Kind.DATE: str,
    Kind.IP: str,
    Kind.BOOLEAN: bool,
    Kind.LONG: int,
    Kind.DOUBLE: float,
    Kind.GEO_POINT: str,
    Kind.STRINGS: list[str],
    Kind.COUNTS: dict[str, int],
    Kind.STORED: Any,
}


class InvalidEvent(Exception):
    """An event that cannot be processed.

    :param reason: one word of the fixed list in :data:`REASONS`; counted in the ledger.
    :param detail: what is wrong, naming the field; never holds a value of the event, so that no
        personal datum gets into logs.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


REASONS: dict[str, str] = {
    "invalid_json": "The message is not one JSON object in UTF-8.",
    "too_large": "The message is larger than spec.events.maxBytes.",
    "too_deep": f"Objects or arrays are nested deeper than {MAX_DEPTH}.",
    "missing_field": "A required field is absent, null or empty.",
    "wrong_type": "A known field has a value of another type.",
    "invalid_timestamp": "event_timestamp is not a time, or its year is out of range.",
    "timestamp_in_future": "event_timestamp is later than the record's time by more than "
    "spec.events.maxAhead.",
    "unknown_field": "A field is not in the event's table and spec.index.unknownFields is fail.",
    "invalid_change": "The message is no change of one row as Debezium tells it, or lacks columns.",
    "invalid_payload": "The collector was sent what its tracker's protocol does not describe.",
    "internal_error": "A fault of the stage itself; the detail names its kind, the log has it all.",
    "rejected": "The destination refused the document; the detail holds its error type.",
}
"""Why an event can end in failed events."""


_is_plain = re.compile(r"[A-Za-z_$@][A-Za-z0-9_.$-]{0,99}").fullmatch


def told_name(name: str) -> str:
    """A field's name as reasons and logs may hold it: senders may put anything into names too, such
    as an address; what does not look like a name is told by its length."""
    return name if _is_plain(name) else f"({len(name)} characters)"


REQUIRED = ("event_id", "event_timestamp", "event_type")
"""Fields without which an event cannot be processed."""


def event_struct(
    extra: Sequence[str] = (), only: Container[str] | None = None
) -> type[msgspec.Struct]:
    """Make the class of decoded events: one attribute a field, ``UNSET`` absent, None null.

    :param extra: further fields to decode, such as a session key of the user's own; any scalar.
    :param only: where given, the optional fields to decode; the others are skipped, which is
        faster.
    """
    fields: list[Any] = [(name, str) for name in REQUIRED]
    fields += [
        (field.name, _TYPES[field.kind] | None | UnsetType, UNSET)
        for field in FIELDS
        if field.name not in REQUIRED and (only is None or field.name in only)
    ]
    known = {name for name, *_ in fields}
    scalar = str | int | float | bool | None | UnsetType
    fields += [(name, scalar, UNSET) for name in dict.fromkeys(extra) if name not in known]
    return msgspec.defstruct("Event", fields, gc=False, kw_only=True)


def depth_exceeds(raw: bytes, limit: int) -> bool:
    """Whether JSON text nests deeper than ``limit``; brackets inside strings do not count."""
    if raw.count(b"{") + raw.count(b"[") <= limit:
        return False
    depth, in_string, escaped = 0, False, False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x7B, 0x5B):
            depth += 1
            if depth > limit:
                return True
        elif byte in (0x7D, 0x5D):
            depth -= 1
    return False


class EventDecoder:
    """Decodes messages into events of one class.

    :param extra: see :func:`event_struct`.
    :param only: see :func:`event_struct`.
    """

    def __init__(self, extra: Sequence[str] = (), only: Container[str] | None = None) -> None:
        self._decode = msgspec.json.Decoder(event_struct(extra, only)).decode

    def decode(self, raw: bytes) -> Any:
        """Decode one message.

        :returns: an instance of the class of :func:`event_struct`; typed as ``Any`` because the
            class is made from the field table.
        :raises InvalidEvent: with reason invalid_json, too_deep, missing_field or wrong_type.
        """
        if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and depth_exceeds(raw, MAX_DEPTH):
            raise InvalidEvent("too_deep", f"nested deeper than {MAX_DEPTH}")
        try:
            event: Any = self._decode(raw)
            if not raw.isascii():
                raw.decode()  # the decoder does not look inside the unknown fields that it skips
        except msgspec.ValidationError as error:
            raise _explain(raw, str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidEvent("invalid_json", "not one JSON object in UTF-8") from None
        if not event.event_id:
            raise InvalidEvent("missing_field", "event_id is empty")
        if not event.event_type:
            raise InvalidEvent("missing_field", "event_type is empty")
        return event


decode_event = EventDecoder().decode
"""Decode one message with all fields of the table; see :meth:`EventDecoder.decode`."""


_any_decoder = msgspec.json.Decoder()


def _explain(raw: bytes, text: str) -> InvalidEvent:
    """Tell a missing field from a wrong type; msgspec names fields and types, never values."""
    if "missing required field" in text:
        return InvalidEvent("missing_field", text)
    if "got `null`" in text and "$.event_" in text:
        return InvalidEvent("missing_field", text)
    try:
        _any_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return InvalidEvent("invalid_json", "not one JSON object in UTF-8")
    return InvalidEvent("wrong_type", text)


def event_time_us(event: Any) -> int:
    """The event's time in microseconds since the epoch.

    :raises InvalidEvent: with reason invalid_timestamp.
    """
    try:
        return parse_time(event.event_timestamp)
    except (ValueError, OverflowError):
        raise InvalidEvent("invalid_timestamp", "event_timestamp is not a time") from None
