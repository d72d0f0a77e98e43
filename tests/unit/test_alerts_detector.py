"""The detector: what is usual, hysteresis, one alert for one thing, and a state that holds all."""

import math
import random
from statistics import stdev
from typing import Any

import pytest
from pydantic import ValidationError

from webevents.events.alert import Alert
from webevents.logic.alerts.detector import Detector
from webevents.logic.alerts.minutes import MINUTE_US
from webevents.logic.alerts.profile import HOURS, Profile, robust_spread
from webevents.spec.alerts import AlertsSpec

MONDAY = 29_540_160
"""2026-03-02 00:00 UTC in minutes since the epoch."""
DAY = 24 * 60


def spec(**rules: Any) -> AlertsSpec:
    return AlertsSpec.model_validate({"enabled": True, "past": True, "rules": rules})


class Shop:
    """Feeds a detector minute by minute."""

    def __init__(self, detector: Detector, now: int = MONDAY) -> None:
        self.detector = detector
        self.now = now
        self.alerts: list[Alert] = []

    def minutes(
        self, count: int, events: int, failed: int = 0, orders: int = 0, loud_from: int = 0
    ) -> list[Alert]:
        """Some minutes that are alike; the alerts that changed."""
        changes = []
        for _ in range(count):
            at = self.now * MINUTE_US
            for number in range(events):
                self.detector.add_event(at + number, order=number < orders, revenue=10_000)
            for _ in range(failed):
                self.detector.add_failed(at)
            changes += self.detector.judge(self.now, loud_from)
            self.now += 1
        self.alerts += changes
        return changes


def test_the_day_of_the_tests_is_a_monday() -> None:
    profile = Profile(15, 6)
    assert profile.learn(MONDAY + 14, 1) == 0
    assert profile.learn(MONDAY + 6 * DAY + 23 * 60 + 59, 1) == HOURS - 1


def test_the_spread_is_robust() -> None:
    rng = random.Random(1)
    values = [rng.gauss(10, 2) for _ in range(2000)]
    centre, spread = robust_spread(values)
    assert centre == pytest.approx(10, abs=0.2)
    assert spread == pytest.approx(stdev(values), rel=0.1)
    # A fifth of it being incidents moves it little, and the standard deviation much.
    troubled = values + [0.0] * 500
    assert robust_spread(troubled)[1] < 1.5 * spread
    assert stdev(troubled) > 2 * spread


def learned(weeks: int = 3, noise: int = 2, window: int = 15) -> tuple[Profile, int]:
    """A profile of hours that differ, by day as well, and the minute after it."""
    rng = random.Random(2)
    profile = Profile(window, 6)
    last = MONDAY + weeks * 7 * DAY
    for end in range(MONDAY + window - 1, last, window):
        profile.learn(end, usual_sum(end - window + 1) + rng.randint(-noise, noise))
    return profile, last


def usual_sum(first: int) -> int:
    hour, day = first // 60 % 24, (first - MONDAY) // DAY % 7
    return 100 + 40 * (hour >= 8) + 200 * (hour >= 18) + (150 if day >= 5 else 0)


def test_each_hour_of_the_week_has_its_own_usual() -> None:
    profile, now = learned()
    for day, hour in ((0, 3), (0, 9), (4, 20), (5, 20), (6, 3)):
        first = now + day * DAY + hour * 60 + 15
        usual = profile.usual(first + 14)
        assert usual is not None
        assert usual.sum == pytest.approx(usual_sum(first), rel=0.02)
        assert usual.deviations(usual_sum(first)) == pytest.approx(0, abs=1)
        assert usual.deviations(0) < -10


def test_between_two_hours_the_usual_is_between() -> None:
    profile, now = learned()
    before, between, after = (profile.usual(now + 18 * 60 + minute) for minute in (-1, 6, 14))
    assert before and between and after
    assert before.sum < between.sum < after.sum


def test_nothing_is_usual_before_three_days_that_are_alike() -> None:
    profile = Profile(60, 6)
    for day in range(5):
        now = MONDAY + day * DAY
        known = profile.usual(now + 10 * 60 + 59)
        assert (known is not None) == (day >= 4)  # three days, and one to see how they vary
        for hour in range(24):
            profile.learn(now + hour * 60 + 59, 500)
    # Saturday is no workday: nothing is known of it.
    assert profile.usual(MONDAY + 5 * DAY + 10 * 60 + 59) is None


def test_grown_traffic_becomes_usual_within_a_day() -> None:
    profile, now = learned()
    assert profile.level == pytest.approx(1, abs=0.02)
    for end in range(now + 14, now + 20 * 60, 15):
        profile.learn(end, round(usual_sum(end - 14) * 1.5))
    assert profile.level == pytest.approx(math.sqrt(1.5), rel=0.02)


def test_silence_is_raised_once_and_resolved() -> None:
    shop = Shop(Detector("shop", spec(noEvents={"after": "5m"})))
    assert shop.minutes(30, events=10) == []
    raised = shop.minutes(40, events=0)
    assert [(a.rule, a.status, a.value) for a in raised] == [("no_events", "firing", 5.0)]
    assert raised[0].started_at == "2026-03-02T00:30:00.000000Z"
    assert raised[0].summary == "No events for 5 minutes."
    assert shop.minutes(4, events=10) == []
    over = shop.minutes(1, events=10)
    assert [(a.status, a.alert_id) for a in over] == [("resolved", raised[0].alert_id)]
    assert over[0].resolved_at == "2026-03-02T01:10:00.000000Z"
    # The next one is another alert.
    assert shop.minutes(10, events=0)[0].alert_id != raised[0].alert_id


def test_a_pipeline_without_events_yet_is_not_silent() -> None:
    detector = Detector("shop", spec())
    assert detector.judge(MONDAY, 0) == []
    assert detector.judged is None


def test_a_limit_that_is_crossed_to_and_fro_raises_one_alert() -> None:
    shop = Shop(Detector("shop", spec(failedShare={"above": 0.1, "window": "1m"})))
    shop.minutes(5, events=100)
    # One and two minutes beyond are not enough.
    for _ in range(3):
        assert shop.minutes(2, events=80, failed=20) == []
        assert shop.minutes(1, events=92, failed=8) == []
    assert [a.status for a in shop.minutes(3, events=80, failed=20)] == ["firing"]
    for _ in range(10):
        assert shop.minutes(1, events=93, failed=7) == []  # between the limits
        assert shop.minutes(4, events=99, failed=1) == []  # well, but not for long enough
        assert shop.minutes(1, events=80, failed=20) == []
    assert [a.status for a in shop.minutes(5, events=99, failed=1)] == ["resolved"]


def test_few_failed_events_are_no_alert_whatever_their_share() -> None:
    shop = Shop(Detector("shop", spec(failedShare={"window": "5m"}, noEvents={"enabled": False})))
    shop.minutes(5, events=1)
    assert shop.minutes(20, events=1, failed=1) == []
    assert len(shop.minutes(10, events=1, failed=5)) == 1


def test_failed_events_have_a_limit_of_their_own() -> None:
    shop = Shop(Detector("shop", spec(failedEvents={"enabled": True, "above": 50, "window": "5m"})))
    assert shop.minutes(20, events=1000, failed=10) == []
    assert [a.rule for a in shop.minutes(8, events=1000, failed=20)] == ["failed_events"]


def test_a_lag_must_last() -> None:
    detector = Detector("shop", spec(lag={"above": 100, "lasting": "5m"}))
    lags = iter(range(1000))
    for _ in range(4):
        assert detector.judge_lags({"index": 500, "enrich": 3}, next(lags)) == []
    assert detector.judge_lags({"index": 60, "enrich": 3}, next(lags)) == []
    changes = [detector.judge_lags({"index": 500, "enrich": 3}, next(lags)) for _ in range(9)]
    raised = [alert for each in changes for alert in each]
    assert [(a.rule, a.series, a.value) for a in raised] == [("lag", "index", 500.0)]
    over = [detector.judge_lags({"index": 0, "enrich": 3}, next(lags)) for _ in range(5)]
    assert [a.status for each in over for a in each] == ["resolved"]


def weekly_shop(alerts: AlertsSpec) -> Shop:
    shop = Shop(Detector("shop", alerts))
    shop.minutes(4 * DAY + 600, events=10, orders=2)
    return shop


WEEKLY = spec()


def test_a_drop_and_a_surge_against_the_usual() -> None:
    shop = weekly_shop(WEEKLY)
    assert shop.alerts == []
    drop = shop.minutes(40, events=2, orders=2)
    assert next((a.rule, a.series, a.status) for a in drop) == ("anomaly", "events", "firing")
    assert "less than usual for the hour of the week" in drop[0].summary
    assert drop[0].expected == pytest.approx(150, rel=0.05)
    shop.minutes(180, events=10, orders=2)
    assert shop.detector.open_alerts() == []
    surge = shop.minutes(60, events=40, orders=2)
    assert [(a.rule, a.series, a.status) for a in surge] == [("anomaly", "events", "firing")]


def test_orders_and_revenue_fall_with_events_as_usual() -> None:
    shop = weekly_shop(spec(revenueDrop={"windows": ["1h"]}))
    shop.minutes(90, events=10, orders=0)
    raised = {(a.rule, a.series) for a in shop.alerts}
    assert raised == {("anomaly", "orders")}  # each event has revenue here, so that it stays


def test_silence_does_not_raise_what_it_explains() -> None:
    shop = weekly_shop(spec(noEvents={"after": "3m"}))
    shop.minutes(30, events=0)
    shop.minutes(300, events=10, orders=2)
    assert [(a.rule, a.status) for a in shop.alerts] == [
        ("no_events", "firing"),
        ("no_events", "resolved"),
    ]


def test_the_past_is_learned_and_raises_nothing() -> None:
    shop = Shop(Detector("shop", AlertsSpec(enabled=True)))
    shop.minutes(60, events=10, loud_from=MONDAY + 200)
    assert shop.minutes(100, events=0, loud_from=MONDAY + 200) == []
    # From the first minute that counts on, what lasts is told.
    assert len(shop.minutes(60, events=0, loud_from=MONDAY + 200)) == 1


def test_the_state_holds_everything() -> None:
    """Written and read back after every minute, nothing is different."""
    rng = random.Random(5)
    whole, state = Detector("shop", WEEKLY), {}
    pieces = Detector("shop", WEEKLY)
    changes: list[list[Alert]] = [[], []]
    silent = range(MONDAY + 5 * DAY, MONDAY + 5 * DAY + 50)
    for minute in range(MONDAY, MONDAY + 5 * DAY + 400):
        count = 0 if minute in silent else rng.randint(5, 15)
        for number, detector in enumerate((whole, pieces)):
            for event in range(count):
                detector.add_event(minute * MINUTE_US, order=event == 0, revenue=event * 100)
            detector.add_failed((minute - rng.randint(0, 0)) * MINUTE_US)
            changes[number] += detector.judge(minute, 0)
        for key, value in pieces.changes():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        if minute % 97 == 0 or minute in silent:
            pieces = Detector("shop", WEEKLY)
            assert all(pieces.restore(entry) for entry in state.values())
    assert changes[0] == changes[1]
    assert [a.rule for a in changes[0]].count("no_events") == 2
    # It stays small: the minutes of some hours, and the samples of the hours of the week.
    assert sum(key.startswith("minute/") for key in state) < 300
    assert sum(map(len, state.values())) < 1_000_000


def test_an_entry_of_a_rule_that_is_gone_is_let_be() -> None:
    detector = Detector("shop", WEEKLY)
    assert not detector.restore(b'["profile/anomaly/failed/15/3",[[1,2.0]]]')
    assert not detector.restore(b'["something",1]')


def test_late_events_count_where_they_belong_or_not_at_all() -> None:
    detector = Detector("shop", WEEKLY)
    assert detector.add_event(MONDAY * MINUTE_US, order=False, revenue=0)
    detector.judge(MONDAY + 120, 0)
    assert detector.add_event((MONDAY + 60) * MINUTE_US, order=False, revenue=0)
    assert not detector.add_event((MONDAY - 2000) * MINUTE_US, order=False, revenue=0)
    assert not detector.add_failed((MONDAY - 2000) * MINUTE_US)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rules": {"failedShare": {"window": "90s"}}}, "whole minutes"),
        (
            {"rules": {"anomalies": [{"series": "events", "windows": ["7m"]}]}},
            "must divide an h",
        ),
        ({"rules": {"anomalies": [{"series": "events"}, {"series": "events"}]}}, "twice"),
        ({"receivers": {"x": {}}}, "exactly one of"),
        ({"receivers": {"x": {"slack": {}}}}, "urlFile and urlEnv"),
        ({"receivers": {"x": {"slack": {"url": "https://hooks.example/x"}}}}, "slack.url"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AlertsSpec.model_validate(given)
