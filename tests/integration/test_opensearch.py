"""OpenSearch as the destination, real: the session-metrics example's events in its 15 fields.

test_elasticsearch.py holds it against all that Elasticsearch does as well.
"""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from accounts import check_everything, read
from confluent_kafka import Producer
from pipelines import Run, Servers, TestPipeline
from reference_analytics import analyze, journey_of
from reference_sessions import recompute, revenue_of
from tls_proxy import secured

from webevents.connectors.elasticsearch import (
    Backoff,
    BulkWriter,
    Unreachable,
    connect,
    count,
    documents_by_index,
    ensure_templates,
    refresh,
)
from webevents.connectors.kafka_observe import Observer
from webevents.errors import UserError
from webevents.events.failed import decode_failed
from webevents.local.opensearch_server import EmbeddedOpenSearch
from webevents.logic.documents import Document
from webevents.plan.model import Template
from webevents.sources.output import KafkaOutput
from webevents.sources.simulator import run_simulator
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.generator import GeneratorSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "session-metrics.yaml"
MAPPING = {
    "timestamp": "date",
    **dict.fromkeys(
        ("user_id", "session_id", "event_type", "page_url", "referrer", "device_type"), "keyword"
    ),
    **dict.fromkeys(("product_id", "product_category", "element_id", "viewport_size"), "keyword"),
    "user_agent": "text",
    "ip_address": "ip",
    "price": "float",
    "search_query": "text",
}
"""As the reference system has it."""
RENAMED = {
    "timestamp": "event_timestamp",
    "referrer": "referer_url",
    "user_agent": "browser_user_agent",
}
"""Fields that the event calls otherwise."""
EVENTS = 6_000


def example() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())["spec"]
    return {
        "elasticsearch": spec["elasticsearch"],
        "sessions": spec["sessions"],
        "index": spec["index"],
    }


def generate(pipeline: TestPipeline) -> None:
    """Fill the raw topic with the example's events."""
    generator = yaml.safe_load(EXAMPLE.read_text())["spec"]["generator"]
    generator |= {"time": {"mode": "backdated", "start": "2026-03-01T00:00:00Z"}, "seed": 7}
    with KafkaOutput(pipeline.servers.config, pipeline.raw_topic) as output:
        run_simulator(
            GeneratorSpec.model_validate(generator),
            output,
            count=EVENTS,
            key_fields=pipeline.pipeline.spec.sessions.key,
        )


def mapping(client: Any, pattern: str) -> dict[str, str]:
    """The type of each field, the same in all indices of a pattern."""
    (fields,) = {
        json.dumps(index["mappings"]["properties"], sort_keys=True)
        for index in client.indices.get_mapping(index=pattern).values()
    }
    return {name: field["type"] for name, field in json.loads(fields).items()}


def missing(event: dict[str, Any]) -> set[str]:
    """Fields of the mapping that an event does not have."""
    return {name for name in MAPPING if RENAMED.get(name, name) not in event}


def connected(url: str) -> Any:
    return connect(ElasticsearchSpec(engine="opensearch", urls=(url,)))


def wait_for_documents(run: Run, url: str, pattern: str) -> None:
    """Return as soon as the first documents are there."""
    client, deadline = connected(url), time.monotonic() + 60
    while sum(documents_by_index(client, pattern).values()) == 0:
        assert run.process.poll() is None
        assert time.monotonic() < deadline
        refresh(client, pattern)
    client.close()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedOpenSearch]:
    """A server that may be killed, with one thread to write and room for one more request a
    shard: whatever comes at the same time is really refused with 429."""
    server = EmbeddedOpenSearch(
        tmp_path_factory.mktemp("busy") / "opensearch",
        extra={"thread_pool.write.size": "1", "thread_pool.write.queue_size": "1"},
    )
    try:
        server.start()
    except UserError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


def test_documents_that_are_refused_for_now_are_sent_again(busy: EmbeddedOpenSearch) -> None:
    client = connected(busy.url)
    writer = BulkWriter(client, backoff=Backoff(cap_s=0.5))
    documents = [Document(f"busy-{n % 5}", str(n), b'{"a": 1}') for n in range(500)]
    result = writer.submit(documents).result(120)
    assert (result.accepted, result.failed) == (500, [])
    assert writer.repeated > 0
    (node,) = client.nodes.stats(metric="thread_pool")["nodes"].values()
    assert node["thread_pool"]["write"]["rejected"] > 0
    refresh(client, "busy-*")
    assert count(client, "busy-*") == 500
    writer.close()
    client.close()


def test_the_example_has_its_15_fields_whatever_is_killed(
    kafka: str, busy: EmbeddedOpenSearch, tmp_path: Path
) -> None:
    """OpenSearch and a worker of each stage are killed during the run; then all is read again."""
    pipeline = TestPipeline(Servers(kafka, busy.url), tmp_path, example())
    pattern = f"{pipeline.name}-events-*"
    pipeline.make_topics()
    generate(pipeline)
    with pipeline.running("--until-drained") as run:
        run.kill_worker("index")
        run.kill_worker("enrich")
        wait_for_documents(run, busy.url, pattern)
        busy.kill()
        busy.start()
        run.kill_worker("sessionize")
        report = run.finish(300)
    check_everything(pipeline, report)
    documents, sessions = pipeline.documents("events"), pipeline.documents("sessions")
    assert len(documents) > 0.9 * EVENTS
    client = connected(busy.url)
    assert mapping(client, pattern) == MAPPING
    for message in read(pipeline, pipeline.pipeline.spec.topics.enriched.name):
        event = json.loads(message.value())
        wanted = {name: event[RENAMED.get(name, name)] for name in MAPPING.keys() - missing(event)}
        assert documents[event["event_id"]] == wanted
    prices = client.search(
        index=pattern, body={"size": 0, "aggs": {"total": {"sum": {"field": "price"}}}}
    )
    expected = sum(document.get("price") or 0 for document in documents.values())
    assert prices["aggregations"]["total"]["value"] == pytest.approx(expected, rel=1e-4)
    client.close()

    assert pipeline.run()["documents"] == report["documents"]
    assert pipeline.read_again("index") >= report["stages"]["index"]["in"]
    assert pipeline.documents("events") == documents
    assert pipeline.documents("sessions") == sessions


def test_tls_and_log_in(opensearch: str, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    for name, each in (("ca", authority), ("stranger", stranger)):
        each.cert_pem.write_to_path(str(tmp_path / name))
    for name in ("right", "wrong"):
        (tmp_path / name).write_text(f"{name}-horse\n")
    name = f"t{uuid.uuid4().hex[:8]}"

    def spec(url: str, ca: str = "ca", password: str = "right") -> ElasticsearchSpec:
        return ElasticsearchSpec.model_validate(
            {
                "engine": "opensearch",
                "urls": [url],
                "username": "ann",
                "passwordFile": str(tmp_path / password),
                "tls": {"caFile": str(tmp_path / ca)},
            }
        )

    with secured(opensearch, authority, user="ann", password="right-horse", key="none") as url:
        client = connect(spec(url))
        template = Template("component", name, {"template": {"settings": {}}})
        assert ensure_templates(client, [template]) == [name]
        assert ensure_templates(client, [template]) == []
        writer = BulkWriter(client, compression=True)
        assert writer.submit([Document(f"{name}-x", "1", b"{}")]).result(60).accepted == 1
        refresh(client, f"{name}-*")
        assert documents_by_index(client, f"{name}-*") == {f"{name}-x": 1}
        with pytest.raises(UserError, match=r"OpenSearch at .* refuses the credentials") as refused:
            count(connect(spec(url, password="wrong")), f"{name}-*")
        assert "horse" not in str(refused.value)
        with pytest.raises(Unreachable, match=r"trusted TLS connection to OpenSearch.*caFile"):
            count(connect(spec(url, ca="stranger")), f"{name}-*")
        # A password that changes while the stage runs is taken up.
        (tmp_path / "right").write_text("other-horse\n")
        with pytest.raises(UserError, match="refuses the credentials"):
            count(client, f"{name}-*")
        (tmp_path / "right").write_text("right-horse\n")
        assert count(client, f"{name}-*") == 1
        writer.close()
        client.close()


def test_what_opensearch_refuses_is_a_failed_event(
    kafka: str, opensearch: str, tmp_path: Path
) -> None:
    pipeline = TestPipeline(
        Servers(kafka, opensearch), tmp_path, {"elasticsearch": {"engine": "opensearch"}}
    )
    pipeline.make_topics()
    producer = Producer(pipeline.servers.config)
    for number in range(20):
        event = {
            "event_id": f"e{number}",
            "event_timestamp": "2026-03-01T00:00:00Z",
            "event_type": "pageview",
            "user_domain_id": "ann",
            "unknown": {"deep": number},
        }
        if number == 7:
            event["geo_location"] = "nowhere"
        producer.produce(pipeline.raw_topic, json.dumps(event))
    assert producer.flush(60) == 0
    report = pipeline.run()
    assert report["stages"]["index"]["failed"] == 1
    observer = Observer(pipeline.servers.config)
    topic = pipeline.pipeline.spec.topics.failed.name
    (failed,) = [decode_failed(message.value()) for message in observer.messages(topic)]
    observer.close()
    assert (failed.stage, failed.reason) == ("index", "rejected")
    assert "geo_location" in failed.detail
    assert "nowhere" not in failed.detail
    documents = pipeline.documents("events")
    assert documents.keys() == {f"e{n}" for n in range(20)} - {"e7"}
    assert documents["e3"]["extra"] == {"unknown": {"deep": 3}}
    # What is unknown can be searched.
    client = connected(opensearch)
    answer = client.search(
        index=f"{pipeline.name}-events-*", body={"query": {"term": {"extra.unknown.deep": "3"}}}
    )
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == ["e3"]


def test_analytics_failed_events_and_samples_are_written_too(
    kafka: str, opensearch: str, tmp_path: Path
) -> None:
    """Each document of analytics is that of the independent computation."""
    spec = {
        "elasticsearch": {"engine": "opensearch"},
        "sessions": {"key": ["user_id"], "allowedLateness": "2h"},
        "analytics": {"enabled": True},
        "index": {"samples": {"every": "1s"}},
    }
    generator = {
        "profile": "journeys",
        "seed": 5,
        "users": 100,
        "eventsPerSecond": 0.02,
        "time": {"mode": "backdated", "start": "2026-03-01T00:00:00Z"},
        "faults": {"corrupt": 0.02},
    }
    pipeline = TestPipeline(Servers(kafka, opensearch), tmp_path, spec)
    pipeline.make_topics()
    with KafkaOutput(pipeline.servers.config, pipeline.raw_topic) as output:
        made = GeneratorSpec.model_validate(generator)
        run_simulator(made, output, count=3_000, key_fields=["user_id"])
    # What is no failed event is left where it is: it would come back for ever.
    producer = Producer(pipeline.servers.config)
    producer.produce(pipeline.pipeline.spec.topics.failed.name, b"no failed event")
    assert producer.flush(60) == 0
    report = pipeline.run()
    assert report["stages"]["index"]["dropped"] == {"rejected": 1}

    of = pipeline.pipeline.spec
    events = [json.loads(each.value()) for each in read(pipeline, of.topics.enriched.name)]
    journey = journey_of(of.analytics, lambda event: revenue_of(event, of.sessions))
    sessions = recompute(events, of.sessions, pipeline.name, journey)
    for session_id, session in pipeline.documents("sessions").items():
        # Which sessions the end of the stream leaves open differs by partition.
        sessions[session_id]["open"] = session["open"]
    expected = analyze(sessions.values(), of.analytics, pipeline.name)
    for kind in of.analytics.kinds:
        found = pipeline.documents(f"analytics-{kind}")
        for document in found.values():
            del document["version"]
        wanted = {name: doc for (index, name), doc in expected.items() if index.startswith(kind)}
        assert found == wanted
        assert len(found) > 20, kind
    failed = pipeline.documents("failed")
    assert len(failed) == report["stages"]["enrich"]["failed"] > 20
    samples = pipeline.documents("samples").values()
    assert {sample["stage"] for sample in samples} == set(report["stages"])


def test_an_engine_that_is_not_there_is_named(kafka: str, opensearch: str, tmp_path: Path) -> None:
    pipeline = TestPipeline(Servers(kafka, opensearch), tmp_path, {})
    with pipeline.running("--until-drained") as run:
        assert run.process.wait(120) == 2
    said = " ".join(run.log.read_text().split())
    assert "is not Elasticsearch" in said
    assert "spec.elasticsearch.engine to opensearch" in said


def test_an_option_that_opensearch_does_not_have_is_refused() -> None:
    options = ["--elasticsearch", "http://127.0.0.1:9", "--elasticsearch-api-key-file", "key"]
    command = [sys.executable, "-m", "webevents", "run", "-f", str(EXAMPLE), *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "OpenSearch has no API keys" in result.stderr
    assert "Traceback" not in result.stderr
