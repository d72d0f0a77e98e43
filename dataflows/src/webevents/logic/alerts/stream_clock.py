"""Up to when everything has come: by the records' times, and by the wall clock when nothing waits.

A stream is *live* when its newest events arrive soon after they happen. Then a minute is complete
when everything that arrived until shortly after it is read; where nothing waits to be read, the
wall clock says so, and a minute without events is one of silence. In a replay, or in accelerated
or back-dated time, event time alone goes on: its silence means nothing.
"""

from dataclasses import dataclass
from datetime import timedelta

from webevents.events.times import to_us

PAST_DELAY_US = 15 * 60 * 1_000_000
"""Event time that a stream which is not live must have gone on before a minute is complete:
partitions go at paces of their own, and late events come in between."""


@dataclass(slots=True)
class _Partition:
    """How far one partition is read."""

    at_end: bool = False
    event_us: int = 0
    """The greatest event time."""
    record_us: int = 0
    """The greatest time of a record, which is that of its arrival."""


class StreamClock:
    """The clock of several partitions together.

    :param delay: how long after its end a minute is complete.
    :param max_age: how old an event may be on its arrival for the stream to be live.
    """

    def __init__(self, delay: timedelta, max_age: timedelta) -> None:
        self._delay_us = to_us(delay)
        self._max_age_us = to_us(max_age)
        self._partitions: dict[int, _Partition] = {}
        self._newest_us = 0
        self._live = False
        self._written = (0, False)

    def restore(self, newest_us: int, live: bool) -> None:
        """Take over what was written before."""
        self._newest_us, self._live = self._written = (newest_us, live)

    def changed(self) -> tuple[int, bool] | None:
        """What is to be written, where it changed since the last call."""
        now = (self._newest_us, self._live)
        if now == self._written:
            return None
        self._written = now
        return now

    def assigned(self, partition: int) -> None:
        """A partition is read from now on."""
        self._partitions[partition] = _Partition()

    def revoked(self, partition: int) -> None:
        """A partition is no longer read."""
        self._partitions.pop(partition, None)

    def seen(self, partition: int, time_us: int, record_ms: int) -> None:
        """An event was read."""
        known = self._partitions[partition]
        known.at_end = False
        known.record_us = max(known.record_us, record_ms * 1000)
        if time_us > known.event_us:
            known.event_us = time_us
            if time_us >= self._newest_us:
                self._newest_us = time_us
                self._live = record_ms * 1000 - time_us < self._max_age_us

    def reached_end(self, partition: int) -> None:
        """Nothing of a partition waits."""
        if partition in self._partitions:
            self._partitions[partition].at_end = True

    def time_of_failed(self, record_ms: int) -> int | None:
        """When a failed event is counted: on its arrival, for its own time is often what is wrong;
        None before the first event."""
        if not self._newest_us:
            return None
        return record_ms * 1000 if self._live and record_ms >= 0 else self._newest_us

    def complete(self, now_us: int, *, settled: bool) -> int | None:
        """The time up to which everything has come, in microseconds; None where that is not known.

        :param settled: whether the absence of events may be taken for silence.
        """
        if not self._newest_us or not self._partitions:
            return None
        waiting = [each for each in self._partitions.values() if not each.at_end]
        if self._live:
            if not waiting and not settled:
                # What has arrived is read; that nothing came since is not known.
                read = max(each.record_us for each in self._partitions.values())
                return min(read, now_us) - self._delay_us
            return min([now_us, *(each.record_us for each in waiting)]) - self._delay_us
        until = min((each.event_us for each in waiting), default=self._newest_us)
        return min(until - PAST_DELAY_US, now_us - self._delay_us)
