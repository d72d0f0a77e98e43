"""What each rule says about a minute."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from webevents.logic.alerts.minutes import Minutes
from webevents.logic.alerts.profile import Profile, Usual
from webevents.logic.sessions.totals import CENTS
from webevents.spec.alerts import (
    AlertsSpec,
    AnomalyRule,
    FailedEventsRule,
    FailedShareRule,
    LagRule,
    NoEventsRule,
    SeasonalRule,
)

Judgement = Literal["beyond", "between", "well"]
"""Between the limit that raises an alert and the one that resolves it, nothing changes
(hysteresis)."""
WELL = 0.5
"""The resolving limit as a share of the raising one."""
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says about a series at one minute."""

    rule: str
    series: str
    severity: str
    judgement: Judgement
    value: float
    summary: str
    limit: float | None = None
    expected: float | None = None
    window: int = 1
    """Minutes that it is about."""
    began: int | None = None
    """The first minute of it, where that lies before those that were beyond the limit."""
    raise_after: int | None = None
    """Minutes in a row that raise it; the pipeline's own number where absent."""


def minutes_of(span: timedelta) -> int:
    """A span in whole minutes."""
    return span // _MINUTE


def seasonal_rules(spec: AlertsSpec) -> dict[str, tuple[str, SeasonalRule]]:
    """The enabled rules that compare with the usual, by a name of each: (series, rule)."""
    rules: dict[str, tuple[str, SeasonalRule]] = {
        f"anomaly/{rule.series}": (rule.series, rule)
        for rule in spec.rules.anomalies
        if rule.enabled
    }
    if spec.rules.revenue_drop.enabled:
        rules["revenue_drop/revenue"] = ("revenue", spec.rules.revenue_drop)
    return rules


def no_events(rule: NoEventsRule, last_event: int, minute: int) -> Finding:
    """Nothing has come since ``last_event``, the last minute with an event."""
    silent, limit = minute - last_event, minutes_of(rule.after)
    judgement: Judgement = "between"
    if silent >= limit:
        judgement = "beyond"
    elif silent < max(limit * WELL, 1):
        judgement = "well"
    return Finding(
        "no_events",
        "events",
        rule.severity,
        judgement,
        float(silent),
        f"No events for {_span(silent)}.",
        limit=float(limit),
        began=last_event + 1,
        raise_after=1,
    )


def failed_share(rule: FailedShareRule, minutes: Minutes, minute: int) -> Finding:
    """How many of the events of the window failed."""
    window = minutes_of(rule.window)
    failed = minutes.sum("failed", minute, window)
    total = failed + minutes.sum("events", minute, window)
    share = failed / total if total else 0.0
    judgement: Judgement = "between"
    if share > rule.above and failed >= rule.min_failed:
        judgement = "beyond"
    elif share <= rule.above * WELL or failed < rule.min_failed * WELL:
        judgement = "well"
    return Finding(
        "failed_share",
        "failed",
        rule.severity,
        judgement,
        share,
        f"{share:.1%} of the events fail: {failed:,} of {total:,} in {_span(window)}, "
        f"the limit is {rule.above:.1%}.",
        limit=rule.above,
    )


def failed_events(rule: FailedEventsRule, minutes: Minutes, minute: int) -> Finding:
    """How many events of the window failed."""
    window = minutes_of(rule.window)
    failed = minutes.sum("failed", minute, window)
    return Finding(
        "failed_events",
        "failed",
        rule.severity,
        _above(failed, rule.above),
        float(failed),
        f"{failed:,} events failed in {_span(window)}, the limit is {rule.above:,}.",
        limit=float(rule.above),
    )


def lags(rule: LagRule, lag_of: Mapping[str, int]) -> Iterator[Finding]:
    """How far each stage is behind."""
    for stage, lag in lag_of.items():
        yield Finding(
            "lag",
            stage,
            rule.severity,
            _above(lag, rule.above),
            float(lag),
            f"{lag:,} messages wait for the stage {stage}, the limit is {rule.above:,}.",
            limit=float(rule.above),
            raise_after=max(minutes_of(rule.lasting), 1),
        )


def seasonal(
    rule: SeasonalRule, series: str, profiles: Mapping[int, Profile], minutes: Minutes, minute: int
) -> Finding | None:
    """How far the windows are from the usual; None where nothing is known of any yet.

    :param profiles: what is usual, by the length of the windows in minutes.
    :returns: what the window says that is the furthest away.
    """
    found = [
        _window(rule, series, window, usual, minutes.sum(series, minute, window))
        for window, profile in profiles.items()
        if (usual := profile.usual(minute)) is not None
    ]
    # All of them must be well.
    return max(found, key=lambda finding: _ORDER[finding.judgement], default=None)


_ORDER: dict[Judgement, int] = {"well": 0, "between": 1, "beyond": 2}


def _window(rule: SeasonalRule, series: str, window: int, usual: Usual, value: int) -> Finding:
    off, sigmas = value / usual.sum - 1, usual.deviations(value)
    wanted = {"drop": off < 0, "surge": off > 0, "both": True}[rule.direction]
    judgement: Judgement = "between"
    if wanted and abs(off) >= rule.min_deviation and abs(sigmas) >= rule.sensitivity:
        judgement = "beyond"
    elif (
        not wanted or abs(off) < rule.min_deviation * WELL or abs(sigmas) < rule.sensitivity * WELL
    ):
        judgement = "well"
    scale = CENTS if series == "revenue" else 1
    shown, expected = value / scale, usual.sum / scale
    return Finding(
        "anomaly" if isinstance(rule, AnomalyRule) else "revenue_drop",
        series,
        rule.severity,
        judgement,
        shown,
        f"{_LABELS[series]}: {abs(off):.0%} {'less' if off < 0 else 'more'} than usual for the "
        f"hour of the week: {shown:,.0f} in {_span(window)}, {expected:,.0f} usual.",
        expected=round(expected, 2),
        window=window,
    )


_LABELS = {
    "events": "Events",
    "failed": "Failed events",
    "orders": "Orders",
    "revenue": "Revenue",
}


def _above(value: int, limit: int) -> Judgement:
    if value > limit:
        return "beyond"
    return "well" if value <= limit * WELL else "between"


def _span(minutes: int) -> str:
    if minutes == 1:
        return "1 minute"
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} hours"
