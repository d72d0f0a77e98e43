"""A bounded cache that costs one dictionary look-up on a hit."""

from collections.abc import Callable
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MAX_KEY_TEXT = 4096
"""Characters of text in a key beyond which it is not kept, so that memory stays bounded too."""


class Cache(dict[K, V]):
    """Remembers what a function returned, for about the last ``size`` distinct keys.

    Two generations stand in for the order of use: when the young one is full it becomes the old
    one, and what is asked for again moves back. A hit in the young one runs no Python code.

    :param make: the function of the key.
    :param size: keys per generation.
    """

    __slots__ = ("_make", "_old", "_size")

    def __init__(self, make: Callable[[K], V], size: int) -> None:
        super().__init__()
        self._make = make
        self._size = size
        self._old: dict[K, V] = {}

    def __missing__(self, key: K) -> V:
        """Make the value, or take it from the old generation, and keep it."""
        if key in self._old:
            value = self._old.pop(key)
        else:
            value = self._make(key)
            if _text_size(key) > MAX_KEY_TEXT:
                return value
        if len(self) >= self._size:
            self._old = dict(self)
            self.clear()
        self[key] = value
        return value


def _text_size(key: Any) -> int:
    parts = key if isinstance(key, tuple) else (key,)
    return sum(len(part) for part in parts if isinstance(part, str | bytes))
