"""Whom an erasure is about: identifiers, and what is known of the person by them."""

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec

from webevents.errors import UserError
from webevents.events.event import EventDecoder
from webevents.events.key import key_reader
from webevents.events.times import parse_time
from webevents.logic.documents import document_id
from webevents.logic.enrich.enricher import Enricher
from webevents.spec.pipeline import PipelineSpec

ID_FIELDS = ("user_id", "user_domain_id", "user_custom_id")
"""Fields that identify a person."""

Pair = tuple[str, str]


@dataclass
class Person:
    """What is known of a person; grows while it is looked for."""

    spec: PipelineSpec
    given: set[Pair]
    """Identifiers as the sources send them."""
    pairs: set[Pair] = field(default_factory=set)
    """The same, and as they are once they are enriched (hashed)."""
    linked: set[Pair] = field(default_factory=set)
    """Other identifiers that stand in the person's events."""
    event_ids: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    """Session keys of the person's events."""
    times: dict[str, list[int]] = field(default_factory=dict)
    """Times of the person's events by session key, in microseconds."""
    session_ids: set[str] = field(default_factory=set)
    open_keys: set[str] = field(default_factory=set)
    """Session keys with sessions that can still change."""

    def __post_init__(self) -> None:
        names = self.spec.sessions.key
        self._key_of = key_reader(names)
        self._own_key = all(name in ID_FIELDS for name in names)
        self._hash = _hasher(self.spec)
        self._needles: tuple[bytes, ...] = ()
        self.add(self.given)

    def add(self, pairs: Iterable[Pair]) -> None:
        """Take further identifiers for the person's, as the sources send them."""
        for pair in pairs:
            self.given.add(pair)
            self.pairs |= {pair, *self._hash(pair)}
        self.linked -= self.pairs
        encoded = {value for _, value in self.pairs}
        self._needles = tuple(
            {
                json.dumps(v, ensure_ascii=ascii_)[1:-1].encode()
                for v in encoded
                for ascii_ in (False, True)
            }
        )
        if self._own_key:
            for name, value in self.pairs:
                if self.spec.sessions.key == (name,):
                    self.keys.add(value)

    def in_bytes(self, value: bytes) -> bool:
        """Whether an identifier stands somewhere in the bytes; cheap, and sometimes wrong."""
        return any(needle in value for needle in self._needles)

    def in_event(self, event: Any) -> bool:
        """Whether an event, as a dict, is the person's."""
        return isinstance(event, dict) and any(
            name in event and text(event[name]) == value for name, value in self.pairs
        )

    def of_message(self, value: bytes | None, *, enriched: bool = False) -> bool:
        """Whether a message's value is an event of the person's, or holds an identifier as a value
        where it is no JSON object; a match is learnt from.

        :param enriched: whether the event is enriched already.
        """
        if value is None or not self.in_bytes(value):
            return False
        try:
            event = json.loads(value)
        except (ValueError, RecursionError):
            return any(b'"' + needle + b'"' in value for needle in self._needles)
        if not self.in_event(event):
            return False
        self.learn(event, enriched=enriched)
        return True

    def learn(self, event: dict[str, Any], *, enriched: bool) -> None:
        """Note what an event of the person's tells: its id, key, time and other identifiers.

        Hashes are no identifiers to follow, and a key in clear is none where keys are hashed.
        """
        hashed = set(self.spec.enrich.privacy.hash_fields)
        if isinstance(event.get("event_id"), str):
            self.event_ids.add(event["event_id"])
        for name in ID_FIELDS:
            value = None if enriched and name in hashed else event.get(name)
            if value not in (None, "") and (name, text(value)) not in self.pairs:
                self.linked.add((name, text(value)))
        if not enriched and hashed.intersection(self.spec.sessions.key):
            return
        key = self.key_of(event)
        if key is not None:
            self.keys.add(key)
            with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
                self.times.setdefault(key, []).append(parse_time(event["event_timestamp"]))

    def key_of(self, event: dict[str, Any]) -> str | None:
        """The session key of an event as it stands."""
        names = self.spec.sessions.key
        return self._key_of(SimpleNamespace(**{name: event.get(name) for name in names}))

    def has_session(self, session: dict[str, Any]) -> bool:
        """Whether a session's record or document holds events of the person's."""
        if session.get("session_id") in self.session_ids:
            return True
        if ("user_id", text(session.get("user_id"))) in self.pairs:
            return True
        key = session.get("session_key")
        if key not in self.keys:
            return False
        if self._own_key:
            return True
        try:
            first = parse_time(session["first_event_timestamp"])
            last = parse_time(session.get("last_event_timestamp", "9999-01-01T00:00:00Z"))
        except (KeyError, ValueError):
            return False
        return any(first <= at <= last for at in self.times.get(key, ()))

    def document_ids(self) -> list[str]:
        """The ``_id`` of each known event's document."""
        return sorted({document_id(event_id) for event_id in self.event_ids})


def text(value: Any) -> str:
    """An identifier's value as text; numbers as JSON has them, nothing where there is none."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def parse_field(given: str) -> Pair:
    """Read ``FIELD=VALUE``.

    :raises UserError: when it is no identifier.
    """
    name, found, value = given.partition("=")
    if not found or not value or name not in ID_FIELDS:
        raise UserError(f"--field {given}: write it as one of {', '.join(ID_FIELDS)}, =, value")
    return name, value


def _hasher(spec: PipelineSpec) -> Any:
    """The function from an identifier to those that enriching makes of it."""
    hashed = set(spec.enrich.privacy.hash_fields) & {*ID_FIELDS}
    if not hashed:
        return lambda _pair: ()
    enricher = Enricher(spec.enrich)
    decode = EventDecoder().decode

    def made(pair: Pair) -> list[Pair]:
        name, value = pair
        if name not in hashed:
            return []
        forms: list[Any] = [value]
        try:
            number = json.loads(value)
            forms += [number] if isinstance(number, int | float) else []
        except ValueError:
            pass
        found = []
        for form in forms:
            event = {
                "event_id": "erasure",
                "event_timestamp": "2000-01-01T00:00:00Z",
                "event_type": "erasure",
                name: form,
            }
            raw = msgspec.json.encode(event)
            found.append((name, str(json.loads(enricher.enrich(raw, decode(raw)))[name])))
        return found

    return made
