"""Sources beside the simulator, end to end: a replayed day, the reference system's generator."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_web_events import Simulation
from pipelines import Servers, TestPipeline, by_field

from webevents.sources.output import KafkaOutput

pytestmark = pytest.mark.integration

CLICKS = Path(__file__).parents[3] / "shared" / "data" / "fashion-campus" / "one-day-clicks.csv"
TWIN = Path(__file__).parents[1] / "data" / "twin-clicks.csv"
CLICK_COUNTS = {
    "CLICK": 6146,
    "HOMEPAGE": 5559,
    "SCROLL": 4117,
    "ADD_TO_CART": 3157,
    "ITEM_DETAIL": 2895,
    "SEARCH": 2827,
    "PROMO_PAGE": 1702,
    "BOOKING": 1145,
    "ADD_PROMO": 211,
}
"""Of the real day, as its publisher counts them."""
BY_SESSION_ID: dict[str, Any] = {
    # The longest session of the day lasts 20.5 hours and pauses for 18.5.
    "sessions": {"key": ["session_id"], "gap": "24h", "maxLength": "10d", "allowedLateness": "24h"}
}


def replay(pipeline: TestPipeline, path: Path) -> None:
    """Replay a day of clicks at full speed, through the command line."""
    subprocess.run(
        [
            *(sys.executable, "-m", "webevents", "replay", str(path)),
            *("--preset", "fashion-campus-clicks", "--speed", "full"),
            *("--start", "2026-03-01T00:00:00Z"),
            *("--kafka", pipeline.servers.kafka, "--topic", pipeline.raw_topic),
        ],
        check=True,
        timeout=120,
    )


@pytest.fixture
def clicks(kafka: str, elasticsearch: str, tmp_path: Path) -> TestPipeline:
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, BY_SESSION_ID)
    pipeline.make_topics()
    return pipeline


@pytest.mark.skipif(not CLICKS.exists(), reason="the real day is not on this machine")
def test_the_real_day_has_its_published_figures_each_time(clicks: TestPipeline) -> None:
    for _ in range(2):
        replay(clicks, CLICKS)
        report = clicks.run()
        assert report["stages"]["enrich"]["failed"] == 0
        events = clicks.documents("events")
        assert by_field(events, "event_type") == CLICK_COUNTS
        assert len(events) == 27_759
        sessions = clicks.documents("sessions")
        assert len(sessions) == 2_763
        assert sum(session["total_events"] for session in sessions.values()) == 27_759
        types: Counter[str] = Counter()
        for session in sessions.values():
            types.update(session["event_type_counts"])
        assert types == CLICK_COUNTS
    assert report["stages"]["sessionize"]["dropped"] == {"duplicate": 27_759}


def test_a_day_like_it_gives_the_same_figures_each_time(clicks: TestPipeline) -> None:
    rows = TWIN.read_text().splitlines()[1:]
    sessions = {row.split(",")[0] for row in rows}
    for _ in range(2):
        replay(clicks, TWIN)
        clicks.run()
        assert len(clicks.documents("events")) == len(rows)
        assert len(clicks.documents("sessions")) == len(sessions)


def test_the_reference_systems_generator_feeds_the_pipeline_unchanged(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    # Its events have no key, so partitions that are read at different speeds make some of them
    # late; at night a few hundred of them span hours.
    spec = {"sessions": {"allowedLateness": "24h"}}
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, spec)
    pipeline.make_topics()
    simulation = Simulation(user_pool_size=100, sessions_per_day=100_000)
    events = []
    with KafkaOutput(pipeline.servers.config, pipeline.raw_topic) as output:
        for event in simulation.run(duration_seconds=60):
            events.append(event)
            output.send(None, json.dumps(event).encode(), None)
            if len(events) == 2_000:
                break
    assert len(events) > 100
    report = pipeline.run()
    assert report["stages"]["enrich"] | {"lag": 0} == report["stages"]["enrich"]
    assert report["stages"]["enrich"]["out"] == len(events)
    documents = pipeline.documents("events")
    assert documents.keys() == {event["event_id"] for event in events}
    categories = {
        "google": "search_engine",
        "bing": "search_engine",
        "facebook": "social_media",
        "instagram": "social_media",
        "mailchimp": "email_marketing",
    }
    for event in events:
        document = documents[event["event_id"]]
        assert {name: document[name] for name in event} == event
        assert document["source_category"] == categories.get(event["utm_source"], "other/unknown")
        assert document["user_email_domain"] == event["user_custom_id"].rpartition("@")[2]
    sessions = pipeline.documents("sessions")
    assert sum(session["total_events"] for session in sessions.values()) == len(events)
