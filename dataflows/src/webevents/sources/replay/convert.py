"""Making a value of a column an integer, a number, a boolean or text."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from webevents.events.fields import BY_NAME, Kind
from webevents.sources.replay.settings import ValueType

Convert = Callable[[Any], Any]
LONG_LIMIT = 1 << 63
"""What a 64-bit integer, Elasticsearch's long, does not hold any more."""
_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}


def to_int(value: Any) -> int:
    """An integer from a number or text without a fraction: ``3``, ``3.0``, ``"3"``, ``"3.0"``.

    :raises ValueError: when it is none, or needs more than 64 bits.
    """
    if isinstance(value, int):
        number = int(value)
    else:
        text = str(value)
        if "_" in text:
            raise ValueError
        try:
            number = int(text)
        except ValueError:
            number = _integral(text)
    if not -LONG_LIMIT <= number < LONG_LIMIT:
        raise ValueError
    return number


def _integral(text: str) -> int:
    """Pandas writes integers as ``3.0`` where some are missing; exact also above 2**53."""
    try:
        decimal = Decimal(text.strip())
        # Bounded before it is made an integer: 1e999999 would have a million digits.
        if not -LONG_LIMIT <= decimal < LONG_LIMIT or decimal != int(decimal):
            raise ValueError
    except InvalidOperation:
        raise ValueError from None
    return int(decimal)


def to_float(value: Any) -> float:
    """A finite number.

    :raises ValueError: when it is none.
    """
    if isinstance(value, str) and "_" in value:
        raise ValueError
    number = float(value)
    if not isfinite(number):
        raise ValueError
    return number


def to_bool(value: Any) -> bool:
    """A boolean from itself, 0 or 1, or true/false, t/f, yes/no, y/n in any case.

    :raises ValueError: when it is none of these.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if value not in (0, 1):
            raise ValueError
        return bool(value)
    found = _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise ValueError
    return found


def to_string(value: Any) -> str:
    """Text; booleans as JSON writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


CONVERTERS: dict[ValueType, Convert] = {
    ValueType.INT: to_int,
    ValueType.FLOAT: to_float,
    ValueType.BOOL: to_bool,
    ValueType.STRING: to_string,
}

_BY_KIND: dict[Kind, ValueType] = {
    Kind.LONG: ValueType.INT,
    Kind.DOUBLE: ValueType.FLOAT,
    Kind.BOOLEAN: ValueType.BOOL,
    Kind.KEYWORD: ValueType.STRING,
    Kind.TEXT: ValueType.STRING,
}


def known_type(field: str) -> ValueType | None:
    """The type that the event's field must have; None where it may have any."""
    known = BY_NAME.get(field)
    return _BY_KIND.get(known.kind) if known else None
