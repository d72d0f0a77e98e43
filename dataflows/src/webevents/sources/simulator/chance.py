"""Chance that is the same on every machine: seeds, weighted choices, pauses."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from random import Random
from typing import Generic, TypeVar

from webevents.events.times import from_us

T = TypeVar("T")

_SIZE = 4096
EXPONENTIAL: tuple[int, ...] = tuple(
    round(-math.log(1 - (i + 0.5) / _SIZE) * 1_000_000) for i in range(_SIZE)
)
"""Quantiles of the exponential distribution of mean 1, in millionths. A table of whole numbers,
because the last digits of a logarithm differ between machines."""
EXPONENTIAL_BITS = 12

_SHORTEST_US = 200_000
_AWAY = 0.02
_AWAY_FACTOR = 8
_CRAWLER_US = (300_000, 2_000_000)


def human_pause(mean_us: int, random: Callable[[], float], bits: Callable[[int], int]) -> int:
    """Microseconds until a person's next event: about exponential, and in 2% of the cases eight
    times as long, because the person does something else meanwhile.

    :param mean_us: the usual pause.
    """
    pause = mean_us * EXPONENTIAL[bits(EXPONENTIAL_BITS)] // 1_000_000 + bits(18) + _SHORTEST_US
    return pause * _AWAY_FACTOR if random() < _AWAY else pause


def crawler_pause(random: Callable[[], float]) -> int:
    """Microseconds until a crawler's next event: 0.3 to 2 s."""
    shortest, longest = _CRAWLER_US
    return shortest + int(random() * (longest - shortest))


def seeded(seed: int, *parts: object) -> Random:
    """A generator of its own for each purpose (``parts``) under one seed."""
    return Random("/".join(map(str, (seed, *parts))))


class Choice(Generic[T]):
    """One of several items, by weight; weights need not sum to 1, items of weight 0 never come.

    :param weighted: items with their weights, at least one above 0.
    """

    __slots__ = ("_bounds", "items", "shares")

    def __init__(self, weighted: Iterable[tuple[T, float]]) -> None:
        kept = [(item, weight) for item, weight in weighted if weight > 0]
        total = math.fsum(weight for _, weight in kept)
        self.items = [item for item, _ in kept]
        self.shares = [weight / total for _, weight in kept]
        self._bounds: list[float] = []
        reached = 0.0
        for share in self.shares[:-1]:
            reached += share
            self._bounds.append(reached)

    def pick(self, u: float) -> T:
        """The item at ``u``, which is from [0, 1)."""
        return self.items[bisect_right(self._bounds, u)]


class TimeText:
    """Writes times as ``2020-07-05 14:32:45.407110`` (UTC), fast where they come in order."""

    __slots__ = ("_minute", "_minute_us")

    def __init__(self) -> None:
        self._minute_us = -1
        self._minute = b""

    def __call__(self, us: int) -> bytes:
        """The text of a time in microseconds since the epoch."""
        rest = us - self._minute_us
        if not 0 <= rest < 60_000_000 or self._minute_us < 0:
            self._minute_us = us - us % 60_000_000
            self._minute = _minute_text(self._minute_us // 60_000_000)
            rest = us - self._minute_us
        return b"%s%02d.%06d" % (self._minute, rest // 1_000_000, rest % 1_000_000)


def _minute_text(minutes: int) -> bytes:
    return from_us(minutes * 60_000_000).strftime("%Y-%m-%d %H:%M:").encode()
