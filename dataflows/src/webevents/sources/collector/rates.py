"""Rates of events: token buckets that hold ten seconds' worth."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

BURST_S = 10.0
MAX_BUCKETS = 100_000
"""Addresses that are remembered; the one that was quiet longest is forgotten first."""


class Bucket:
    """A bucket of tokens; taking more than there are leaves a debt, which later ones wait out.

    :param rate: tokens a second.
    """

    __slots__ = ("_at", "_clock", "_rate", "_tokens")

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = max(rate * BURST_S, 1.0)
        self._at = clock()

    def change(self, rate: float) -> None:
        """Go on at another rate."""
        self._rate = rate

    def wait(self) -> int:
        """Whole seconds until a token is there; 0 where one is."""
        now = self._clock()
        capacity = max(self._rate * BURST_S, 1.0)
        self._tokens = min(capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return 0 if self._tokens > 0 else max(1, math.ceil(-self._tokens / self._rate))

    def take(self, count: int) -> None:
        """Take tokens, whether they are there or not."""
        self._tokens -= count


class Buckets:
    """A bucket for each address.

    :param rate: tokens a second of each.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, address: str) -> Bucket:
        """The bucket of an address."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = Bucket(self._rate, self._clock)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(address)
        return bucket
