"""Clocks that run ahead: an event cannot have happened after its record was made."""

import msgspec

from webevents.events.times import format_time

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def is_ahead(time_us: int, record_ms: int, max_ahead_us: int) -> bool:
    """Whether an event's time lies too far ahead of its Kafka record's.

    The record's time, not the wall clock's, so that a replay of the topic judges alike.

    :param record_ms: the record's time in milliseconds; where it has none (-1), nothing is ahead.
    """
    return record_ms >= 0 and time_us > record_ms * 1000 + max_ahead_us


def clamp(raw: bytes, record_ms: int) -> bytes:
    """Give an event the time of its record; its own stays as event_timestamp_original."""
    event = _decode(raw)
    event["event_timestamp_original"] = event["event_timestamp"]
    event["event_timestamp"] = format_time(record_ms * 1000)
    return _encode(event)
