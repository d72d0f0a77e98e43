"""Spoiling events: one way for each reason why an event can fail."""

from collections.abc import Callable

from webevents.spec.generator import CorruptKind

# Every profile writes its events with this beginning.
_ID = len(b'{"event_id":"')
_ID_END = _ID + 36
_TIME = _ID_END + len(b'","event_timestamp":"')
_TIME_END = _TIME + 26
_TYPE = _TIME_END + len(b'","event_type":')
_DEPTH = 100


def _with_field(value: bytes, field: bytes) -> bytes:
    return b"%s,%s}" % (value[:-1], field)


def _with_time(value: bytes, text: bytes) -> bytes:
    return value[:_TIME] + text + value[_TIME_END:]


def _ahead(value: bytes) -> bytes:
    # No 29th of February, so that the date exists ten years on.
    day = b"28" if value[_TIME + 5 : _TIME + 10] == b"02-29" else value[_TIME + 8 : _TIME + 10]
    year = b"%04d" % (int(value[_TIME : _TIME + 4]) + 10)
    return _with_time(
        value, year + value[_TIME + 4 : _TIME + 8] + day + value[_TIME + 10 : _TIME_END]
    )


_SPOIL: dict[CorruptKind, Callable[[bytes], bytes]] = {
    CorruptKind.INVALID_UTF8: lambda v: _with_field(v, b'"page_title":"caf\xe9 \xff"'),
    CorruptKind.BROKEN_JSON: lambda v: v[: len(v) * 2 // 3],
    CorruptKind.NAN: lambda v: _with_field(v, b'"price":NaN'),
    CorruptKind.DEEP: lambda v: _with_field(v, b'"extra":' + b"[" * _DEPTH + b"]" * _DEPTH),
    CorruptKind.WRONG_TYPE: lambda v: v[:_TYPE] + b"42" + v[v.index(b'"', _TYPE + 1) + 1 :],
    CorruptKind.MISSING_FIELD: lambda v: b"{" + v[_ID_END + 2 :],
    CorruptKind.BAD_TIMESTAMP: lambda v: _with_time(v, b"2026-13-45 25:61:61.000000"),
    CorruptKind.CLOCK_AHEAD: _ahead,
}


def spoil(value: bytes, kind: CorruptKind) -> bytes:
    """Make a valid event corrupt.

    :param value: an event as the profiles write it.
    :param kind: how; ``clock_ahead`` sets its clock ten years ahead, which only the comparison
        with the record's time shows.
    """
    return _SPOIL[kind](value)
