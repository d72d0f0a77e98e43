"""From archived messages to rows: scrolls added up by URL, the others one by one."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from webevents.events.event import EventDecoder, InvalidEvent, event_time_us
from webevents.logic.objects import Replayed
from webevents.logic.rows.values import line, refused, text, timestamp

_USER = ("user_id", "user_custom_id", "user_domain_id")
"""Who the event is about: the first of these that has a value."""
_decode = EventDecoder(only=(*_USER, "page_url", "page_url_path")).decode
MAX_URL_BYTES = 2_600
"""Of a URL that is a key: a row of PostgreSQL's index holds 2,704 bytes."""


@dataclass(slots=True)
class Scrolls:
    """The scrolls of one URL."""

    count: int
    user_id: str
    timestamp: str
    """Both of the newest one, as fields of COPY."""
    time_us: int


@dataclass(slots=True)
class Rows:
    """What the messages of one object come to."""

    records: int = 0
    events: list[bytes] = field(default_factory=list)
    """Lines of COPY, as the tables' columns are ordered."""
    scrolls: dict[str, Scrolls] = field(default_factory=dict)
    """By URL, as a field of COPY."""
    failures: list[bytes] = field(default_factory=list)
    tombstones: int = 0

    @property
    def scroll_count(self) -> int:
        """Number of single scrolls."""
        return sum(scrolls.count for scrolls in self.scrolls.values())

    def scroll_lines(self) -> list[bytes]:
        """Lines of COPY."""
        return [
            line((url, str(each.count), each.user_id, each.timestamp))
            for url, each in sorted(self.scrolls.items())
        ]


def make_rows(records: Iterable[Replayed], pipeline: str, scroll_types: Collection[str]) -> Rows:
    """Turn messages into rows.

    :param pipeline: part of what tells a message from all others.
    :param scroll_types: event types that are added up by URL.
    """
    rows = Rows()
    for record in records:
        rows.records += 1
        if record.value is None:
            rows.tombstones += 1
            continue
        where = f"{pipeline}/{record.topic}/{record.partition}/{record.offset}"
        try:
            _add(rows, where, record.value, scroll_types)
        except InvalidEvent as error:
            detail = error.detail.replace("\x00", "")[:1000]
            fields = (text("record", where), error.reason, text("detail", detail))
            rows.failures.append(line(fields))
    return rows


def _add(rows: Rows, where: str, value: bytes, scroll_types: Collection[str]) -> None:
    event = _decode(value)
    time_us = event_time_us(event)
    url = _first(event.page_url, event.page_url_path)
    user_id = text("user_id", _first(*(getattr(event, name) for name in _USER)))
    moment = timestamp("timestamp", event.event_timestamp)
    if event.event_type not in scroll_types:
        fields = (
            where,
            user_id,
            text("event_type", event.event_type),
            text("url", url),
            moment,
            text("event_id", event.event_id),
        )
        rows.events.append(line(fields))
        return
    if url is None:
        raise InvalidEvent("missing_field", "page_url is missing, by which scrolls are added up")
    if len(url.encode()) > MAX_URL_BYTES:
        raise refused("url", f"longer than {MAX_URL_BYTES} bytes, so it cannot be a key")
    key = text("url", url)
    known = rows.scrolls.get(key)
    if known is None:
        rows.scrolls[key] = Scrolls(1, user_id, moment, time_us)
        return
    known.count += 1
    if time_us >= known.time_us:
        known.user_id, known.timestamp, known.time_us = user_id, moment, time_us


def _first(*values: Any) -> str | None:
    found = next(
        (value for value in values if value is not UNSET and value not in (None, "")), None
    )
    return None if found is None else str(found)


class Unloaded:
    """The messages of an object that are not loaded yet.

    :param ranges: offsets that are loaded, each from the first to the one behind the last.
    """

    def __init__(self, records: Iterable[Replayed], ranges: Iterable[tuple[int, int]]) -> None:
        self._records = records
        self._ranges: list[tuple[int, int]] = []
        for first, behind in sorted(ranges):
            if self._ranges and first <= self._ranges[-1][1]:
                last = self._ranges.pop()
                self._ranges.append((last[0], max(last[1], behind)))
            else:
                self._ranges.append((first, behind))
        self.behind = 0
        """The offset behind the last message, once all are read."""
        self.skipped = 0
        """Messages that are loaded already."""

    def __iter__(self) -> Iterator[Replayed]:
        for record in self._records:
            self.behind = record.offset + 1
            if any(first <= record.offset < behind for first, behind in self._ranges):
                self.skipped += 1
            else:
                yield record
