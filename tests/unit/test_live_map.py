"""The map: places where they belong, and outlines that stay on it."""

import json
import re
from importlib.resources import files
from itertools import pairwise

import pytest

from webevents.live.worldmap import BOTTOM, WIDTH, degrees, height, middle, project


def test_the_projection_is_equal_earth() -> None:
    """Ratios of the published projection: half as high as 2.05 times as wide, parallel at 60° as
    long as 0.6 of the equator's or so, and areas that are equal."""
    left, right = project(0, -180), project(0, 180)
    assert (left[0], right[0]) == pytest.approx((0, WIDTH))
    whole = project(-90, 0)[1] - project(90, 0)[1]
    assert WIDTH / whole == pytest.approx(2.0545, abs=0.001)
    pole = project(90, 180)[0] - project(90, -180)[0]
    assert pole / WIDTH == pytest.approx(0.5924, abs=0.001)

    def band(low: float, high: float) -> float:
        steps = [low + (high - low) * n / 200 for n in range(201)]
        area = 0.0
        for a, b in pairwise(steps):
            width = sum(project(each, 180)[0] - project(each, -180)[0] for each in (a, b)) / 2
            area += width * (project(a, 0)[1] - project(b, 0)[1])
        return area

    # Bands between sines 0, 1/2 and 1 have the same area on the globe.
    assert band(0, 30) == pytest.approx(band(30, 90), rel=0.001)


def test_the_outlines_are_on_the_map() -> None:
    world = json.loads(files("webevents.live").joinpath("static", "world.json").read_text())
    points = re.findall(r"[ML]([\d.-]+) ([\d.-]+)", world["land"])
    assert len(points) > 3000
    assert all(-0.1 <= float(x) <= WIDTH + 0.1 for x, _ in points)
    assert all(-0.5 <= float(y) <= height() + 0.5 for _, y in points)
    assert world["height"] == round(height(), 1)
    # No stroke from one edge to the other.
    for ring in world["land"].split("M")[1:]:
        row = [tuple(map(float, each.split())) for each in ring.removesuffix("Z").split("L")]
        for (x1, _), (x2, _) in zip(row, row[1:] + row[:1], strict=True):
            assert abs(x1 - x2) < WIDTH / 4


@pytest.mark.parametrize(
    ("country", "latitude", "longitude", "within"),
    [
        ("DE", 51, 10.5, 8),
        ("AU", -25, 134, 15),
        ("BR", -10, -53, 15),
        ("JP", 37, 138, 15),
        ("FR", 46.5, 2.5, 8),
    ],
)
def test_the_middle_of_a_country(
    country: str, latitude: float, longitude: float, within: float
) -> None:
    found = middle(country)
    assert found is not None
    assert found == pytest.approx(project(latitude, longitude), abs=within)


def test_what_is_no_country_has_no_middle() -> None:
    assert middle("XX") is None
    assert middle("") is None


@pytest.mark.parametrize(
    ("latitude", "longitude", "place"),
    [
        ("52.5", "13.4", (52.5, 13.4)),
        (52.5, 13.4, (52.5, 13.4)),
        (" -33.9 ", "151", (-33.9, 151)),
        ("91", "0", None),
        ("0", "181", None),
        ("nan", "0", None),
        ("inf", "0", None),
        ("", "", None),
        (None, None, None),
        ("x", "0", None),
        ([1], "0", None),
    ],
)
def test_coordinates_come_as_numbers_or_text(
    latitude: object, longitude: object, place: tuple[float, float] | None
) -> None:
    assert degrees(latitude, longitude) == place
    assert BOTTOM < 0
