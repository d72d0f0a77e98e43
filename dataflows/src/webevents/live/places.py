"""Where events come from: by country, and as points of the map."""

from functools import lru_cache
from typing import Any

from msgspec import UNSET

from webevents.live.windows import OTHER, SlidingCounter
from webevents.live.worldmap import degrees, middle, project

MAX_POINTS = 300
MAX_COUNTRIES = 10


@lru_cache(20_000)
def _point(latitude: float, longitude: float) -> str:
    x, y = project(latitude, longitude)
    return f"{x:.0f} {y:.0f}"


class Places:
    """Counts events by place over the last while.

    :param window_ms: how long that is.
    """

    def __init__(self, window_ms: int) -> None:
        self._countries = SlidingCounter(window_ms, max_keys=300)
        self._points = SlidingCounter(window_ms, max_keys=5_000)

    def add(self, event: Any, at_ms: int, now_ms: int) -> None:
        """Count an event."""
        country = event.geo_country
        if isinstance(country, str) and country:
            self._countries.add(country[:2].upper(), at_ms, now_ms)
        if (point := self._place(event)) is not None:
            self._points.add(point, at_ms, now_ms)

    def _place(self, event: Any) -> str | None:
        location = event.geo_location
        if isinstance(location, str):
            latitude, _, longitude = location.partition(",")
            place = degrees(latitude, longitude)
        elif event.geo_latitude is not UNSET:
            place = degrees(event.geo_latitude, event.geo_longitude)
        else:
            place = None
        if place is not None:
            # Whole degrees: a circle on the map is that large, and nobody's house.
            return _point(round(place[0]), round(place[1]))
        country = event.geo_country
        found = middle(country.upper()) if isinstance(country, str) else None
        return f"{found[0]:.0f} {found[1]:.0f}" if found else None

    def report(self, now_ms: int) -> dict[str, Any]:
        """The points of the map with the most events, and the countries."""
        self._countries.expire(now_ms)
        self._points.expire(now_ms)
        points = [
            [*map(int, point.split()), count]
            for point, count in self._points.total.most_common(MAX_POINTS)
            if point != OTHER
        ]
        countries = [
            {"name": name, "count": count}
            for name, count in self._countries.total.most_common(MAX_COUNTRIES)
        ]
        return {
            "points": points,
            "countries": countries,
            "country_count": len(self._countries.total),
            "total": self._countries.total.total(),
        }
