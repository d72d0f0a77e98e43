"""Analytics once more, naively: all sessions at once, straight from the rules of docs/analytics.md.

What the stage publishes is held against this, so it shares no code with the stage. It forgets
nothing, and does not know of versions, which tell readers the order of corrections only.
"""

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from reference_sessions import EPOCH, Event, session_id, time_of, time_text

from webevents.spec.analytics import AnalyticsSpec, Funnel, Match
from webevents.spec.base import parse_duration

Documents = dict[tuple[str, str], dict[str, Any]]
"""By index without its prefix (``funnels-2026.03``) and ``_id``."""
ABOUT = (
    *("channel", "source_category", "utm_source", "utm_medium", "utm_campaign"),
    *("device_type", "geo_country", "host"),
)
DAY = 86_400_000_000


def journey_of(
    spec: AnalyticsSpec, revenue: Callable[[Event], int]
) -> Callable[[list[Event]], dict[str, Any]]:
    """What a session's record has more, but with every event that matches something.

    :param revenue: of an event, in ten-thousandths.
    """

    def journey(events: list[Event]) -> dict[str, Any]:
        nodes, milestones = [], []
        for event in events:
            path = event.get("page_url_path") or urlsplit(event.get("page_url") or "").path
            node = (path if spec.transitions.by == "page" else event["event_type"])[:200]
            if node and spec.transitions.enabled and (not nodes or nodes[-1] != node):
                nodes.append(node)
            steps = [
                f"{funnel.name}/{number}"
                for funnel in spec.funnels
                for number, step in enumerate(funnel.steps, 1)
                if _matches(step, event, path)
            ]
            conversions = [
                each.name
                for each in spec.attribution.conversions
                if spec.attribution.enabled and _matches(each, event, path)
            ]
            found: dict[str, Any] = {"time": time_text(time_of(event))}
            if steps:
                found["steps"] = steps
            if conversions:
                found |= {"conversions": conversions, "event_id": event["event_id"]}
                if revenue(event):
                    found["revenue"] = revenue(event) / 10_000
            if len(found) > 1:
                milestones.append(found)
        room = spec.transitions.max_per_session + 1
        return {
            "path": nodes[:room],
            "path_truncated": len(nodes) > room,
            "milestones": milestones,
        }

    return journey


def _matches(match: Match, event: Event, path: str) -> bool:
    if match.event_types and event["event_type"] not in match.event_types:
        return False
    if match.page and not fnmatchcase(path, match.page):
        return False
    return all(str(event.get(name)) == value for name, value in match.fields.items())


def analyze(sessions: Iterable[Event], spec: AnalyticsSpec, pipeline: str) -> Documents:
    """The documents that sessions come to.

    :param sessions: the records that hold, with what the sessionize stage adds for analytics.
    """
    visitors: dict[str, list[Event]] = {}
    for session in sessions:
        if spec.bots or not session["is_bot"]:
            visitors.setdefault(session["session_key"], []).append(session)
    found: Documents = {}
    for key, visits in visitors.items():
        visits.sort(key=lambda visit: visit["first_event_timestamp"])
        for kind, id_, time, body in _of_visitor(pipeline, key, visits, spec):
            index = f"{kind}-{time_text(time)[:7].replace('-', '.')}"
            common = {"timestamp": time_text(time), "pipeline": pipeline, "session_key": key}
            assert (index, id_) not in found, "an id twice"
            found[index, id_] = common | body
    return found


def _of_visitor(
    pipeline: str, key: str, visits: list[Event], spec: AnalyticsSpec
) -> Iterable[tuple[str, str, int, dict[str, Any]]]:
    for funnel in spec.funnels:
        yield from _funnel(pipeline, key, visits, funnel)
    for visit in visits if spec.transitions.enabled else ():
        yield from _transitions(visit, spec)
    if spec.retention.enabled:
        yield from _retention(pipeline, key, visits, spec)
    if spec.attribution.enabled:
        yield from _attribution(pipeline, key, visits, spec)


def _funnel(
    pipeline: str, key: str, visits: list[Event], funnel: Funnel
) -> Iterable[tuple[str, str, int, dict[str, Any]]]:
    busy_until = -1
    for number, visit in enumerate(visits):
        first = [_us(m["time"]) for m in visit["milestones"] if _is(funnel, 1, m)]
        if not first or first[0] <= busy_until:
            continue
        if funnel.within == "session":
            end, reach = _us(visit["last_event_timestamp"]), visits[number : number + 1]
        else:
            end, reach = first[0] + parse_duration(funnel.within) // US, visits[number:]
        events = [m for each in reach for m in each["milestones"]]
        events = events[visit["milestones"].index(next(m for m in events if _is(funnel, 1, m))) :]
        times: list[int] = []
        for event in events:
            in_time = _us(event["time"]) <= end and len(times) < len(funnel.steps)
            if in_time and _is(funnel, len(times) + 1, event):
                times.append(_us(event["time"]))
        completed = len(times) == len(funnel.steps)
        if funnel.within != "session":
            busy_until = times[-1] if completed else end
        names = [f"{n}. {step.name}" for n, step in enumerate(funnel.steps, 1)][: len(times)]
        body = {
            "session_id": visit["session_id"],
            "funnel": funnel.name,
            "steps": len(funnel.steps),
            "reached": len(times),
            "step": names[-1],
            "steps_reached": names,
            "step_timestamps": [time_text(us) for us in times],
            "duration_seconds": round((times[-1] - times[0]) / 1e6, 6),
            "completed": completed,
            **_about(visit),
        }
        what = f"funnel\0{funnel.name}\0{_us(visit['first_event_timestamp'])}"
        yield "funnels", _id(pipeline, key, what), times[0], body


def _is(funnel: Funnel, number: int, milestone: Event) -> bool:
    return f"{funnel.name}/{number}" in milestone.get("steps", ())


def _transitions(
    visit: Event, spec: AnalyticsSpec
) -> Iterable[tuple[str, str, int, dict[str, Any]]]:
    nodes = list(visit["path"])
    if nodes and not visit["open"] and not visit["path_truncated"]:
        nodes.append("(exit)")
    pairs = list(pairwise(nodes))[: spec.transitions.max_per_session]
    for step, (left, followed) in enumerate(pairs, 1):
        body = {"session_id": visit["session_id"], "step": step, "from": left, "to": followed}
        start = _us(visit["first_event_timestamp"])
        yield "transitions", f"{visit['session_id']}-{step}", start, body | _about(visit)


def _retention(
    pipeline: str, key: str, visits: list[Event], spec: AnalyticsSpec
) -> Iterable[tuple[str, str, int, dict[str, Any]]]:
    days = 7 if spec.retention.period == "week" else 1
    lives: list[list[Event]] = []
    last = None
    for visit in visits:
        start = _us(visit["first_event_timestamp"])
        if last is None or start - last > spec.retention.periods * days * DAY:
            lives.append([])
        lives[-1].append(visit)
        last = _us(visit["last_event_timestamp"])
    for life in lives:
        periods = [_period(_us(visit["first_event_timestamp"]), days) for visit in life]
        for period in dict.fromkeys(periods):
            number = (period - periods[0]) // (days * DAY)
            if number < spec.retention.periods:
                body = {"cohort": time_text(periods[0]), "period": number, **_about(life[0])}
                yield "retention", _id(pipeline, key, f"retention\0{period}"), period, body


def _period(us: int, days: int) -> int:
    moment = EPOCH + timedelta(microseconds=us)
    first = moment.date() - timedelta(days=moment.weekday() if days == 7 else 0)
    return (first - EPOCH.date()).days * DAY


def _attribution(
    pipeline: str, key: str, visits: list[Event], spec: AnalyticsSpec
) -> Iterable[tuple[str, str, int, dict[str, Any]]]:
    lookback = spec.attribution.lookback // US
    for number, visit in enumerate(visits):
        for milestone in visit["milestones"]:
            time = _us(milestone["time"])
            before = visits[: number + 1]
            touches = [v for v in before if time - _us(v["first_event_timestamp"]) <= lookback]
            touches = touches or [visit]
            most = spec.attribution.max_touches
            if len(touches) > most:
                touches = [touches[0], *(touches[-(most - 1) :] if most > 1 else [])]
            for name in milestone.get("conversions", ()):
                yield from _conversion(pipeline, key, visit, milestone, name, touches, spec)


def _conversion(
    pipeline: str,
    key: str,
    visit: Event,
    milestone: Event,
    name: str,
    touches: list[Event],
    spec: AnalyticsSpec,
) -> Iterable[tuple[str, str, int, dict[str, Any]]]:
    time, count = _us(milestone["time"]), len(touches)
    conversion_id = _id(pipeline, key, f"conversion\0{name}\0{time}\0{milestone['event_id']}")
    revenue = milestone.get("revenue", 0.0)
    exact = {
        "first": [Fraction(1)] + [Fraction(0)] * (count - 1),
        "last": [Fraction(0)] * (count - 1) + [Fraction(1)],
        "linear": [Fraction(1, count)] * count,
    }
    credits = {model: _apportion(parts, 10**6, 10**6) for model, parts in exact.items()}
    credits["position"] = credits["linear"]
    if count > 2:
        between = _apportion([Fraction(1, count - 2)] * (count - 2), 200_000, 10**6)
        credits["position"] = [Decimal("0.4"), *between, Decimal("0.4")]
    credits = {model: credits[model] for model in spec.attribution.models}
    tenths = int(Decimal(str(revenue)) * 10**4)
    revenues = {
        model: _apportion([Fraction(int(c * 10**6), 10**6) for c in credit], tenths, 10**4)
        for model, credit in credits.items()
    }
    for position, touch in enumerate(touches):
        start = _us(touch["first_event_timestamp"])
        body = {
            "session_id": visit["session_id"],
            "conversion": name,
            "conversion_id": conversion_id,
            "event_id": milestone["event_id"],
            "revenue": revenue,
            "touches": count,
            "touch": position + 1,
            "touch_session_id": session_id(pipeline, key, start),
            "touch_timestamp": touch["first_event_timestamp"],
            "days_before": round((time - start) / DAY, 6),
            **{f"credit_{model}": float(each[position]) for model, each in credits.items()},
            **{f"revenue_{model}": float(each[position]) for model, each in revenues.items()},
            **_about(touch),
        }
        yield "attribution", f"{conversion_id}-{position + 1}", time, body


def _apportion(parts: list[Fraction], units: int, per_one: int) -> list[Decimal]:
    """Parts of so many units, whole ones; what is left over goes to the first that have a part."""
    whole = [int(units * part // 1) for part in parts]
    having = [number for number, part in enumerate(parts) if part]
    for number in having[: units - sum(whole)]:
        whole[number] += 1
    return [Decimal(each) / per_one for each in whole]


def _about(visit: Event) -> dict[str, Any]:
    return {name: visit[name][:200] for name in ABOUT if visit.get(name) is not None}


def _id(pipeline: str, key: str, what: str) -> str:
    return hashlib.blake2b(f"{pipeline}\0{key}\0{what}".encode(), digest_size=16).hexdigest()


US = timedelta(microseconds=1)


def _us(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // US
