"""Rows of enriched events."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from webevents.events.event import EventDecoder
from webevents.logic.documents import document_id
from webevents.logic.rows.tables import PROCESSED_EVENTS, Row, Table
from webevents.logic.rows.values import line, text, timestamp

_encode = msgspec.json.Encoder().encode

_NEEDED = (
    *("ip_address", "referer_url", "host", "page_host", "page_url", "page_url_path"),
    *("geo_country", "geo_region_name", "geo_city"),
)


class EventRows:
    """Builds the rows of events.

    :param tables: those that are written; the ones that are not of events are passed over.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self._builders = [_processed_event for table in tables if table is PROCESSED_EVENTS]
        self._decode = EventDecoder(only=_NEEDED).decode

    def build(self, raw: bytes) -> list[Row]:
        """Make the rows of one event.

        :param raw: the message's value.
        :raises webevents.events.event.InvalidEvent: when the event cannot be stored.
        """
        event = self._decode(raw)
        return [build(event) for build in self._builders]


def _processed_event(event: Any) -> Row:
    # The index of the key holds 2,704 bytes, so a longer identifier is hashed as in Elasticsearch.
    event_id = document_id(event.event_id)
    fields = (
        text("event_id", event_id),
        text("ip", _first(event.ip_address)),
        timestamp("event_timestamp", event.event_timestamp),
        text("referrer", _first(event.referer_url)),
        text("host", _first(event.host, event.page_host)),
        text("url", _first(event.page_url, event.page_url_path)),
        text("geodata", _geodata(event)),
    )
    return Row(PROCESSED_EVENTS.name, event_id, 0, line(fields))


def _first(*values: Any) -> str | None:
    """The first value that there is."""
    return next((value for value in values if value is not UNSET and value), None)


def _geodata(event: Any) -> str:
    """The place as JSON with what is known of country, state and city; ``{}`` where nothing is."""
    place = {
        "country": _first(event.geo_country),
        "state": _first(event.geo_region_name),
        "city": _first(event.geo_city),
    }
    known = {name: value for name, value in place.items() if value is not None}
    for value in known.values():
        text("geodata", value)  # escaped in JSON it could be stored, but not be read by name
    return _encode(known).decode() if known else "{}"
