"""The project's own JSON endpoint: one event, an array, NDJSON, or an envelope; and the pixel."""

from typing import Any
from urllib.parse import parse_qsl

from msgspec import UNSET

from webevents.events.event import InvalidEvent
from webevents.events.fields import BY_NAME
from webevents.sources.collector.draft import Batch, Draft, Item, time_us
from webevents.sources.collector.mapping import CONVERTERS
from webevents.sources.collector.segment import decode_json

ENVELOPE = {"events", "sent_at", "key"}
"""Members of the envelope, in which browsers can send what they cannot put into a header."""
MAX_PARAMETERS = 200
"""Parameters of a pixel; more are an attack."""


class Plain:
    """Reads events in the project's own fields; unknown ones are kept as they are."""

    name = "json"

    def batch(self, body: bytes, query: str) -> Batch:
        """An object, an array, objects in lines, or ``{"events": […], "sent_at": …, "key": …}``."""
        try:
            payload = decode_json(body)
        except InvalidEvent:
            lines = [line for line in body.splitlines() if line.strip()]
            if len(lines) < 2:
                raise
            return Batch([_line(line) for line in lines])
        if isinstance(payload, list):
            return Batch(payload)
        if not isinstance(payload, dict):
            raise InvalidEvent("invalid_json", "neither an object nor an array")
        if isinstance(payload.get("events"), list) and payload.keys() <= ENVELOPE:
            key = payload.get("key")
            return Batch(
                payload["events"],
                key if isinstance(key, str) else None,
                sent_us=time_us(payload.get("sent_at")),
            )
        return Batch([payload])

    def draft(self, item: Item, batch: Batch) -> Draft:
        """The event as it is."""
        time = item.pop("event_timestamp", None)
        if time is not None and not isinstance(time, str):
            raise InvalidEvent("wrong_type", "event_timestamp is not text")
        return Draft(item, None, time, batch.sent_us, from_visitor=None)

    def anonymise(self, rest: Any) -> None:
        """Nothing: there is no rest."""


class Broken:
    """A line that is no JSON, in its place among the events."""

    def __init__(self, line: bytes) -> None:
        self.line = line


def _line(line: bytes) -> Any:
    try:
        return decode_json(line)
    except InvalidEvent:
        return Broken(line)


class Pixel:
    """Reads the parameters of an image's URL, for e-mails and pages without scripts."""

    name = "pixel"

    def batch(self, body: bytes, query: str) -> Batch:
        """One event: parameters named as fields, and others, which are kept under ``pixel``."""
        try:
            pairs = parse_qsl(query, max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise InvalidEvent("invalid_payload", "too many parameters") from None
        item = dict(pairs)
        return Batch([item], item.pop("key", None))

    def draft(self, item: Item, batch: Batch) -> Draft:
        """Each parameter in its field's type."""
        fields: dict[str, Any] = {}
        for name in [name for name in item if name in BY_NAME]:
            convert = CONVERTERS.get(BY_NAME[name].kind)
            value = UNSET if convert is None else convert(item[name])
            if value is UNSET:
                raise InvalidEvent("wrong_type", f"{name} has a value of another type")
            fields[name] = value
            del item[name]
        event_type = fields.setdefault("event_type", "pageview")
        time = fields.pop("event_timestamp", None)
        return Draft(fields, item, time, on_page=event_type == "pageview")

    def anonymise(self, rest: Any) -> None:
        """Nothing: the page's author chose what is in the rest."""
