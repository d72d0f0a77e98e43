"""Up to when everything has come: live streams and those of the past."""

from datetime import timedelta

from webevents.logic.alerts.stream_clock import PAST_DELAY_US, StreamClock

NOW = 1_772_445_600_000_000
MINUTE = 60_000_000


def clock(partitions: int = 2) -> StreamClock:
    made = StreamClock(timedelta(minutes=1), timedelta(hours=1))
    for partition in range(partitions):
        made.assigned(partition)
    return made


def test_nothing_is_known_before_the_first_event() -> None:
    made = clock()
    made.reached_end(0)
    made.reached_end(1)
    assert made.complete(NOW, settled=True) is None
    assert made.time_of_failed(NOW // 1000) is None


def test_a_live_stream_is_complete_up_to_the_partition_that_is_read_the_least() -> None:
    made = clock()
    made.seen(0, NOW - MINUTE, NOW // 1000)
    assert made.complete(NOW, settled=True) == -MINUTE  # of the other one nothing is known
    made.seen(1, NOW - 9 * MINUTE, NOW // 1000 - 8 * 60_000)
    assert made.complete(NOW, settled=True) == NOW - 9 * MINUTE
    made.reached_end(1)
    assert made.complete(NOW, settled=True) == NOW - MINUTE
    made.seen(1, NOW - 5 * MINUTE, NOW // 1000 - 5 * 60_000)  # more has come meanwhile
    assert made.complete(NOW, settled=True) == NOW - 6 * MINUTE


def test_silence_goes_on_by_the_wall_clock_once_settled() -> None:
    made = clock(1)
    made.seen(0, NOW, NOW // 1000)
    made.reached_end(0)
    later = NOW + 30 * MINUTE
    assert made.complete(later, settled=False) == NOW - MINUTE
    assert made.complete(later, settled=True) == later - MINUTE
    # After a restart in the middle of the silence too.
    again = clock(1)
    written = made.changed()
    assert written is not None
    again.restore(*written)
    again.reached_end(0)
    assert again.complete(later, settled=True) == later - MINUTE
    assert again.changed() is None


def test_a_clock_ahead_does_not_end_minutes_early() -> None:
    made = clock(1)
    made.seen(0, NOW + 50 * MINUTE, NOW // 1000)
    made.reached_end(0)
    assert made.complete(NOW, settled=True) == NOW - MINUTE


def test_the_past_goes_on_by_event_time_alone() -> None:
    made = clock()
    day = 24 * 60 * MINUTE
    made.seen(0, NOW - day, NOW // 1000)
    made.seen(1, NOW - day - MINUTE, NOW // 1000)
    assert made.complete(NOW, settled=True) == NOW - day - MINUTE - PAST_DELAY_US
    made.reached_end(0)
    made.reached_end(1)
    assert made.complete(NOW, settled=True) == NOW - day - PAST_DELAY_US
    assert made.complete(NOW + day, settled=True) == NOW - day - PAST_DELAY_US
    assert made.time_of_failed(NOW // 1000) == NOW - day
    # It has caught up with the clock: live from here on.
    made.seen(0, NOW, NOW // 1000)
    assert made.time_of_failed(NOW // 1000) == NOW
