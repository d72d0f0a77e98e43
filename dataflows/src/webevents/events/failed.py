"""Failed events: what a stage could not process, kept with where it was and why."""

import base64
from typing import Any

import msgspec

from webevents.events.event import InvalidEvent
from webevents.events.fields import Field, Kind
from webevents.events.times import format_time

PAYLOAD_LIMIT = 600_000
"""Bytes of the original message that are kept; with base64 the record stays below 1 MB."""

K = Kind

FAILED_FIELDS: tuple[Field, ...] = (
    Field("failed_at", K.DATE, "When the stage gave it up."),
    Field("pipeline", K.KEYWORD, "The pipeline that it failed in."),
    Field("stage", K.KEYWORD, "The stage that could not process it."),
    Field("reason", K.KEYWORD, "Why, as a word of the list of reasons."),
    Field("detail", K.KEYWORD, "What is wrong: names of fields and types, never values."),
    Field("topic", K.KEYWORD, "The topic that the message is in; http:… where it never was."),
    Field("partition", K.LONG, "Its partition; -1 where it is in none."),
    Field("offset", K.LONG, "Its offset; -1 where it has none."),
    Field("size", K.LONG, "Bytes of the message."),
    Field("event_id", K.KEYWORD, "The event's identifier, where it can be read."),
)
"""What is indexed of a failed event: not the message itself, nor its key."""


class FailedEvent(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One message that a stage could not process."""

    pipeline: str
    stage: str
    topic: str
    partition: int
    offset: int
    reason: str
    """A word of the fixed list in :data:`webevents.events.event.REASONS`."""
    detail: str
    """What is wrong; names fields and types, never values."""
    failed_at: str
    size: int
    """Bytes of the original message."""
    key: str | None = None
    """The message's key, where it is UTF-8 text."""
    payload: str | None = None
    """The original message, where it is UTF-8 text."""
    payload_base64: str | None = None
    """The original message otherwise."""
    truncated: bool = False
    """Whether the payload is cut at :data:`PAYLOAD_LIMIT`."""

    def original(self) -> bytes:
        """The bytes of the original message, as far as they were kept."""
        if self.payload_base64 is not None:
            return base64.b64decode(self.payload_base64)
        return (self.payload or "").encode()


_encode = msgspec.json.Encoder().encode
decode_failed = msgspec.json.Decoder(FailedEvent).decode
"""Read one message of the failed-events topic."""


def failed_record(
    error: InvalidEvent,
    *,
    pipeline: str,
    stage: str,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes,
    now_us: int,
) -> bytes:
    """Encode a failed event; the record is smaller than 1 MB whatever the message held.

    :param error: why the event failed.
    :param now_us: the wall clock, in microseconds since the epoch.
    """
    kept = value[:PAYLOAD_LIMIT]
    fields: dict[str, Any] = {}
    try:
        fields["payload"] = kept.decode()
        # JSON escapes control characters sixfold: then base64 is the smaller one.
        if sum(map(kept.count, _CONTROL)) > len(kept) // 10:
            raise UnicodeError
    except UnicodeError:
        fields = {"payload_base64": base64.b64encode(kept).decode()}
    return _encode(
        FailedEvent(
            pipeline=pipeline,
            stage=stage,
            topic=topic,
            partition=partition,
            offset=offset,
            reason=error.reason,
            detail=error.detail[:1000],
            failed_at=format_time(now_us),
            size=len(value),
            key=_text(key),
            truncated=len(value) > PAYLOAD_LIMIT,
            **fields,
        )
    )


_CONTROL = [bytes([byte]) for byte in (*range(32), 0x22, 0x5C, 0x7F)]


def _text(key: bytes | None) -> str | None:
    try:
        return None if key is None else key[:1000].decode()
    except UnicodeDecodeError:
        return None
