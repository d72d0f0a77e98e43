"""What a protocol makes of a request, before the facts of the request complete it."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from webevents.events.times import parse_time

Item = dict[str, Any]
"""One event as the tracker sent it; the protocol may take things out of it."""


@dataclass(slots=True)
class Batch:
    """The events of one request, not yet mapped."""

    items: list[Any]
    """What should be objects, one an event; others become failed events."""
    write_key: str | None = None
    """The key, where the body holds it."""
    app_id: str | None = None
    """Snowplow's app id, which is its key."""
    sent_us: int | None = None
    """When the tracker sent the request, by its own clock."""


@dataclass(slots=True)
class Draft:
    """An event in the project's fields."""

    fields: dict[str, Any]
    rest: Any = None
    """What has no field, kept under the protocol's name; nothing where empty."""
    time: str | int | None = None
    """When it happened by the device's clock: text, or microseconds since the epoch."""
    sent_us: int | None = None
    """When it was sent by the same clock; None where the time is not to be corrected."""
    from_visitor: bool | None = True
    """Whether the request came from the visitor's own device, so that its address, user agent and
    cookie are the visitor's; false for trackers on servers; None: the request tells."""
    on_page: bool = False
    """Whether the Referer header names the page that the event is of: an image stands on it."""
    consent: bool | None = None
    """What the event itself says about consent; None where it says nothing."""


class TrackerProtocol(Protocol):
    """How a kind of tracker speaks."""

    name: str
    """Under which an event keeps what has no field."""

    def batch(self, body: bytes, query: str) -> Batch:
        """Split a request into events.

        :param body: decompressed.
        :param query: the URL's query, encoded.
        :raises webevents.events.event.InvalidEvent: when nothing can be told apart: the whole
            request is one failed event.
        """

    def draft(self, item: Item, batch: Batch) -> Draft:
        """Map one event.

        :raises webevents.events.event.InvalidEvent: when it is none.
        """

    def anonymise(self, rest: Any) -> None:
        """Take whatever tells a person out of :attr:`Draft.rest`."""


@dataclass(slots=True)
class Outcome:
    """What became of the events of a request."""

    accepted: int = 0
    """Delivered, spooled, or left out because the visitor opted out."""
    failed: list[dict[str, Any]] = field(default_factory=list)
    """Those that are failed events now: index, reason and detail."""


def time_us(value: object) -> int | None:
    """A tracker's time, ISO 8601, in microseconds since the epoch; None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        return parse_time(value)
    except (ValueError, OverflowError):
        return None
