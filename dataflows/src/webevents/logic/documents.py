"""From messages to Elasticsearch documents, without encoding them again where that can be spared.

A message whose fields are all known is the document as it stands. Only where it holds unknown
fields, line breaks or a time in an unusual form is it put together anew.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from webevents.events.analytics import KINDS
from webevents.events.event import (
    EventDecoder,
    InvalidEvent,
    event_struct,
    event_time_us,
    told_name,
)
from webevents.events.fields import BY_NAME
from webevents.events.times import format_time, from_us, parse_time

EXTRA = "extra"
"""The field of a document that takes the event's unknown fields."""

MAX_ID_BYTES = 512
"""The longest ``_id`` in UTF-8 that Elasticsearch takes (its documentation of ``_id``)."""

_ROOT = {*BY_NAME, EXTRA}

_MAX_DAYS = 20_000
"""Days whose index name is remembered, a bound against senseless dates."""

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Document(msgspec.Struct, frozen=True, gc=False):
    """One action of a bulk request: write a document, or delete it."""

    index: str
    id: str
    body: bytes | None
    """JSON without a line break; None deletes."""
    version: int | None = None
    """Where set, the highest version holds, whatever order they arrive in."""


def document_id(event_id: str) -> str:
    """The ``_id`` of an event: its identifier, or its hash where that is too long.

    :returns: the identifier, or 64 hexadecimal digits (BLAKE2b) where it is over 512 bytes.
    """
    # A character is 4 bytes at most, so the short ones need no counting.
    if len(event_id) > MAX_ID_BYTES // 4:
        raw = event_id.encode()
        if len(raw) > MAX_ID_BYTES:
            return hashlib.blake2b(raw, digest_size=32).hexdigest()
    return event_id


class DailyIndex:
    """Names of daily indices, ``<prefix>-YYYY.MM.dd`` in UTC, remembered by day."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._names: dict[str, str] = {}

    def of(self, text: str) -> str | None:
        """The index of a time that Elasticsearch reads as it stands.

        :param text: the time as the event has it.
        :returns: None where the text is of another form, or no time at all.
        """
        usual = _USUAL_TIME(text)
        if usual is None:
            return None
        if usual.lastindex is not None:  # a zone other than Z: the day in UTC may be another
            try:
                return self.at(parse_time(text))
            except ValueError:
                return None
        name = self._names.get(text[:10])
        return name or self._first(text)

    def at(self, us: int) -> str:
        """The index of a moment, in microseconds since the epoch."""
        return from_us(us).strftime(f"{self._prefix}-%Y.%m.%d")

    def _first(self, text: str) -> str | None:
        try:
            name = self.at(parse_time(text))
        except ValueError:
            return None
        if len(self._names) >= _MAX_DAYS:
            self._names.clear()
        self._names[text[:10]] = name
        return name


_USUAL_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{1,9})?(?:Z|([+-](?:0[0-9]|1[0-7])(?::?[0-5][0-9])?))?"
).fullmatch
"""What both Python and the mapping's date formats read, and read alike; zones end at 18 hours."""


def _known_struct() -> type[msgspec.Struct]:
    return msgspec.defstruct(
        "KnownEvent",
        [(EXTRA, dict[str, Any] | None | UnsetType, UNSET)],
        bases=(event_struct(),),
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,
    )


class EventDocuments:
    """Builds the documents of events.

    :param prefix: what the indices' names begin with.
    :param unknown_fields: keep them in ``extra``, or fail the event.
    :param fields: where only some fields are wanted: name in the document -> field of the event.
    """

    def __init__(
        self,
        prefix: str,
        unknown_fields: Literal["keep", "fail"] = "keep",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self._index = DailyIndex(prefix)
        self._fields = fields
        self._fail_unknown = unknown_fields == "fail"
        self._decode_known: Callable[[bytes], Any] = msgspec.json.Decoder(_known_struct()).decode
        self._decode = EventDecoder().decode

    def build(self, raw: bytes) -> Document:
        """Make the document of one enriched event.

        :param raw: the message's value.
        :raises webevents.events.event.InvalidEvent: when the event cannot be a document.
        """
        if self._fields is not None:
            return self._rebuild(raw)
        try:
            event = self._decode_known(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._rebuild(raw)
        index = self._index.of(event.event_timestamp)
        event_id = event.event_id
        if (
            index is None
            or not event_id
            or not event.event_type
            or event.extra is not UNSET
            or b"\n" in raw
        ):
            return self._rebuild(raw)
        if len(event_id) > MAX_ID_BYTES // 4:
            event_id = document_id(event_id)
        return Document(index, event_id, raw)

    def _rebuild(self, raw: bytes) -> Document:
        """Put the document together from the event's members, or say why that cannot be."""
        event = self._decode(raw)
        members = _members(raw)
        unknown = [] if self._fields else sorted(members.keys() - _ROOT)
        if unknown and self._fail_unknown:
            raise InvalidEvent("unknown_field", f"unknown field {told_name(unknown[0])}")
        index = self._index.of(event.event_timestamp)
        if index is None:
            us = event_time_us(event)
            index = self._index.at(us)
            members["event_timestamp"] = Raw(_encode(format_time(us)))
        if self._fields:
            body = _encode({n: members[f] for n, f in self._fields.items() if f in members})
        else:
            body = _encode(_gather(members, unknown))
        if b"\n" in body:
            body = msgspec.json.format(body, indent=-1)
        return Document(index, document_id(event.event_id), body)


def _gather(members: dict[str, Raw], unknown: list[str]) -> dict[str, Any]:
    """Move unknown members into ``extra``; nothing is lost where names meet there."""
    extra: dict[str, Any] = {}
    carried = members.pop(EXTRA, None)
    if carried is not None:
        first = bytes(carried).lstrip()[:1]
        if first == b"{":
            extra.update(_members(carried))
        elif first != b"n":  # a flattened field takes objects only, or null
            extra[EXTRA] = carried
    for name in unknown:
        value = members.pop(name)
        extra[name] = [extra[name], value] if name in extra else value
    return {**members, EXTRA: extra} if extra else {**members}


class _SessionHead(msgspec.Struct, gc=False):
    session_id: str
    version: int
    first_event_timestamp: str
    retracted: bool = False


class SessionDocuments:
    """Builds the documents of session records; the highest version of a session holds.

    :param prefix: what the indices' names begin with.
    """

    def __init__(self, prefix: str) -> None:
        self._index = DailyIndex(prefix)
        self._decode = msgspec.json.Decoder(_SessionHead).decode

    def build(self, raw: bytes) -> Document:
        """Make the document of one session record; a retraction deletes it.

        :param raw: the message's value, as the sessionize stage wrote it.
        :raises webevents.events.event.InvalidEvent: when it is no session record.
        """
        try:
            head = self._decode(raw)
        except msgspec.ValidationError as error:
            raise InvalidEvent("wrong_type", str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidEvent("invalid_json", "not one JSON object in UTF-8") from None
        index = self._index.of(head.first_event_timestamp)
        if index is None:
            raise InvalidEvent("invalid_timestamp", "first_event_timestamp is not a time")
        if not head.session_id:
            raise InvalidEvent("missing_field", "session_id is empty")
        body = None if head.retracted else raw
        if body is not None and b"\n" in body:
            body = msgspec.json.format(body, indent=-1)
        return Document(index, document_id(head.session_id), body, head.version)


class _Envelope(msgspec.Struct, gc=False):
    kind: str
    id: str
    version: int
    timestamp: str
    document: Raw = Raw()
    retracted: bool = False


class AnalyticsDocuments:
    """Builds the documents of analytics from the messages that carry them.

    :param prefix: what the indices' names begin with.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._decode = msgspec.json.Decoder(_Envelope).decode

    def build(self, raw: bytes) -> Document:
        """Make one document; a retraction deletes it.

        :param raw: the message's value, as the analyze stage wrote it.
        :raises webevents.events.event.InvalidEvent: when it is no such message.
        """
        try:
            envelope = self._decode(raw)
        except msgspec.ValidationError as error:
            raise InvalidEvent("wrong_type", str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidEvent("invalid_json", "not one JSON object in UTF-8") from None
        body = bytes(envelope.document)
        if envelope.kind not in KINDS or not envelope.id:
            raise InvalidEvent("missing_field", "kind or id is of no document of analytics")
        if not body and not envelope.retracted:
            raise InvalidEvent("missing_field", "document is missing")
        if _USUAL_TIME(envelope.timestamp) is None:
            raise InvalidEvent("invalid_timestamp", "timestamp is not a time")
        month = f"{envelope.timestamp[:4]}.{envelope.timestamp[5:7]}"
        if b"\n" in body:
            body = msgspec.json.format(body, indent=-1)
        return Document(
            f"{self._prefix}-{envelope.kind}-{month}",
            document_id(envelope.id),
            None if envelope.retracted else body,
            envelope.version,
        )
