"""Samples of stages, how long messages took, and the documents of failed events."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from webevents.connectors.kafka_observe import GroupView
from webevents.events.event import InvalidEvent
from webevents.events.failed import FAILED_FIELDS, failed_record
from webevents.events.ledger import Counts, PartitionLedger, Waits
from webevents.events.samples import SAMPLE_FIELDS
from webevents.logic.failed_documents import FailedDocuments
from webevents.stages.samples import SampleMaker, outdated
from webevents.stages.waits import KEPT, WaitClock

T0_US = 1_795_000_000_000_000
"""2026-11-18T11:06:40Z"""


def test_waits_are_the_percentiles_of_what_was_committed() -> None:
    clock = WaitClock()
    assert clock.commit(1_000, 0.0) is None
    # Chunks of one message each, so that all of them are looked at.
    for age in range(101):
        clock.add([10_000 - age])
    assert clock.commit(10_000, 0.0) == Waits(50, 99)
    # Nothing new: what was measured stands until it is 10 seconds old.
    assert clock.commit(15_000, 5.0) == Waits(50, 99)
    clock.add([19_000])
    assert clock.commit(20_000, 10.1) == Waits(1_000, 1_000)
    assert clock.commit(40_000, 30.0) is None


def test_of_a_large_chunk_some_messages_are_looked_at() -> None:
    clock = WaitClock()
    clock.add(range(0, 10_000, 10))
    assert len(clock._open) <= KEPT
    waits = clock.commit(10_000, 0.0)
    assert waits is not None
    assert waits.p50 == pytest.approx(5_000, abs=600)
    assert waits.p99 == pytest.approx(10_000, abs=600)


def test_clocks_that_are_ahead_make_no_negative_waits() -> None:
    clock = WaitClock()
    clock.add([5_000])
    assert clock.commit(1_000, 0.0) == Waits(0, 0)


def _view(**partitions: PartitionLedger) -> GroupView:
    ledgers = {("raw", int(name[1:])): ledger for name, ledger in partitions.items()}
    return GroupView("shop-enrich", ledgers, dict.fromkeys(ledgers, 5))


def _ledger(received: int, waits: Waits | None = None, worker: str = "0") -> PartitionLedger:
    counts = Counts(received, received - 3, 1, {"late": 2})
    return PartitionLedger(0, received, counts, received - 3, waits=waits, worker=worker)


def _made(maker: SampleMaker, view: GroupView, seconds: float) -> dict[str, Any]:
    [document] = maker.make({"enrich": view}, T0_US + round(seconds * 1e6))
    assert document.index == "stages-shop-2026.11.18"
    assert document.body is not None
    found: dict[str, Any] = json.loads(document.body)
    assert found.keys() <= {field.name for field in SAMPLE_FIELDS}
    return found


def test_a_sample_tells_counts_and_since_the_one_before_rates_waits_and_workers() -> None:
    maker = SampleMaker("shop", "stages-shop", 10)
    first = _made(maker, _view(p0=_ledger(100), p1=_ledger(100), p2=_ledger(50)), 0)
    assert first == {
        "timestamp": "2026-11-18T11:06:40.000000Z",
        "pipeline": "shop",
        "stage": "enrich",
        "in": 250,
        "out": 241,
        "failed": 3,
        "dropped": 6,
        "records": 241,
        "lag": 15,
    }
    view = _view(
        p0=_ledger(400, Waits(10, 80), "0"),
        p1=_ledger(300, Waits(30, 40), "1"),
        # Nothing came here, so that it tells of another time.
        p2=_ledger(50, Waits(9_000, 9_000), "2"),
    )
    second = _made(maker, view, 10)
    assert (second["in_per_second"], second["out_per_second"]) == (50, 50)
    assert (second["wait_p50_ms"], second["wait_p99_ms"], second["workers"]) == (20, 80, 2)
    # Offsets that were set back: what was counted begins anew, and a rate would be negative.
    third = _made(maker, _view(p0=_ledger(10), p1=_ledger(300), p2=_ledger(50)), 20)
    assert "in_per_second" not in third
    maker.forget()
    assert "workers" not in _made(maker, _view(p0=_ledger(99)), 30)


def test_two_workers_that_look_at_the_same_time_make_one_document() -> None:
    one, other = (
        SampleMaker("shop", "stages-shop", 10).make({"enrich": _view(p0=_ledger(9))}, T0_US + late)
        for late in (0, 4_000_000)
    )
    assert one[0].id == other[0].id
    [later] = SampleMaker("shop", "stages-shop", 10).make({"enrich": _view()}, T0_US + 10_000_000)
    assert later.id != one[0].id


def test_only_the_own_daily_indices_that_are_past_are_deleted() -> None:
    indices = [
        *("stages-shop-2026.11.10", "stages-shop-2026.11.11", "stages-shop-2026.11.12"),
        *("stages-shop-eu-2026.11.01", "stages-shop-copy", "stages-shop-2026.11"),
    ]
    before = datetime(2026, 11, 12, 0, 0, tzinfo=UTC)
    assert outdated("stages-shop", indices, before) == indices[:2]
    assert outdated("stages-shop", indices, before.replace(day=11, hour=23)) == indices[:1]


def _record(value: bytes, reason: str = "wrong_type", **members: Any) -> bytes:
    error = InvalidEvent(reason, "Expected `str`, got `int` - at `$.event_type`")
    where = {"topic": "raw", "partition": 2, "offset": 7} | members
    return failed_record(
        error, pipeline="shop", stage="enrich", key=b"ann", value=value, now_us=T0_US, **where
    )


def test_a_failed_event_becomes_a_document_without_its_content() -> None:
    documents = FailedDocuments("failed-shop")
    value = b'{"event_id": "e1", "user_id": "ann", "event_type": 42}'
    document = documents.build(_record(value), 1, 99)
    assert document.index == "failed-shop-2026.11.18"
    assert document.body is not None and b"ann" not in document.body
    assert json.loads(document.body) == {
        "failed_at": "2026-11-18T11:06:40.000000Z",
        "pipeline": "shop",
        "stage": "enrich",
        "reason": "wrong_type",
        "detail": "Expected `str`, got `int` - at `$.event_type`",
        "topic": "raw",
        "partition": 2,
        "offset": 7,
        "size": len(value),
        "event_id": "e1",
    }
    assert json.loads(document.body).keys() <= {field.name for field in FAILED_FIELDS}
    # The same message is the same document; another one, also of the same event, another.
    assert documents.build(_record(value), 1, 99) == document
    assert documents.build(_record(value), 1, 100).id != document.id


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"no json", b"[]", b'{"event_id": 5}'])
def test_what_has_no_readable_identifier_is_told_of_without(value: bytes) -> None:
    document = FailedDocuments("failed-shop").build(_record(value), 0, 0)
    assert document.body is not None and "event_id" not in json.loads(document.body)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b'{"failed_at": "x"}', b"\xff"])
def test_what_is_no_failed_event_makes_no_document(raw: bytes) -> None:
    with pytest.raises(InvalidEvent):
        FailedDocuments("failed-shop").build(raw, 0, 0)


def test_a_chunk_without_messages_changes_nothing() -> None:
    clock = WaitClock()
    clock.add([])
    assert clock.commit(now_ms=5_000, now=1.0) is None
