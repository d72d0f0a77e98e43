"""Event types from the names that trackers give their events."""

import re
from collections.abc import Mapping
from functools import lru_cache

from webevents.events.event import InvalidEvent

_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_GAPS = re.compile(r"[\W_]+")
MAX_LENGTH = 200
"""Characters of a type; a longer name is no name."""


class EventTypes:
    """Names to types: ``Order Completed``, ``orderCompleted`` and ``order-completed`` are all
    ``order_completed``.

    :param given: types by name, where the pipeline says otherwise.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self.of = lru_cache(maxsize=5_000)(self._of)

    def _of(self, name: str) -> str:
        if name in self._given:
            return self._given[name]
        made = _GAPS.sub("_", _HUMPS.sub("_", name)).strip("_").lower()
        if not made or len(made) > MAX_LENGTH:
            raise InvalidEvent("invalid_payload", "the event's name is empty or too long")
        return made
