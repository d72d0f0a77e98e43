"""Types of the columns of a table that is made, by all values of the file."""

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from webevents.logic.rows.values import MAX_BIGINT
from webevents.sources.replay.rows import Unreadable, open_source
from webevents.sources.replay.settings import ReplaySettings, ValueType
from webevents.sources.replay.table.cells import day, moment

# A leading zero or plus tells a code or a telephone number, which is text.
_integer = re.compile(r"-?(0|[1-9][0-9]{0,18})").fullmatch
_number = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?").fullmatch
_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


def _is_integer(value: Any) -> bool:
    if isinstance(value, str):
        if not _integer(value):
            return False
        value = int(value)
    return type(value) is int and -MAX_BIGINT <= value <= MAX_BIGINT


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return _number(value) is not None
    return type(value) in (int, float, Decimal)


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in _BOOLEANS)


def _is_date(value: Any) -> bool:
    if isinstance(value, str):
        return _date(value) is not None and _reads(day, value)
    return type(value) is date


def _is_time(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) >= 16 and _reads(moment, value)
    return isinstance(value, datetime)


def _reads(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except (ValueError, OverflowError):
        return False
    return True


_BOOLEANS = ("true", "false")
TEXT = "text"
_TESTS: dict[str, Callable[[Any], bool]] = {
    "bigint": _is_integer,
    "double precision": _is_number,
    "boolean": _is_boolean,
    "date": _is_date,
    "timestamp": _is_time,
}
"""Types in the order of preference."""
_ASKED = {
    ValueType.INT: "bigint",
    ValueType.FLOAT: "double precision",
    ValueType.BOOL: "boolean",
    ValueType.STRING: TEXT,
}


class Survey:
    """The columns of a file, in the order of their first use, and the types that hold all their
    values."""

    def __init__(self) -> None:
        self._left: dict[str, set[str]] = {}
        self._used: set[str] = set()

    def look(self, column: str, value: Any) -> None:
        """Take a value in; None: there is such a column."""
        left = self._left.get(column)
        if left is None:
            left = self._left[column] = set(_TESTS)
        if value is None:
            return
        self._used.add(column)
        for kind in [kind for kind in left if not _TESTS[kind](value)]:
            left.discard(kind)

    def types(self) -> dict[str, str]:
        """PostgreSQL's types by column; text where a column has no values."""
        return {
            column: next((kind for kind in _TESTS if kind in left), TEXT)
            if column in self._used
            else TEXT
            for column, left in self._left.items()
        }


def survey(settings: ReplaySettings) -> dict[str, str]:
    """Read a whole file for its columns and their types; rows that cannot be read are passed over.

    :returns: PostgreSQL's types by column, as the file names them; those that the mapping names
        are the mapping's.
    :raises UserError: when the file cannot be read to its end.
    """
    found = Survey()
    source = open_source(settings)
    try:
        for name in source.columns or ():
            found.look(name, None)
        for row in source:
            if not isinstance(row, Unreadable):
                for name, value in row.items():
                    found.look(name, value)
    finally:
        source.close()
    types = found.types()
    return types | {name: _ASKED[t] for name, t in settings.mapping.types.items() if name in types}


def type_of(value: Any) -> str:
    """PostgreSQL's type of a single value."""
    found = Survey()
    found.look("value", value)
    return found.types()["value"]
