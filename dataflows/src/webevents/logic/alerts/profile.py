"""What is usual: the median and spread of each hour of the week, learned while it runs.

No training step and no model file: a window's sum is remembered when it is complete, and the
memory of an hour of the week is its samples of the last weeks. Median and MAD (the median absolute
deviation) are not moved by the incidents among them, as long as these are fewer than half.

All is done with the square roots of the sums. The spread of counts grows with their mean, but that
of their square roots hardly does (Bartlett 1936; for a Poisson count it is 1/2), so that a spread
that was learned at noon holds at night too, and an hour with few samples can lean on the others.
"""

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

HOURS = 168
DAY = 24
MAD_TO_SD = 1.4826
"""A normal distribution's standard deviation over its MAD."""
MIN_PERIODS = 3
"""Weeks of an hour of the week, or days of an hour of the day, that make something usual."""
MIN_SLOT_SAMPLES = 8
"""Samples from which on an hour's own spread counts."""
POISSON_SD = 0.5
"""Least spread of the square root of a count."""
MIN_RELATIVE_SPREAD = 0.02
"""Least spread of any square root as a share of it: nothing is more regular than that."""
LEVEL_RANGE = (0.5, 2.0)
"""How far the level of the last day may move what is usual."""
EPOCH_HOUR = 72
"""1970-01-01 was a Thursday: hour 72 of a week that begins on Monday."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual at a time."""

    root: float
    """Square root of the usual sum."""
    spread: float
    """Robust standard deviation of the square root."""

    @property
    def sum(self) -> float:
        """The usual sum."""
        return self.root**2

    def deviations(self, value: float) -> float:
        """How many standard deviations a sum is away from the usual."""
        return (math.sqrt(max(value, 0)) - self.root) / self.spread


def robust_spread(values: Iterable[float]) -> tuple[float, float]:
    """Median and robust standard deviation (1.4826 times the MAD)."""
    known = sorted(values)
    centre = median(known)
    return centre, MAD_TO_SD * median(sorted(abs(value - centre) for value in known))


class Profile:
    """One series in windows of one length.

    :param window: length of a window in minutes.
    :param weeks: how many weeks are remembered.
    :param counts: whether the series counts events, so that Poisson's spread is the least.
    """

    def __init__(self, window: int, weeks: int, *, counts: bool = True) -> None:
        self._window = window
        self._weeks = weeks
        self._counts = counts
        self.slots: dict[int, list[tuple[int, float]]] = {}
        """By the hour of the week: (week, square root of a sum), the newest last."""
        self.step = min(window, 60)
        """Minutes from one window that is learned to the next; long ones overlap."""
        per_day = 24 * 60 // self.step
        self.residuals: deque[float] = deque(maxlen=7 * per_day)
        """How far the sums of the last week's windows were from the usual, as square roots."""
        self.ratios: deque[float] = deque(maxlen=per_day)
        """The same of the last day, as a share of the usual."""
        self._centres: dict[int, tuple[float, float, int] | None] = {}
        self._pooled: float | None = None
        self._level: float | None = None

    def learn(self, last: int, value: float) -> int:
        """Remember the sum of a complete window.

        :param last: its last minute since the epoch.
        :returns: the hour of the week whose memory changed.
        """
        first = last - self._window + 1
        week, slot = divmod(first // 60 + EPOCH_HOUR, HOURS)
        root = math.sqrt(max(value, 0))
        before = self._centre(last)
        if before is not None and before > 0:
            self.residuals.append(root - before * self.level)
            self.ratios.append(root / before)
        samples = self.slots.setdefault(slot, [])
        samples.append((week, root))
        samples[:] = [sample for sample in samples if sample[0] > week - self._weeks]
        self._changed(slot)
        return slot

    def restore(self, slot: int, samples: Iterable[tuple[int, float]]) -> None:
        """Take over what was remembered of an hour of the week."""
        self.slots[slot] = [(int(week), float(root)) for week, root in samples]
        self._changed(slot)

    def restore_recent(self, residuals: Iterable[float], ratios: Iterable[float]) -> None:
        """Take over what was remembered of the last days."""
        self.residuals.extend(residuals)
        self.ratios.extend(ratios)

    def _changed(self, slot: int) -> None:
        self._centres = {
            known: found for known, found in self._centres.items() if known % DAY != slot % DAY
        }
        self._pooled = self._level = None

    @property
    def level(self) -> float:
        """How the last day compares with the usual: grown traffic is no anomaly for ever."""
        if self._level is None:
            self._level = 1.0
            if len(self.ratios) * 2 >= (self.ratios.maxlen or 0):
                low, high = LEVEL_RANGE
                self._level = min(max(median(self.ratios), low), high)
        return self._level

    @property
    def pooled(self) -> float:
        """The spread over all hours of the last week."""
        if self._pooled is None:
            self._pooled = robust_spread(self.residuals)[1] if self.residuals else 0.0
        return self._pooled

    def usual(self, last: int) -> Usual | None:
        """What is usual for the window that ends with a minute; None where too little is known."""
        parts = self._parts(last)
        found = [(share, self._slot(slot)) for slot, share in parts]
        centre, own = 0.0, 0.0
        for share, known in found:
            if known is None:
                return None
            centre += share * known[0]
            if known[2] >= MIN_SLOT_SAMPLES:
                own = max(own, known[1])
        root = centre * self.level
        if len(self.residuals) < (self.ratios.maxlen or 0):
            return None  # how much it varies is not known before a day
        least = POISSON_SD if self._counts else 0.0
        spread = max(own, self.pooled, least, MIN_RELATIVE_SPREAD * root)
        return Usual(root, spread) if root > 0 and spread > 0 else None

    def _centre(self, last: int) -> float | None:
        total = 0.0
        for slot, share in self._parts(last):
            known = self._slot(slot)
            if known is None:
                return None
            total += share * known[0]
        return total

    def _parts(self, last: int) -> list[tuple[int, float]]:
        """The hours of the week whose samples a window is like, with their shares.

        A sample belongs to the hour in which its window begins. A window that begins between two
        hours' samples is like a mixture of them.
        """
        first = last - self._window + 1
        end = first + self.step
        hour = first // 60
        over = max(end - (hour + 1) * 60, 0) / self.step
        slot = (hour + EPOCH_HOUR) % HOURS
        return [(slot, 1 - over), ((slot + 1) % HOURS, over)] if over else [(slot, 1.0)]

    def _slot(self, slot: int) -> tuple[float, float, int] | None:
        """Median, spread and number of samples of an hour of the week."""
        if slot not in self._centres:
            self._centres[slot] = self._measure(slot)
        return self._centres[slot]

    def _measure(self, slot: int) -> tuple[float, float, int] | None:
        samples = self.slots.get(slot, [])
        if len({week for week, _ in samples}) < MIN_PERIODS:
            # Too few weeks: the same hour of other days, workdays and weekends apart.
            weekend = slot >= 5 * DAY
            alike = [
                other for other in range(slot % DAY, HOURS, DAY) if (other >= 5 * DAY) == weekend
            ]
            samples = [sample for other in alike for sample in self.slots.get(other, [])]
            days = {(week, other) for other in alike for week, _ in self.slots.get(other, [])}
            if len(days) < MIN_PERIODS:
                return None
        roots: list[float] = []
        for _, root in samples:
            insort(roots, root)
        centre, spread = robust_spread(roots)
        return centre, spread, len(roots)
