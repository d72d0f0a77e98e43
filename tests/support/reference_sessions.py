"""Sessions once more, naively: all events at once, straight from the rules of docs/sessions.md.

What the stage publishes is held against this, so it shares no code with the stage. It does not
know of versions, which tell readers the order of corrections and nothing of the session.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from webevents.spec.stages import SessionsSpec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Event = Mapping[str, Any]
More = Callable[[list[Event]], dict[str, Any]]
"""Of a session's events in their order: further fields of its record."""

HEAD = {
    "referrer": "referer_url",
    "channel": "channel",
    "source_category": "source_category",
    "utm_source": "utm_source",
    "utm_medium": "utm_medium",
    "utm_campaign": "utm_campaign",
    "user_agent": "browser_user_agent",
    "ip_address": "ip_address",
    "device_type": "device_type",
    "browser_name": "browser_name",
    "os_name": "os_name",
    "geo_country": "geo_country",
    "host": "host",
    "is_bot": "is_bot",
}


def from_log(
    records: Iterable[tuple[bytes | None, int]],
    spec: SessionsSpec,
    pipeline: str,
    max_ahead: timedelta | None = None,
    more: More = lambda _: {},
) -> dict[str, dict[str, Any]]:
    """The session records by ``session_id`` that one partition's log comes to.

    :param records: (value, record time in milliseconds) of the enriched topic's valid events in
        the order of their offsets; None for tombstones.
    :param max_ahead: spec.events.maxAhead, where the log may hold events beyond it.
    """
    stream, lateness = 0, _us(spec.allowed_lateness)
    taken = []
    for raw, record_ms in records:
        if raw is None:
            continue
        event = json.loads(raw)
        time = time_of(event)
        if max_ahead is not None and time > record_ms * 1000 + _us(max_ahead):
            continue
        if key_of(event, spec) is None:
            continue
        stream = max(stream, time)
        if time >= stream - lateness:
            taken.append(event)
    return _by_id(taken, spec, pipeline, stream, more)


def recompute(
    events: Iterable[Event], spec: SessionsSpec, pipeline: str, more: More = lambda _: {}
) -> dict[str, dict[str, Any]]:
    """The session records that events come to, in any order, if none is late and all is past."""
    return _by_id(events, spec, pipeline, None, more)


def _by_id(
    events: Iterable[Event], spec: SessionsSpec, pipeline: str, stream: int | None, more: More
) -> dict[str, dict[str, Any]]:
    visitors: dict[str, dict[tuple[int, str], Mapping[str, Any]]] = {}
    for event in events:
        key = key_of(event, spec)
        if key is not None:
            moment = (time_of(event), event["event_id"])
            visitors.setdefault(key, {}).setdefault(moment, event)
    found = {}
    for key, by_moment in visitors.items():
        times = sorted(by_moment)
        for chain in _split(times, _us(spec.gap)):
            chain_end = chain[-1][0]
            for cut, cut_end in _cuts(chain, _us(spec.max_length)):
                own = [by_moment[m] for m in cut]
                record = _record(pipeline, key, own, spec) | more(own)
                if stream is not None:
                    past = chain_end + _us(spec.gap) < stream
                    record["open"] = not (past or (cut_end is not None and cut_end <= stream))
                found[record["session_id"]] = record
    return found


def _split(moments: Sequence[tuple[int, str]], gap: int) -> list[list[tuple[int, str]]]:
    chains = [[moments[0]]]
    for before, after in pairwise(moments):
        if after[0] - before[0] > gap:
            chains.append([])
        chains[-1].append(after)
    return chains


def _cuts(
    chain: list[tuple[int, str]], max_length: int
) -> list[tuple[list[tuple[int, str]], int | None]]:
    """The sessions of a chain, each with the end of its cut if it is one."""
    if chain[-1][0] - chain[0][0] <= max_length:
        return [(chain, None)]
    cuts: dict[int, list[tuple[int, str]]] = {}
    for moment in chain:
        cuts.setdefault(moment[0] // max_length, []).append(moment)
    return [(moments, (cell + 1) * max_length) for cell, moments in cuts.items()]


def _record(
    pipeline: str, key: str, events: list[Mapping[str, Any]], spec: SessionsSpec
) -> dict[str, Any]:
    """The record of a session's events, which are in the order of time, then id."""
    if len(events) > spec.max_events:
        raise ValueError("which events a full session drops is not part of the rules stated here")
    limit = spec.max_values
    longest = min(1024, 280_000 // limit)
    start, end = time_of(events[0]), time_of(events[-1])

    def texts(*names: str) -> list[str]:
        values = (next((e[n] for n in names if e.get(n) not in (None, "")), None) for e in events)
        return [str(value)[:longest] for value in values if value is not None]

    all_types = Counter(event["event_type"][:longest] for event in events)
    types = {name: all_types[name] for name in sorted(all_types)[:limit]}
    visited = texts("page_url", "page_url_path")
    users = texts("user_id")
    pages, referrers, products = map(
        _distinct, (visited, texts("referer_url"), texts("product_id"))
    )
    queries = list(dict.fromkeys(texts("search_query")))
    views = sum(types.get(name, 0) for name in spec.page_view_types)
    purchases = sum(types.get(name, 0) for name in spec.purchase_types)
    return {
        "session_id": session_id(pipeline, key, start),
        "pipeline": pipeline,
        "session_key": key,
        "user_id": users[0] if users else None,
        "total_events": len(events),
        "event_type_counts": types,
        "first_event_timestamp": time_text(start),
        "last_event_timestamp": time_text(end),
        "session_duration_minutes": round((end - start) / 60e6, 6),
        "page_views": views,
        "is_bounce": views <= 1 and purchases == 0,
        "unique_pages_count": min(len(pages), limit),
        "unique_pages": pages[:limit],
        "entry_page": visited[0] if visited else None,
        "exit_page": visited[-1] if visited else None,
        "total_revenue": round(sum(revenue_of(event, spec) for event in events) / 10_000, 2),
        "products_viewed_count": min(len(products), limit),
        "products_viewed": products[:limit],
        "search_queries": queries[:limit],
        "unique_referrers_count": min(len(referrers), limit),
        "referrers": referrers[:limit],
        "truncated": any(len(v) > limit for v in (all_types, pages, referrers, products, queries)),
        **{name: _head(events[0].get(source)) for name, source in HEAD.items()},
    }


def _head(value: Any) -> Any:
    return value[:8192] if isinstance(value, str) else value


def revenue_of(event: Mapping[str, Any], spec: SessionsSpec) -> int:
    """In ten-thousandths."""
    revenue = event.get("revenue")
    if revenue is None:
        price, quantity = event.get("price"), event.get("quantity")
        if event["event_type"] not in spec.purchase_types or price is None:
            return 0
        revenue = float(price) * (1 if quantity is None else quantity)
    return round(float(revenue) * 10_000) if abs(revenue) < 1e14 else 0


def _distinct(values: list[str]) -> list[str]:
    return sorted(set(values))


def key_of(event: Mapping[str, Any], spec: SessionsSpec) -> str | None:
    """The session key: the fields' values, joined with ``|``."""
    values = ["" if event.get(name) is None else str(event[name]) for name in spec.key]
    return "|".join(values) if any(values) else None


def time_of(event: Mapping[str, Any]) -> int:
    """The event's time in microseconds since 1970."""
    moment = datetime.fromisoformat(event["event_timestamp"])
    return _us((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH)


def time_text(us: int) -> str:
    """A time as the records write it."""
    return f"{EPOCH + timedelta(microseconds=us):%Y-%m-%dT%H:%M:%S.%f}Z"


def session_id(pipeline: str, key: str, start: int) -> str:
    """BLAKE2b, 16 bytes, of pipeline, key and start, with zero bytes between them."""
    return hashlib.blake2b(f"{pipeline}\0{key}\0{start}".encode(), digest_size=16).hexdigest()


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
