"""Counts by minute of event time."""

from dataclasses import dataclass

MINUTE_US = 60_000_000


@dataclass(slots=True)
class Minute:
    """What happened in one minute."""

    events: int = 0
    failed: int = 0
    orders: int = 0
    revenue: int = 0
    """In ten-thousandths, as sessions count it, so that sums do not depend on their order."""

    def fields(self) -> list[int]:
        """The counts, in the order in which the constructor takes them."""
        return [self.events, self.failed, self.orders, self.revenue]


class Minutes:
    """The counts of the last minutes.

    :param keep: how many minutes are remembered before the newest judged one.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.counts: dict[int, Minute] = {}
        """By the minute's number since the epoch; minutes without events are absent."""
        self.changed: set[int] = set()
        """Minutes that changed or were forgotten since the state was last written."""

    def at(self, number: int) -> Minute:
        """The minute, to add to."""
        minute = self.counts.get(number)
        if minute is None:
            minute = self.counts[number] = Minute()
        self.changed.add(number)
        return minute

    def sum(self, series: str, last: int, length: int) -> int:
        """The sum of a series over the ``length`` minutes that end with ``last``."""
        get = self.counts.get
        found = (get(number) for number in range(last - length + 1, last + 1))
        return sum(getattr(minute, series) for minute in found if minute is not None)

    def forget(self, before: int) -> None:
        """Forget the minutes before this one."""
        for number in [number for number in self.counts if number < before]:
            del self.counts[number]
            self.changed.add(number)
