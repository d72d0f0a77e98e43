"""The key of a message: the session key's value, so that one visitor's events stay in order."""

import hashlib
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from msgspec import UNSET

SEPARATOR = "|"
MAX_KEY = 512
"""Characters of a key; a longer one is replaced by its hash, so that state stays bounded."""


def key_reader(fields: Sequence[str]) -> Callable[[Any], str | None]:
    """Make the function that reads the key from a decoded event.

    :param fields: the fields whose values, joined with ``|``, are the key; an absent one counts
        as empty.
    :returns: a function of the event; None where no field has a value.
    """

    def text(value: Any) -> str:
        return "" if value is None or value is UNSET else str(value)

    def bounded(key: str) -> str:
        if len(key) <= MAX_KEY:
            return key
        return hashlib.blake2b(key.encode(), digest_size=32).hexdigest()

    if len(fields) == 1:
        get = attrgetter(fields[0])
        return lambda event: bounded(text(get(event))) or None

    def read(event: Any) -> str | None:
        values = [text(getattr(event, field)) for field in fields]
        return bounded(SEPARATOR.join(values)) if any(values) else None

    return read
