"""From events to session entries, and from totals to the session's record."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import xxhash
from msgspec import UNSET

from webevents.events.event import EventDecoder, event_time_us
from webevents.events.key import key_reader
from webevents.events.session import HEAD_FIELDS
from webevents.events.times import format_time
from webevents.logic.sessions.totals import CENTS, MAX_TEXT, Entry, Totals, revenue_of
from webevents.spec.stages import SessionsSpec

_NEEDED = {
    *(name for _, name in HEAD_FIELDS),
    *("page_url", "page_url_path", "product_id", "search_query", "user_id", "revenue", "price"),
    "quantity",
}

_encode = msgspec.json.Encoder().encode


def session_id(pipeline: str, key: str, start_us: int) -> str:
    """The session's identifier: a hash of pipeline, key and start, 32 hexadecimal digits."""
    text = f"{pipeline}\x00{key}\x00{start_us}".encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def entry_reader(spec: SessionsSpec) -> Callable[[bytes], tuple[str | None, Entry]]:
    """Make the function that reads a message as (key, entry).

    The function raises :class:`webevents.events.event.InvalidEvent`; its key is None where the
    event has no value for any of the key fields.
    """
    known = (*spec.key, *_NEEDED)
    decode = EventDecoder(extra=spec.key, only=known).decode
    key_of = key_reader(spec.key)
    head_names = tuple(name for _, name in HEAD_FIELDS)
    digest_of = xxhash.xxh3_64_digest

    def read(raw: bytes) -> tuple[str | None, Entry]:
        event = decode(raw)
        time_us = event_time_us(event)
        event_id = event.event_id
        return key_of(event), Entry(
            time_us,
            event_id,
            digest_of(event_id.encode(), time_us),
            event.event_type,
            _text(event.page_url) or _text(event.page_url_path),
            _text(event.referer_url),
            _text(event.product_id),
            _text(event.search_query),
            _text(event.user_id),
            revenue_of(event, spec),
            tuple(
                None if (value := getattr(event, name)) is UNSET else value for name in head_names
            ),
        )

    return read


def _text(value: Any) -> str | None:
    """A value as a session lists it: None where absent or empty, cut at MAX_TEXT characters."""
    if value is UNSET or value is None or value == "":
        return None
    return value[:MAX_TEXT] if type(value) is str else str(value)


def session_record(
    pipeline: str, key: str, totals: Totals, version: int, open_: bool, spec: SessionsSpec
) -> bytes:
    """Encode a session's record, with the fields of :data:`webevents.events.session`."""
    start_us, _, head = totals.first
    views = sum(totals.types.get(name, 0) for name in spec.page_view_types)
    purchases = sum(totals.types.get(name, 0) for name in spec.purchase_types)
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
        "total_revenue": round(totals.revenue / CENTS, 2),
        "products_viewed_count": len(totals.products),
        "products_viewed": sorted(totals.products),
        "search_queries": [mark[2] for mark in totals.queries],
        "unique_referrers_count": len(totals.referrers),
        "referrers": sorted(totals.referrers),
        "truncated": totals.truncated,
    }
    record.update(zip((name for name, _ in HEAD_FIELDS), head, strict=True))
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
