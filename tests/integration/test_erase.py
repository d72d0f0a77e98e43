"""Erasing a person from every system that a pipeline writes, and looking whether it is so."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from accounts import read
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from pipelines import Servers, TestPipeline

from webevents.connectors.postgres import connect
from webevents.connectors.s3 import ObjectStore
from webevents.events.failed import decode_failed
from webevents.local.s3_server import EmbeddedS3
from webevents.logic.objects import ObjectName, read_object, root_of
from webevents.spec.postgres import PostgresSpec
from webevents.spec.s3 import S3Spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

ANN = ("ann-cookie-1", "ann-cookie-2")


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Spec]:
    """An S3 server of the test's own, with a bucket."""
    with EmbeddedS3(tmp_path / "s3") as server:
        yield server.spec


def events() -> list[dict[str, Any]]:
    """Two devices of Ann's, one of them signed in on both, and thirty others; one is broken."""
    made = []
    for number in range(400):
        visitor = ANN[number // 8 % 2] if number % 4 == 0 else f"visitor-{number % 30}"
        user = {"user_id": "ann-account" if number % 8 == 0 else None} if visitor in ANN else {}
        made.append(
            {
                "event_id": f"e-{number}",
                "event_timestamp": f"2026-03-0{1 + number // 200}T10:{number % 60:02}:00Z",
                "event_type": "pageview",
                "user_domain_id": visitor,
                "page_url": f"https://shop.example/?who={visitor}",
                **user,
            }
        )
    made.append({**made[0], "event_id": "broken", "event_timestamp": "soon"})
    made.append({**made[1], "event_id": "broken-other", "event_timestamp": "soon"})
    return made


def send(pipeline: TestPipeline, made: list[dict[str, Any]]) -> None:
    producer = Producer(pipeline.servers.config | {"linger.ms": 5, "partitioner": "murmur2_random"})
    for event in made:
        key = event["user_domain_id"].encode()
        producer.produce(pipeline.raw_topic, json.dumps(event).encode(), key)
        producer.poll(0)
    assert producer.flush(60) == 0


def erase(pipeline: TestPipeline, *words: str, code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "webevents", "erase", "--json", *words),
            *("-f", str(pipeline.file), "--kafka", pipeline.servers.kafka),
        ],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == code, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def hops(pipeline: TestPipeline, event_id: str) -> set[str]:
    """Where ``webevents trace`` finds an event."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "webevents", "trace", event_id, "--json"),
            *("-f", str(pipeline.file), "--kafka", pipeline.servers.kafka),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {hop["what"] for hop in json.loads(done.stdout)["hops"]}


def left(report: dict[str, Any]) -> dict[str, int]:
    return {place["where"]: place["remaining"] for place in report["places"]}


def whole(
    servers: Servers, folder: Path, postgres: PostgresSpec, s3: S3Spec, schema: str
) -> TestPipeline:
    spec: dict[str, Any] = {
        "store": {
            "enabled": True,
            "schemaName": schema,
            "tables": ["sessionMetrics", "processedEvents", "sessionEventsAggregatedIp"],
        },
        "archive": {"enabled": True, "interval": "1s"},
        "loader": {"enabled": True, "schemaName": schema, "every": "1s"},
        "analytics": {"enabled": True},
        "postgres": json.loads(postgres.model_dump_json(by_alias=True, exclude_none=True)),
        "s3": json.loads(s3.model_dump_json(by_alias=True, exclude_none=True)),
        "topics": {
            topic: {"retention": "1d"}
            for topic in ("raw", "enriched", "sessions", "failed", "analytics")
        },
    }
    pipeline = TestPipeline(servers, folder, spec)
    document = yaml.safe_load(pipeline.file.read_text())
    document["spec"]["elasticsearch"] = {"urls": [servers.elasticsearch]}
    pipeline.file.write_text(yaml.safe_dump(document))
    return pipeline


def everything(connection: psycopg.Connection[Any], schema: str) -> str:
    """The text of all rows of all tables."""
    tables = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)
    ).fetchall()
    rows = []
    for (table,) in tables:
        rows += connection.execute(f'SELECT t::text FROM "{schema}"."{table}" t').fetchall()
    return "\n".join(row for (row,) in rows)


def archived(pipeline: TestPipeline, s3: S3Spec) -> list[bytes]:
    """The values of all archived messages, and that each object is whole."""
    store = ObjectStore(s3)
    root = root_of(pipeline.pipeline.spec.archive.prefix, pipeline.name)
    values = []
    for stored in store.list(f"{root}/"):
        name = ObjectName.parse(stored.key, root)
        assert name is not None
        values += [m.value or b"" for m in read_object(store.get(stored.key)[0], name.format)]
    store.close()
    return values


def test_a_person_is_erased_from_every_system(
    kafka: str, elasticsearch: str, postgres: PostgresSpec, s3: S3Spec, tmp_path: Path
) -> None:
    schema = f"erase_{uuid.uuid4().hex[:8]}"
    pipeline = whole(Servers(kafka, elasticsearch), tmp_path, postgres, s3, schema)
    pipeline.make_topics()
    made = events()
    mine = {e["event_id"] for e in made if e["user_domain_id"] in ANN}
    send(pipeline, made)
    database = connect(postgres)
    with pipeline.running() as live:
        pipeline_is_through(pipeline, 400, database, schema)
        assert hops(pipeline, "e-0") == {
            *("raw", "object", "enriched", "session", "document", "session document"),
            *("row", "session row"),
        }
        assert hops(pipeline, "broken") == {"raw", "object", "failed"}
        shown = erase(pipeline, "--field", "user_id=ann-account")
        assert shown["dryRun"]
        assert shown["linked"] == [f"user_domain_id={each}" for each in ANN]
        shown = erase(pipeline, "--field", "user_id=ann-account", "--follow", "--dry-run")
        assert "user_domain_id=" + ANN[0] in shown["identifiers"]
        found = {place["where"]: place["found"] for place in shown["places"]}
        assert found[pipeline.raw_topic] > 40
        assert found[f"{pipeline.name}-events-*"] > 40
        assert len(pipeline.documents("events")) == 400, "nothing was erased"

        words = [w for each in ANN for w in ("--field", f"user_domain_id={each}")]
        words += ["--field", "user_id=ann-account"]
        report = erase(pipeline, *words, "--yes")
        assert report["complete"], report
        kept = {p["where"] for p in report["places"] if p["remaining"]}
        topics = pipeline.pipeline.spec.topics
        assert kept <= {
            pipeline.raw_topic,
            topics.enriched.name,
            topics.failed.name,
            topics.sessions.name,
            topics.analytics.name,
        }
        assert all(p["agesOut"] for p in report["places"] if p["remaining"])
        documents = pipeline.documents("events")
        assert documents.keys() == {f"e-{n}" for n in range(400)} - mine
        sessions = pipeline.documents("sessions").values()
        assert sessions
        assert not [s for s in sessions if s["session_key"] in ANN]
        for kind in ("transitions", "retention"):
            facts = pipeline.documents(f"analytics-{kind}").values()
            assert facts
            assert not [fact for fact in facts if fact["session_key"] in ANN]
        visitors = {m.key(): m.value() for m in read(pipeline, topics.analytics_state_name)}
        assert [key for key, value in visitors.items() if value and b"visitor" in key]
        assert not [key for key, value in visitors.items() if value and b"ann-" in key]
        rows = everything(database, schema)
        assert "visitor-1" in rows or "shop.example" in rows
        assert "ann-" not in rows
        values = archived(pipeline, s3)
        assert len(values) == len(made) - len(mine)
        assert not [value for value in values if b"ann-" in value]
        state = {m.key(): m.value() for m in read(pipeline, topics.state_name)}
        assert [key for key, value in state.items() if value and b"visitor" in key]
        assert not [key for key, value in state.items() if value and b"ann-" in key]

        assert hops(pipeline, "e-0") <= {"raw", "object", "enriched", "session"}

        # Idempotent; and what comes later is new, and is not taken for the old session's.
        again = erase(pipeline, *words, "--yes")
        assert sum(place["erased"] for place in again["places"]) == 0
        late = {**made[0], "event_id": "later", "event_timestamp": "2026-03-02T10:59:30Z"}
        send(pipeline, [late])
        pipeline_is_through(pipeline, 400 - len(mine - {"broken"}) + 1, database, schema)

        # The topics, where other people's messages may go as well: all of them are read.
        words += [
            w
            for topic in ("raw", "enriched", "sessions", "analytics", "failed")
            for w in ("--truncate", topic)
        ]
        report = erase(pipeline, *words, "--yes", "--wait", "120")
        assert report["complete"], report
        assert not [value for value in left(report).values() if value], report
        for name in ("raw", "enriched", "sessions", "analytics", "failed"):
            messages = read(pipeline, getattr(topics, name).name)
            assert not [m for m in messages if b"ann-" in (m.value() or b"")]
        assert "later" not in pipeline.documents("events")
        live.interrupt()
        live.finish()
    database.close()


def pipeline_is_through(
    pipeline: TestPipeline, documents: int, database: psycopg.Connection[Any], schema: str
) -> None:
    """Wait until so many documents and rows are there, and two failed events."""

    deadline = time.monotonic() + 400
    while True:
        failed = [
            decode_failed(m.value())
            for m in read(pipeline, pipeline.pipeline.spec.topics.failed.name)
        ]
        try:
            count = database.execute(f"SELECT count(*) FROM {schema}.processed_events").fetchone()
            loaded = database.execute(f"SELECT count(*) FROM {schema}.events").fetchone()
        except psycopg.errors.UndefinedTable:
            count = loaded = (0,)
        assert count
        assert loaded
        found = len(pipeline.documents("events"))
        if (
            found == documents
            and count[0] == documents
            and loaded[0] >= documents
            and len(failed) == 2
        ):
            return
        assert time.monotonic() < deadline, (found, count, loaded, len(failed))
        time.sleep(0.5)


def test_hashed_identifiers_are_found(
    kafka: str, elasticsearch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASH_KEY", "k" * 32)
    privacy = {"hashFields": ["user_domain_id", "user_id"], "hashKeyEnv": "HASH_KEY"}
    spec = {"enrich": {"privacy": privacy}}
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, spec)
    document = yaml.safe_load(pipeline.file.read_text())
    document["spec"]["elasticsearch"] = {"urls": [elasticsearch]}
    pipeline.file.write_text(yaml.safe_dump(document))
    pipeline.make_topics()
    made = events()[:400]
    send(pipeline, made)
    pipeline.run()
    assert not [e for e in pipeline.documents("events").values() if e["user_domain_id"] in ANN]
    mine = {e["event_id"] for e in made if e["user_domain_id"] == ANN[0]}

    # No stage runs: the erasure says what they have yet to read, and does the rest.
    report = erase(pipeline, "--field", f"user_domain_id={ANN[0]}", "--yes", "--wait", "1", code=1)
    assert any("messages to read" in note for note in report["notes"])
    assert pipeline.documents("events").keys() == {e["event_id"] for e in made} - mine
    pipeline.run()
    # Of the documents nothing is left; topics without a retention keep what they have.
    report = erase(pipeline, "--field", f"user_domain_id={ANN[0]}", "--yes", "--wait", "5", code=1)
    assert any("set spec.topics.raw.retention" in note for note in report["notes"])
    assert not any("-events-" in note for note in report["notes"])
    topics = pipeline.pipeline.spec.topics
    assert left(report)[topics.state_name] == 0
    enriched = read(pipeline, topics.enriched.name)
    assert not [m for m in enriched if ANN[0].encode() in (m.key() or b"")], "no key in clear"
    admin = AdminClient(pipeline.servers.config)
    assert topics.state_name in admin.list_topics(timeout=30).topics
