"""Pacing: rates, speeds, changes while running, quick stops."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.sources.pacing import (
    MAX_SLEEP_S,
    RatePacer,
    SettingsFile,
    SpeedPacer,
    Unpaced,
    even_slot,
)


class FakeTime:
    """A clock that only sleeping moves on."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


def write(path: Path, value: object, mtime: int) -> None:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    os.utime(path, (mtime, mtime))


def rate_pacer(rate: float, time: FakeTime, **more: object) -> RatePacer:
    return RatePacer(rate, clock=time, sleep=time.sleep, **more)  # type: ignore[arg-type]


def test_a_rate_is_kept_and_slots_are_even() -> None:
    time = FakeTime()
    pacer = rate_pacer(50, time)
    start_us = int(time.now * 1e6)
    slots = [pacer.next_us() for _ in range(501)]
    assert slots == [even_slot(start_us, i, 50) for i in range(501)]
    assert time.now - 1_700_000_000 == pytest.approx(10, abs=0.01)


def test_no_sleep_is_longer_than_the_limit_and_a_stop_is_noticed() -> None:
    time = FakeTime()
    pacer = rate_pacer(0.01, time, stop=lambda: time.now > 1_700_000_003)
    assert pacer.next_us() is not None
    assert pacer.next_us() is None
    assert max(time.sleeps) <= MAX_SLEEP_S
    assert time.now - 1_700_000_000 < 3.5


def test_the_rate_changes_while_running(tmp_path: Path) -> None:
    time, path = FakeTime(), tmp_path / "rate.json"
    settings = SettingsFile(path, "eventsPerSecond", clock=time)
    pacer = rate_pacer(10, time, settings=settings, share=0.5)

    def released(seconds: float) -> int:
        count, end = 0, time.now + seconds
        while time.now < end:
            assert pacer.next_us() is not None
            count += 1
        return count

    assert released(10) == pytest.approx(100, abs=2)
    write(path, {"eventsPerSecond": 400}, 1)
    assert released(10) == pytest.approx(2000, abs=60)
    write(path, "{not json", 2)
    assert released(5) == pytest.approx(1000, abs=20), "a broken file changes nothing"
    write(path, {"eventsPerSecond": -1}, 3)
    assert released(5) == pytest.approx(1000, abs=20), "nor does a rate below 0"
    path.unlink()
    assert released(5) == pytest.approx(1000, abs=20), "nor does its absence"


def test_rate_zero_pauses_until_it_changes(tmp_path: Path) -> None:
    time, path = FakeTime(), tmp_path / "rate.json"
    pacer = rate_pacer(0, time, settings=SettingsFile(path, "eventsPerSecond", clock=time))
    resumed_at = 0.0

    def stop() -> bool:
        nonlocal resumed_at
        if not resumed_at and time.now > 1_700_000_100:
            write(path, {"eventsPerSecond": 5}, 1)
            resumed_at = time.now
        return False

    pacer._stop = stop
    slot = pacer.next_us()
    assert slot is not None
    assert slot / 1e6 == pytest.approx(resumed_at, abs=0.5), "lost time is not rushed after"
    second = pacer.next_us()
    assert second is not None and second - slot == 200_000


def test_a_slow_source_gives_up_lost_time_and_a_clock_set_back_does_not_stop_it() -> None:
    time = FakeTime()
    pacer = rate_pacer(100, time)
    for _ in range(3):
        pacer.next_us()
    time.now += 60
    slot = pacer.next_us()
    assert slot is not None and abs(slot / 1e6 - time.now) < 1.01
    time.now -= 3600
    slot = pacer.next_us()
    assert slot is not None and abs(slot / 1e6 - time.now) < 1.01


@given(st.lists(st.integers(0, 10_000_000), min_size=2, max_size=50), st.floats(0.5, 100))
def test_a_speed_keeps_the_gaps(gaps: list[int], speed: float) -> None:
    time = FakeTime(0.0)
    pacer = SpeedPacer(speed, clock=time, sleep=time.sleep)
    at = 5_000_000
    for gap in gaps:
        at += gap
        assert pacer.wait(at)
        elapsed = (at - 5_000_000 - gaps[0]) / 1e6 / speed
        assert elapsed - 1e-6 <= time.now <= elapsed + 0.0011


def test_the_speed_changes_while_running(tmp_path: Path) -> None:
    time, path = FakeTime(0.0), tmp_path / "speed.json"
    pacer = SpeedPacer(
        1, settings=SettingsFile(path, "speed", clock=time), clock=time, sleep=time.sleep
    )
    for second in range(11):
        pacer.wait(second * 1_000_000)
    assert time.now == pytest.approx(10, abs=0.01)
    write(path, {"speed": 10}, 1)
    for second in range(11, 111):
        pacer.wait(second * 1_000_000)
    assert time.now == pytest.approx(20, abs=0.5)


def test_accelerated_time_does_not_run_ahead_of_the_clock() -> None:
    time = FakeTime(1000.0)
    pacer = SpeedPacer(60, clock=time, sleep=time.sleep, not_after=time)
    for second in range(900, 1101):
        assert pacer.wait(second * 1_000_000)
        assert time.now * 1e6 >= second * 1_000_000 - 1
    assert time.now == pytest.approx(1100, abs=0.3)


def test_unpaced_only_stops() -> None:
    stops = iter([False, False, True])
    pacer = Unpaced(lambda: next(stops))
    assert [pacer.wait(10**18) for _ in range(3)] == [True, True, False]
