"""The images hold what the code imports: every dependency, in the tested version."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def names(requirements: list[str]) -> set[str]:
    """The distributions' names, as an index normalises them (PEP 503)."""
    found = (re.match(r"[A-Za-z0-9._-]+", each) for each in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def locked(file: Path) -> dict[str, str]:
    """The versions that a lock file pins."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", file.read_text(), re.MULTILINE)
    return dict(pins)


@pytest.mark.parametrize(
    ("image", "projects"),
    [("dataflows", ("dataflows",)), ("operator", ("dataflows", "operator"))],
)
def test_an_image_holds_every_dependency(image: str, projects: tuple[str, ...]) -> None:
    pins = locked(ROOT / "images" / f"{image}.lock")
    tested = locked(ROOT / "dataflows" / "requirements" / "dev.lock")
    for project in projects:
        text = (ROOT / project / "pyproject.toml").read_text(encoding="utf-8")
        wanted = names(tomllib.loads(text)["project"]["dependencies"]) - {"webevents"}
        assert wanted <= pins.keys(), "run scripts/lock"
    assert pins.items() <= tested.items(), "run scripts/lock"
