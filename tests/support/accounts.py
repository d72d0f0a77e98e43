"""Holding what a pipeline made against its raw topic: nothing lost, nothing doubled."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines import TestPipeline
from reference_analytics import Documents, analyze, journey_of
from reference_sessions import recompute, revenue_of

from webevents.connectors.kafka_observe import Observer
from webevents.events.analytics import KINDS
from webevents.events.event import InvalidEvent, decode_event, event_time_us
from webevents.events.failed import FailedEvent, decode_failed
from webevents.events.times import to_us
from webevents.logic.clock import is_ahead

Place = tuple[str, str, int, int]
"""Stage, topic, partition and offset of a message that a stage could not process."""


def check_everything(pipeline: TestPipeline, report: dict[str, Any]) -> None:
    """Each raw message is in the enriched topic or failed, once; each event a document, once; the
    sessions, and the analytics where there are any, are those of an independent recomputation.

    For events that are neither late nor ahead of the clock.
    """
    raw, expected = check_topics(pipeline, report)
    sessions = pipeline.documents("sessions")
    assert pipeline.documents("events").keys() == raw.keys()
    differ = [
        (name, one["session_key"], one["first_event_timestamp"], one["last_event_timestamp"])
        for name, some, others in (
            ("missing", expected, sessions), ("needless", sessions, expected),
        )
        for session_id, one in some.items()
        if session_id not in others
    ]  # fmt: skip
    assert not differ, (len(differ), differ[:4])
    made = ["sessionize"]
    if pipeline.pipeline.spec.analytics.enabled:
        made.append("analyze")
        assert analytics_documents(pipeline) == expected_analytics(pipeline, expected, sessions)
    for session_id, session in sessions.items():
        wanted = expected[session_id]
        for record in (session, wanted):
            # The order of corrections, and which sessions the end of the stream leaves open, are
            # no part of the recomputation, and milestones are as many as analytics need.
            for name in ("version", "open", "milestones"):
                record.pop(name, None)
        assert session == wanted, (session, wanted)
    stages = report["stages"]
    # It tells of failed events too.
    read_by_index = raw.total() + stages["enrich"]["failed"]
    read_by_index += sum(stages[name]["records"] for name in made)
    assert stages["index"]["in"] == stages["index"]["out"] == read_by_index


def check_topics(
    pipeline: TestPipeline, report: dict[str, Any]
) -> tuple[Counter[str], dict[str, dict[str, Any]]]:
    """Each raw message is in the enriched topic or failed, once, and counted so.

    :returns: how often each valid event was sent, and the sessions by a recomputation.
    """
    spec = pipeline.pipeline.spec
    raw, invalid = Counter[str](), Counter[Place]()
    for message in read(pipeline, spec.topics.raw.name):
        try:
            event = decode_event(message.value())
            ahead = is_ahead(
                event_time_us(event), message.timestamp()[1], to_us(spec.events.max_ahead)
            )
        except InvalidEvent:
            ahead = True
        if not ahead:
            raw[event.event_id] += 1
        else:
            invalid["enrich", message.topic(), message.partition(), message.offset()] += 1
    enriched = [
        json.loads(message.value()) for message in read(pipeline, spec.topics.enriched.name)
    ]
    assert Counter(event["event_id"] for event in enriched) == raw
    assert Counter(map(place, failed_events(pipeline))) == invalid
    enrich, sessionize = (report["stages"][n] for n in ("enrich", "sessionize"))
    assert (enrich["in"], enrich["failed"]) == (raw.total() + invalid.total(), invalid.total())
    assert (enrich["out"], sessionize["in"]) == (raw.total(), raw.total())
    again = raw.total() - len(raw)
    assert sessionize["dropped"] == ({"duplicate": again} if again else {})
    return raw, recomputed_sessions(pipeline, enriched)


def recomputed_sessions(
    pipeline: TestPipeline, enriched: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The sessions that enriched events come to, with what analytics need where there are any."""
    spec = pipeline.pipeline.spec
    if not spec.analytics.enabled:
        return recompute(enriched, spec.sessions, pipeline.name)
    journey = journey_of(spec.analytics, lambda event: revenue_of(event, spec.sessions))
    return recompute(enriched, spec.sessions, pipeline.name, journey)


def expected_analytics(
    pipeline: TestPipeline,
    sessions: Mapping[str, dict[str, Any]],
    known: Mapping[str, Mapping[str, Any]],
) -> Documents:
    """The documents of analytics that sessions come to.

    :param sessions: as they were recomputed.
    :param known: as readers have them: which of them the end of the stream leaves open differs by
        partition.
    """
    records = [session | {"open": known[id_]["open"]} for id_, session in sessions.items()]
    return analyze(records, pipeline.pipeline.spec.analytics, pipeline.name)


def analytics_documents(pipeline: TestPipeline) -> Documents:
    """The documents of analytics that are there."""
    documents: Documents = {}
    for kind in KINDS:
        for id_, document in pipeline.documents(f"analytics-{kind}").items():
            assert document.pop("version") > 0
            month = document["timestamp"][:7].replace("-", ".")
            documents[f"{kind}-{month}", id_] = document
    return documents


def read(pipeline: TestPipeline, topic: str) -> list[Any]:
    """All committed messages of a topic."""
    observer = Observer(pipeline.servers.config)
    messages = list(observer.messages(topic))
    observer.close()
    return messages


def failed_events(pipeline: TestPipeline) -> list[FailedEvent]:
    """What the pipeline's stages could not process."""
    topic = pipeline.pipeline.spec.topics.failed.name
    return [decode_failed(message.value()) for message in read(pipeline, topic)]


def place(failed: FailedEvent) -> Place:
    """Where a failed event was."""
    return failed.stage, failed.topic, failed.partition, failed.offset
