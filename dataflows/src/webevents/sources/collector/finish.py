"""From a draft to a message: completed with the request's facts, checked as every stage checks."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from webevents.events.event import EventDecoder, InvalidEvent
from webevents.events.key import key_reader
from webevents.events.times import format_time, parse_time
from webevents.sources.collector.draft import Draft, TrackerProtocol
from webevents.sources.collector.facts import Facts
from webevents.sources.collector.privacy import Handling, Privacy, anonymise
from webevents.sources.collector.skew import ClockSkew

_encode = msgspec.json.Encoder().encode


def from_visitor(draft: Draft, facts: Facts) -> bool:
    """Whether the facts of the request are the visitor's."""
    return facts.from_browser if draft.from_visitor is None else draft.from_visitor


class Finished(NamedTuple):
    """A message."""

    key: bytes | None
    value: bytes
    own_visitor: bool
    """Whether its visitor is the one of the collector's own cookie."""


class Finisher:
    """Completes, checks and encodes events.

    :param key: the fields of the session key.
    :param max_bytes: the largest event (spec.events.maxBytes).
    """

    def __init__(
        self, key: Sequence[str], max_bytes: int, skew: ClockSkew, privacy: Privacy
    ) -> None:
        self._decode = EventDecoder(key).decode
        self._key = key_reader(key)
        self._max_bytes = max_bytes
        self._skew = skew
        self._privacy = privacy

    def handling(self, stated: bool | None, facts: Facts) -> Handling:
        """How the visitor wants an event to be handled.

        :param stated: what the event itself says about consent.
        """
        consent = self._privacy.of_consent(facts.consent_cookie, stated)
        return max(facts.handling, consent)

    def may_keep_unread(self, facts: Facts) -> bool:
        """Whether a payload may be kept that cannot be read, so that it cannot tell of consent."""
        granted = self._privacy.granted(facts.consent_cookie)
        return facts.handling is Handling.FULL and granted is not False

    def finish(
        self, draft: Draft, facts: Facts, protocol: TrackerProtocol, handling: Handling
    ) -> Finished:
        """The message of an event.

        :raises InvalidEvent: when it is none.
        """
        fields, own_visitor = draft.fields, False
        event: dict[str, Any] = {"event_id": fields.pop("event_id", None) or str(uuid4())}
        event["event_timestamp"], original = self._time(draft, facts.received_us)
        event.update(fields)
        if original is not None:
            event.setdefault("event_timestamp_original", original)
        if from_visitor(draft, facts):
            for name, value in facts.fields.items():
                if event.get(name) in (None, ""):
                    event[name] = value
            if draft.on_page and facts.page_url is not None:
                event.setdefault("page_url", facts.page_url)
            own = facts.visitor.id
            if own is not None and (facts.prefer_own or event.get("user_domain_id") in (None, "")):
                event["user_domain_id"] = own
                own_visitor = handling is Handling.FULL
        event.setdefault("tracker", protocol.name)
        if facts.site is not None:
            event["site"] = facts.site
        event["collected_at"] = format_time(facts.received_us)
        _complete_page(event)
        if handling is not Handling.FULL:
            anonymise(event)
            if draft.rest:
                protocol.anonymise(draft.rest)
        if draft.rest:
            event[protocol.name] = draft.rest
        return Finished(*self._checked(event), own_visitor)

    def _time(self, draft: Draft, received_us: int) -> tuple[str, str | None]:
        """The time that the event gets, and the one that it carried where that was corrected."""
        stated = draft.time
        if stated is None or stated == "":
            return format_time(received_us), None
        try:
            us = parse_time(stated) if isinstance(stated, str) else stated
            corrected = self._skew.correct(us, draft.sent_us, received_us)
            if isinstance(stated, str) and corrected == us:
                return stated, None
            text = format_time(corrected)
            parse_time(text)  # within the years that every destination can hold
            if corrected == us:
                return text, None
            return text, stated if isinstance(stated, str) else format_time(us)
        except (ValueError, OverflowError):
            raise InvalidEvent("invalid_timestamp", "event_timestamp is not a time") from None

    def _checked(self, event: dict[str, Any]) -> tuple[bytes | None, bytes]:
        """The event's key and its bytes, read as every stage reads them."""
        try:
            value = _encode(event)
        except (UnicodeEncodeError, RecursionError, OverflowError):
            raise InvalidEvent("invalid_json", "not one JSON object in UTF-8") from None
        if len(value) > self._max_bytes:
            raise InvalidEvent("too_large", f"larger than {self._max_bytes} bytes")
        key = self._key(self._decode(value))
        return None if key is None else key.encode(), value


def _complete_page(event: dict[str, Any]) -> None:
    """Host and path of the page, where only its URL is there."""
    url = event.get("page_url")
    if not isinstance(url, str) or ("host" in event and "page_url_path" in event):
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return
    if host:
        event.setdefault("host", host)
    if parts.path and parts.scheme:
        event.setdefault("page_url_path", parts.path)
