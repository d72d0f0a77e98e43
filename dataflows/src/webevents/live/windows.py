"""Counts over the last while, in slots of time that fall out as they age."""

from collections import Counter, deque
from collections.abc import Iterator

OTHER = "(other)"
"""Where further keys are counted when there are too many."""


class SlidingCounter:
    """How often each key came in the last while.

    :param window_ms: how long that is, in milliseconds.
    :param slots: how many steps it slides by.
    :param max_keys: distinct keys; what comes from outside must not fill the memory.
    """

    def __init__(self, window_ms: int, slots: int = 60, max_keys: int = 2_000) -> None:
        self._window = window_ms
        self._width = max(window_ms // slots, 1)
        self._max_keys = max_keys
        self._slots: dict[int, Counter[str]] = {}
        self.total: Counter[str] = Counter()

    def add(self, key: str, at_ms: int, now_ms: int) -> None:
        """Count a key.

        :param at_ms: when it came, in milliseconds since the epoch; too long ago does not count.
        """
        if at_ms <= now_ms - self._window:
            return
        total = self.total
        if key not in total and len(total) >= self._max_keys:
            key = OTHER
        number = min(at_ms, now_ms) // self._width
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = Counter()
        slot[key] += 1
        total[key] += 1

    def expire(self, now_ms: int) -> None:
        """Let fall out what is too old."""
        oldest = (now_ms - self._window) // self._width
        for number in [each for each in self._slots if each <= oldest]:
            for key, count in self._slots.pop(number).items():
                left = self.total[key] - count
                if left:
                    self.total[key] = left
                else:
                    del self.total[key]


class Seconds:
    """Counts of each of the last seconds.

    :param span: how many seconds are kept.
    """

    def __init__(self, span: int) -> None:
        self._span = span
        self._counts: dict[int, int] = {}

    def add(self, at_ms: int, count: int = 1) -> None:
        """Count events of a moment, in milliseconds since the epoch."""
        second = at_ms // 1000
        self._counts[second] = self._counts.get(second, 0) + count

    def last(self, now_ms: int) -> list[int]:
        """The counts of the whole seconds before the present one, oldest first."""
        end = now_ms // 1000
        for second in [each for each in self._counts if each < end - self._span]:
            del self._counts[second]
        return [self._counts.get(second, 0) for second in range(end - self._span, end)]


class Rates:
    """Rates of counters that only grow.

    :param span_s: over how long, in seconds.
    """

    def __init__(self, span_s: float = 5.0) -> None:
        self._span = span_s
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    def add(self, now_s: float, counts: dict[str, int]) -> dict[str, float]:
        """Take a look's counts; how many a second came of each since the look a while ago."""
        self._seen.append((now_s, counts))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - self._span:
            self._seen.popleft()
        return dict(self._now())

    def _now(self) -> Iterator[tuple[str, float]]:
        then, before = self._seen[0]
        now, counts = self._seen[-1]
        for name, count in counts.items():
            span = now - then
            yield name, max(count - before.get(name, count), 0) / span if span > 0 else 0.0
