"""Times as the pipeline counts them: whole microseconds since 1970-01-01T00:00:00Z (``_us``)."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = datetime(1970, 1, 1)
_US = timedelta(microseconds=1)
SECOND_US = 1_000_000
_LATEST_US = (datetime(2262, 1, 1, tzinfo=UTC) - EPOCH) // _US
"""What every destination can hold (64-bit nanoseconds since the epoch end in the year 2262)."""


def parse_time(text: str) -> int:
    """Read an event's time.

    :param text: ISO 8601 to the second or finer, or ``YYYY-MM-DD HH:MM:SS.ffffff``;
        UTC where no zone is given.
    :returns: microseconds since the epoch.
    :raises ValueError: when the text is no such time, or its year is outside 1970 to 2261.
    """
    if len(text) < 19 or text[4] != "-" or text[10] not in " T":
        raise ValueError("not a date and time")
    moment = datetime.fromisoformat(text)
    us = (moment - (_EPOCH_NAIVE if moment.tzinfo is None else EPOCH)) // _US
    if not is_time(us):
        raise ValueError("year out of range")
    return us


def is_time(us: int) -> bool:
    """Whether it is a time that every destination can hold: of the years 1970 to 2261."""
    return 0 <= us < _LATEST_US


def from_us(us: int) -> datetime:
    """The moment as an aware ``datetime`` in UTC."""
    return EPOCH + timedelta(microseconds=us)


def format_time(us: int) -> str:
    """Write a time as ``2020-07-05T14:32:45.407110Z``, always with microseconds."""
    return (_EPOCH_NAIVE + timedelta(microseconds=us)).isoformat(timespec="microseconds") + "Z"


def to_us(span: timedelta) -> int:
    """A span in whole microseconds."""
    return span // _US
