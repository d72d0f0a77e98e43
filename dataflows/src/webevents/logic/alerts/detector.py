"""The detector: counts by minute in, alerts out, with a state that can be written and read back."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from webevents.events.alert import Alert
from webevents.logic.alerts import rules
from webevents.logic.alerts.life import Life, Lives
from webevents.logic.alerts.minutes import MINUTE_US, Minute, Minutes
from webevents.logic.alerts.profile import Profile
from webevents.logic.alerts.rules import Finding, minutes_of, seasonal_rules
from webevents.spec.alerts import AlertsSpec

LEARN_AFTER = 60
"""Minutes after which a window is learned: late events have come by then."""
LONGEST_GAP = 14 * 24 * 60
"""Minutes without any news that are gone through one by one; more are skipped."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Detector:
    """The alerts of one pipeline.

    :param pipeline: its name.
    :param spec: what is watched.
    """

    def __init__(self, pipeline: str, spec: AlertsSpec) -> None:
        self._spec = spec
        self._seasonal = seasonal_rules(spec)
        self._profiles = {
            name: {
                minutes: Profile(minutes, spec.weeks, counts=series != "revenue")
                for minutes in map(minutes_of, rule.windows)
            }
            for name, (series, rule) in self._seasonal.items()
        }
        used = [minutes for profiles in self._profiles.values() for minutes in profiles]
        used += [minutes_of(spec.rules.failed_share.window)]
        used += [minutes_of(spec.rules.failed_events.window)]
        self._minutes = Minutes(max(used) + LEARN_AFTER + 1)
        self._lives = Lives(pipeline, spec.raise_after, spec.resolve_after)
        self.judged: int | None = None
        """The last judged minute since the epoch."""
        self._last_event: int | None = None
        self._silent_until = 0
        self._learned: set[tuple[str, int, int]] = set()
        self._clock_changed = False

    # Counting.

    def add_event(self, time_us: int, *, order: bool, revenue: int) -> bool:
        """Count an event; False where its minute is too long ago to count.

        :param revenue: in ten-thousandths.
        """
        number = time_us // MINUTE_US
        if self._too_late(number):
            return False
        minute = self._minutes.at(number)
        minute.events += 1
        minute.revenue += revenue
        if order:
            minute.orders += 1
        return True

    def add_failed(self, time_us: int) -> bool:
        """Count a failed event; False where its minute is too long ago to count."""
        number = time_us // MINUTE_US
        if self._too_late(number):
            return False
        self._minutes.at(number).failed += 1
        return True

    def _too_late(self, number: int) -> bool:
        return self.judged is not None and number <= self.judged - self._minutes.keep

    # Judging.

    def judge(self, last: int, loud_from: int) -> list[Alert]:
        """Judge the minutes up to ``last`` that are not judged yet.

        :param loud_from: the first minute that may raise or resolve alerts; those before it are
            only learned from.
        :returns: alerts that were raised or resolved, in their order.
        """
        changes: list[Alert] = []
        if self.judged is None:
            first = min(self._minutes.counts, default=None)
            if first is None or last < first:
                return changes
            self.judged = first - 1
        if last <= self.judged:
            return changes
        self._clock_changed = True
        self.judged = max(self.judged, last - LONGEST_GAP)
        while self.judged < last:
            self.judged += 1
            minute = self._minutes.counts.get(self.judged)
            if minute is not None and minute.events:
                self._last_event = self.judged
            if self.judged >= loud_from:
                taken = (self._lives.take(each, self.judged) for each in self._findings())
                changes += [alert for alert in taken if alert is not None]
            self._learn()
            if self.judged % 60 == 0:
                self._forget()
        self._forget()
        return changes

    def judge_lags(self, lag_of: Mapping[str, int], minute: int) -> list[Alert]:
        """Judge the stages' lags; by the wall clock, once a minute."""
        findings = rules.lags(self._spec.rules.lag, lag_of)
        taken = [self._lives.take(finding, minute) for finding in findings]
        return [alert for alert in taken if alert is not None]

    def open_alerts(self) -> list[Alert]:
        """The alerts that are firing."""
        return self._lives.open_alerts()

    def _findings(self) -> Iterator[Finding]:
        minute, of = self.judged, self._spec.rules
        assert minute is not None
        if of.no_events.enabled and self._last_event is not None:
            silence = rules.no_events(of.no_events, self._last_event, minute)
            if silence.judgement == "beyond":
                self._silent_until = minute
            yield silence
        if of.failed_share.enabled:
            yield rules.failed_share(of.failed_share, self._minutes, minute)
        if of.failed_events.enabled:
            yield rules.failed_events(of.failed_events, self._minutes, minute)
        for name, (series, rule) in self._seasonal.items():
            finding = rules.seasonal(rule, series, self._profiles[name], self._minutes, minute)
            if finding is not None and not self._explained(finding, minute):
                yield finding

    def _explained(self, finding: Finding, minute: int) -> bool:
        """Whether it is only the silence that has an alert of its own already."""
        return (
            finding.judgement == "beyond"
            and finding.value < (finding.expected or 0)
            and minute - finding.window < self._silent_until
            and not self._lives.is_open(finding.rule, finding.series)
        )

    def _learn(self) -> None:
        assert self.judged is not None
        last = self.judged - LEARN_AFTER
        if self._last_event is None:
            return  # before its first event a pipeline was not there: no zeros are learned
        for name, (series, _) in self._seasonal.items():
            for window, profile in self._profiles[name].items():
                if (last + 1) % profile.step == 0:
                    slot = profile.learn(last, self._minutes.sum(series, last, window))
                    self._learned.add((name, window, slot))

    def _forget(self) -> None:
        assert self.judged is not None
        self._minutes.forget(self.judged - self._minutes.keep + 1)
        self._lives.forget_idle()

    # The state: entries by key, each of which holds its key, for compacted topics.

    def changes(self) -> list[tuple[str, bytes | None]]:
        """The entries that changed since the last call; None where one is to be deleted."""
        made: list[tuple[str, bytes | None]] = []

        def entry(key: str, value: Any) -> None:
            made.append((key, None if value is None else _encode([key, value])))

        for number in sorted(self._minutes.changed):
            minute = self._minutes.counts.get(number)
            entry(f"minute/{number}", minute and minute.fields())
        for rule, series in sorted(self._lives.changed):
            entry(f"life/{rule}/{series}", self._lives.lives.get((rule, series)))
        for name, window, slot in sorted(self._learned):
            entry(f"profile/{name}/{window}/{slot}", self._profiles[name][window].slots[slot])
        for name, window in sorted({(name, window) for name, window, _ in self._learned}):
            profile = self._profiles[name][window]
            entry(f"recent/{name}/{window}", [list(profile.residuals), list(profile.ratios)])
        if self._clock_changed:
            entry("clock", [self.judged, self._last_event, self._silent_until])
        self._learned.clear()
        self._minutes.changed.clear()
        self._lives.changed.clear()
        self._clock_changed = False
        return made

    def restore(self, raw: bytes) -> bool:
        """Take an entry over that was written before.

        :returns: False where it is of something that is no longer watched, or not of this state.
        """
        key, value = _decode(raw)
        kind, _, rest = key.partition("/")
        if kind == "minute":
            self._minutes.counts[int(rest)] = Minute(*value)
        elif kind == "clock":
            self.judged, self._last_event, self._silent_until = value
        elif kind == "life":
            rule, _, series = rest.partition("/")
            self._lives.lives[rule, series] = msgspec.convert(value, Life)
        elif kind == "profile":
            name, window, slot = rest.rsplit("/", 2)
            if (profile := self._profiles.get(name, {}).get(int(window))) is None:
                return False
            profile.restore(int(slot), value)
        elif kind == "recent":
            name, _, window = rest.rpartition("/")
            if (profile := self._profiles.get(name, {}).get(int(window))) is None:
                return False
            profile.restore_recent(*value)
        else:
            return False
        return True
