"""A visitor as analytics see them: their sessions that still matter, and what is published."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from webevents.events.analytics import VISIT_FIELDS
from webevents.events.event import InvalidEvent
from webevents.events.times import parse_time

MAX_TEXT = 200
"""Characters of what a document takes from a session."""
UNITS = 10_000
"""Revenue is counted in whole ten-thousandths, as in sessions."""

Mark = tuple[int, tuple[str, ...], tuple[str, ...], str, int]
"""A milestone: (time, steps of funnels, conversions, event id, revenue in units)."""


class Visit(msgspec.Struct, array_like=True, gc=False):
    """One session."""

    start_us: int
    """Identifies it among those of its visitor."""
    last_us: int
    version: int
    alive: bool
    """False where it is retracted or a bot's; kept so that no older version brings it back."""
    about: tuple[str | None, ...] = ()
    """The values of :data:`webevents.events.analytics.VISIT_FIELDS`."""
    marks: tuple[Mark, ...] = ()
    """In the order of time."""
    told: tuple[int, ...] = ()
    """Digests of its transitions that readers have, while it can still change."""


class Known(msgspec.Struct, array_like=True, gc=False):
    """A fact whose documents readers have."""

    kind: str
    digest: int
    timestamp_us: int
    final_us: int
    """It is final when no session that began by then can change."""
    count: int
    """How many documents it has."""


class Seen(msgspec.Struct, array_like=True, gc=False):
    """What is left of sessions that were let go of, for the retention."""

    first_us: int
    """When the visitor was first seen, since they last were away for too long."""
    last_us: int
    about: tuple[str | None, ...]
    """Of the first session."""


class Visitor(msgspec.Struct, array_like=True, gc=False):
    """One visitor."""

    version: int = 0
    visits: list[Visit] = []
    """In the order of their start."""
    published: dict[str, Known] = {}
    """By the fact's key; without transitions, and without what can no longer change."""
    resume: dict[str, int] = {}
    """By funnel: the end of its last attempt that can no longer change."""
    seen: Seen | None = None

    def alive(self) -> list[Visit]:
        """The sessions that hold."""
        return [visit for visit in self.visits if visit.alive]


class _Milestone(msgspec.Struct, gc=False):
    time: str
    steps: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()
    event_id: str = ""
    revenue: float = 0.0


class _Record(msgspec.Struct, gc=False):
    """What analytics need of a session record."""

    session_id: str
    session_key: str
    version: int
    first_event_timestamp: str
    last_event_timestamp: str = ""
    open: bool = False
    retracted: bool = False
    is_bot: bool | None = None
    channel: str | None = None
    source_category: str | None = None
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    device_type: str | None = None
    geo_country: str | None = None
    host: str | None = None
    path: Sequence[str] = ()
    path_truncated: bool = False
    milestones: Sequence[_Milestone] = ()


class Path(NamedTuple):
    """A session's pages in their order."""

    nodes: Sequence[str]
    ended: bool
    """Whether nothing follows the last of them."""


_decode = msgspec.json.Decoder(_Record).decode


def read_record(raw: bytes, *, bots: bool) -> tuple[str, Visit, Path]:
    """Read a session record as (visitor, session, path).

    :param bots: whether bots' sessions count; otherwise they are as good as retracted.
    :raises InvalidEvent: when it is no session record.
    """
    try:
        record = _decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidEvent("wrong_type", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidEvent("invalid_json", "not one JSON object in UTF-8") from None
    if not record.session_key:
        raise InvalidEvent("missing_field", "session_key is empty")
    start_us = _time("first_event_timestamp", record.first_event_timestamp)
    if record.retracted:
        return record.session_key, Visit(start_us, start_us, record.version, False), _NOWHERE
    last_us = _time("last_event_timestamp", record.last_event_timestamp)
    if record.is_bot and not bots:
        return record.session_key, Visit(start_us, last_us, record.version, False), _NOWHERE
    about = tuple([_short(getattr(record, name)) for name in VISIT_FIELDS])
    marks = tuple(
        [
            (
                _time("milestones", mark.time),
                mark.steps,
                mark.conversions,
                mark.event_id,
                round(mark.revenue * UNITS),
            )
            for mark in record.milestones
        ]
    )
    path = Path(record.path, not record.open and not record.path_truncated)
    return record.session_key, Visit(start_us, last_us, record.version, True, about, marks), path


_NOWHERE = Path((), ended=False)


def _time(name: str, text: str) -> int:
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        raise InvalidEvent("invalid_timestamp", f"{name} is not a time") from None


def _short(text: str | None) -> str | None:
    return text if text is None else text[:MAX_TEXT]


def about_fields(about: Sequence[str | None]) -> dict[str, Any]:
    """What a document takes from a session; absent values are left out."""
    return {
        name: value for name, value in zip(VISIT_FIELDS, about, strict=True) if value is not None
    }
