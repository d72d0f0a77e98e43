"""One replay made ready: settings and a file's columns become functions of a row."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from webevents.errors import UserError
from webevents.events.times import from_us, to_us
from webevents.sources.replay.mapping import (
    RowError,
    compile_id,
    compile_key,
    compile_mapping,
    encode,
    require_columns,
)
from webevents.sources.replay.rows import Row
from webevents.sources.replay.settings import ReplaySettings
from webevents.sources.replay.timing import Offsets, RowTimes, Times, stamp

TIMESTAMP = "event_timestamp"


class Message(NamedTuple):
    """An event ready to be sent."""

    key: bytes | None
    value: bytes
    stamped_us: int | None
    """The event_timestamp that it was given; None where it has its own."""


class Job:
    """What a replay does to each row.

    :param columns: the file's; None where rows have their own.
    :param now_us: the wall clock, in microseconds since the epoch.
    :raises UserError: when the settings do not fit the file.
    """

    def __init__(
        self, settings: ReplaySettings, columns: Sequence[str] | None, now_us: int
    ) -> None:
        mapping, file = settings.mapping, settings.path
        self.start_us = start_of(settings, now_us)
        """Where offsets count from, and to where times are moved; None: times stay."""
        self.passes_lines_on = (
            columns is None
            and not mapping.changes
            and settings.start is None
            and settings.offset_column is None
            and settings.time_column in (None, TIMESTAMP)
        )
        """Whether rows are sent byte by byte as they are, also those that cannot be read."""
        self._apply = compile_mapping(mapping, columns, file)
        self._key = compile_key(settings.key_fields)
        self._id_column = _source_of("event_id", settings, columns)
        template = mapping.event_id
        if template is None and columns is not None:
            template = "{hash}"
        made = bool(template) and "event_id" not in mapping.constants
        self._make_id = compile_id(template, columns, file) if made and template else None
        # How event_timestamp comes about.
        own = _source_of(TIMESTAMP, settings, columns)
        self.times = row_times(
            settings, columns, self.start_us, own=own, passes_lines_on=self.passes_lines_on
        )
        self._stamps = TIMESTAMP not in mapping.constants
        self._moves = settings.start is not None
        self._normalises = settings.offset_column is None and settings.time_column in (None, own)
        if columns is not None:
            _require_event(settings, columns, has_time=own is not None)

    def message(self, row: Row, number: int, raw: bytes | None, time_us: int | None) -> Message:
        """Make a row's message.

        :param number: the row's, from 1.
        :param raw: the row as it is in the file, where it is a line of JSON.
        :param time_us: what :attr:`times` said of the row.
        :raises RowError: when it cannot become an event.
        """
        try:
            if self.passes_lines_on and raw is not None:
                return Message(self._key(row), raw, None)
            made = None
            if self._make_id and (not self._id_column or row.get(self._id_column) in (None, "")):
                made = self._make_id(row, number, raw)
            event = self._apply(row)
            if made is not None:
                event["event_id"] = made
            stamped = time_us if time_us is not None and self._wants_time(event) else None
            if stamped is not None:
                event[TIMESTAMP] = stamp(stamped)
            return Message(self._key(event), encode(event), stamped)
        except UnicodeError:
            raise RowError("is not UTF-8") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise RowError(f"cannot be written as JSON: {error}") from None

    def _wants_time(self, event: Row) -> bool:
        if not self._stamps:
            return False
        own = event.get(TIMESTAMP)
        if self._moves or own is None or own == "":
            return True
        # A number or a datetime becomes the text that events carry; text that is a date stays.
        return self._normalises and not (isinstance(own, str) and own[4:5] == "-")


def _source_of(field: str, settings: ReplaySettings, columns: Sequence[str] | None) -> str | None:
    """The column that becomes a field of the event; None where none does."""
    rename = settings.mapping.rename
    for column, target in rename.items():
        if target == field:
            return column
    if field in rename or field in settings.mapping.drop:
        return None
    return field if columns is None or field in columns else None


def start_of(settings: ReplaySettings, now_us: int) -> int | None:
    """Where offsets count from, and to where times are moved; None: times stay.

    :param now_us: the wall clock, in microseconds since the epoch.
    """
    if settings.start is not None:
        return (settings.start - from_us(0)) // timedelta(microseconds=1)
    if settings.offset_column is None:
        return None
    if settings.speed is not None and settings.speed <= 1:
        return now_us
    day = to_us(timedelta(days=1))
    return (now_us // day - 1) * day


def row_times(
    settings: ReplaySettings,
    columns: Sequence[str] | None,
    start_us: int | None,
    *,
    own: str | None = None,
    passes_lines_on: bool = False,
) -> RowTimes:
    """When rows happened, and are to be sent.

    :param columns: the file's; None where rows have their own.
    :param start_us: see :func:`start_of`.
    :param own: the column that is a row's time where the settings name none.
    :param passes_lines_on: whether a row whose time cannot be read is sent all the same.
    :raises UserError: when the settings do not fit the file.
    """
    if settings.offset_column is not None:
        require_columns("offset column", [settings.offset_column], columns, settings.path)
        return Offsets(settings.offset_column, start_us)
    named = settings.time_column
    if named is not None:
        require_columns("time column", [named], columns, settings.path)
    column = named or own
    if column is None and settings.speed is not None:
        raise UserError(
            "no column tells the gaps between rows: name an offset column or a time column, "
            "or replay at full speed"
        )
    if column is None and settings.start is not None:
        raise UserError("start needs an offset column or a time column to count with")
    lenient = passes_lines_on or (named is None and settings.start is None)
    return Times(column, settings.time_unit, start_us, lenient=lenient)


def _require_event(settings: ReplaySettings, columns: Sequence[str], *, has_time: bool) -> None:
    """Refuse a table whose rows would all end in failed events."""
    mapping, there = settings.mapping, ", ".join(columns)
    has_type = _source_of("event_type", settings, columns) is not None
    if not (has_type or "event_type" in mapping.constants):
        raise UserError(
            f"the events of {settings.path} would have no event_type: rename a column to it "
            f"or set it as a constant; the columns are {there}"
        )
    timed = settings.offset_column is not None or settings.time_column is not None
    if not (has_time or timed or TIMESTAMP in mapping.constants):
        raise UserError(
            f"the events of {settings.path} would have no event_timestamp: name a time column "
            f"or an offset column; the columns are {there}"
        )
