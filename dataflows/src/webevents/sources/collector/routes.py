"""Which path speaks which protocol, and how it answers."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from webevents.sources.collector.draft import Outcome, TrackerProtocol
from webevents.sources.collector.names import EventTypes
from webevents.sources.collector.plain import Pixel, Plain
from webevents.sources.collector.segment import CALLS, Segment
from webevents.sources.collector.snowplow import Snowplow
from webevents.spec.collector import CollectorSpec

GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""A transparent image of one pixel."""

JSON, IMAGE, TEXT = "application/json", "image/gif", "text/plain; charset=utf-8"
SEGMENT, SNOWPLOW, PLAIN, PIXEL = "segment", "snowplow", "json", "pixel"
_encode = msgspec.json.encode


def _segment(outcome: Outcome) -> tuple[int, str, bytes]:
    if outcome.failed and not outcome.accepted:
        return 400, JSON, _encode({"success": False, **outcome.failed[0]})
    return 200, JSON, b'{"success":true}'


# Snowplow's own collector answers 200 to whatever it was sent, and sorts it out later.
def _snowplow_get(outcome: Outcome) -> tuple[int, str, bytes]:
    return 200, IMAGE, GIF


def _snowplow_post(outcome: Outcome) -> tuple[int, str, bytes]:
    return 200, TEXT, b"ok"


def _plain(outcome: Outcome) -> tuple[int, str, bytes]:
    status = 400 if outcome.failed and not outcome.accepted else 200
    if not outcome.failed:
        return status, JSON, b'{"accepted":%d,"failed":[]}' % outcome.accepted
    return status, JSON, _encode({"accepted": outcome.accepted, "failed": outcome.failed})


def _pixel(outcome: Outcome) -> tuple[int, str, bytes]:
    return 400 if outcome.failed else 200, IMAGE, GIF


@dataclass(frozen=True, slots=True)
class Route:
    """One path."""

    method: str
    endpoint: str
    """The label of the metrics."""
    protocol: TrackerProtocol
    answer: Callable[[Outcome], tuple[int, str, bytes]]
    too_large: int | None = None
    """The status of a body or batch that is too large, where not 413."""


def routes(spec: CollectorSpec, purchase_types: tuple[str, ...]) -> dict[str, Route]:
    """All paths of the protocols."""
    types = EventTypes(spec.event_types)
    consent = spec.privacy.consent.category if spec.privacy.consent else None

    def segment(call: str | None) -> Route:
        protocol = Segment(types, purchase_types, consent, call)
        return Route("POST", SEGMENT, protocol, _segment)

    snowplow = Snowplow(types)
    # Its trackers send again after any other status than 2xx and a few of 4xx, 413 not among them.
    get = Route("GET", SNOWPLOW, snowplow, _snowplow_get, too_large=422)
    post = Route("POST", SNOWPLOW, snowplow, _snowplow_post, too_large=422)
    found = {
        "/v1/events": Route("POST", PLAIN, Plain(), _plain),
        "/pixel.gif": Route("GET", PIXEL, Pixel(), _pixel),
        "/i": get,
        "/com.snowplowanalytics.snowplow/tp2": post,
    }
    for letter, call in CALLS.items():
        found[f"/v1/{letter}"] = found[f"/v1/{call}"] = segment(call)
    for name in ("batch", "b", "import"):
        found[f"/v1/{name}"] = segment(None)
    return found
