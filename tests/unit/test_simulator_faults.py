"""The simulator's faults: their shares, that they are what they say, and what stays right."""

from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from webevents.events.event import InvalidEvent, decode_event, event_time_us
from webevents.sources.simulator import Simulated, Simulator
from webevents.spec.generator import CorruptKind, GeneratorSpec

SECOND_US = 1_000_000
REASONS = {
    CorruptKind.INVALID_UTF8: "invalid_json",
    CorruptKind.BROKEN_JSON: "invalid_json",
    CorruptKind.NAN: "invalid_json",
    CorruptKind.DEEP: "too_deep",
    CorruptKind.WRONG_TYPE: "wrong_type",
    CorruptKind.MISSING_FIELD: "missing_field",
    CorruptKind.BAD_TIMESTAMP: "invalid_timestamp",
}
SHARES = {"duplicates": 0.02, "late": 0.05, "outOfOrder": 0.2, "corrupt": 0.05}


def simulate(profile: str, **more: Any) -> list[Simulated]:
    fields = {
        "seed": 5,
        "profile": profile,
        "eventsPerSecond": 1,
        "time": {"mode": "backdated", "duration": "8h"},
        "faults": {**SHARES, **more},
    }
    return list(Simulator(GeneratorSpec.model_validate(fields)))


@pytest.fixture(scope="module", params=["web-events", "journeys"])
def messages(request: pytest.FixtureRequest) -> list[Simulated]:
    return simulate(request.param)


def test_shares_are_as_asked(messages: list[Simulated]) -> None:
    events = [m.truth for m in messages if m.copy == 0]
    assert len(events) > 10_000
    seen = Counter(truth.fault for truth in events)
    for fault, share in {
        "duplicate": 0.02, "late": 0.05, "out_of_order": 0.2, "corrupt": 0.05, None: 0.68,
    }.items():  # fmt: skip
        assert seen[fault] / len(events) == pytest.approx(share, abs=0.01), fault
    kinds = Counter(truth.kind for truth in events if truth.fault == "corrupt")
    assert set(kinds) == set(CorruptKind)
    assert max(kinds.values()) < 2 * min(kinds.values())


def test_duplicates_are_the_same_message_a_little_later(messages: list[Simulated]) -> None:
    first = {m.event_id: m for m in messages if m.fault == "duplicate" and m.copy == 0}
    second = {m.event_id: m for m in messages if m.copy == 1}
    assert first.keys() == second.keys() and len(first) > 100
    for event_id, copy in second.items():
        original = first[event_id]
        assert (copy.key, copy.value) == (original.key, original.value)
        assert 0 < copy.arrival_us - original.arrival_us <= 10 * SECOND_US + 1
        assert copy.truth.event_time_us == original.truth.event_time_us
    assert len({m.event_id for m in messages}) == len(messages) - len(second)


def test_late_and_overtaken_events_are_right_but_come_later(messages: list[Simulated]) -> None:
    for m in messages:
        delay = m.arrival_us - m.event_time_us
        if m.fault == "late":
            assert 300 * SECOND_US <= delay <= 600 * SECOND_US
        elif m.fault == "out_of_order":
            assert 0 < delay <= 5 * SECOND_US + 1
        elif m.copy == 0:
            assert delay == 0
        if m.fault != "corrupt":
            assert event_time_us(decode_event(m.value)) == m.event_time_us
    assert [m.arrival_us for m in messages] == sorted(m.arrival_us for m in messages)
    times = [m.event_time_us for m in messages]
    assert times != sorted(times)


def test_every_corrupt_kind_fails_as_it_should(messages: list[Simulated]) -> None:
    corrupt = [m for m in messages if m.fault == "corrupt"]
    for m in corrupt:
        assert m.kind is not None
        if m.kind is CorruptKind.CLOCK_AHEAD:
            ahead = event_time_us(decode_event(m.value)) - m.arrival_us
            assert ahead > 9 * 365 * 86_400 * SECOND_US
            continue
        with pytest.raises(InvalidEvent) as raised:
            event_time_us(decode_event(m.value))
        assert raised.value.reason == REASONS[m.kind], m.value
        assert m.key == m.visit.key and m.truth.event_id


def test_a_leap_day_has_no_clock_that_fails_otherwise() -> None:
    fields = {
        "seed": 1,
        "time": {"mode": "backdated", "start": "2028-02-29T12:00:00Z"},
        "faults": {"corrupt": 1, "corruptKinds": ["clock_ahead"]},
    }
    m = next(iter(Simulator(GeneratorSpec.model_validate(fields))))
    assert decode_event(m.value).event_timestamp.startswith("2038-02-28 12:")
    assert event_time_us(decode_event(m.value))


@pytest.mark.parametrize("profile", ["web-events", "journeys"])
def test_bots_are_crawlers_that_hurry(profile: str) -> None:
    messages = simulate(profile, bots=0.2)
    bots = [m for m in messages if m.truth.is_bot]
    assert len(bots) / len(messages) == pytest.approx(0.2, abs=0.04)
    for m in messages:
        if m.fault == "corrupt":
            continue
        event = msgspec.json.decode(m.value)
        assert (event["device_type"] == "bot") == m.truth.is_bot
        if m.truth.is_bot:
            assert "bot" in event["browser_user_agent"].lower()
            assert event["event_type"] in ("pageview", "page_view")
            assert event["referer_url"] is None and m.truth.channel == "Direct"
    times: dict[str, list[int]] = {}
    for m in bots:
        if m.copy == 0:
            times.setdefault(m.truth.session, []).append(m.event_time_us)
    lengths = [len(t) for t in times.values()]
    assert min(lengths) >= 5 and max(lengths) <= 25
    for known in times.values():
        known.sort()
        assert all(b - a <= 2 * SECOND_US for a, b in pairwise(known))


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_all_shares_at_their_ends_work(share: float) -> None:
    for name in SHARES:
        faults = {**dict.fromkeys(SHARES, 0.0), name: share, "bots": share}
        assert len(simulate("web-events", **faults)) > 1000
