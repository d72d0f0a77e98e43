"""From a value of a file to a cell of a table, by the column's type, or a refusal.

Types whose values are checked here have their faults told by column; those of other types are left
to PostgreSQL, which names the column too.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from webevents.connectors.postgres.target import TargetColumn
from webevents.logic.rows import values
from webevents.sources.replay.convert import to_bool, to_float, to_int

Cell = Callable[[Any], str]
"""Makes a field of COPY's text format; raises InvalidEvent naming the column."""

_RANGES = {"int2": 2**15 - 1, "int4": values.MAX_INTEGER, "int8": values.MAX_BIGINT}
_FAULTS = (ValueError, TypeError, OverflowError, InvalidOperation)
_encode = msgspec.json.Encoder(decimal_format="number").encode


def cell_of(column: TargetColumn) -> Cell:
    """Make the function that makes a column's cells; None and absent values are not for it."""
    name, kind = column.name, column.type
    if kind in _RANGES:
        limit = _RANGES[kind]
        return lambda value: values.integer(name, _read(name, "an integer", to_int, value), limit)
    if kind in _READERS:
        read, what = _READERS[kind]
        return lambda value: _read(name, what, read, value)
    if kind in ("json", "jsonb"):
        return lambda value: values.text(
            name, value if isinstance(value, str) else _encode(value).decode()
        )
    return lambda value: values.text(name, _plain(value), column.limit)


def _read(column: str, what: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except _FAULTS:
        raise values.refused(column, f"not {what}") from None


def moment(value: object) -> datetime:
    """A time from ISO 8601 text, a date or a ``datetime``, in UTC; UTC where no zone is given.

    :raises ValueError: when it is none.
    """
    if isinstance(value, datetime):
        at = value
    elif isinstance(value, date):
        at = datetime(value.year, value.month, value.day)
    elif isinstance(value, str) and value[4:5] == value[7:8] == "-":
        at = datetime.fromisoformat(value)
    else:
        raise ValueError
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def day(value: object) -> date:
    """A date from ISO 8601 text, or a time at midnight.

    :raises ValueError: when it is none.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    at = moment(value)
    if at.time() != datetime.min.time():
        raise ValueError
    return at.date()


def _decimal(value: Any) -> str:
    text = str(value).strip()
    if "_" in text or not Decimal(text).is_finite():
        raise ValueError
    return text


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return "\\x" + value.hex()  # bytea
    if isinstance(value, dict | list):
        return _encode(value).decode()
    return str(value)


_READERS: dict[str, tuple[Callable[[Any], str], str]] = {
    "float4": (lambda value: values.double(to_float(value)), "a number"),
    "float8": (lambda value: values.double(to_float(value)), "a number"),
    "numeric": (_decimal, "a number"),
    "bool": (lambda value: "t" if to_bool(value) else "f", "true or false"),
    "timestamp": (lambda value: moment(value).replace(tzinfo=None).isoformat(" "), "a time"),
    "timestamptz": (lambda value: moment(value).isoformat(" "), "a time"),
    "date": (lambda value: day(value).isoformat(), "a date"),
}
