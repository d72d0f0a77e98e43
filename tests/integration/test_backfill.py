"""Days of indices made anew beside the old ones, compared, and swapped while readers read."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from pipelines import Servers, TestPipeline

from webevents.connectors.elasticsearch import connect, refresh
from webevents.spec.elasticsearch import ElasticsearchSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DAYS = ("2026-03-01", "2026-03-02")


def events(count: int, *, seed: int = 1) -> list[dict[str, Any]]:
    """Events of forty visitors over two days, in the order of their times."""
    chance = random.Random(seed)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    seconds = sorted(chance.randrange(2 * 86_400 - 60) for _ in range(count))
    return [
        {
            "event_id": f"e-{seed}-{number}",
            "event_timestamp": (start + timedelta(seconds=at)).isoformat(),
            "event_type": chance.choice(["pageview", "click", "purchase"]),
            "user_domain_id": f"visitor-{chance.randrange(40)}",
            "utm_source": chance.choice(["google", "shop-mail"]),
            "revenue": round(chance.random() * 50, 2),
        }
        for number, at in enumerate(seconds)
    ]


def produce(pipeline: TestPipeline, made: list[dict[str, Any]]) -> None:
    producer = Producer(pipeline.servers.config | {"linger.ms": 5, "partitioner": "murmur2_random"})
    for event in made:
        key = event["user_domain_id"].encode()
        producer.produce(pipeline.raw_topic, json.dumps(event).encode(), key)
        producer.poll(0)
    assert producer.flush(60) == 0


def make(kafka: str, elasticsearch: str, folder: Path, spec: dict[str, Any]) -> TestPipeline:
    pipeline = TestPipeline(Servers(kafka, elasticsearch), folder, spec)
    write(pipeline, spec)
    return pipeline


def write(pipeline: TestPipeline, spec: dict[str, Any]) -> None:
    """Write the pipeline's file: its own topics and indices, and these settings."""
    document = json.loads(pipeline.pipeline.model_dump_json(by_alias=True, exclude_none=True))
    document["spec"] |= spec | {"index": document["spec"]["index"]}
    document["spec"]["elasticsearch"] = {"urls": [pipeline.servers.elasticsearch]}
    pipeline.file.write_text(yaml.safe_dump(document))


def words(pipeline: TestPipeline, *more: str) -> list[str]:
    servers = ["-f", str(pipeline.file), "--kafka", pipeline.servers.kafka]
    return [sys.executable, "-m", "webevents", "backfill", *more, *servers]


def backfill(pipeline: TestPipeline, *more: str, code: int = 0) -> Any:
    done = subprocess.run(
        words(pipeline, *more, "--json"), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def days(*more: str) -> tuple[str, ...]:
    return ("--first-day", DAYS[0], "--last-day", DAYS[1], *more)


def client_of(pipeline: TestPipeline) -> Any:
    return connect(ElasticsearchSpec(urls=(pipeline.servers.elasticsearch,)))


def shadows(pipeline: TestPipeline) -> list[str]:
    """The backfills' indices that are there."""
    found = client_of(pipeline).indices.get(index=f"backfill-*{pipeline.name}*")
    return sorted(found)


def topics(pipeline: TestPipeline) -> list[str]:
    """The backfills' topics that are there, apart from the one of their states."""
    known = AdminClient(pipeline.servers.config).list_topics(timeout=30).topics
    return backfills_own(pipeline, known)


def groups(pipeline: TestPipeline) -> list[str]:
    """The backfills' consumer groups that are there."""
    known = AdminClient(pipeline.servers.config).list_consumer_groups().result().valid
    return backfills_own(pipeline, [group.group_id for group in known])


def backfills_own(pipeline: TestPipeline, names: Iterable[str]) -> list[str]:
    return [n for n in names if n.startswith(pipeline.name) and "-backfill-" in n]


@contextmanager
def reader(pipeline: TestPipeline, at_least: int) -> Iterator[list[str]]:
    """Counts the events all the time, as a dashboard does; what it saw that must not be."""
    wrong: list[str] = []
    ends = threading.Event()
    client = client_of(pipeline)

    def look() -> None:
        partial = 0
        while not ends.is_set():
            found = client.search(
                index=f"{pipeline.name}-events-2026*",
                body={
                    "size": 0,
                    "track_total_hits": True,
                    "aggs": {
                        "ids": {"cardinality": {"field": "event_id", "precision_threshold": 40000}}
                    },
                },
            )
            seen = found["hits"]["total"]["value"]
            different = found["aggregations"]["ids"]["value"]
            # A search that had begun on an index that is just swapped away is told so by
            # Elasticsearch (docs/backfill.md); asked again, it soon sees everything.
            partial = partial + 1 if found["_shards"]["failed"] else 0
            if 0 < partial <= 20:
                continue
            if seen < at_least or seen > different * 1.1 or partial:
                wrong.append(f"{seen} documents of {different} events, {found['_shards']}")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield wrong
    finally:
        ends.set()
        thread.join()
        client.close()


MAPPING = {"enrich": {"sourceCategories": {"newsletter": ["shop-mail"]}}}


def test_days_are_made_anew_while_the_pipeline_runs_and_readers_read(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    pipeline = make(kafka, elasticsearch, tmp_path, {})
    pipeline.make_topics()
    made = events(2_000)
    produce(pipeline, made)
    pipeline.run()
    before = pipeline.documents("events")
    assert len(before) == 2_000
    old_sessions = pipeline.documents("sessions")

    write(pipeline, MAPPING)
    planned = backfill(pipeline, "plan", "mail", *days())
    assert sum(end - first for first, end in planned["ranges"].values()) >= 2_000
    assert shadows(pipeline) == []

    with pipeline.running() as live:
        # Late events of these days, all the time, through the running pipeline.
        stop = threading.Event()
        late: list[dict[str, Any]] = []

        def visit() -> None:
            for event in events(20_000, seed=2):
                if stop.wait(0.05):
                    return
                late.append(event)
                produce(pipeline, [event])

        visitor = threading.Thread(target=visit)
        visitor.start()
        try:
            with reader(pipeline, 2_000) as wrong:
                report = backfill(pipeline, "run", "mail", *days())
        finally:
            stop.set()
            visitor.join()
        assert wrong == []
        live.interrupt()
        live.finish()

    assert report["phase"] == "done"
    after = pipeline.documents("events")
    assert after.keys() == before.keys() | {event["event_id"] for event in late}
    assert len(late) > 10
    mails = {n for n, body in after.items() if body["utm_source"] == "shop-mail"}
    assert {n for n, body in after.items() if body.get("source_category") == "newsletter"} == mails
    found = [index["compared"] for index in report["indices"] if index["content"] == "events"]
    changed = {n for n in mails if n in before}
    assert sum(each["fields"].get("source_category", 0) for each in found) >= len(changed)
    assert sum(each["missing"] for each in found) == 0

    client = client_of(pipeline)
    for index in report["indices"]:
        assert list(client.indices.get_alias(index=index["name"])) == [index["shadow"]]
    mapping = client.indices.get_mapping(index=f"{pipeline.name}-events-2026.03.01")
    (body,) = (each["mappings"] for each in mapping.values())
    assert body["dynamic"] == "strict", "the pipeline's template made it"
    assert topics(pipeline) == []
    assert groups(pipeline) == []

    # Sessions: every one there was, counted with what came late.
    sessions = pipeline.documents("sessions")
    assert sum(s["total_events"] for s in sessions.values()) >= sum(
        s["total_events"] for s in old_sessions.values()
    )
    # And once more, from an alias to an alias.
    report = backfill(pipeline, "run", "again", *days("--content", "events"))
    assert [index["compared"]["changed"] for index in report["indices"]] == [0, 0]
    assert pipeline.documents("events") == after
    assert all(name.startswith("backfill-again-") for name in shadows(pipeline) if "events" in name)
    backfill(pipeline, "run", "today", "--first-day", datetime.now(UTC).date().isoformat(), code=2)


def test_sessions_are_those_of_a_pipeline_that_had_the_new_settings_all_along(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    made = events(2_000)
    other = make(kafka, elasticsearch, tmp_path / "other", {"sessions": {"gap": "2h"}})
    pipeline = make(kafka, elasticsearch, tmp_path, {})
    for each in (other, pipeline):
        each.make_topics()
        produce(each, made)
        each.run()
    write(pipeline, {"sessions": {"gap": "2h"}})
    report = backfill(pipeline, "run", "gap", *days())
    assert report["phase"] == "done"

    def comparable(of: TestPipeline) -> list[dict[str, Any]]:
        # Identifiers hold the pipeline's name; versions and open follow the clock.
        left_out = {"session_id", "pipeline", "version", "open"}
        found = [
            {k: v for k, v in body.items() if k not in left_out}
            for body in of.documents("sessions").values()
        ]
        return sorted(found, key=lambda s: (s["session_key"], s["first_event_timestamp"]))

    assert comparable(pipeline) == comparable(other)
    assert not any(s["open"] for s in pipeline.documents("sessions").values())


def test_what_only_the_old_index_has_stops_the_swap(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    pipeline = make(kafka, elasticsearch, tmp_path, {})
    pipeline.make_topics()
    made = events(400)
    produce(pipeline, made)
    pipeline.run()
    before = pipeline.documents("events"), pipeline.documents("sessions")
    # One partition's messages are left out but for the last, as if Kafka had removed them.
    planned = backfill(pipeline, "plan", "part", *days())
    end = planned["ranges"]["0"][1]
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventBackfill",
        "metadata": {"name": "part"},
        "spec": {
            "pipeline": pipeline.name,
            "firstDay": DAYS[0],
            "lastDay": DAYS[1],
            "source": {"startOffsets": {"0": end - 1}},
        },
    }
    spec = tmp_path / "part.yaml"
    spec.write_text(yaml.safe_dump(document))
    said = backfill(pipeline, "run", "part", "--spec", str(spec), code=2)
    assert "documents that the new index lacks" in said
    assert (pipeline.documents("events"), pipeline.documents("sessions")) == before
    status = backfill(pipeline, "status", "part")
    assert status["phase"] == "compared"
    assert status["stopped"]
    missing = sum(i["compared"]["missing"] for i in status["indices"] if i["content"] == "events")
    assert 0 < missing < 400

    backfill(pipeline, "run", "part", "--first-day", DAYS[0], code=2)  # another one
    report = backfill(pipeline, "run", "part", "--missing", "keep")
    assert report["phase"] == "done"
    assert sum(i["compared"]["kept"] for i in report["indices"]) >= missing
    assert pipeline.documents("events") == before[0]
    kept = pipeline.documents("sessions")
    assert sum(s["total_events"] for s in kept.values()) >= 400
    assert before[1].keys() <= kept.keys()

    backfill(pipeline, "run", "given-up", *days("--no-swap"))
    assert any("given-up" in name for name in shadows(pipeline))
    assert backfill(pipeline, "abort", "given-up")["phase"] == "aborted"
    assert not any("given-up" in name for name in shadows(pipeline))
    assert topics(pipeline) == []
    assert pipeline.documents("events") == before[0]
    backfill(pipeline, "abort", "given-up", code=2)


def test_a_backfill_that_is_killed_goes_on(kafka: str, elasticsearch: str, tmp_path: Path) -> None:
    pipeline = make(kafka, elasticsearch, tmp_path, {})
    pipeline.make_topics()
    produce(pipeline, events(3_000))
    pipeline.run()
    before = pipeline.documents("events")
    write(pipeline, MAPPING)
    killed = 0
    # What is killed leaves its temporary folder behind: here, not on the machine.
    (temporary := tmp_path / "tmp").mkdir()
    for attempt in range(40):
        process = subprocess.Popen(
            words(pipeline, "run", "hard", *days()),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"TMPDIR": str(temporary)},
        )
        try:
            said, _ = process.communicate(timeout=2.0 + 1.5 * attempt)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
            continue
        # The last kill may have come when it was done, and only its process had not ended.
        assert process.returncode == 0 or (killed and "stands for" in said), said
        break
    assert killed > 2
    assert backfill(pipeline, "status", "hard")["phase"] == "done"
    after = pipeline.documents("events")
    assert after.keys() == before.keys()
    mails = {n for n, body in after.items() if body["utm_source"] == "shop-mail"}
    assert {n for n, body in after.items() if body.get("source_category") == "newsletter"} == mails
    deadline = time.monotonic() + 60
    while topics(pipeline) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert topics(pipeline) == []
    refresh(client_of(pipeline), "backfill-*")
