"""Alerts scored on the simulator's labelled incidents, and on traffic where nothing happens.

Usage: ``python tests/bench/alerts.py [--weeks N] [--rate EVENTS_PER_SECOND] [--report FILE]``
(``make bench-alerts``). Simulated shops send weeks of events with the usual faults (duplicates,
late, corrupt and bot events) in simulated time; the detector gets each message when it arrives, as
the detect stage does, with the default rules of ``spec.alerts``.

An alert is true when it begins during an incident, or within the length of its rule's window after
it (the window still holds the incident). An incident is found when a true alert *of the right
kind* begins. precision = true alerts / alerts, recall = found incidents / incidents. Exits with 1
where a goal is missed: precision and recall of at least 0.9, at most 1 false alarm per week.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from webevents.events.event import InvalidEvent
from webevents.events.times import format_time, parse_time
from webevents.logic.alerts.detector import Detector
from webevents.logic.alerts.minutes import MINUTE_US
from webevents.logic.alerts.reader import count_reader
from webevents.logic.alerts.rules import seasonal_rules
from webevents.logic.clock import is_ahead
from webevents.sources.simulator import Simulator
from webevents.sources.simulator.incidents import Incident
from webevents.spec.alerts import AlertsSpec
from webevents.spec.generator import GeneratorSpec
from webevents.spec.stages import SessionsSpec

START = datetime(2026, 1, 5, tzinfo=UTC)
WARM_UP = timedelta(days=14)
"""Time without incidents at the beginning, until weekends are known too (the detector needs three
days that are alike); alarms in it count as false all the same."""
MAX_AHEAD_US = 3_600_000_000
DELAY = 1
"""Minutes, as spec.alerts.delay."""
GOAL = 0.9
GOAL_PER_WEEK = 1.0

FINDS: dict[str, set[tuple[str, str]]] = {
    "outage": {("no_events", "events"), ("anomaly", "events")},
    "drop": {("anomaly", "events"), ("no_events", "events")},
    "surge": {("anomaly", "events")},
    "conversion": {("anomaly", "orders"), ("revenue_drop", "revenue")},
    "errors": {("failed_share", "failed")},
}
"""The rule and series that find each kind of incident."""


def incidents(seed: int, weeks: int) -> list[dict[str, Any]]:
    """An incident a day after the warm-up, one of each kind in turn, at any hour.

    Of a size that someone would want to know of: outages of 20 to 90 minutes; half or more of the
    visits missing, or one to three times as many on top, for one to three hours; 70% or more of
    the orders failing for three to six hours from noon on, for there is little to fail at night;
    15 to 60% of the events corrupt for half an hour to two hours.
    """
    chance = random.Random(f"incidents/{seed}")
    made = []
    kinds = ("outage", "drop", "surge", "conversion", "errors")
    begins = WARM_UP
    number = 0
    while begins < timedelta(weeks=weeks):
        kind = kinds[number % len(kinds)]
        number += 1
        hour = chance.uniform(8, 16) if kind == "conversion" else chance.uniform(0, 23)
        length, share = {
            "outage": (chance.uniform(20, 90), 1.0),
            "drop": (chance.uniform(60, 180), chance.uniform(0.5, 0.9)),
            "surge": (chance.uniform(60, 180), chance.uniform(1.0, 3.0)),
            "conversion": (chance.uniform(180, 360), chance.uniform(0.7, 1.0)),
            "errors": (chance.uniform(30, 120), chance.uniform(0.15, 0.6)),
        }[kind]
        made.append(
            {
                "kind": kind,
                "start": begins + timedelta(minutes=round(hour * 60)),
                "duration": timedelta(minutes=round(length)),
                "share": round(share, 2),
            }
        )
        begins += timedelta(days=1)
    return made


@dataclass
class Score:
    """How one shop's alerts did."""

    name: str
    weeks: float
    events: int = 0
    alerts: int = 0
    true: int = 0
    false: list[str] = field(default_factory=list)
    incidents: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    """Minutes from an incident's beginning until the first alert that found it was raised."""


def run(seed: int, weeks: int, rate: float, clean: bool) -> Score:
    """Simulate one shop and score its alerts."""
    faults: dict[str, Any] = {
        "duplicates": 0.02,
        "late": 0.05,
        "outOfOrder": 0.2,
        "corrupt": 0.005,
        "bots": 0.05,
        "incidents": [] if clean else incidents(seed, weeks),
    }
    spec = GeneratorSpec.model_validate(
        {
            "profile": "journeys",
            "eventsPerSecond": rate,
            "users": 1000,
            "seed": seed,
            "time": {"mode": "backdated", "start": START, "duration": timedelta(weeks=weeks)},
            "faults": faults,
        }
    )
    simulator = Simulator(spec)
    alerts = AlertsSpec(enabled=True, past=True)
    windows = {
        ("revenue_drop" if name.startswith("revenue_drop") else "anomaly", series): max(
            rule.windows
        )
        for name, (series, rule) in seasonal_rules(alerts).items()
    }
    windows["failed_share", "failed"] = alerts.rules.failed_share.window
    score = Score("clean" if clean else "incidents", weeks)
    truth = simulator.incidents
    score.incidents.update(str(incident.kind) for incident in truth)
    found: dict[str, float] = {}
    for raised_us, alert in detect(simulator, alerts, score):
        score.alerts += 1
        began_us = parse_time(alert.started_at)
        grace_us = windows.get((alert.rule, alert.series), timedelta()) // timedelta(microseconds=1)
        hit = next((one for one in truth if _during(began_us, one, grace_us)), None)
        if hit is None:
            score.false.append(f"{alert.started_at} {alert.rule}/{alert.series}: {alert.summary}")
            continue
        score.true += 1
        if (alert.rule, alert.series) in FINDS[hit.kind]:
            found.setdefault(hit.name, (raised_us - hit.start_us) / MINUTE_US)
    for incident in truth:
        if incident.name in found:
            score.found[str(incident.kind)] += 1
            score.delays.append(found[incident.name])
        else:
            score.missed.append(
                f"{incident.name} {format_time(incident.start_us)} share {incident.share}"
            )
    return score


def _during(began_us: int, incident: Incident, grace_us: int) -> bool:
    # A minute's beginning may lie before an incident that begins within it.
    return incident.start_us - MINUTE_US < began_us < incident.end_us + grace_us


def detect(simulator: Simulator, spec: AlertsSpec, score: Score) -> Iterator[tuple[int, Any]]:
    """The alerts that are raised, with when they are."""
    detector = Detector("bench", spec)
    read = count_reader(SessionsSpec())
    judged = 0
    for message in simulator:
        arrival_us = message.arrival_us
        minute = arrival_us // MINUTE_US
        if minute > judged:
            judged = minute
            for alert in detector.judge(minute - 1 - DELAY, 0):
                if alert.status == "firing":
                    yield minute * MINUTE_US, alert
        score.events += 1
        try:
            counted = read(message.value)
            if is_ahead(counted.time_us, arrival_us // 1000, MAX_AHEAD_US):
                raise InvalidEvent("timestamp_in_future", "")
        except InvalidEvent:
            detector.add_failed(arrival_us)
            continue
        detector.add_event(counted.time_us, order=counted.order, revenue=counted.revenue)


def main() -> int:
    """Run, print, and tell whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--weeks", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    began = time.monotonic()
    jobs = [(seed, clean) for seed in options.seeds for clean in (False, True)]
    with ProcessPoolExecutor(2) as pool:
        futures = [
            # Of other seeds, so that clean traffic is not the same traffic again.
            pool.submit(run, seed + 100 * clean, options.weeks, options.rate, clean)
            for seed, clean in jobs
        ]
        scores = [future.result() for future in futures]
    report = sum_up(scores)
    print(f"{sum(score.events for score in scores):,} events, {time.monotonic() - began:.0f} s")
    for kind, count in report["incidents"].items():
        print(f"  {kind:<11} {report['found'].get(kind, 0):>3} of {count:>3} found")
    for line in report["missed"]:
        print(f"  missed: {line}")
    for line in report["falseAlarms"]:
        print(f"  false: {line}")
    print(f"precision            {report['precision']:.3f}   (goal: at least {GOAL})")
    print(f"recall               {report['recall']:.3f}   (goal: at least {GOAL})")
    print(f"median delay         {report['medianDelayMinutes']:.0f} min")
    print(
        f"false alarms         {report['falseAlarmsPerCleanWeek']:.2f} per week of clean traffic"
        f"   (goal: at most {GOAL_PER_WEEK:.0f}; {report['cleanWeeks']:.0f} weeks)"
    )
    if options.report:
        options.report.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if report["met"] else 1


def sum_up(scores: list[Score]) -> dict[str, Any]:
    """All shops together."""
    troubled = [score for score in scores if score.name == "incidents"]
    clean = [score for score in scores if score.name == "clean"]
    alerts = sum(score.alerts for score in troubled)
    all_incidents = sum((score.incidents for score in troubled), Counter())
    found = sum((score.found for score in troubled), Counter())
    delays = sorted(delay for score in troubled for delay in score.delays)
    weeks = sum(score.weeks for score in clean)
    report = {
        "precision": sum(score.true for score in troubled) / alerts if alerts else 0.0,
        "recall": found.total() / all_incidents.total(),
        "falseAlarmsPerCleanWeek": sum(len(score.false) for score in clean) / weeks,
        "cleanWeeks": weeks,
        "medianDelayMinutes": delays[len(delays) // 2] if delays else 0.0,
        "incidents": dict(all_incidents),
        "found": dict(found),
        "missed": [line for score in troubled for line in score.missed],
        "falseAlarms": [f"{score.name}: {line}" for score in scores for line in score.false],
        "shops": [vars(score) for score in scores],
    }
    report["met"] = (
        report["precision"] >= GOAL
        and report["recall"] >= GOAL
        and report["falseAlarmsPerCleanWeek"] <= GOAL_PER_WEEK
    )
    return report


class _Raw(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    sys.exit(main())
