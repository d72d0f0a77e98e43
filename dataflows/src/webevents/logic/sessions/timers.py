"""Timers of many things: a heap of buckets instead of a heap of things."""

import heapq
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Timers(Generic[Thing]):
    """Things (chains, visitors) by the time after which they want to be looked at.

    :param bucket_us: those whose times lie in the same multiple of this are kept together.
    """

    def __init__(self, bucket_us: int) -> None:
        self._bucket_us = bucket_us
        self._things: dict[int, list[Thing]] = {}
        self._buckets: list[int] = []

    def add(self, thing: Thing, time_us: int) -> None:
        """Have the thing looked at after this time."""
        bucket = time_us // self._bucket_us
        waiting = self._things.get(bucket)
        if waiting is None:
            self._things[bucket] = [thing]
            heapq.heappush(self._buckets, bucket)
        else:
            waiting.append(thing)

    def take(self, now_us: int, *, exact: bool) -> list[Thing]:
        """Take out those whose time is past.

        :param exact: also take out those in the bucket that the time has reached, of which some
            are not due yet; otherwise they come when the time has passed the bucket's end.
        """
        last = now_us // self._bucket_us - (not exact)
        taken: list[Thing] = []
        while self._buckets and self._buckets[0] <= last:
            taken += self._things.pop(heapq.heappop(self._buckets))
        return taken
