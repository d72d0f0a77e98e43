"""Following one event, and repairing failed events, on a pipeline that has run."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from accounts import read
from confluent_kafka import Producer
from pipelines import Servers, TestPipeline

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SCRIPT = """
def repair(event):
    if isinstance(event, bytes):
        return None
    event["event_timestamp"] = "2026-03-01T00:00:00Z"
    return event
"""


def produce(pipeline: TestPipeline, values: list[bytes]) -> None:
    producer = Producer(pipeline.servers.config | {"linger.ms": 5})
    for value in values:
        producer.produce(pipeline.raw_topic, value, b"ann")
        producer.poll(0)
    assert producer.flush(60) == 0


def event(name: str, **fields: Any) -> bytes:
    return json.dumps(
        {
            "event_id": name,
            "event_timestamp": "2026-03-01T00:00:00Z",
            "event_type": "pageview",
            "user_domain_id": "ann",
            **fields,
        }
    ).encode()


def command(pipeline: TestPipeline, *words: str, code: int = 0) -> str:
    """Run ``webevents`` for this pipeline; what it printed."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "webevents", *words),
            *("-f", str(pipeline.file), "--kafka", pipeline.servers.kafka),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def with_elasticsearch(pipeline: TestPipeline) -> None:
    """Name the destination in the file, for commands that look there."""
    document = json.loads(pipeline.pipeline.model_dump_json(by_alias=True, exclude_none=True))
    document["spec"]["elasticsearch"] = {"urls": [pipeline.servers.elasticsearch]}
    pipeline.file.write_text(json.dumps(document))


def test_an_event_is_followed_through_every_hop(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, {})
    pipeline.make_topics()
    with_elasticsearch(pipeline)
    strange = 'a "quoted" \u00e9 id'
    others = [event(f"other-{number}") for number in range(500)]
    produce(
        pipeline, [*others, event("twice"), event("twice"), event(strange), b'{"event_id": "bad"']
    )
    pipeline.run()

    def hops(event_id: str, *options: str) -> list[dict[str, str]]:
        found = json.loads(command(pipeline, "trace", event_id, "--json", *options))
        assert found["event_id"] == event_id
        return list(found["hops"])

    twice = hops("twice")
    assert Counter(hop["what"] for hop in twice) == {
        "raw": 2,
        "enriched": 2,
        "session": 1,
        "document": 1,
        "session document": 1,
    }
    (session,) = pipeline.documents("sessions").items()
    by_what = {hop["what"]: hop for hop in twice}
    assert by_what["session"]["where"].endswith(f": {session[0]}")
    assert by_what["session"]["detail"].startswith(f"{session[1]['total_events']} events, ")
    assert by_what["document"]["where"] == f"{pipeline.name}-events-2026.03.01/twice"
    raw = {f"{m.topic()}/{m.partition()}@{m.offset()}" for m in read(pipeline, pipeline.raw_topic)}
    assert {hop["where"] for hop in twice if hop["what"] == "raw"} <= raw
    assert {hop["what"] for hop in hops(strange)} == {
        *("raw", "enriched", "session", "document", "session document")
    }

    (failed,) = hops("bad")
    assert failed["what"] == "failed"
    assert "at enrich" in failed["detail"]
    assert "invalid_json" in failed["detail"]

    assert "Nowhere" in command(pipeline, "trace", "never", code=1)
    assert hops("twice", "--since", "2h") == twice
    later = json.loads(
        command(pipeline, "trace", "twice", "--json", "--since", "2100-01-01T00:00:00Z")
    )
    assert {hop["what"] for hop in later["hops"]} == {"document"}
    command(pipeline, "trace", "twice", "--since", "yesterday", code=2)


def test_failed_events_are_repaired_and_sent_once(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, {})
    pipeline.make_topics()
    large = event("large", event_timestamp="soon", blob="x" * 700_000)
    broken = [event(f"time-{n}", event_timestamp="soon") for n in range(100)]
    typeless = [event(f"type-{n}", event_type="", kind="view") for n in range(50)]
    produce(pipeline, [event("sound"), large, *broken, *typeless, b"no event"])
    assert pipeline.run()["stages"]["enrich"]["failed"] == 152

    def replay(*options: str, code: int = 0) -> Any:
        said = command(pipeline, "failed", "replay", "--json", *options, code=code)
        return json.loads(said) if code == 0 else said

    nothing = {"sent": 0, "sentBefore": 0, "leftOut": 0, "lost": 0, "dryRun": False}
    types = ["--reason", "missing_field", "--rename", "kind=event_type"]
    assert replay(*types, "--dry-run") == {**nothing, "sent": 50, "dryRun": True}
    assert replay(*types) == {**nothing, "sent": 50}
    assert replay(*types) == {**nothing, "sentBefore": 50}
    assert replay("--stage", "index") == nothing

    script = tmp_path / "repair.py"
    script.write_text(SCRIPT)
    assert replay("--script", str(script)) == {
        **nothing,
        "sent": 101,
        "sentBefore": 50,
        "leftOut": 1,
    }
    script.write_text("def repair(event):\n    return event['nothing']\n")
    replay("--again", "--script", str(script), code=2)
    replay("--set", "novalue", code=2)

    assert pipeline.run()["stages"]["enrich"]["failed"] == 152, "none failed again"
    documents = pipeline.documents("events")
    assert len(documents) == 1 + 1 + 100 + 50
    assert len(documents["large"]["extra"]["blob"]) == 700_000, "the record kept less than that"
    assert documents["type-7"]["event_type"] == "view"
    assert "kind" not in documents["type-7"].get("extra", {})


def test_a_replay_that_is_killed_goes_on_where_it_was(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, {"index": {"enabled": False}})
    pipeline.make_topics()
    count = 20_000
    produce(pipeline, [event(f"e-{n}", event_timestamp="soon") for n in range(count)])
    pipeline.run()
    words = ["failed", "replay", "-f", str(pipeline.file), "--kafka", kafka]
    words += ["--set", "event_timestamp=2026-03-01T00:00:00Z", "--json"]
    killed = 0
    for _ in range(50):
        process = subprocess.Popen(
            [sys.executable, "-m", "webevents", *words], stdout=subprocess.PIPE
        )
        try:
            said, _ = process.communicate(timeout=0.8 + 0.25 * killed)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
            continue
        assert process.returncode == 0
        break
    assert json.loads(said)["sent"] + json.loads(said)["sentBefore"] == count
    assert killed > 2
    time.sleep(0.1)
    sent = Counter(json.loads(m.value())["event_id"] for m in read(pipeline, pipeline.raw_topic))
    assert set(sent.values()) == {2}, "once as it was, once repaired"
    assert len(sent) == count
