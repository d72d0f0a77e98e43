"""The store stage: each message of a chunk is delivered, failed or dropped."""

import json
from collections.abc import Sequence
from typing import Any

from webevents.connectors.postgres import RowError, StoreHandle
from webevents.connectors.postgres.submission import Item
from webevents.connectors.retrying import Outage
from webevents.events.failed import decode_failed
from webevents.plan.make import make_plan
from webevents.spec.load import parse_pipeline
from webevents.stages.chunk import Chunk, Outcome, StageStatus
from webevents.stages.store import StoreProcessor


class Writer:
    """Stands in for the database: refuses the items at some positions."""

    def __init__(self, refused: Sequence[int] = ()) -> None:
        self.refused = refused
        self.submitted: list[tuple[Sequence[Item], str | None]] = []
        self.handles: list[StoreHandle] = []
        self.closed = False
        self.outage: Outage | None = None
        self.repeated = 0

    def submit(self, items: Sequence[Item], source: str | None = None) -> StoreHandle:
        self.submitted.append((items, source))
        self.handles.append(StoreHandle(len(items)))
        return self.handles[-1]

    def answer(self) -> None:
        """Settle everything."""
        for handle, (items, _) in zip(self.handles, self.submitted, strict=True):
            failed = [RowError(at, "22001 x, column host") for at in self.refused]
            handle.settle(len(items), failed)

    def close(self) -> None:
        self.closed = True


def processor(writer: Writer) -> StoreProcessor:
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "shop"},
        "spec": {"store": {"enabled": True, "tables": ["processedEvents", "sessionMetrics"]}},
    }
    workloads = make_plan(parse_pipeline(document, "test")).workloads
    settings: Any = next(each.settings for each in workloads if each.name == "store")
    return StoreProcessor(settings, writer)  # type: ignore[arg-type]


def chunk(topic: str, *values: bytes | None) -> Chunk:
    count = len(values)
    return Chunk(topic, 3, [*range(100, 100 + count)], [b"k"] * count, [*values], [0] * count)


def event(event_id: str, **more: Any) -> bytes:
    made = {"event_id": event_id, "event_type": "a", "event_timestamp": "2026-03-01T00:00:00Z"}
    return json.dumps(made | more).encode()


def failures(outcome: Outcome) -> list[tuple[int, str, str]]:
    found = [decode_failed(record.value or b"") for record in outcome.records]
    return [(each.offset, each.reason, each.detail) for each in found]


def test_every_message_is_accounted_for() -> None:
    writer = Writer(refused=[1])
    stage = processor(writer)
    values = [event("a"), None, b"{", event("b", host="x\0"), event("c"), event("d")]
    outcome = stage.process(chunk("enriched-web-events", *values))
    assert outcome.pending is not None
    assert not outcome.pending.done()
    writer.answer()
    assert outcome.pending.done()
    stage.settle(outcome)
    assert outcome.counts.report() == {"in": 6, "out": 2, "failed": 3, "dropped": {"tombstone": 1}}
    assert outcome.counts.balanced
    assert [(offset, reason) for offset, reason, _ in failures(outcome)] == [
        (102, "invalid_json"),
        (103, "rejected"),
        (104, "rejected"),
    ]
    assert [detail for *_, detail in failures(outcome)][1:] == [
        "host: holds the character U+0000, which PostgreSQL does not store",
        "22001 x, column host",
    ]
    assert {record.topic for record in outcome.records} == {"failed-web-events"}


def test_only_sessions_are_written_by_one_worker_of_a_partition_at_a_time() -> None:
    writer = Writer()
    stage = processor(writer)
    record = {
        "session_id": "s",
        "version": 1,
        "first_event_timestamp": "2026-03-01T00:00:00Z",
        "last_event_timestamp": "2026-03-01T00:00:00Z",
    }
    stage.process(chunk("web-sessions", json.dumps(record).encode()))
    stage.process(chunk("enriched-web-events", event("a")))
    tables = [[row.table for item in items for row in item] for items, _ in writer.submitted]
    assert tables == [["session_metrics"], ["processed_events"]]
    assert [source for _, source in writer.submitted] == ["shop/web-sessions/3", None]


def test_a_chunk_without_any_row_is_settled_at_once() -> None:
    writer = Writer()
    stage = processor(writer)
    outcome = stage.process(chunk("enriched-web-events", None, b"{"))
    assert outcome.pending is not None
    assert outcome.pending.done()
    stage.settle(outcome)
    assert outcome.counts.balanced
    stage.close()
    assert writer.closed


def test_it_tells_of_an_outage() -> None:
    writer = Writer()
    stage = processor(writer)
    assert stage.status() == StageStatus(repeated=0)
    writer.outage, writer.repeated = Outage(17.0, "53100 DiskFull", 3), 40
    assert stage.status() == StageStatus(outage_since=17.0, repeated=40)
