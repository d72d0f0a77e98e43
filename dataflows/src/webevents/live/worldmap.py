"""Places on the world map: the Equal Earth projection, and where each country's middle is.

The outlines and middles are Natural Earth's (public domain), made by ``scripts/make-map``.
"""

from functools import cache
from importlib.resources import files
from math import asin, cos, isfinite, radians, sin, sqrt

import msgspec

WIDTH = 960.0
"""Width of the whole world on the map."""
TOP, BOTTOM = 83.7, -56.0
"""Latitudes of the map's edges, in degrees: without Antarctica."""
_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796


class _World(msgspec.Struct):
    land: str
    middles: dict[str, tuple[float, float]]


def project(latitude: float, longitude: float) -> tuple[float, float]:
    """Where a place is on the map; x to the right, y downwards from the map's upper edge.

    The formula is that of Šavrič, Patterson and Jenny, "The Equal Earth map projection",
    International Journal of Geographical Information Science 33 (2019).

    :param latitude: in degrees, north positive.
    :param longitude: in degrees, east positive.
    """
    x, y = _equal_earth(latitude, longitude)
    edge = _equal_earth(0, 180)[0]
    scale = WIDTH / (2 * edge)
    return (x + edge) * scale, (_equal_earth(TOP, 0)[1] - y) * scale


def _equal_earth(latitude: float, longitude: float) -> tuple[float, float]:
    theta = asin(sqrt(3) / 2 * sin(radians(latitude)))
    t2 = theta * theta
    t6 = t2**3
    slope = 9 * _A4 * t6 * t2 + 7 * _A3 * t6 + 3 * _A2 * t2 + _A1
    x = 2 * sqrt(3) * radians(longitude) * cos(theta) / (3 * slope)
    return x, theta * (_A1 + _A2 * t2 + t6 * (_A3 + _A4 * t2))


def height() -> float:
    """Height of the map."""
    return project(BOTTOM, 0)[1]


@cache
def _world() -> _World:
    content = files(__package__).joinpath("static", "world.json").read_bytes()
    return msgspec.json.decode(content, type=_World)


def middle(country: str) -> tuple[float, float] | None:
    """Where a country's middle is on the map; None for one that is not known.

    :param country: ISO 3166-1 alpha-2.
    """
    return _world().middles.get(country)


def degrees(latitude: object, longitude: object) -> tuple[float, float] | None:
    """Coordinates as events carry them, as numbers or as text; None where they are no place."""
    try:
        place = float(latitude), float(longitude)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if not (isfinite(place[0]) and isfinite(place[1])):
        return None
    return place if abs(place[0]) <= 90 and abs(place[1]) <= 180 else None
