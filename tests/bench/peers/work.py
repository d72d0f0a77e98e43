"""The work that every implementation does to an event, by the project's own logic.

Two forms with the same result: on bytes, as the enrich stage works, and on a dictionary, for
engines that hand out decoded events. Both look their additions up in the same caches, so that what
a comparison shows is the engine and the codec, not the logic.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from webevents.events.event import EventDecoder
from webevents.events.key import key_reader
from webevents.logic.enrich.enricher import Enricher
from webevents.spec.enrich import EnrichSpec

KEY = ("user_domain_id",)


def on_bytes() -> Callable[[bytes], tuple[str | None, bytes]]:
    """Make the function from a message to the key and value of the enriched one."""
    decode, enrich, key_of = EventDecoder().decode, Enricher(EnrichSpec()).enrich, key_reader(KEY)

    def work(raw: bytes) -> tuple[str | None, bytes]:
        event = decode(raw)
        return key_of(event), enrich(raw, event)

    return work


def on_dict() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Make the function that enriches a decoded event in place and returns it."""
    groups = Enricher(EnrichSpec())._groups
    made: dict[int, dict[str, Any]] = {}

    def work(event: dict[str, Any]) -> dict[str, Any]:
        get = event.get
        keys = [tuple(get(name, UNSET) for name in group._names) for group in groups]
        for group, key in zip(groups, keys, strict=True):
            additions = group.additions[key]
            fields = made.get(id(additions))
            if fields is None:
                fields = made[id(additions)] = _fields(additions)
                kept.append(additions)  # so that its id stays its own
            event.update(fields)
        return event

    kept: list[Any] = []
    return work


def _fields(additions: Any) -> dict[str, Any]:
    added = json.loads(b"{" + additions.fragment[1:] + b"}")
    replaced = additions.replacements or {}
    return added | {name: msgspec.json.decode(raw) for name, raw in replaced.items()}
