"""The stages around analytics, without Kafka: what they count, write and hand on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from reference_sessions import time_text
from session_streams import BASE, SECOND, message

from webevents.errors import UserError
from webevents.plan.make import make_plan
from webevents.spec.load import parse_pipeline
from webevents.stages.analyze import AnalyzeProcessor
from webevents.stages.chunk import Chunk
from webevents.stages.sessionize import SessionizeProcessor
from webevents.stages.settings import StageSettings

HOUR = 3600 * SECOND


class State:
    """What a state topic holds."""

    def __init__(self, *values: bytes) -> None:
        self.values = values

    def read(self, topic: str, partition: int) -> Iterator[bytes]:
        assert topic.endswith("-state")
        return iter(self.values)

    def is_untouched(self, topic: str, partition: int) -> bool:
        return not self.values


def settings_of(stage: str, **analytics: Any) -> StageSettings:
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "shop"},
        "spec": {"analytics": {"enabled": True} | analytics},
    }
    plan = make_plan(parse_pipeline(document, "test"))
    (settings,) = (w.settings for w in plan.workloads if w.name == stage)
    assert isinstance(settings, StageSettings)
    return settings


def chunk(topic: str, *messages: tuple[bytes | None, bytes | None]) -> Chunk:
    keys, values = zip(*messages, strict=True)
    count = len(messages)
    return Chunk(topic, 2, list(range(count)), list(keys), list(values), [BASE // 1000] * count)


def a_session(version: int = 1, **more: Any) -> bytes:
    record = {
        "session_id": "s",
        "session_key": "ann",
        "version": version,
        "first_event_timestamp": time_text(BASE),
        "last_event_timestamp": time_text(BASE + HOUR),
        "path": ["/", "/a"],
    }
    return json.dumps(record | more).encode()


def test_every_record_is_accounted_for() -> None:
    stage = AnalyzeProcessor(settings_of("analyze"), State())
    stage.assigned("web-sessions", 2, {})
    outcome = stage.process(
        chunk(
            "web-sessions",
            (b"ann", a_session()),
            (b"ann", a_session()),
            (b"bob", b"{"),
            (b"zoe", None),
            (b"eve", a_session(session_key="eve", first_event_timestamp=time_text(HOUR))),
        )
    )
    counts = outcome.counts
    assert counts.balanced
    assert (counts.received, counts.delivered, counts.failed) == (5, 1, 1)
    assert counts.dropped == {"superseded": 1, "tombstone": 1, "late": 1}
    (failed,) = outcome.records
    assert failed.topic == "failed-web-events"

    flush = stage.flush("web-sessions", 2)
    documents = [r for r in flush.records if r.topic == "web-analytics"]
    states = [r for r in flush.records if r.topic == "web-analytics-state"]
    assert flush.emitted == len(documents) == 3  # two transitions and a period
    assert {(r.key, r.partition) for r in states} == {("ann", 2)}
    assert flush.note == {"t": BASE + HOUR, "s": 1}
    assert stage.status().visitors == 1
    assert not stage.flush("web-sessions", 2).records, "nothing has changed"

    again = AnalyzeProcessor(settings_of("analyze"), State(states[0].value or b""))
    again.assigned("web-sessions", 2, flush.note)
    outcome = again.process(chunk("web-sessions", (b"ann", a_session(version=2))))
    assert outcome.counts.delivered == 1
    assert again.flush("web-sessions", 2).emitted == 0, "readers know all of it"
    again.revoked("web-sessions", 2)
    assert again.status().visitors == 0


@pytest.mark.parametrize("stage", [SessionizeProcessor, AnalyzeProcessor])
def test_state_that_was_written_and_is_gone_is_missed(stage: Any) -> None:
    settings = settings_of("sessionize" if stage is SessionizeProcessor else "analyze")
    stage(settings, State()).assigned("any", 0, {"t": BASE, "v": 1})
    with pytest.raises(UserError, match=r"the state in topic web-\w+-state is gone.*rewind"):
        stage(settings, State()).assigned("any", 0, {"t": BASE, "v": 1, "s": 1})


def test_an_erased_visitor_is_forgotten_by_both_stages() -> None:
    sessionize = SessionizeProcessor(settings_of("sessionize"), State())
    sessionize.assigned("enriched-web-events", 2, {})
    event, _ = message(BASE, "e1", page_url="https://shop.example/")
    sessionize.process(chunk("enriched-web-events", (b"ann", event)))
    sessionize.stopping()
    first = sessionize.flush("enriched-web-events", 2)
    sessionize.process(chunk("enriched-web-events", (b"ann", None)))
    flush = sessionize.flush("enriched-web-events", 2)
    retraction, tombstone = (r for r in flush.records if r.topic == "web-sessions")
    assert flush.emitted == 2
    assert json.loads(retraction.value or b"")["retracted"]
    assert (tombstone.key, tombstone.value) == (b"ann", None)
    assert not [r for r in sessionize.flush("enriched-web-events", 2).records if r.value is None]

    analyze = AnalyzeProcessor(settings_of("analyze"), State())
    analyze.assigned("web-sessions", 2, {})
    (session,) = (r for r in first.records if r.topic == "web-sessions")
    analyze.process(chunk("web-sessions", (b"ann", session.value)))
    analyze.flush("web-sessions", 2)
    analyze.process(chunk("web-sessions", (b"ann", retraction.value), (b"ann", None)))
    states = [r for r in analyze.flush("web-sessions", 2).records if r.topic.endswith("-state")]
    assert [(r.key, r.value) for r in states] == [("ann", None)]
    assert analyze.status().visitors == 0


def test_without_analytics_nothing_more_is_handed_on() -> None:
    settings = settings_of("sessionize").model_copy(update={"analytics": None})
    sessionize = SessionizeProcessor(settings, State())
    sessionize.assigned("enriched-web-events", 2, {})
    sessionize.process(chunk("enriched-web-events", (b"ann", None)))
    assert not sessionize.flush("enriched-web-events", 2).records
