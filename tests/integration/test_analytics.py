"""Analytics, end to end, on a real Kafka and a real Elasticsearch.

Steps: a simulated shop of ten days, with late, duplicate, corrupt and disordered events, is
processed in two parts; the stages that make sessions and analytics are killed while the second one
is processed. Expected: the documents are those of an independent computation over all events,
field by field, in as many runs as it took; every stage's counts add up; and the figures that
dashboards show are those counted from the simulator's events.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from accounts import analytics_documents, expected_analytics, read, recomputed_sessions
from pipelines import Servers, TestPipeline
from reference_analytics import Documents
from reference_sessions import revenue_of

from webevents.connectors.elasticsearch import connect, refresh
from webevents.events.analytics import KINDS
from webevents.sources.output import KafkaOutput
from webevents.sources.simulator import run_simulator
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.generator import GeneratorSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

EVENTS = 16_000
GENERATOR = {
    "profile": "journeys",
    "seed": 11,
    "users": 200,
    "eventsPerSecond": EVENTS / (10 * 86_400),
    "time": {"mode": "backdated", "start": "2026-01-27T00:00:00Z"},  # over the end of a month
    "faults": {
        "corrupt": 0.01,
        "duplicates": 0.02,
        "late": 0.05,
        "lateBy": "45m",
        "outOfOrder": 0.2,
        "bots": 0.05,
    },
}
SPEC: dict[str, Any] = {
    "sessions": {"key": ["user_id"], "allowedLateness": "2h", "idleTimeout": "1h"},
    "analytics": {
        "enabled": True,
        "funnels": [
            {
                "name": "purchase",
                "steps": [
                    {"name": "view", "eventTypes": ["page_view"]},
                    {"name": "cart", "eventTypes": ["add_to_cart"]},
                    {"name": "purchase", "eventTypes": ["purchase"]},
                ],
            },
            {
                "name": "three days",
                "within": "3d",
                "steps": [
                    {"name": "login", "eventTypes": ["login"]},
                    {"name": "search", "eventTypes": ["search"]},
                    {"name": "cart", "eventTypes": ["add_to_cart"]},
                    {"name": "purchase", "eventTypes": ["purchase"]},
                ],
            },
        ],
        "transitions": {"by": "eventType", "maxPerSession": 10},
        "retention": {"period": "day", "periods": 5},
        "attribution": {"lookback": "4d", "maxTouches": 5},
    },
}


@dataclass
class Messages:
    """An output that only keeps what it is given."""

    made: list[tuple[bytes | None, bytes, int | None]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.made)

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        self.made.append((key, value, timestamp_ms))

    def flush(self, timeout_s: float = 0) -> None:
        pass

    def close(self) -> None:
        pass


def feed(pipeline: TestPipeline, messages: list[tuple[bytes | None, bytes, int | None]]) -> None:
    with KafkaOutput(pipeline.servers.config, pipeline.raw_topic) as output:
        for message in messages:
            output.send(*message)


def events_of(pipeline: TestPipeline) -> list[dict[str, Any]]:
    topic = pipeline.pipeline.spec.topics.enriched.name
    return [json.loads(message.value()) for message in read(pipeline, topic)]


def expected(pipeline: TestPipeline, events: list[dict[str, Any]]) -> Documents:
    sessions = recomputed_sessions(pipeline, events)
    known = pipeline.documents("sessions")
    assert known.keys() == sessions.keys()
    assert all(known[id_]["path"] == session["path"] for id_, session in sessions.items())
    return expected_analytics(pipeline, sessions, known)


def check(pipeline: TestPipeline, report: dict[str, Any]) -> Documents:
    """Everything is accounted for, and the documents are those of the computation."""
    stages = report["stages"]
    assert stages["analyze"]["in"] == stages["sessionize"]["records"]
    assert stages["analyze"]["out"] == stages["analyze"]["in"]
    assert stages["analyze"]["dropped"] == {}
    index = stages["index"]
    assert index["in"] == index["out"]
    failed = sum(stage["failed"] for stage in stages.values())
    read_by_index = stages["enrich"]["out"] + stages["sessionize"]["records"] + failed
    assert index["in"] == read_by_index + stages["analyze"]["records"]
    documents = analytics_documents(pipeline)
    assert documents == expected(pipeline, events_of(pipeline))
    for kind in KINDS:
        count = sum(index.startswith(kind) for index, _ in documents)
        prefix = f"{pipeline.name}-analytics-{kind}-"
        told = [n for name, n in report["documents"].items() if name.startswith(prefix)]
        assert sum(told) == count > 100, kind
    return documents


def buckets(answer: Any, name: str) -> dict[Any, Any]:
    return {bucket["key"]: bucket for bucket in answer["aggregations"][name]["buckets"]}


def check_figures(pipeline: TestPipeline, documents: Documents) -> None:
    """What dashboards ask of Elasticsearch, against what is counted from the events."""
    events = {(e["event_id"], e["event_timestamp"]): e for e in events_of(pipeline)}.values()
    client: Any = connect(ElasticsearchSpec(urls=(pipeline.servers.elasticsearch,)))
    refresh(client, f"{pipeline.name}-analytics-*")

    def ask(kind: str, query: Any, **aggregations: Any) -> Any:
        return client.search(
            index=f"{pipeline.name}-analytics-{kind}-*", size=0, query=query, aggs=aggregations,
            track_total_hits=True,
        )  # fmt: skip

    sessions = [s for s in pipeline.documents("sessions").values() if not s["is_bot"]]
    people = {session["session_key"] for session in sessions}

    steps = ask(
        "funnels",
        {"term": {"funnel": "purchase"}},
        steps={"terms": {"field": "steps_reached", "order": {"_key": "asc"}}},
    )
    counts = {key: bucket["doc_count"] for key, bucket in buckets(steps, "steps").items()}
    assert list(counts) == ["1. view", "2. cart", "3. purchase"]
    types = [session["event_type_counts"] for session in sessions]
    assert counts["1. view"] == sum("page_view" in each for each in types)
    bought = sum({"page_view", "add_to_cart", "purchase"} <= each.keys() for each in types)
    assert counts["1. view"] > counts["2. cart"] > counts["3. purchase"] > 0
    # The order counts too: of those who have all three, not all did them in this order.
    assert bought * 0.8 <= counts["3. purchase"] <= bought

    pairs = ask(
        "transitions",
        {"term": {"step": 1}},
        pairs={
            "composite": {
                "sources": [{each: {"terms": {"field": each}}} for each in ("from", "to")],
                "size": 1000,
            }
        },
    )
    # A session that is still open and has had events of one type only has no transition yet.
    firsts = sum(len(s["path"]) > 1 or not s["open"] for s in sessions)
    assert pairs["hits"]["total"]["value"] == firsts
    wanted = Counter(
        (s["path"][0], s["path"][1] if len(s["path"]) > 1 else "(exit)")
        for s in sessions
        if len(s["path"]) > 1 or not s["open"]
    )
    assert {k: b["doc_count"] for k, b in buckets_of_pairs(pairs).items()} == wanted

    cohorts = ask("retention", {"term": {"period": 0}})
    lives = sum(d["period"] == 0 for (i, _), d in documents.items() if i.startswith("retention"))
    assert cohorts["hits"]["total"]["value"] == lives >= len(people)

    purchases = [e for e in events if e["event_type"] == "purchase" and e["user_id"] in people]
    answer = ask(
        "attribution",
        {"match_all": {}},
        linear={"sum": {"field": "credit_linear"}},
        position={"sum": {"field": "credit_position"}},
        revenue={"sum": {"field": "revenue_linear"}},
        conversions={"filter": {"term": {"touch": 1}}},
    )["aggregations"]
    assert answer["conversions"]["doc_count"] == len(purchases) > 100
    assert round(answer["linear"]["value"], 6) == len(purchases)
    assert round(answer["position"]["value"], 6) == len(purchases)
    revenue = sum(revenue_of(e, pipeline.pipeline.spec.sessions) for e in purchases)
    assert round(answer["revenue"]["value"] * 10_000) == revenue
    client.close()


def buckets_of_pairs(answer: Any) -> dict[tuple[str, str], Any]:
    return {tuple(b["key"].values()): b for b in answer["aggregations"]["pairs"]["buckets"]}


def test_documents_equal_the_recomputation_through_a_restart_and_kills(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, SPEC)
    pipeline.make_topics()
    messages = Messages()
    run_simulator(
        GeneratorSpec.model_validate(GENERATOR), messages, count=EVENTS, key_fields=["user_id"]
    )
    half = EVENTS // 2
    feed(pipeline, messages.made[:half])
    check(pipeline, pipeline.run(timeout=600))

    feed(pipeline, messages.made[half:])
    with pipeline.running("--until-drained") as run:
        for stage in ("analyze", "sessionize", "analyze", "index", "analyze", "analyze"):
            run.kill_worker(stage)
        report = run.finish(600)
    assert report["restarts"] == 6
    documents = check(pipeline, report)
    check_figures(pipeline, documents)
    months = {index.rpartition("-")[2] for index, _ in documents}
    assert months == {"2026.01", "2026.02"}

    # What is read again changes nothing.
    again = pipeline.read_again("index")
    assert again == report["stages"]["index"]["in"]
    assert analytics_documents(pipeline) == documents
