"""When each row happened, and when it is to be sent."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from webevents.events.times import EPOCH, SECOND_US, format_time, parse_time
from webevents.sources.replay.mapping import RowError
from webevents.sources.replay.rows import Row

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
LONGEST_GAP_S = 1e9
"""Some thirty years; a longer gap is a time that was taken for a gap."""


class Offsets:
    """Rows that carry the seconds since the row before; an empty cell counts as 0.

    :param column: the column with them.
    :param start_us: the event time from which they count; None: rows get no event time.
    """

    def __init__(self, column: str, start_us: int | None) -> None:
        self._column = column
        self._start_us = start_us
        self.stream_us = 0

    @property
    def origin_us(self) -> int | None:
        """The time from which the next row's gap is waited for."""
        return self.stream_us

    def advance(self, row: Row) -> int | None:
        """Take a row's gap in.

        :returns: the event time of the row.
        :raises RowError: when the gap cannot be read.
        """
        value = row.get(self._column)
        try:
            gap_s = float(value) if value not in (None, "") else 0.0
        except (TypeError, ValueError):
            raise RowError(f"{self._column} is not a number of seconds") from None
        if not 0 <= gap_s <= LONGEST_GAP_S:
            raise RowError(f"{self._column} is not a span of 0 to {LONGEST_GAP_S:,.0f} seconds")
        self.stream_us += round(gap_s * SECOND_US)
        return None if self._start_us is None else self._start_us + self.stream_us


class Times:
    """Rows that carry their time.

    :param column: the column with it; None: rows have no time and go without a gap.
    :param unit: of times that are numbers.
    :param start_us: where the first row's event time is moved; None: times stay.
    :param lenient: whether a row may have no time, or one that cannot be read.
    """

    def __init__(
        self, column: str | None, unit: str, start_us: int | None, *, lenient: bool
    ) -> None:
        self._column = column
        self._read = time_reader(unit)
        self._start_us = start_us
        self._lenient = lenient
        self._first_us: int | None = None
        self.stream_us = 0

    @property
    def origin_us(self) -> int | None:
        """The time from which the next row's gap is waited for; None before the first row."""
        return None if self._first_us is None else self.stream_us

    def advance(self, row: Row) -> int | None:
        """Take a row's time in; the stream's time does not go back where rows are not in order.

        :returns: the event time of the row; None where it has none.
        :raises RowError: when the time cannot be read.
        """
        if self._column is None:
            return None
        value = row.get(self._column)
        try:
            time_us = self._read(value)
        except (TypeError, ValueError, OverflowError):
            if self._lenient:
                return None
            what = "empty" if value in (None, "") else "not a time"
            raise RowError(f"{self._column} is {what}") from None
        if self._first_us is None:
            self._first_us = self.stream_us = time_us
        elif time_us > self.stream_us:
            self.stream_us = time_us
        if self._start_us is not None:
            return self._start_us + time_us - self._first_us
        return time_us


RowTimes = Offsets | Times


def stamp(time_us: int) -> str:
    """Write an event_timestamp.

    :raises RowError: when it is beyond the year 9999 or before the year 1.
    """
    try:
        return format_time(time_us)
    except OverflowError:
        raise RowError("its time is out of range") from None


def time_reader(unit: str) -> Callable[[Any], int]:
    """Make the function that reads a time as microseconds since the epoch.

    :param unit: of numbers: s, ms, us or ns. Text may hold such a number too.
    :returns: a function of a ``datetime`` (UTC without a zone), text or a number, that raises
        ``ValueError`` or ``TypeError`` for anything else.
    """
    per_second = _PER_SECOND[unit]

    def from_number(value: float) -> int:
        if isinstance(value, int):
            return value * SECOND_US // per_second
        if not math.isfinite(value):
            raise ValueError
        return round(value * SECOND_US / per_second)

    def read(value: Any) -> int:
        if isinstance(value, str):
            try:
                return parse_time(value)
            except ValueError:
                return from_number(int(value) if value.isdigit() else float(value))
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            span = aware - EPOCH
            return (span.days * 86_400 + span.seconds) * SECOND_US + span.microseconds
        if isinstance(value, int | float) and not isinstance(value, bool):
            return from_number(value)
        raise TypeError

    return read
