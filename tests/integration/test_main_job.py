"""The main job, end to end, on a real Kafka and a real Elasticsearch.

Steps: the simulator fills the raw topic with 200,000 events (1% corrupt, 2% twice, 5% late, 20% out
of order); the pipeline processes them; the same topic is processed by a second pipeline whose
workers are killed ten times.
Expected: every stage's counts add up, a document for each distinct valid event, and every session
as the offline recomputation from the simulator's truth has it, field by field.

The example's own manifest is run too, on 3,000 of its events, each of its processes killed.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from accounts import check_everything
from pipelines import Servers, TestPipeline
from reference_sessions import recompute

from webevents.connectors.kafka_observe import Observer
from webevents.events.event import decode_event
from webevents.events.failed import decode_failed
from webevents.local.ports import free_port
from webevents.logic.enrich.enricher import Enricher
from webevents.sources.output import KafkaOutput
from webevents.sources.simulator import run_simulator
from webevents.spec.generator import GeneratorSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "web-events.yaml"
EVENTS = 200_000
GENERATOR = {
    "seed": 7,
    "eventsPerSecond": 2.5,
    "time": {"mode": "backdated", "start": "2026-03-01T00:00:00Z"},
    "faults": {
        "corrupt": 0.01,
        "duplicates": 0.02,
        "late": 0.05,
        "lateBy": "45m",
        "outOfOrder": 0.2,
        "outOfOrderBy": "30s",
        "bots": 0.03,
    },
}
# Late events come at most 45 minutes late: all of them still correct their sessions.
SPEC: dict[str, Any] = {"sessions": {"allowedLateness": "2h", "idleTimeout": "1h"}}


@dataclass
class Fed:
    """A raw topic and the truth about it."""

    servers: Servers
    topic: str
    sent: int
    events: dict[str, bytes]
    """The distinct valid events, by id."""
    corrupt: Counter[str]
    truth: list[dict[str, Any]]


@pytest.fixture(scope="module")
def fed(kafka: str, elasticsearch: str, tmp_path_factory: pytest.TempPathFactory) -> Fed:
    folder = tmp_path_factory.mktemp("main-job")
    servers = Servers(kafka, elasticsearch)
    pipeline = TestPipeline(servers, folder, SPEC)
    pipeline.make_topics()
    truth_path = folder / "truth.ndjson"
    with KafkaOutput(servers.config, pipeline.raw_topic) as output:
        result = run_simulator(
            GeneratorSpec.model_validate(GENERATOR), output, count=EVENTS, truth_path=truth_path
        )
    truth = [json.loads(line) for line in truth_path.open()]
    corrupt = Counter(row["kind"] for row in truth if row.get("fault") == "corrupt")
    events = dict(_valid_events(servers, pipeline.raw_topic, truth))
    return Fed(servers, pipeline.raw_topic, result.sent, events, corrupt, truth)


def _valid_events(
    servers: Servers, topic: str, truth: list[dict[str, Any]]
) -> Iterator[tuple[str, bytes]]:
    """The valid events of the raw topic, known to be so by the truth and not by decoding."""
    valid = {row["event_id"] for row in truth if row.get("fault") != "corrupt"}
    observer = Observer(servers.config)
    for message in observer.messages(topic):
        event_id = _id_of(message.value())
        if event_id in valid:
            yield event_id, message.value()
    observer.close()


def _id_of(raw: bytes) -> str | None:
    try:
        found = json.loads(raw)["event_id"]
    except (ValueError, KeyError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _expected_sessions(fed: Fed, pipeline: TestPipeline) -> dict[str, dict[str, Any]]:
    enricher = Enricher(pipeline.pipeline.spec.enrich)
    enriched = (enricher.enrich(raw, decode_event(raw)) for raw in fed.events.values())
    return recompute(map(json.loads, enriched), pipeline.pipeline.spec.sessions, pipeline.name)


def _check(fed: Fed, pipeline: TestPipeline, report: dict[str, Any]) -> None:
    corrupt = fed.corrupt.total()
    duplicates = fed.sent - corrupt - len(fed.events)
    enrich, sessionize, index = (report["stages"][n] for n in ("enrich", "sessionize", "index"))
    assert enrich["in"] == fed.sent
    assert enrich["failed"] == corrupt
    assert enrich["out"] == sessionize["in"] == fed.sent - corrupt
    assert sessionize["dropped"] == {"duplicate": duplicates}
    assert sessionize["out"] == len(fed.events)
    assert index["in"] == index["out"] == enrich["out"] + sessionize["records"] + corrupt
    assert len(pipeline.documents("failed")) == corrupt
    assert index["failed"] == sessionize["failed"] == 0

    documents = pipeline.documents("events")
    assert documents.keys() == fed.events.keys()

    expected = _expected_sessions(fed, pipeline)
    found = pipeline.documents("sessions")
    assert report["sessions"] == len(found)
    assert found.keys() == expected.keys()
    for session_id, session in found.items():
        session.pop("version")
        wanted = {k: v for k, v in expected[session_id].items() if k != "version"}
        # Which sessions the end of the stream leaves open differs by partition.
        session.pop("open"), wanted.pop("open", None)
        assert session == wanted


def _failed_reasons(fed: Fed, pipeline: TestPipeline) -> Counter[str]:
    observer = Observer(fed.servers.config)
    records = observer.messages(pipeline.pipeline.spec.topics.failed.name)
    reasons = Counter(decode_failed(message.value()).reason for message in records)
    observer.close()
    return reasons


def test_all_is_accounted_for_and_sessions_equal_the_recomputation(
    fed: Fed, tmp_path: Path
) -> None:
    pipeline = TestPipeline(fed.servers, tmp_path, SPEC, raw=fed.topic)
    report = pipeline.run()
    _check(fed, pipeline, report)
    reasons = _failed_reasons(fed, pipeline)
    assert reasons.total() == fed.corrupt.total()
    assert reasons["timestamp_in_future"] == fed.corrupt["clock_ahead"]
    assert reasons["too_deep"] == fed.corrupt["deep"]
    assert reasons["missing_field"] == fed.corrupt["missing_field"]


def test_true_sessions_are_found(fed: Fed, tmp_path: Path) -> None:
    """The simulator's own sessions: as many events in each, and the channel it meant."""
    pipeline = TestPipeline(fed.servers, tmp_path, SPEC, raw=fed.topic)
    expected = _expected_sessions(fed, pipeline)
    valid = {row["event_id"]: row for row in fed.truth if row.get("fault") != "corrupt"}
    sizes = Counter(row["session"] for row in valid.values())
    channels = {row["session"]: row["channel"] for row in valid.values()}
    true = Counter((size, channels[session]) for session, size in sizes.items())
    # A session whose first event was corrupt has lost what told its channel.
    headless = {row["session"] for row in fed.truth if row.get("fault") == "corrupt"}
    found = Counter((record["total_events"], record["channel"]) for record in expected.values())
    assert found.total() == true.total()
    assert (true - found).total() <= len(headless)


def test_ten_kills_change_nothing(fed: Fed, tmp_path: Path) -> None:
    pipeline = TestPipeline(fed.servers, tmp_path, SPEC, raw=fed.topic)
    with pipeline.running("--until-drained") as run:
        for number in range(10):
            run.kill_worker(("enrich", "sessionize", "index")[number % 3])
        report = run.finish()
    assert report["restarts"] == 10
    _check(fed, pipeline, report)


def test_the_example_has_its_figures_whatever_is_killed_and_keeps_them(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    """`make test-own-servers` kills its generator and the servers too."""
    spec = yaml.safe_load(EXAMPLE.read_text())["spec"]
    generator = spec.pop("generator")
    generator |= {"seed": 7, "eventsPerSecond": 1, "time": GENERATOR["time"]}
    # A slow machine would close sessions by the clock.
    spec["sessions"]["idleTimeout"] = "1h"
    for http in ("collector", "live"):
        spec[http]["port"] = free_port()
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, spec)
    pipeline.make_topics()
    with KafkaOutput(pipeline.servers.config, pipeline.raw_topic) as output:
        run_simulator(GeneratorSpec.model_validate(generator), output, count=3_000)
    processes = ("enrich", "sessionize", "analyze", "index", "collector", "live")
    with pipeline.running("--until-drained") as run:
        for name in processes:
            run.kill_worker(name)
        report = run.finish()
    assert report["restarts"] == len(processes)
    check_everything(pipeline, report)

    def figures() -> list[dict[str, Any]]:
        return [pipeline.documents(which) for which in ("events", "sessions", "analytics")]

    before = figures()
    assert [len(documents) > 100 for documents in before] == [True] * 3
    again = pipeline.run()
    assert again["documents"] == report["documents"]
    assert figures() == before
