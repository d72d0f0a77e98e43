"""OpenSearch as the destination, real: the session-metrics example's events in its 15 fields."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from accounts import read
from confluent_kafka import Producer
from pipelines import Servers, TestPipeline

from webevents.connectors.elasticsearch import connect, documents_by_index, refresh
from webevents.connectors.kafka_observe import Observer
from webevents.errors import UserError
from webevents.events.failed import decode_failed
from webevents.local.opensearch_server import EmbeddedOpenSearch
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


class Search:
    """What a pipeline wrote to OpenSearch."""

    def __init__(self, pipeline: TestPipeline, url: str) -> None:
        self.client: Any = connect(ElasticsearchSpec(engine="opensearch", urls=(url,)))
        self.pattern = f"{pipeline.name}-events-*"

    def documents(self) -> dict[str, dict[str, Any]]:
        refresh(self.client, self.pattern)
        found: dict[str, dict[str, Any]] = {}
        for index in documents_by_index(self.client, self.pattern):
            answer = self.client.search(index=index, body={"size": 10_000})
            found |= {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}
        return found

    def mapping(self) -> dict[str, str]:
        (mapping,) = {
            json.dumps(index["mappings"]["properties"], sort_keys=True)
            for index in self.client.indices.get_mapping(index=self.pattern).values()
        }
        return {name: field["type"] for name, field in json.loads(mapping).items()}


def enriched_ids(pipeline: TestPipeline) -> set[str]:
    topic = pipeline.pipeline.spec.topics.enriched.name
    return {json.loads(message.value())["event_id"] for message in read(pipeline, topic)}


def test_the_example_has_its_15_fields_whatever_is_killed(kafka: str, tmp_path: Path) -> None:
    """OpenSearch and a worker of each stage are killed during the run; run again, the same."""
    server = EmbeddedOpenSearch(tmp_path / "opensearch")
    try:
        server.start()
    except UserError as error:
        pytest.skip(str(error))
    try:
        pipeline = TestPipeline(Servers(kafka, server.url), tmp_path, example())
        pipeline.make_topics()
        generate(pipeline)
        with pipeline.running("--until-drained") as run:
            run.kill_worker("index")
            run.kill_worker("enrich")
            server.kill()
            server.start()
            run.kill_worker("sessionize")
            report = run.finish(200)
        search = Search(pipeline, server.url)
        first = search.documents()
        assert first.keys() == enriched_ids(pipeline)
        assert len(first) > 0.9 * EVENTS
        assert sum(n for name, n in report["documents"].items() if "-events-" in name) == len(first)
        assert search.mapping() == MAPPING
        assert {name for document in first.values() for name in document} == MAPPING.keys()
        prices = search.client.search(
            index=search.pattern,
            body={"size": 0, "aggs": {"total": {"sum": {"field": "price"}}}},
        )
        expected = sum(document.get("price") or 0 for document in first.values())
        assert prices["aggregations"]["total"]["value"] == pytest.approx(expected, rel=1e-4)
        pipeline.run()
        assert search.documents() == first
    finally:
        server.stop()


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
    documents = Search(pipeline, opensearch).documents()
    assert documents.keys() == {f"e{n}" for n in range(20)} - {"e7"}
    assert documents["e3"]["extra"] == {"unknown": {"deep": 3}}
    # What is unknown can be searched.
    client: Any = connect(ElasticsearchSpec(engine="opensearch", urls=(opensearch,)))
    answer = client.search(
        index=f"{pipeline.name}-events-*", body={"query": {"term": {"extra.unknown.deep": "3"}}}
    )
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == ["e3"]


def test_an_engine_that_is_not_there_is_named(kafka: str, opensearch: str, tmp_path: Path) -> None:
    pipeline = TestPipeline(Servers(kafka, opensearch), tmp_path, {})
    with pipeline.running("--until-drained") as run:
        assert run.process.wait(120) == 2
    said = " ".join(run.log.read_text().split())
    assert "is not Elasticsearch" in said
    assert "spec.elasticsearch.engine to opensearch" in said
