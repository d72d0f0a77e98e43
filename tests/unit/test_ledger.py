"""Ledgers: counting, and the metadata that they travel in."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from webevents.connectors.kafka_observe import GroupView
from webevents.events.event import REASONS
from webevents.events.ledger import METADATA_LIMIT, Counts, PartitionLedger, Waits
from webevents.plan.ledger import observe
from webevents.plan.make import make_plan
from webevents.spec.load import parse_pipeline
from webevents.spec.pipeline import API_VERSION, KIND

numbers = st.integers(0, 2**50)


@given(numbers, numbers, numbers, st.dictionaries(st.sampled_from(["late", "duplicate"]), numbers))
def test_metadata_survives_a_round_trip(
    first: int, received: int, failed: int, dropped: dict[str, int]
) -> None:
    counts = Counts(received, 5, failed, dropped)
    ledger = PartitionLedger(first, first + 7, counts, 3, {"t": 1, "v": 2}, Waits(8, 99), "1")
    assert PartitionLedger.decode(ledger.encode(), first + 7) == ledger


def test_what_another_release_adds_or_lacks_does_not_stop_the_counting() -> None:
    counts = Counts(10, 7, 1, {"late": 2})
    ledger = PartitionLedger(0, 12, counts, 3, {"t": 1}, Waits(8, 99), "shop-0")
    members = json.loads(ledger.encode())
    newer = PartitionLedger.decode(json.dumps([*members, {"more": 1}]), 12)
    older = PartitionLedger.decode(json.dumps(members[:9]), 12)
    assert newer == ledger
    assert older == PartitionLedger(0, 12, counts, 3, {"t": 1})


def test_metadata_stays_far_below_the_brokers_limit() -> None:
    huge = 2**63 - 1
    counts = Counts(huge, huge, huge, dict.fromkeys(REASONS, huge))
    waits = Waits(huge, huge)
    ledger = PartitionLedger(huge, huge, counts, huge, {"t": huge, "v": huge}, waits, "x" * 200)
    assert len(ledger.encode()) < METADATA_LIMIT / 2


def test_counting_starts_anew_where_the_metadata_is_not_of_this_offset() -> None:
    ledger = PartitionLedger(0, 10, Counts(10, 10))
    fresh = PartitionLedger(99, 99)
    assert PartitionLedger.decode(ledger.encode(), 99) == fresh
    for metadata in (None, "", "someone else's", "{}", "[9,1,2,3,4,5,{},6,{}]", "[1]"):
        assert PartitionLedger.decode(metadata, 99) == fresh


def test_balance() -> None:
    counts = Counts(received=10, delivered=7, failed=1)
    assert not counts.balanced
    counts.drop("late", 2)
    assert counts.balanced
    other = Counts(2, 1, dropped={"late": 1})
    counts.add(other)
    assert counts.balanced
    assert counts.report() == {"in": 12, "out": 8, "failed": 1, "dropped": {"late": 3}}


class _Looked:
    """An observer that has looked: what is judged is pure, and the moment cannot be chosen."""

    def __init__(self, views: dict[str, GroupView]) -> None:
        self._views = views

    def groups(self, groups: Any) -> dict[str, GroupView]:
        return {group: self._views.get(group, GroupView(group)) for group in groups}


def _looked(written: int, read: int, tombstones: int = 0, **members: Any) -> list[str]:
    document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "shop"}, "spec": {}}
    plan = make_plan(parse_pipeline(document, "shop"))
    raw, enriched = ("raw-web-events", 0), ("enriched-web-events", 0)
    writer = PartitionLedger(0, written, Counts(written, written), written)
    dropped = {"tombstone": tombstones} if tombstones else {}
    reader = PartitionLedger(0, read, Counts(read, read - tombstones, dropped=dropped))
    looked: Any = _Looked(
        {
            "shop-enrich": GroupView("shop-enrich", {raw: writer}, {raw: 0}),
            "shop-sessionize": GroupView(
                "shop-sessionize", {enriched: reader}, {enriched: 0}, **members
            ),
        }
    )
    return [each for each in observe(plan, looked).problems if "sessionize" in each]


def test_what_one_stage_wrote_the_next_has_read() -> None:
    assert _looked(10, 10) == []
    assert _looked(10, 9) == ["enrich wrote 10 records to enriched-web-events, sessionize read 9"]


def test_what_an_erasure_wrote_is_accounted_for() -> None:
    assert _looked(10, 13, tombstones=3) == []
    assert _looked(10, 14, tombstones=3) != []
    assert _looked(10, 12, tombstones=3) == []  # or the stage itself wrote one of them
    assert _looked(10, 9, tombstones=3) != []


def test_what_is_being_written_is_not_compared() -> None:
    # The writer was looked at a moment before or after its reader.
    assert _looked(10, 9, moving={("enriched-web-events", 0)}) == []
    assert _looked(10, 9, moving={("another", 0)}) != []
