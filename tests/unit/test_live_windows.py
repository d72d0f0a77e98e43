"""Counts over the last while: exact, bounded, and forgotten in time."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from webevents.live.windows import OTHER, Rates, Seconds, SlidingCounter

WINDOW = 60_000
NOW = 10_000_000


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3 * WINDOW)), max_size=80))
def test_what_is_counted_is_what_came_in_the_window_to_a_slot(
    came: list[tuple[str, int]],
) -> None:
    """Held against a plain recount; a slot's width is what the edge may be off by."""
    counter, width = SlidingCounter(WINDOW, slots=60), WINDOW // 60
    for key, ago in sorted(came, key=lambda each: -each[1]):
        counter.add(key, NOW - ago, NOW - ago)
    counter.expire(NOW)
    surely = Counter(key for key, ago in came if ago < WINDOW - width)
    possibly = Counter(key for key, ago in came if ago <= WINDOW + width)
    for key in "abc":
        assert surely[key] <= counter.total[key] <= possibly[key]
    counter.expire(NOW + 2 * WINDOW)
    assert not counter.total


def test_what_is_older_than_the_window_does_not_count() -> None:
    counter = SlidingCounter(WINDOW)
    counter.add("a", NOW - WINDOW, NOW)
    counter.add("b", NOW - WINDOW + 1, NOW)
    assert counter.total == {"b": 1}


def test_a_time_ahead_counts_as_now_and_does_not_stay_for_ever() -> None:
    counter = SlidingCounter(WINDOW)
    counter.add("a", NOW + 10 * WINDOW, NOW)
    assert counter.total == {"a": 1}
    counter.expire(NOW + 2 * WINDOW)
    assert not counter.total


def test_too_many_keys_are_counted_together() -> None:
    counter = SlidingCounter(WINDOW, max_keys=3)
    for n in range(10):
        counter.add(f"k{n}", NOW, NOW)
    counter.add("k0", NOW, NOW)
    assert counter.total == {"k0": 2, "k1": 1, "k2": 1, OTHER: 7}
    counter.expire(NOW + 2 * WINDOW)
    assert not counter.total


def test_seconds_are_whole_and_in_order() -> None:
    seconds = Seconds(5)
    for ago, count in ((4_000, 4), (1_000, 2), (0, 9)):
        seconds.add(NOW - ago, count)
    assert seconds.last(NOW) == [0, 4, 0, 0, 2]
    assert seconds.last(NOW + 1_000) == [4, 0, 0, 2, 9]
    assert seconds.last(NOW + 60_000) == [0] * 5


def test_a_rate_is_the_growth_over_the_last_seconds() -> None:
    rates = Rates(span_s=5)
    assert rates.add(0.0, {"enrich": 1000}) == {"enrich": 0}  # nobody knows yet how fast
    found = {}
    for second in range(1, 21):
        found = rates.add(float(second), {"enrich": 1000 + 200 * second, "new": 50 * second})
    assert found == {"enrich": 200, "new": 50}
    assert rates.add(21.0, {"enrich": 0})["enrich"] == 0  # offsets that were set back
