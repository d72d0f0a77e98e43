"""Holding what a pipeline made against its raw topic: nothing lost, nothing doubled."""

import json
from collections import Counter
from typing import Any

from pipelines import TestPipeline
from reference_sessions import recompute

from webevents.connectors.kafka_observe import Observer
from webevents.events.event import InvalidEvent, decode_event, event_time_us
from webevents.events.failed import FailedEvent, decode_failed
from webevents.events.times import to_us
from webevents.logic.clock import is_ahead

Place = tuple[str, str, int, int]
"""Stage, topic, partition and offset of a message that a stage could not process."""


def check_everything(pipeline: TestPipeline, report: dict[str, Any]) -> None:
    """Each raw message is in the enriched topic or failed, once; each event a document, once; the
    sessions are those of an independent recomputation.

    For events that are neither late nor ahead of the clock.
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
    sessions = pipeline.documents("sessions")
    expected = recompute(enriched, spec.sessions, pipeline.name)

    assert Counter(event["event_id"] for event in enriched) == raw
    assert Counter(map(place, failed_events(pipeline))) == invalid
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
    for session_id, session in sessions.items():
        wanted = expected[session_id]
        for record in (session, wanted):
            # The order of corrections, and which sessions the end of the stream leaves open, are
            # no part of the recomputation.
            record.pop("version", None), record.pop("open", None)
        assert session == wanted

    enrich, sessionize, index = (report["stages"][n] for n in ("enrich", "sessionize", "index"))
    assert (enrich["in"], enrich["failed"]) == (raw.total() + invalid.total(), invalid.total())
    assert (enrich["out"], sessionize["in"]) == (raw.total(), raw.total())
    again = raw.total() - len(raw)
    assert sessionize["dropped"] == ({"duplicate": again} if again else {})
    # It tells of failed events too.
    failed = invalid.total()
    assert index["in"] == index["out"] == raw.total() + sessionize["records"] + failed


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
