"""Messages that have brought pipelines down, each with what is to become of it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

MB = 1_000_000
INDEXED = "indexed"
"""Any other fate is a reason of :data:`webevents.events.event.REASONS`, or DROPPED."""
DROPPED = "dropped"
"""Counted by the ledger only: the message holds nothing."""


class Poison(NamedTuple):
    """One message."""

    name: str
    value: bytes | None
    fate: str
    key: bytes | None = None


def event(name: str, **fields: Any) -> dict[str, Any]:
    """A sound event, with these fields."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return {
        "event_id": name,
        "event_timestamp": now,
        "event_type": "pageview",
        "user_domain_id": f"visitor-{name[:20]}",
        "page_url": "https://shop.example/",
        **fields,
    }


def _of(name: str, fate: str, **fields: Any) -> Poison:
    return Poison(name, json.dumps(event(name, **fields)).encode(), fate)


def _with(name: str, fate: str, member: str | bytes) -> Poison:
    """An event with a member that no encoder would write."""
    raw = json.dumps(event(name)).encode()
    member = member.encode() if isinstance(member, str) else member
    return Poison(name, raw[:-1] + b", " + member + b"}", fate)


def poisons() -> Iterator[Poison]:
    """All of them, each with a name of its own, which is its event's id where it can have one."""
    sound = json.dumps(event("sound")).encode()
    # Size.
    yield _of("large", INDEXED, blob="x" * (99 * MB // 10))
    yield _of("too-large", "too_large", blob="x" * (102 * MB // 10))
    host = "h" * (32 * MB // 10)
    yield _of(
        "grows",
        "too_large",
        page_url=f"https://{host}/",
        referer_url=f"https://{host}/",
        user_custom_id=f"a@{host}",
    )
    yield _of("wide", INDEXED, **{f"unknown-{number}": number for number in range(5_000)})
    yield _of("long-keyword", INDEXED, host="k" * 40_000, page_title="t" * 40_000)
    yield _of("long-visitor", INDEXED, user_domain_id="v" * 10_000)
    yield _of("i" * 10_000, INDEXED)
    yield Poison("long-key", json.dumps(event("long-key")).encode(), INDEXED, b"\xff" * 10_000)
    yield Poison("huge-key", b"{}", "missing_field", b"k" * 9_000_000)
    # No events at all.
    yield Poison("tombstone", None, DROPPED)
    yield Poison("empty", b"", "invalid_json")
    yield Poison("no-json", b"\x00\x01\x02", "invalid_json")
    yield Poison("list", b"[1, 2]", "wrong_type")
    yield Poison("nothing", b"{}", "missing_field")
    yield Poison("mark", b"\xef\xbb\xbf" + sound, "invalid_json")
    yield Poison("two", sound + sound, "invalid_json")
    yield Poison("cut", sound[:-2], "invalid_json")
    yield Poison("abyss", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep")
    yield Poison("lists", b"[" * 1_000_000, "too_deep")
    # Text.
    yield _with("not-utf-8", "invalid_json", b'"page_title": "\xff\xfe"')
    yield _with("unknown-not-utf-8", "invalid_json", b'"unknown": "\xff\xfe"')
    yield _with("half", "invalid_json", '"page_title": "\\ud800"')
    yield _with("unknown-half", "invalid_json", '"unknown": "\\ud800"')
    yield _of("zero", INDEXED, page_title="a\x00b", unknown="a\x00b")
    yield _of("breaks", INDEXED, page_title="a\r\nb\u2028c")
    yield Poison("lines", json.dumps(event("lines"), indent=2).encode() + b"\r\n ", INDEXED)
    # Nesting and names.
    deep: Any = 1
    for _ in range(25):
        deep = {"a": deep}
    yield _of("deep", "too_deep", unknown=deep)
    yield _of("long-name", "rejected", **{"n" * 40_000: 1})
    yield _of("zero-name", "rejected", **{"a\x00b": 1})
    yield _of("no-name", INDEXED, **{"": 1})
    yield _of("dots", INDEXED, **{".": 1, "a..b": 2, "a.": 3, "page_url.x": 4})
    yield _of("extra", INDEXED, extra="mine", unknown=1)
    yield _with("twice-known", "rejected", '"page_title": "a", "page_title": "b"')
    yield _with("twice-unknown", INDEXED, '"unknown": 1, "unknown": {"a": 2}')
    # Values of another kind than the destination has.
    yield _of("no-address", INDEXED, ip_address="not-an-ip")
    yield _of("no-place", "rejected", geo_location="nowhere")
    yield _of("number", "wrong_type", page_title=7)
    yield _of("object", "wrong_type", page_title={"a": 1})
    yield _of("large-number", "rejected", quantity=2**64)
    yield _of("unknown-number", INDEXED, unknown=10**400)
    yield _of("dear", INDEXED, event_type="purchase", price=1e308, quantity=2**62)
    yield _with("endless", "invalid_json", '"price": 1e999')
    yield _with("nan", "invalid_json", '"price": NaN')
    # Times.
    yield _of("first", INDEXED, event_timestamp="1970-01-01T00:00:00Z")
    yield _of("future", "timestamp_in_future", event_timestamp="2261-01-01T00:00:00Z")
    yield _of("too-late", "invalid_timestamp", event_timestamp="9999-12-31T23:59:59.999999Z")
    yield _of("no-time", "invalid_timestamp", event_timestamp="yesterday")
    yield _of("digits", INDEXED, event_timestamp="2026-01-01T00:00:00.123456789123456789Z")
    # One visitor who fills a session's lists behind a large first event.
    visitor = {"user_domain_id": "collector"}
    yield _of("collector", INDEXED, browser_user_agent="u" * (99 * MB // 10), **visitor)
    for number in range(500):
        text = f"{number:03}" + "\u4e00" * 557
        yield _of(f"collector-{number}", INDEXED, page_url=text, referer_url=text, **visitor)
