"""The specification of a backfill, and what it is laid out to."""

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from webevents.errors import UserError
from webevents.operations.backfill.layout import check, indices_of, layout, since_ms
from webevents.spec.backfill import BackfillSpec
from webevents.spec.load import parse_pipeline
from webevents.spec.pipeline import WebEventPipeline
from webevents.stages.settings import StageSettings

NOW = datetime(2026, 3, 5, 0, 30, tzinfo=UTC)


def pipeline(**spec: Any) -> WebEventPipeline:
    head = {"apiVersion": "webevents.dev/v1alpha1", "kind": "WebEventPipeline"}
    return parse_pipeline({**head, "metadata": {"name": "shop"}, "spec": spec}, "here")


def spec(**more: Any) -> BackfillSpec:
    values = {"pipeline": "shop", "firstDay": "2026-02-28", "lastDay": "2026-03-01"}
    return BackfillSpec.model_validate(values | more)


def test_days_and_their_shadows() -> None:
    found = indices_of(pipeline(), "fix", spec())
    assert [(each.name, each.shadow) for each in found] == [
        (f"{kind}-{day}", f"backfill-fix-{kind}-{day}")
        for kind in ("web-events", "web-sessions")
        for day in ("2026.02.28", "2026.03.01")
    ]
    assert [each.content for each in indices_of(pipeline(), "fix", spec(contents=["events"]))] == [
        "events",
        "events",
    ]


def test_days_and_times_without_quotes_are_read_as_they_were_meant() -> None:
    read = BackfillSpec.model_validate(
        yaml.safe_load(
            "{pipeline: shop, firstDay: 2026-02-28, lastDay: 2026-03-01, "
            "source: {since: 2026-02-27T23:00:00+01:00}}"
        )
    )
    assert (read.first_day, read.last_day) == ("2026-02-28", "2026-03-01")
    assert since_ms(read) == datetime(2026, 2, 27, 22, tzinfo=UTC).timestamp() * 1000


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"firstDay": "2026-03-02"}, "lastDay is before firstDay"),
        ({"firstDay": "2026-02-30"}, "YYYY-MM-DD"),
        ({"firstDay": "2020-02-01"}, "400 days at most"),
        ({"contents": []}, "contents"),
        ({"source": {"type": "archive", "endOffsets": {"0": 1}}}, "archive"),
        (
            {"source": {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}},
            "since must be before until",
        ),
        ({"source": {"since": "soon"}}, "ISO 8601"),
        ({"source": {"since": "2026-01-01T00:00:00Z", "startOffsets": {"0": 1}}}, "only one of"),
        ({"missing": "perhaps"}, "keep"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        spec(**wrong)


@pytest.mark.parametrize(
    ("of", "asked", "told"),
    [
        ({}, {"pipeline": "other"}, "spec.pipeline"),
        ({}, {"lastDay": "2026-03-05"}, "not past"),
        ({"index": {"enabled": False}}, {}, "spec.index.enabled"),
        ({"sessions": {"enabled": False}}, {}, "spec.contents"),
        ({}, {"source": {"type": "archive"}}, "archives nothing"),
    ],
)
def test_what_a_pipeline_has_not_is_refused(
    of: dict[str, Any], asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        check(pipeline(**of), spec(**asked), NOW)
    check(pipeline(), spec(lastDay="2026-03-04"), NOW)


def test_the_stages_are_the_pipelines_own_beside_it() -> None:
    own = pipeline(enrich={"dropFields": ["ip_address"]}, store={"enabled": True})
    made = layout(own, "fix", spec(source={"type": "archive"}), NOW)
    assert [stage.stage for stage in made.stages] == ["enrich", "sessionize", "index"]
    assert {stage.pipeline for stage in made.stages} == {"shop"}, "part of the sessions' ids"
    assert all(stage.group.startswith("shop-backfill-fix-") for stage in made.stages)
    touched = {name for stage in made.stages for name in _topics(stage)}
    assert touched == {topic.name for topic in made.topics}
    assert all(name.removesuffix("-state").endswith("-backfill-fix") for name in touched)
    enrich, sessionize, index = made.stages
    assert enrich.enrich == own.spec.enrich
    assert sessionize.sessions.gap == own.spec.sessions.gap
    assert index.shadow
    assert index.shadow.indices["web-events-2026.03.01"] == "backfill-fix-web-events-2026.03.01"
    # From the raw topic it reads what the pipeline reads, and makes all others.
    made = layout(own, "fix", spec(), NOW)
    assert made.stages[0].topics == ("raw-web-events",)
    assert "raw-web-events" not in {topic.name for topic in made.topics}


def test_analytics_are_left_alone() -> None:
    """They depend on other days too; their topics are the running pipeline's."""
    own = pipeline(analytics={"enabled": True})
    made = layout(own, "fix", spec(), NOW)
    stages = {stage.stage: stage for stage in made.stages}
    assert list(stages) == ["enrich", "sessionize", "index"]
    assert not [topic.name for topic in made.topics if "analytics" in topic.name]
    assert not [topic for stage in made.stages for topic in _topics(stage) if "analytics" in topic]
    # Sessions are whole all the same.
    assert stages["sessionize"].analytics == own.spec.analytics


def _topics(stage: StageSettings) -> list[str]:
    named = [*stage.topics, stage.output_topic, stage.state_topic, stage.failed_topic]
    return [name for name in named if name]
