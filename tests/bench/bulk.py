"""The bulk writer against the Elasticsearch client's own parallel_bulk, on the same documents.

Usage: ``python tests/bench/bulk.py [--url URL] [--documents N] [--rounds N] [--report FILE]``;
without the URL of an Elasticsearch one is started. Measured are documents per second of wall time
and CPU seconds of this process per million documents, in interleaved rounds, because machines are
shared.

``writer`` starts from messages and builds the documents, as the index stage does. The helper gets
the same messages in two ways: ``helper, dicts`` decodes them as its documentation shows;
``helper, bytes`` gets the finished documents of our own builder as bytes, its best case.
"""

import json
import statistics
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import parallel_bulk
from measure import Spread, arguments, publish

from webevents.connectors.elasticsearch import BulkWriter, connect, count, refresh
from webevents.events.fields import FIELDS, Kind
from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.logic.documents import EventDocuments
from webevents.plan.templates import event_mappings
from webevents.spec.elasticsearch import ElasticsearchSpec, EventIndexSpec

CHUNK = 1000
IN_FLIGHT = 2
MAX_BYTES = 5_000_000


def messages(number: int) -> list[bytes]:
    """Events of about 1.1 kB with 32 fields."""
    names = [field.name for field in FIELDS if field.kind is Kind.KEYWORD][3:31]
    made = []
    for n in range(number):
        event: dict[str, Any] = {
            "event_id": str(uuid.uuid4()),
            "event_timestamp": f"2020-07-{n % 3 + 1:02d} 14:32:{n % 60:02d}.{n % 10**6:06d}",
            "event_type": "pageview",
            "ip_address": f"192.0.2.{n % 256}",
        }
        event |= {name: f"{name} {n % 50:06d}" for name in names}
        made.append(json.dumps(event).encode())
    return made


def writer(client: Elasticsearch, prefix: str, raws: list[bytes]) -> None:
    """The index stage's way."""
    bulk = BulkWriter(client, max_in_flight=IN_FLIGHT, max_bytes=MAX_BYTES)
    build = EventDocuments(prefix).build
    pending: deque[Any] = deque()
    for start in range(0, len(raws), CHUNK):
        pending.append(bulk.submit([build(raw) for raw in raws[start : start + CHUNK]]))
        while len(pending) > 2 * IN_FLIGHT:
            assert not pending.popleft().result().failed
    while pending:
        assert not pending.popleft().result().failed
    bulk.close(cancel=False)


def helper(client: Elasticsearch, actions: Iterator[dict[str, Any]]) -> None:
    """The client's own helper."""
    for ok, _ in parallel_bulk(
        client, actions, thread_count=IN_FLIGHT, chunk_size=CHUNK, max_chunk_bytes=MAX_BYTES
    ):
        assert ok


def helper_dicts(client: Elasticsearch, prefix: str, raws: list[bytes]) -> None:
    """Its usual use."""

    def actions() -> Iterator[dict[str, Any]]:
        for raw in raws:
            event = json.loads(raw)
            day = event["event_timestamp"][:10].replace("-", ".")
            yield {"_index": f"{prefix}-{day}", "_id": event["event_id"], "_source": event}

    helper(client, actions())


def helper_bytes(client: Elasticsearch, prefix: str, raws: list[bytes]) -> None:
    """Its best case."""
    build = EventDocuments(prefix).build

    def actions() -> Iterator[dict[str, Any]]:
        for raw in raws:
            made = build(raw)
            yield {"_index": made.index, "_id": made.id, "_source": made.body}

    helper(client, actions())


WAYS: dict[str, Callable[[Elasticsearch, str, list[bytes]], None]] = {
    "writer": writer,
    "helper, bytes": helper_bytes,
    "helper, dicts": helper_dicts,
}


def measure(url: str, number: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Run the rounds."""
    client = connect(ElasticsearchSpec(urls=(url,)))
    raws = messages(number)
    client.indices.put_index_template(
        name="bench-bulk",
        index_patterns=["bench-bulk-*"],
        priority=1000,
        template={
            "settings": {"number_of_replicas": 0, "refresh_interval": "1s"},
            "mappings": event_mappings(EventIndexSpec()),
        },
    )
    found: dict[str, dict[str, list[float]]] = {name: {"rate": [], "cpu": []} for name in WAYS}
    for turn in range(rounds + 1):
        for place, (name, way) in enumerate(WAYS.items()):
            prefix = f"bench-bulk-{turn}-{place}"
            wall, cpu = time.perf_counter(), time.process_time()
            way(client, prefix, raws)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            refresh(client, f"{prefix}-*")
            assert count(client, f"{prefix}-*") == number
            client.indices.delete(index=list(client.indices.get(index=f"{prefix}-*")))
            if turn:  # the first is the server's warm-up
                found[name]["rate"].append(number / wall)
                found[name]["cpu"].append(cpu * 1e6 / number)
                print(
                    f"round {turn}/{rounds}  {name:14} {number / wall:9,.0f} documents/s",
                    flush=True,
                )
    client.indices.delete_index_template(name="bench-bulk")
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """The figures as a table in Markdown: min / **median** / max; ratios round by round."""
    lines = [
        "| | documents/s | CPU-s per million | writer: documents/s | writer: CPU |",
        "|---|---|---|---|---|",
    ]
    own = found["writer"]
    for name, figures in found.items():
        rate, cpu = (Spread(tuple(figures[which])) for which in ("rate", "cpu"))
        faster, cheaper = (
            statistics.median(
                ours / theirs for ours, theirs in zip(own[which], figures[which], strict=True)
            )
            for which in ("rate", "cpu")
        )
        lines.append(f"| {name} | {rate} | {cpu} | {faster:.2f}× | {cheaper:.2f}× |")
    return "\n".join(lines)


def main() -> None:
    """Measure on the server that is given, or on one of our own, and print."""
    parser = arguments(__doc__, documents=30_000, rounds=5)
    parser.add_argument("--url")
    asked = parser.parse_args()
    with ExitStack() as stack:
        url = asked.url
        if not url:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = stack.enter_context(EmbeddedElasticsearch(Path(folder))).url
        found = measure(url, asked.documents, asked.rounds)
    publish(table(found), found, asked.report)


if __name__ == "__main__":
    main()
