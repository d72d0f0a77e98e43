"""When visits begin: at random, as many in each hour of the day as its weight says."""

from collections.abc import Sequence
from random import Random

from webevents.sources.simulator.chance import EXPONENTIAL, EXPONENTIAL_BITS

_HOUR_US = 3_600_000_000
NEVER = 1 << 62


class Arrivals:
    """A Poisson process whose intensity changes with the hour (UTC).

    :param per_day: visits per day.
    :param weights: of the 24 hours.
    """

    def __init__(self, per_day: float, weights: Sequence[float], rng: Random) -> None:
        total = sum(weights)
        self._per_hour = [per_day * weight / total for weight in weights]
        self._bits = rng.getrandbits
        self._never = per_day <= 0

    def after(self, now_us: int) -> int:
        """Time of the next visit in microseconds; :data:`NEVER` where none comes."""
        if self._never:
            return NEVER
        # The waiting time in visits: a quantile, evenly smeared to its neighbours.
        need = (EXPONENTIAL[self._bits(EXPONENTIAL_BITS)] + self._bits(8) - 128) / 1e6
        need = max(need, 1e-7)
        while True:
            rate = self._per_hour[now_us // _HOUR_US % 24]
            left_us = _HOUR_US - now_us % _HOUR_US
            if rate * left_us >= need * _HOUR_US:
                return now_us + max(1, int(need * _HOUR_US / rate))
            need -= rate * left_us / _HOUR_US
            now_us += left_us
