"""The Snowplow tracker protocol: https://docs.snowplow.io/docs/fundamentals/canonical-event/.

GET /i with the parameters in the query, or POST with an array of objects of them.
"""

import binascii
import re
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from webevents.events.event import InvalidEvent
from webevents.sources.collector.draft import Batch, Draft, Item
from webevents.sources.collector.mapping import Mapping, Table
from webevents.sources.collector.names import EventTypes
from webevents.sources.collector.segment import decode_json

TYPES = {
    "pv": "pageview",
    "pp": "page_ping",
    "tr": "transaction",
    "ti": "transaction_item",
}
"""Event types by the parameter ``e``; the others have a name (``se_ac``, or the schema's)."""

TABLE: Table = (
    ("eid", "event_id"),
    ("duid", "user_domain_id"),
    ("nuid", "user_domain_id"),
    ("tnuid", "user_domain_id"),
    ("uid", "user_id"),
    ("sid", "session_id"),
    ("url", "page_url"),
    ("page", "page_title"),
    ("refr", "referer_url"),
    ("ip", "ip_address"),
    ("ua", "browser_user_agent"),
    ("lang", "browser_language"),
    ("tz", "os_timezone"),
    ("vp", "viewport_size"),
    ("tr_id", "order_id"),
    ("tr_tt", "revenue"),
    ("tr_cu", "currency"),
    ("ti_id", "order_id"),
    ("ti_sk", "product_id"),
    ("ti_ca", "product_category"),
    ("ti_pr", "price"),
    ("ti_qu", "quantity"),
    ("ti_cu", "currency"),
    ("unstruct_event.data.elementId", "element_id"),
)

SERVERS = (
    "py-",
    "node-",
    "java-",
    "golang-",
    "rb-",
    "php-",
    "net-",
    "scala-",
    "rust-",
    "lua-",
    "cpp-",
)
"""How the tracker's version (``tv``) begins where it runs on a server."""

PERSONAL = ("uid", "duid", "nuid", "tnuid", "sid", "vid", "fp", "ip", "contexts")
"""What tells a person; contexts may hold anything, the client session among it."""

_SCHEMA = re.compile(r"iglu:[^/]+/([^/]+)/[^/]+/[0-9-]+")
_PAYLOAD = re.compile(r"iglu:com\.snowplowanalytics\.snowplow/payload_data/jsonschema/[0-9-]+")
_ENCODED = (("ue_px", "ue_pr", "unstruct_event"), ("cx", "co", "contexts"))
"""Parameters that hold JSON: in base64, as it is, and the name it is kept under."""


class Snowplow:
    """Reads requests of Snowplow's trackers.

    :param types: event types by name.
    """

    name = "snowplow"

    def __init__(self, types: EventTypes) -> None:
        self._types = types
        self._mapping = Mapping(TABLE)

    def batch(self, body: bytes, query: str) -> Batch:
        """The query of a GET, or the array of a POST."""
        if not body:
            try:
                pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=500)
            except ValueError:
                raise InvalidEvent("invalid_payload", "too many parameters") from None
            if not pairs:
                raise InvalidEvent("invalid_payload", "no parameters")
            items: list[Any] = [dict(pairs)]
        else:
            payload = decode_json(body)
            if not isinstance(payload, dict) or not isinstance(payload.get("data"), list):
                raise InvalidEvent("invalid_payload", "data is not an array")
            if not _PAYLOAD.fullmatch(str(payload.get("schema"))):
                raise InvalidEvent("invalid_payload", "schema is not Snowplow's payload_data")
            items = payload["data"]
        first = items[0] if items else None
        app_id = first.get("aid") if isinstance(first, dict) else None
        return Batch(items, app_id=app_id if isinstance(app_id, str) else None)

    def draft(self, item: Item, batch: Batch) -> Draft:
        """Map one event."""
        if item.get("aid") != batch.app_id and isinstance(item.get("aid"), str):
            raise InvalidEvent("invalid_payload", "events of several app ids in one request")
        _decode_parameters(item)
        fields: dict[str, Any] = {"event_type": self._event_type(item)}
        self._mapping.move(item, fields)
        device, sent, true = (item.pop(name, None) for name in ("dtm", "stm", "ttm"))
        version = item.get("tv")
        version = version if isinstance(version, str) else ""
        if version:
            fields["tracker"] = f"snowplow {version}"
        return Draft(
            fields,
            item,
            _milliseconds(device) if true in (None, "") else _milliseconds(true),
            _sent(sent) if true in (None, "") else None,
            from_visitor=not version.startswith(SERVERS),
        )

    def anonymise(self, rest: Any) -> None:
        """Take identifiers and contexts out."""
        for name in PERSONAL:
            rest.pop(name, None)

    def _event_type(self, item: Item) -> str:
        match item.get("e"):
            case str(code) if code in TYPES:
                item.pop("e")
                return TYPES[code]
            case "se":
                action = item.get("se_ac")
                if not isinstance(action, str):
                    raise InvalidEvent("invalid_payload", "a structured event has no se_ac")
                return self._types.of(action)
            case "ue":
                event = item.get("unstruct_event")
                schema = event.get("schema") if isinstance(event, dict) else None
                match = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
                if match is None:
                    raise InvalidEvent("invalid_payload", "a self-describing event has no schema")
                return self._types.of(match[1])
        raise InvalidEvent("invalid_payload", "e is not a type of Snowplow's protocol")


def _decode_parameters(item: Item) -> None:
    """Put the JSON that is in parameters into the open, without its outer envelope."""
    for encoded, plain, name in _ENCODED:
        for parameter in (encoded, plain):
            text = item.get(parameter)
            if not isinstance(text, str) or not text:
                continue
            try:
                raw = text.encode()
                if parameter == encoded:
                    raw = urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
                value = msgspec.json.decode(raw)
            except (binascii.Error, ValueError, RecursionError):
                raise InvalidEvent("invalid_payload", f"{parameter} does not hold JSON") from None
            if not isinstance(value, dict) or "data" not in value:
                raise InvalidEvent("invalid_payload", f"{parameter} is not self-describing")
            del item[parameter]
            item[name] = value["data"]


def _milliseconds(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(value) * 1000
    except (ValueError, TypeError):
        raise InvalidEvent("invalid_timestamp", "a time is not in milliseconds") from None


def _sent(value: Any) -> int | None:
    try:
        return _milliseconds(value)
    except InvalidEvent:
        return None
