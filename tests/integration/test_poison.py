"""A raw topic full of messages that bring pipelines down: each ends where it belongs, once.

The messages and what is to become of them: tests/support/poison.py.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from accounts import failed_events, read
from confluent_kafka import Producer
from pipelines import Servers, TestPipeline
from poison import DROPPED, INDEXED, Poison, event, poisons

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

Places = dict[tuple[int, int], str]
"""Names of messages by partition and offset."""


def produce(pipeline: TestPipeline, messages: Sequence[Poison]) -> Places:
    """Write messages to the raw topic."""
    places: Places = {}

    def delivered(name: str, error: Any, message: Any) -> None:
        assert error is None, (name, error)
        places[message.partition(), message.offset()] = name

    producer = Producer(
        pipeline.servers.config | {"message.max.bytes": 10_485_760, "linger.ms": 50}
    )
    for poison in messages:

        def report(error: Any, message: Any, name: str = poison.name) -> None:
            delivered(name, error, message)

        producer.produce(pipeline.raw_topic, poison.value, poison.key, on_delivery=report)
        producer.poll(0)
    assert producer.flush(60) == 0
    assert len(places) == len(messages)
    return places


def fates_of(pipeline: TestPipeline, places: Places) -> dict[str, list[str]]:
    """What became of each message: where it was found, once for each time."""
    fates = defaultdict(list)
    for document in pipeline.documents("events").values():
        fates[document["event_id"]].append(INDEXED)
    topics = pipeline.pipeline.spec.topics
    names = {(topics.raw.name, *place): name for place, name in places.items()}
    for message in read(pipeline, topics.enriched.name):
        place = (message.topic(), message.partition(), message.offset())
        names[place] = json.loads(message.value())["event_id"]
    for failed in failed_events(pipeline):
        place = (failed.topic, failed.partition, failed.offset)
        fates[names.get(place, str(place))].append(failed.reason)
    return fates


def test_poison_goes_to_failed_events_and_stops_nothing(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    servers = Servers(kafka, elasticsearch)
    pipeline = TestPipeline(servers, tmp_path, {"events": {"maxBytes": 10_000_000}})
    pipeline.make_topics()
    sent = list(poisons())
    copies = [
        Poison(f"copy-{n}", json.dumps(event("same")).encode(), INDEXED) for n in range(1_000)
    ]
    sound = [
        Poison(f"sound-{n}", json.dumps(event(f"sound-{n}")).encode(), INDEXED) for n in range(100)
    ]
    places = produce(pipeline, [*sound[:50], *sent, *copies, *sound[50:]])

    report = pipeline.run(timeout=120)
    assert report["restarts"] == 0

    fates = fates_of(pipeline, places)
    expected = {p.name: [] if p.fate == DROPPED else [p.fate] for p in (*sent, *sound)}
    assert {name: fates.get(name, []) for name in expected} == expected
    assert fates["same"] == [INDEXED]
    assert report["stages"]["enrich"]["dropped"] == {"tombstone": 1}
    failed = sum(fate != [INDEXED] and fate != [] for fate in expected.values())
    assert sum(stage["failed"] for stage in report["stages"].values()) == failed
    for stage in report["stages"].values():
        assert stage["in"] == stage["out"] + stage["failed"] + sum(stage["dropped"].values())
