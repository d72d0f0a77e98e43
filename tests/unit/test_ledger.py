"""Ledgers: counting, and the metadata that they travel in."""

from hypothesis import given
from hypothesis import strategies as st

from webevents.events.event import REASONS
from webevents.events.ledger import METADATA_LIMIT, Counts, PartitionLedger

numbers = st.integers(0, 2**50)


@given(numbers, numbers, numbers, st.dictionaries(st.sampled_from(["late", "duplicate"]), numbers))
def test_metadata_survives_a_round_trip(
    first: int, received: int, failed: int, dropped: dict[str, int]
) -> None:
    counts = Counts(received, 5, failed, dropped)
    ledger = PartitionLedger(first, first + 7, counts, 3, {"t": 1, "v": 2})
    assert PartitionLedger.decode(ledger.encode(), first + 7) == ledger


def test_metadata_stays_far_below_the_brokers_limit() -> None:
    huge = 2**63 - 1
    counts = Counts(huge, huge, huge, dict.fromkeys(REASONS, huge))
    ledger = PartitionLedger(huge, huge, counts, huge, {"t": huge, "v": huge})
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
