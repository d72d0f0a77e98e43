"""From events to session entries, and from totals to the session's record."""

import hashlib
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec
import xxhash
from msgspec import UNSET

from webevents.events.event import EventDecoder, event_time_us
from webevents.events.key import key_reader
from webevents.events.session import HEAD_FIELDS
from webevents.events.times import format_time
from webevents.logic.sessions.totals import CENTS, MAX_ID, Entry, Totals, revenue_of
from webevents.logic.sessions.trail import footprint_reader, journey
from webevents.spec.analytics import AnalyticsSpec
from webevents.spec.stages import SessionsSpec

_NEEDED = {
    *(name for _, name in HEAD_FIELDS),
    *("page_url", "page_url_path", "product_id", "search_query", "user_id", "revenue", "price"),
    "quantity",
}

MAX_TEXT = 1024
"""Characters of a page, referrer, product, query or event type that a session lists."""
MAX_LIST_TEXT = 280_000
"""Characters of all of a list's values together, so that no session's record or state can be
larger than a Kafka message may be (10 MB), even if each character takes six bytes of JSON."""
MAX_HEAD_TEXT = 8_192
"""Characters of a value that a session takes from its first event, for the same reason."""

_encode = msgspec.json.Encoder().encode


def session_id(pipeline: str, key: str, start_us: int) -> str:
    """The session's identifier: a hash of pipeline, key and start, 32 hexadecimal digits."""
    text = f"{pipeline}\x00{key}\x00{start_us}".encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def text_limit(spec: SessionsSpec) -> int:
    """Characters of a value that a session lists; the rest is cut off."""
    return min(MAX_TEXT, MAX_LIST_TEXT // spec.max_values)


def entry_reader(
    spec: SessionsSpec, analytics: AnalyticsSpec | None = None
) -> Callable[[bytes], tuple[str | None, Entry]]:
    """Make the function that reads a message as (key, entry).

    :param analytics: where given, entries have what analytics need of the event.

    The function raises :class:`webevents.events.event.InvalidEvent`; its key is None where the
    event has no value for any of the key fields.
    """
    extra = (*spec.key, *(sorted(analytics.fields) if analytics else ()))
    decode = EventDecoder(extra=extra, only={*extra, *_NEEDED}).decode
    footprint_of = footprint_reader(analytics) if analytics else None
    key_of = key_reader(spec.key)
    head_of = attrgetter(*(name for _, name in HEAD_FIELDS))
    digest_of = xxhash.xxh3_64_intdigest
    longest = text_limit(spec)
    make = Entry._make

    def text(value: Any) -> str | None:
        if type(value) is str:
            return value[:longest] or None
        return None if value is UNSET or value is None else str(value)

    def read(raw: bytes) -> tuple[str | None, Entry]:
        event = decode(raw)
        time_us = event_time_us(event)
        event_id = event.event_id
        revenue = revenue_of(event, spec)
        head = head_of(event)
        if UNSET in head:
            head = tuple(None if value is UNSET else value for value in head)
        if len(raw) > MAX_HEAD_TEXT:
            head = tuple(v[:MAX_HEAD_TEXT] if type(v) is str else v for v in head)
        return key_of(event), make(
            (
                time_us,
                event_id[:MAX_ID],
                digest_of(event_id.encode(), time_us),
                event.event_type[:longest],
                text(event.page_url) or text(event.page_url_path),
                text(event.referer_url),
                text(event.product_id),
                text(event.search_query),
                text(event.user_id),
                revenue,
                head,
                footprint_of and footprint_of(event, time_us, event_id[:MAX_ID], revenue),
            )
        )

    return read


def session_record(
    pipeline: str,
    key: str,
    totals: Totals,
    version: int,
    open_: bool,
    spec: SessionsSpec,
    analytics: AnalyticsSpec | None = None,
) -> bytes:
    """Encode a session's record, with the fields of :data:`webevents.events.session`.

    :param analytics: where given, it also has :data:`webevents.events.analytics.JOURNEY_FIELDS`.
    """
    start_us, count = totals.first_us, totals.types.get
    views = sum([count(name, 0) for name in spec.page_view_types])
    purchases = sum([count(name, 0) for name in spec.purchase_types])
    record: dict[str, Any] = {
        "session_id": session_id(pipeline, key, start_us),
        "pipeline": pipeline,
        "session_key": key,
        "version": version,
        "open": open_,
        "user_id": totals.user and totals.user[2],
        "total_events": totals.events,
        "event_type_counts": dict(sorted(totals.types.items())),
        "first_event_timestamp": format_time(start_us),
        "last_event_timestamp": format_time(totals.last_us),
        "session_duration_minutes": round((totals.last_us - start_us) / 60e6, 6),
        "page_views": views,
        "is_bounce": views <= 1 and purchases == 0,
        "unique_pages_count": len(totals.pages),
        "unique_pages": sorted(totals.pages),
        "entry_page": totals.entry and totals.entry[2],
        "exit_page": totals.exit and totals.exit[2],
        "total_revenue": round(int(totals.revenue) / CENTS, 2),
        "products_viewed_count": len(totals.products),
        "products_viewed": sorted(totals.products),
        "search_queries": [mark[2] for mark in totals.queries],
        "unique_referrers_count": len(totals.referrers),
        "referrers": sorted(totals.referrers),
        "truncated": totals.truncated,
    }
    record.update(zip((name for name, _ in HEAD_FIELDS), totals.head, strict=True))
    if analytics is not None:
        record.update(journey(totals, analytics))
    return _encode(record)


def retraction_record(pipeline: str, key: str, start_us: int, version: int) -> bytes:
    """Encode the word that a session is no more, because it became part of another."""
    return _encode(
        {
            "session_id": session_id(pipeline, key, start_us),
            "pipeline": pipeline,
            "session_key": key,
            "version": version,
            "first_event_timestamp": format_time(start_us),
            "retracted": True,
        }
    )
