"""Pieces of JSON that are written once and used in many events."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from webevents.errors import UserError
from webevents.sources.simulator.agents import Agent
from webevents.sources.simulator.places import Place
from webevents.spec.generator import GeneratorSpec, TrafficSource

_encode = msgspec.json.Encoder().encode


def members(fields: Mapping[str, Any]) -> bytes:
    """Fields as members of a JSON object, with a comma after them: ``"a":1,"b":2,``."""
    return _encode(fields)[1:-1] + b"," if fields else b""


def value_of(fragment: bytes, field: str) -> str:
    """The text of a field in a fragment; empty where it is absent or no text."""
    value = msgspec.json.decode(b"{%s}" % fragment.strip(b",}")).get(field)
    return value if isinstance(value, str) else ""


def referrer(url: str | None, medium: str) -> bytes:
    """The four fields of a referrer."""
    parts = urlsplit(url or "")
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return members(
        {
            "referer_url": url,
            "referer_url_scheme": parts.scheme or None,
            "referer_url_port": str(port) if port else None,
            "referer_medium": medium,
        }
    )


def geography(place: Place) -> bytes:
    """The five fields of a place."""
    return members(
        {
            "geo_latitude": place.latitude,
            "geo_longitude": place.longitude,
            "geo_country": place.country,
            "geo_timezone": place.timezone,
            "geo_region_name": place.region,
        }
    )


def browser(agent: Agent, place: Place) -> bytes:
    """The fields of a user agent and its system, as set up at the place."""
    return members(
        {
            "browser_name": agent.browser_name,
            "browser_user_agent": agent.user_agent,
            "browser_language": place.language,
            "os": agent.os,
            "os_name": agent.os_name,
            "os_timezone": place.timezone,
            "device_type": agent.device_type,
            "device_is_mobile": agent.device_type in ("mobile", "tablet"),
        }
    )


class Source:
    """A traffic source with the fields of the visits that come from it."""

    __slots__ = ("campaign", "channel", "click_id", "referrer", "utm")

    def __init__(self, source: TrafficSource) -> None:
        self.channel = source.channel
        self.referrer = referrer(source.referrer, source.referrer_medium)
        self.utm = members({"utm_medium": source.medium, "utm_source": source.source})
        self.campaign = source.campaign
        self.click_id = source.click_id


def sources(spec: GeneratorSpec) -> list[tuple[Source, float]]:
    """The traffic sources with their weights."""
    return [(Source(source), source.weight) for source in spec.traffic]


CRAWL = Source(TrafficSource(channel="Direct", weight=1))
"""Crawlers come from nowhere."""


def check_key(fields: Sequence[str], known: Sequence[str], profile: str) -> None:
    """Refuse a message key that the profile's events cannot give.

    :raises UserError: naming the fields that can be used.
    """
    for field in fields:
        if field not in known:
            raise UserError(
                f"the generator's profile {profile} has no {field} that holds for a whole visit: "
                f"choose the session key (spec.sessions.key) among {', '.join(known)}"
            )
