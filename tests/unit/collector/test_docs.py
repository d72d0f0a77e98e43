"""docs/collect.md says what the collector does."""

import re
from pathlib import Path

import pytest

from webevents.sources.collector import segment, snowplow
from webevents.sources.collector.mapping import Table
from webevents.sources.collector.refusal import REASONS
from webevents.sources.collector.routes import routes
from webevents.spec.collector import CollectorSpec

PAGE = (Path(__file__).parents[3] / "docs" / "collect.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("Segment", segment.TABLE + segment.PURCHASES + segment.ALIASES),
        ("Snowplow", snowplow.TABLE),
    ],
)
def test_the_tables_are_the_mappings(title: str, table: Table) -> None:
    section = PAGE.partition(f"### {title}\n| value | field |\n|---|---|\n")[2]
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", section.partition("\n\n")[0], re.MULTILINE)
    assert tuple(rows) == table


def test_every_path_is_told() -> None:
    told = set(re.findall(r"`(/[^` ]+)`", PAGE))
    letters = {f"/v1/{letter}" for letter in segment.CALLS}
    assert routes(CollectorSpec(), ()).keys() - letters <= told | {"/v1/b", "/v1/import"}


def test_every_status_is_told() -> None:
    section = PAGE.partition("| answer | when |")[2].partition("\n\n")[0]
    told = {int(number) for number in re.findall(r"\b[245]\d\d\b", section)}
    assert set(REASONS.values()) - {404, 405, 500} <= told
