"""The key of a message: the session key's value, so that one visitor's events stay in order."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from msgspec import UNSET

SEPARATOR = "|"


def key_reader(fields: Sequence[str]) -> Callable[[Any], str | None]:
    """Make the function that reads the key from a decoded event.

    :param fields: the fields whose values, joined with ``|``, are the key; an absent one counts
        as empty.
    :returns: a function of the event; None where no field has a value.
    """

    def text(value: Any) -> str:
        return "" if value is None or value is UNSET else str(value)

    if len(fields) == 1:
        get = attrgetter(fields[0])
        return lambda event: text(get(event)) or None

    def read(event: Any) -> str | None:
        values = [text(getattr(event, field)) for field in fields]
        return SEPARATOR.join(values) if any(values) else None

    return read
