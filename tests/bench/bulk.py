"""The bulk writer against the Elasticsearch client's own parallel_bulk, on the same documents.

Usage: ``python tests/bench/bulk.py URL [DOCUMENTS]`` with the URL of an Elasticsearch; without a
URL one is started. Prints documents per second of wall time and CPU seconds of this process per
100,000 documents: the median of interleaved rounds, because machines are shared.

``writer`` starts from messages and builds the documents, as the index stage does. The helper gets
the same messages in two ways: ``helper, dicts`` decodes them as its documentation shows;
``helper, bytes`` gets the finished documents of our own builder as bytes, its best case.
"""

import json
import statistics
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import parallel_bulk

from webevents.connectors.elasticsearch import BulkWriter, connect, count, refresh
from webevents.events.fields import FIELDS, Kind
from webevents.logic.documents import EventDocuments
from webevents.plan.templates import event_mappings
from webevents.spec.elasticsearch import ElasticsearchSpec, EventIndexSpec

CHUNK = 1000
IN_FLIGHT = 2
MAX_BYTES = 5_000_000
ROUNDS = 5


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


def measure(url: str, number: int) -> None:
    """Run the rounds and print the figures."""
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
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    cpus: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(ROUNDS + 1):
        for place, (name, way) in enumerate(WAYS.items()):
            prefix = f"bench-bulk-{turn}-{place}"
            wall, cpu = time.perf_counter(), time.process_time()
            way(client, prefix, raws)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            refresh(client, f"{prefix}-*")
            assert count(client, f"{prefix}-*") == number
            client.indices.delete(index=list(client.indices.get(index=f"{prefix}-*")))
            if turn:  # the first is the server's warm-up
                rates[name].append(number / wall)
                cpus[name].append(cpu * 100_000 / number)
    client.indices.delete_index_template(name="bench-bulk")
    print(f"{number} documents of {len(raws[0])} bytes, median of {ROUNDS} rounds")
    for name in WAYS:
        rate, cpu = statistics.median(rates[name]), statistics.median(cpus[name])
        rate_ratio = statistics.median(
            ours / theirs for ours, theirs in zip(rates["writer"], rates[name], strict=True)
        )
        cpu_ratio = statistics.median(
            ours / theirs for ours, theirs in zip(cpus["writer"], cpus[name], strict=True)
        )
        print(
            f"{name:14} {rate:9,.0f} documents/s {cpu:6.2f} CPU-s per 100k"
            f"   writer against it: {rate_ratio:.2f} × documents/s, {cpu_ratio:.2f} × CPU"
        )


def main() -> None:
    """Measure on the server that is given, or on one of our own."""
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 30_000
    if len(sys.argv) > 1:
        measure(sys.argv[1], number)
        return
    from webevents.local.elasticsearch_server import EmbeddedElasticsearch

    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedElasticsearch(Path(folder))
        server.start()
        try:
            measure(server.url, number)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
