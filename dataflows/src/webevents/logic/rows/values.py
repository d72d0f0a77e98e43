"""What PostgreSQL's columns hold: each value as a field of COPY's text format, or a refusal.

The limits are those of PostgreSQL's data types (its manual, chapter "Data Types"); the format is
that of COPY (its manual, "COPY", "Text Format"). A refusal names the column and never the value.
"""

import ipaddress
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from webevents.events.event import InvalidEvent
from webevents.events.times import parse_time

NULL = r"\N"
MAX_INTEGER = 2**31 - 1
MAX_BIGINT = 2**63 - 1

_special = re.compile(r"[\\\n\r\t]").search
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
_EPOCH = datetime(1970, 1, 1)

_encode = msgspec.json.Encoder().encode


def refused(column: str, why: str) -> InvalidEvent:
    """The error of a value that a column cannot hold."""
    return InvalidEvent("rejected", f"{column}: {why}")


def line(fields: Iterable[str]) -> bytes:
    """Put fields together as a line of COPY."""
    return ("\t".join(fields) + "\n").encode()


def text(column: str, value: str | None, limit: int | None = None) -> str:
    """A value of a text or varchar column.

    :param limit: characters that the column holds, as in varchar(255).
    :raises InvalidEvent: when it is longer, or holds the character U+0000.
    """
    if value is None:
        return NULL
    if limit is not None and len(value) > limit:
        raise refused(column, f"longer than {limit} characters")
    if "\x00" in value:
        raise refused(column, "holds the character U+0000, which PostgreSQL does not store")
    return value.translate(_ESCAPES) if _special(value) else value


def integer(column: str, value: int, limit: int = MAX_INTEGER) -> str:
    """A value of an integer column, or of a bigint one with its limit.

    :raises InvalidEvent: when it is out of range.
    """
    if not -limit - 1 <= value <= limit:
        raise refused(column, "out of the range of the column's type")
    return str(value)


def decimal(column: str, value: float, digits: int, places: int) -> str:
    """A value of a decimal(digits, places) column, rounded.

    :raises InvalidEvent: when it has more digits before the point.
    """
    made = f"{value:.{places}f}"
    if abs(float(made)) >= 10 ** (digits - places):
        raise refused(column, f"does not fit into decimal({digits},{places})")
    return made


def double(value: float) -> str:
    """A value of a float column; JSON has no infinite ones."""
    return repr(value)


def timestamp(column: str, value: str) -> str:
    """A value of a timestamp column, in UTC.

    :raises InvalidEvent: when it is no time, or its year is outside 1970 to 2261.
    """
    try:
        moment = _EPOCH + timedelta(microseconds=parse_time(value))
    except (ValueError, OverflowError):
        raise refused(column, "not a time of the years 1970 to 2261") from None
    return moment.isoformat(" ")


def inet(column: str, value: str | None) -> str:
    """A value of an inet column.

    :raises InvalidEvent: when it is no IPv4 or IPv6 address.
    """
    if not value:
        return NULL
    address = _address(value)
    if address is None:
        raise refused(column, "not an IP address")
    return address


@lru_cache(20_000)
def _address(value: str) -> str | None:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    # PostgreSQL has no zones (RFC 4007): fe80::1%eth0.
    return None if getattr(address, "scope_id", None) else str(address)


def jsonb(column: str, value: Any) -> str:
    """A value of a jsonb column, from plain values.

    :raises InvalidEvent: when a text in it holds the character U+0000.
    """
    made = _encode(value).decode()
    # A backslash that the text itself has before u0000 looks the same, so the values decide.
    if r"\u0000" in made and _holds_null(value):
        raise refused(column, "holds the character U+0000, which PostgreSQL does not store")
    return made.translate(_ESCAPES) if _special(made) else made


def _holds_null(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(map(_holds_null, value)) or any(map(_holds_null, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_null, value))
