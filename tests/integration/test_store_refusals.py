"""Values that a column cannot hold, through a whole pipeline: each goes to failed events with the
column's name, and everything else is stored."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from accounts import failed_events
from confluent_kafka import Producer
from pipelines import Servers, TestPipeline

from webevents.connectors.postgres import connect
from webevents.spec.postgres import PostgresSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SPEC: dict[str, Any] = {
    "index": {"enabled": False},
    "sessions": {"key": ["user_domain_id"], "publishOpenEvery": "1s"},
    "store": {
        "enabled": True,
        "tables": ["sessionMetrics", "processedEvents", "sessionEventsAggregatedIp"],
    },
}
BAD: dict[str, tuple[dict[str, Any], set[str]]] = {
    "agent": ({"browser_user_agent": "a\0b"}, {"user_agent"}),
    "user": ({"user_id": "u" * 256}, {"user_id"}),
    "revenue": ({"revenue": 1e8}, {"total_revenue"}),
    "address": ({"ip_address": "203.0.113.256"}, {"ip_address"}),
    "page": ({"page_url": "https://a.example/\0"}, {"url", "unique_pages"}),
    "referrer": ({"referer_url": "https://b.example/\0"}, {"referrer", "referrers"}),
    "query": ({"search_query": "mug\0"}, {"search_queries"}),
    "product": ({"product_id": "\0"}, {"products_viewed"}),
    "place": ({"geo_country": "D\0"}, {"geodata"}),
}
"""By visitor: what is wrong with the event, and the columns that cannot hold it."""
EVENT_COLUMNS = {"url", "referrer", "geodata"}
"""Those of processed_events; the others are of sessions."""
GOOD = 200


def event(visitor: str, **changes: Any) -> bytes:
    fields = {
        "event_id": f"e-{visitor}",
        "event_timestamp": "2026-03-01T12:00:00Z",
        "event_type": "page_view",
        "user_domain_id": visitor,
        "page_url": "https://a.example/",
        "ip_address": "203.0.113.9",
    }
    return json.dumps(fields | changes).encode()


def test_each_is_failed_by_name_and_the_rest_is_stored(
    kafka: str, postgres: PostgresSpec, tmp_path: Path
) -> None:
    made = TestPipeline(Servers(kafka, "http://127.0.0.1:9"), tmp_path, SPEC)
    document = yaml.safe_load(made.file.read_text())
    document["spec"]["store"]["schemaName"] = made.name
    document["spec"]["postgres"] = postgres.model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    made.file.write_text(yaml.safe_dump(document))
    made.make_topics()
    producer = Producer(made.servers.config)
    for number in range(GOOD):
        producer.produce(made.raw_topic, event(f"good-{number}"), b"%d" % number)
    for visitor, (changes, _) in BAD.items():
        producer.produce(made.raw_topic, event(visitor, **changes), visitor.encode())
    assert producer.flush(60) == 0
    report = made.run()

    columns = defaultdict(set)
    for failed in failed_events(made):
        assert (failed.stage, failed.reason) == ("store", "rejected")
        record = json.loads(failed.original())
        visitor = record.get("session_key") or record["user_domain_id"]
        columns[visitor].add(failed.detail.partition(":")[0])
    assert columns == {visitor: names for visitor, (_, names) in BAD.items()}
    assert report["stages"]["store"]["failed"] >= sum(len(names) for _, names in BAD.values())

    def stored(query: str) -> set[Any]:
        with connect(postgres) as connection:
            connection.execute(f'SET search_path = "{made.name}"')
            found = connection.execute(query).fetchall()  # type: ignore[arg-type]
            assert len(set(found)) == len(found)
            return {row[0] for row in found}

    good = {f"e-good-{number}" for number in range(GOOD)}
    kept = {f"e-{v}" for v, (_, names) in BAD.items() if not names & EVENT_COLUMNS}
    assert stored("SELECT event_id FROM processed_events") == good | kept
    # A session is in both tables or in neither; of "place" only the event cannot be stored.
    sessions = stored("SELECT session_id FROM session_metrics")
    assert len(sessions) == GOOD + 1
    assert stored("SELECT session_id FROM session_events_aggregated_ip") == sessions
