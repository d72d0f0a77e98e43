"""The Segment HTTP API: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/.

Browsers' trackers name the calls by their first letter (/v1/t for /v1/track).
"""

from collections.abc import Collection
from typing import Any

import msgspec

from webevents.events.event import InvalidEvent
from webevents.sources.collector.draft import Batch, Draft, Item, time_us
from webevents.sources.collector.mapping import Mapping, Table
from webevents.sources.collector.names import EventTypes

CALLS = {
    "t": "track",
    "p": "page",
    "i": "identify",
    "s": "screen",
    "g": "group",
    "a": "alias",
}
"""The calls, by the letter that browsers' trackers use."""
TYPES = {"page": "pageview"}
"""Event types of the calls; the others' are their names, and track's is its event's name."""

TABLE: Table = (
    ("messageId", "event_id"),
    ("anonymousId", "user_domain_id"),
    ("userId", "user_id"),
    ("context.traits.email", "user_custom_id"),
    ("traits.email", "user_custom_id"),
    ("context.page.url", "page_url"),
    ("context.page.path", "page_url_path"),
    ("context.page.title", "page_title"),
    ("context.page.referrer", "referer_url"),
    ("properties.url", "page_url"),
    ("properties.path", "page_url_path"),
    ("properties.title", "page_title"),
    ("properties.referrer", "referer_url"),
    ("context.campaign.source", "utm_source"),
    ("context.campaign.medium", "utm_medium"),
    ("context.campaign.name", "utm_campaign"),
    ("context.campaign.content", "utm_content"),
    ("context.campaign.term", "utm_term"),
    ("context.ip", "ip_address"),
    ("context.userAgent", "browser_user_agent"),
    ("context.locale", "browser_language"),
    ("context.timezone", "os_timezone"),
    ("context.os.name", "os_name"),
    ("context.os.version", "os_version"),
    ("context.device.manufacturer", "device_brand"),
    ("context.device.model", "device_model"),
    ("properties.product_id", "product_id"),
    ("properties.category", "product_category"),
    ("properties.price", "price"),
    ("properties.quantity", "quantity"),
    ("properties.currency", "currency"),
    ("properties.order_id", "order_id"),
    ("properties.query", "search_query"),
)
PURCHASES: Table = (
    ("properties.revenue", "revenue"),
    ("properties.total", "revenue"),
)
"""Only where the event is a purchase (spec.sessions.purchaseTypes): in a checkout that only began
they are no revenue."""
ALIASES: Table = (("previousId", "user_domain_id"),)
"""Only of alias calls: from servers they name the visitor, who was anonymous until then, so."""

SERVERS = frozenset(
    (
        "analytics-python",
        "analytics-node",
        "@segment/analytics-node",
        "analytics-go",
        "analytics-java",
        "analytics-php",
        "analytics-ruby",
        "analytics.net",
        "analytics-clojure",
        "analytics-rust",
    )
)
"""Names of libraries that run on servers, in lower case."""

PERSONAL = ("userId", "anonymousId", "previousId", "groupId", "sessionId", "traits", "ip")
"""What tells a person, at the top of a message and in its context."""
PERSONAL_OF_DEVICE = ("id", "advertisingId", "token")
"""What tells a device, in context.device."""

_decode = msgspec.json.Decoder().decode


class Segment:
    """Reads requests of Segment's trackers.

    :param types: event types by name.
    :param purchase_types: event types that count as a purchase.
    :param consent_category: the category of consent that counts; None where none is asked for.
    :param call: the call that the path names; None where each message has its type.
    """

    name = "segment"

    def __init__(
        self,
        types: EventTypes,
        purchase_types: Collection[str] = (),
        consent_category: str | None = None,
        call: str | None = None,
    ) -> None:
        self._call = call
        self._types = types
        self._purchase_types = frozenset(purchase_types)
        self._category = consent_category.lower() if consent_category else None
        self._mapping = Mapping(TABLE)
        self._purchases = Mapping(PURCHASES)
        self._aliases = Mapping(ALIASES)

    def batch(self, body: bytes, query: str) -> Batch:
        """One call (the path says which), or several under ``batch``."""
        payload = decode_json(body)
        if not isinstance(payload, dict):
            raise InvalidEvent("invalid_json", "not one JSON object in UTF-8")
        sent_us = time_us(payload.get("sentAt"))
        key = payload.get("writeKey")
        key = key if isinstance(key, str) else None
        if "batch" not in payload:
            return Batch([payload], key, sent_us=sent_us)
        items = payload["batch"]
        if not isinstance(items, list):
            raise InvalidEvent("invalid_payload", "batch is not an array")
        shared = payload.get("context")
        if isinstance(shared, dict):
            for item in items:
                if isinstance(item, dict) and isinstance(item.get("context", {}), dict):
                    item["context"] = {**shared, **item.get("context", {})}
        return Batch(items, key, sent_us=sent_us)

    def draft(self, item: Item, batch: Batch) -> Draft:
        """Map one call."""
        call = item.pop("type", None)
        call = self._call or call
        if call == "track":
            name = item.get("event")
            if not isinstance(name, str):
                raise InvalidEvent("invalid_payload", "a track call has no event")
            event_type = self._types.of(name)
        elif call in CALLS.values():
            event_type = TYPES.get(call, call)
        else:
            raise InvalidEvent("invalid_payload", "type is not a call of Segment's API")
        fields: dict[str, Any] = {"event_type": event_type}
        self._mapping.move(item, fields)
        if call == "alias":
            self._aliases.move(item, fields)
        if event_type in self._purchase_types:
            self._purchases.move(item, fields)
        time = item.pop("originalTimestamp", None)
        stated = item.pop("timestamp", None)
        sent = item.pop("sentAt", None)
        item.pop("writeKey", None)
        library = _tracker(item)
        if library:
            fields["tracker"] = library
        return Draft(
            fields,
            item,
            _stated(time if time is not None else stated),
            time_us(sent) if sent is not None else batch.sent_us,
            from_visitor=_library_name(item) not in SERVERS,
            consent=self._consent(item),
        )

    def anonymise(self, rest: Any) -> None:
        """Take identifiers and traits out."""
        context = rest.get("context")
        device = context.get("device") if isinstance(context, dict) else None
        for node, names in ((rest, PERSONAL), (context, PERSONAL), (device, PERSONAL_OF_DEVICE)):
            if isinstance(node, dict):
                for name in names:
                    node.pop(name, None)

    def _consent(self, item: Item) -> bool | None:
        if self._category is None:
            return None
        node: Any = item
        for name in ("context", "consent", "categoryPreferences"):
            node = node.get(name) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            return None
        for name, value in node.items():
            if name.lower() == self._category and isinstance(value, bool):
                return value
        return None


def decode_json(body: bytes) -> Any:
    """Read JSON.

    :raises InvalidEvent: with reason invalid_json.
    """
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidEvent("invalid_json", "not JSON in UTF-8") from None


def _stated(time: Any) -> str | None:
    if time is None or isinstance(time, str):
        return time or None
    raise InvalidEvent("invalid_timestamp", "timestamp is not a time")


def _library(item: Item) -> dict[str, Any]:
    context = item.get("context")
    library = context.get("library") if isinstance(context, dict) else None
    return library if isinstance(library, dict) else {}


def _library_name(item: Item) -> str:
    name = _library(item).get("name")
    return name.lower() if isinstance(name, str) else ""


def _tracker(item: Item) -> str:
    library = _library(item)
    return " ".join(
        part for part in (library.get("name"), library.get("version")) if isinstance(part, str)
    )
