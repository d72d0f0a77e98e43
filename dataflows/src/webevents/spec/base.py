"""What every part of the specification is made of: the strict base model and its scalar types."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")


class Model(BaseModel):
    """Base of all specification models: camelCase in files, immutable, unknown fields refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )


def parse_duration(value: Any) -> timedelta:
    """Read a duration such as ``30m``, ``1h30m`` or ``250ms``.

    :param value: the text, or a ``timedelta``, which is returned as it is.
    :raises ValueError: when the text is not a duration.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.match(DURATION_PATTERN, value):
        raise ValueError("a duration is a number with a unit (ms, s, m, h, d): 30m or 1h30m")
    try:
        parts = [float(number) * _UNITS[unit] for number, unit in _PART.findall(value)]
        return sum(parts, timedelta())
    except OverflowError:
        raise ValueError("a duration is no longer than 999,999,999d") from None


def format_duration(value: timedelta) -> str:
    """Write a duration in its shortest exact form: ``1h30m``, ``250ms``; zero is ``0s``."""
    milliseconds = round(value / timedelta(milliseconds=1))
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        size = round(_UNITS[unit] / timedelta(milliseconds=1))
        count, milliseconds = divmod(milliseconds, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
