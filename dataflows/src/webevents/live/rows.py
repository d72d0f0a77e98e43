"""What is shown of one event: a row of the log, without personal data where that is masked."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from msgspec import UNSET

from webevents.events.event import EventDecoder
from webevents.events.key import key_reader
from webevents.spec.live import LiveSpec

MAX_TEXT = 200
"""Characters that are shown of any value."""
_EMAIL = re.compile(r"[^/?&=\s]+(?:@|%40)[^/?&=\s]+", re.IGNORECASE)
_ONLY = frozenset(
    (
        *("event_id", "event_type", "event_timestamp", "page_url", "page_url_path", "page_host"),
        *("geo_country", "geo_city", "geo_location", "geo_latitude", "geo_longitude"),
        *("device_type", "browser_name", "channel", "is_bot", "ip_address", "user_custom_id"),
    )
)


@dataclass(slots=True)
class Seen:
    """An event as it came."""

    at_ms: int
    partition: int
    offset: int
    event: Any
    row: dict[str, Any] | None = field(default=None)
    """The row that it became, once somebody wanted it."""


class Rows:
    """Makes rows.

    :param spec: says whether personal data is shown.
    :param key: the fields that tell a visitor.
    """

    def __init__(self, spec: LiveSpec, key: Sequence[str]) -> None:
        self.masked = spec.personal_data == "masked"
        self.decode = EventDecoder(extra=key, only={*_ONLY, *key}).decode
        self._key = key_reader(key)
        self._salt = secrets.token_bytes(16)  # the same visitor has another name after a restart

    def page(self, event: Any) -> str | None:
        """The page of an event, without its query."""
        path = text(event.page_url_path) or text(event.page_url)
        if path is None:
            return None
        path = path.partition("?")[0].partition("#")[0]
        return self._without_emails(path)[:MAX_TEXT]

    def row(self, seen: Seen) -> dict[str, Any]:
        """What the log shows of an event."""
        if seen.row is None:
            seen.row = self._row(seen)
        return seen.row

    def _row(self, seen: Seen) -> dict[str, Any]:
        event = seen.event
        made: dict[str, Any] = {
            "id": event.event_id[:MAX_TEXT],
            "at": seen.at_ms,
            "time": event.event_timestamp[:MAX_TEXT],
            "type": event.event_type[:MAX_TEXT],
            "page": self.page(event),
            "visitor": self.visitor(event),
            "country": text(event.geo_country),
            "city": text(event.geo_city),
            "device": text(event.device_type),
            "browser": text(event.browser_name),
            "channel": text(event.channel),
            "bot": event.is_bot is True,
        }
        if not self.masked:
            made["page"] = text(event.page_url) or made["page"]
            made["address"] = text(event.ip_address)
            made["user"] = text(event.user_custom_id)
        return {name: value for name, value in made.items() if value not in (None, False)}

    def visitor(self, event: Any) -> str | None:
        """Who it was: a short hash where personal data is masked."""
        key = self._key(event)
        if key is None or not self.masked:
            return key and key[:MAX_TEXT]
        return blake2b(key.encode(), key=self._salt, digest_size=4).hexdigest()

    def _without_emails(self, value: str) -> str:
        return (
            _EMAIL.sub("•••", value) if self.masked and ("@" in value or "%40" in value) else value
        )


def text(value: Any) -> str | None:
    """A value as short text; None where there is none."""
    if value is UNSET or value is None or value == "":
        return None
    return str(value)[:MAX_TEXT]
