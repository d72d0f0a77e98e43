"""Timers of many chains: a heap of buckets instead of a heap of chains."""

import heapq

from webevents.logic.sessions.chain import Chain


class Timers:
    """Chains by the time after which they want to be looked at.

    :param bucket_us: chains whose times lie in the same multiple of this are kept together.
    """

    def __init__(self, bucket_us: int) -> None:
        self._bucket_us = bucket_us
        self._chains: dict[int, list[Chain]] = {}
        self._buckets: list[int] = []

    def add(self, chain: Chain, time_us: int) -> None:
        """Have the chain looked at after this time."""
        bucket = time_us // self._bucket_us
        waiting = self._chains.get(bucket)
        if waiting is None:
            self._chains[bucket] = [chain]
            heapq.heappush(self._buckets, bucket)
        else:
            waiting.append(chain)

    def take(self, now_us: int, *, exact: bool) -> list[Chain]:
        """Take out the chains whose time is past.

        :param exact: also take out those in the bucket that the time has reached, of which some
            are not due yet; otherwise they come when the time has passed the bucket's end.
        """
        last = now_us // self._bucket_us - (not exact)
        taken: list[Chain] = []
        while self._buckets and self._buckets[0] <= last:
            taken += self._chains.pop(heapq.heappop(self._buckets))
        return taken
