"""The life of an alert: raised once, kept open by hysteresis, resolved."""

import msgspec

from webevents.events.alert import Alert, alert_id
from webevents.events.times import format_time
from webevents.logic.alerts.minutes import MINUTE_US
from webevents.logic.alerts.rules import Finding

GAP = 2
"""A rule that was not judged for longer than this many minutes begins to count anew."""


class Life(msgspec.Struct, omit_defaults=True):
    """What is known of one rule and series."""

    last: int = 0
    """The last minute that was judged."""
    beyond: int = 0
    """Minutes in a row beyond the limit."""
    since: int = 0
    """The first of them."""
    well: int = 0
    """Minutes in a row that were well."""
    last_beyond: int = 0
    alert: Alert | None = None
    """The open alert."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return self.alert is None and not self.beyond


class Lives:
    """All alerts of a pipeline.

    :param pipeline: its name.
    :param raise_after: minutes in a row beyond the limit that raise an alert.
    :param resolve_after: minutes in a row that resolve it.
    """

    def __init__(self, pipeline: str, raise_after: int, resolve_after: int) -> None:
        self._pipeline = pipeline
        self._raise_after = raise_after
        self._resolve_after = resolve_after
        self.lives: dict[tuple[str, str], Life] = {}
        """By rule and series."""
        self.changed: set[tuple[str, str]] = set()

    def is_open(self, rule: str, series: str) -> bool:
        """Whether there is an alert."""
        life = self.lives.get((rule, series))
        return life is not None and life.alert is not None

    def open_alerts(self) -> list[Alert]:
        """The alerts that are firing."""
        return [life.alert for life in self.lives.values() if life.alert is not None]

    def take(self, finding: Finding, minute: int) -> Alert | None:
        """Take what a rule says about a minute; times do not decrease.

        :returns: the alert as it is now, where it was raised or resolved.
        """
        key = (finding.rule, finding.series)
        life = self.lives.get(key)
        if life is None:
            if finding.judgement != "beyond":
                return None
            life = self.lives[key] = Life()
        if minute - life.last > GAP:
            life.beyond = life.well = 0
        life.last = minute
        self.changed.add(key)
        if finding.judgement == "beyond":
            if not life.beyond:
                life.since = minute if finding.began is None else finding.began
            life.beyond += 1
            life.last_beyond, life.well = minute, 0
            if life.alert is None and life.beyond >= (finding.raise_after or self._raise_after):
                life.alert = self._raised(finding, life)
                return life.alert
            return None
        life.beyond = 0
        life.well = life.well + 1 if finding.judgement == "well" else 0
        if life.alert is not None and life.well >= self._resolve_after:
            resolved = msgspec.structs.replace(
                life.alert,
                status="resolved",
                resolved_at=format_time((life.last_beyond + 1) * MINUTE_US),
                value=finding.value,
                expected=finding.expected,
            )
            life.alert = None
            return resolved
        return None

    def forget_idle(self) -> None:
        """Forget what is well and has no alert."""
        for key in [key for key, life in self.lives.items() if life.idle]:
            del self.lives[key]
            self.changed.add(key)

    def _raised(self, finding: Finding, life: Life) -> Alert:
        started_us = life.since * MINUTE_US
        return Alert(
            alert_id=alert_id(self._pipeline, finding.rule, finding.series, started_us),
            pipeline=self._pipeline,
            rule=finding.rule,
            series=finding.series,
            severity=finding.severity,
            status="firing",
            started_at=format_time(started_us),
            summary=finding.summary,
            value=finding.value,
            limit=finding.limit,
            expected=finding.expected,
        )
