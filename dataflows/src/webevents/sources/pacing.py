"""When the next item of a source may go: at a rate, at the stream's own pace, or at once.

Every wait is cut into pieces of at most :data:`MAX_SLEEP_S`, so that a stop and a change of the
rate are noticed at once.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

MAX_SLEEP_S = 0.2
"""The longest sleep in seconds."""
MIN_SLEEP_S = 0.001
"""The shortest sleep; above 1,000 items a second several go between two sleeps."""
LAG_US = 1_000_000
"""A source that is later than this gives up the time it has lost instead of rushing after it."""
_LOOK_EVERY_S = 0.2
_UNLOOKED = 64

_log = structlog.get_logger()


def never() -> bool:
    """A ``stop`` that never stops."""
    return False


class Pacer(Protocol):
    """Releases the items of a stream one by one."""

    def wait(self, time_us: int) -> bool:
        """Wait until the item of this stream time may go.

        :param time_us: the item's time in microseconds; any origin, not decreasing.
        :returns: False where the source is to stop.
        """


class SettingsFile:
    """One number of a small JSON file, such as ``{"eventsPerSecond": 250}``.

    The file may be absent, come later and change at any time (a mounted ConfigMap does). What is
    no number ≥ 0 is reported to the log, and the number before it goes on to hold.

    :param path: the file.
    :param field: the name of the number.
    """

    def __init__(
        self, path: str | Path, field: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = Path(path)
        self._field = field
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._next_look = -math.inf

    def changed(self) -> float | None:
        """The number where the file changed since the last call; None otherwise."""
        now = self._clock()
        if now < self._next_look:
            return None
        self._next_look = now + _LOOK_EVERY_S
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return None
            self._seen = seen
            value = json.loads(self._path.read_text(encoding="utf-8")).get(self._field)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError) as error:
            _log.warning("settings_file_not_used", file=str(self._path), reason=str(error))
            return None
        if value is None:
            return None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            _log.warning(
                "settings_file_not_used",
                file=str(self._path),
                reason=f"{self._field} is not a number ≥ 0",
            )
            return None
        return float(value)


def even_slot(start_us: int, index: int, rate: float) -> int:
    """Time of the ``index``-th of the items that go ``rate`` times a second from ``start_us``."""
    return start_us + int(index * 1e6 / rate)


class RatePacer:
    """Releases items at an even rate by the wall clock.

    Items have nominal times, :func:`even_slot` of the start, so that the times do not depend on
    how well the process sleeps; they follow the wall clock to within :data:`LAG_US`.

    :param rate: items per second; 0 pauses.
    :param settings: where a new rate may come from while running (field ``eventsPerSecond``).
    :param share: this process's part of the rate that the settings file names (replicas share).
    :param start_us: time of the first item; now where absent.
    :param stop: asked at least every :data:`MAX_SLEEP_S`.
    :param clock: the wall clock in seconds since the epoch.
    """

    def __init__(
        self,
        rate: float,
        *,
        settings: SettingsFile | None = None,
        share: float = 1.0,
        start_us: int | None = None,
        stop: Callable[[], bool] = never,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rate = rate
        self._settings = settings
        self._share = share
        self._stop = stop
        self._clock = clock
        self._sleep = sleep
        self._base_us = int(clock() * 1e6) if start_us is None else start_us
        self._index = 0
        self._last_us = self._base_us
        self._now_us = 0

    def next_us(self) -> int | None:
        """Wait for the next item's time and return it; None where the source is to stop."""
        if self._index % _UNLOOKED and self.rate > 0:
            # Due by the last look at the clock already: a fast source need not look each time.
            slot_us = even_slot(self._base_us, self._index, self.rate)
            if slot_us <= self._now_us:
                self._index += 1
                self._last_us = slot_us
                return slot_us
        while not self._stop():
            self._look()
            now_us = self._now_us = int(self._clock() * 1e6)
            if self.rate > 0:
                slot_us = even_slot(self._base_us, self._index, self.rate)
                ahead_us = slot_us - now_us
                # A clock set back must not stop the source either.
                if ahead_us < -LAG_US or ahead_us > 1e6 / self.rate + LAG_US:
                    self._base_us = slot_us = now_us
                    self._index = ahead_us = 0
                if ahead_us <= 0:
                    self._index += 1
                    self._last_us = slot_us
                    return slot_us
                wait_s = ahead_us / 1e6
            else:
                wait_s = MAX_SLEEP_S
            self._sleep(min(MAX_SLEEP_S, max(MIN_SLEEP_S, wait_s)))
        return None

    def wait(self, time_us: int) -> bool:
        """See :meth:`Pacer.wait`; the item's own time does not matter."""
        return self.next_us() is not None

    def _look(self) -> None:
        rate = self._settings.changed() if self._settings else None
        if rate is not None and rate * self._share != self.rate:
            self.rate = rate * self._share
            self._base_us = self._last_us
            self._index = 1


class SpeedPacer:
    """Releases items at the pace of their own times, ``speed`` times as fast.

    The first item goes at once. A source that is behind catches up, so that the pace holds over
    the whole.

    :param speed: 1 is the original pace; 0 pauses.
    :param settings: where a new speed may come from while running (field ``speed``).
    :param not_after: a wall clock in seconds since the epoch that items, whose times then count
        from the epoch too, never run ahead of; None where they may.
    """

    def __init__(
        self,
        speed: float = 1.0,
        *,
        settings: SettingsFile | None = None,
        stop: Callable[[], bool] = never,
        not_after: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.speed = speed
        self._settings = settings
        self._stop = stop
        self._not_after = not_after
        self._clock = clock
        self._sleep = sleep
        self._base_s: float | None = None
        self._base_us = 0

    def wait(self, time_us: int) -> bool:
        """See :meth:`Pacer.wait`."""
        while not self._stop():
            now_s = self._clock()
            if self._base_s is None:
                self._base_s, self._base_us = now_s, time_us
            self._look(now_s)
            if self.speed > 0:
                wait_s = (time_us - self._base_us) / 1e6 / self.speed - (now_s - self._base_s)
                if self._not_after is not None:
                    wait_s = max(wait_s, time_us / 1e6 - self._not_after())
                if wait_s <= 0:
                    return True
            else:
                wait_s = MAX_SLEEP_S
            self._sleep(min(MAX_SLEEP_S, max(MIN_SLEEP_S, wait_s)))
        return False

    def _look(self, now_s: float) -> None:
        speed = self._settings.changed() if self._settings else None
        if speed is not None and speed != self.speed and self._base_s is not None:
            self._base_us += int((now_s - self._base_s) * 1e6 * self.speed)
            self._base_s = now_s
            self.speed = speed


class Unpaced:
    """Releases every item at once."""

    def __init__(self, stop: Callable[[], bool] = never) -> None:
        self._stop = stop

    def wait(self, time_us: int) -> bool:
        """See :meth:`Pacer.wait`; never waits."""
        return not self._stop()
