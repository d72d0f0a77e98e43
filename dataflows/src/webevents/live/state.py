"""Everything that the page shows, kept up to date by the feed and by the watch."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from webevents import __version__
from webevents.connectors.kafka_observe import GroupView
from webevents.events.alert import Alert, decode_alert
from webevents.events.event import InvalidEvent
from webevents.live.failures import Failures
from webevents.live.places import Places
from webevents.live.rows import Rows, Seen
from webevents.live.sessions import OpenSessions
from webevents.live.settings import LiveSettings
from webevents.live.windows import OTHER, Rates, Seconds, SlidingCounter

CHART_SECONDS = 300
LOG_HELD = 2_000
"""Events that the log can be searched through."""
LOG_PUSHED = 25
MAX_TYPES = 8
MAX_PAGES = 10
MAX_ALERTS = 100
RECENT_MS = 30_000
"""A message that just came and is older than this has its time from somewhere else."""
STALE_S = 5.0
"""Figures older than this are said to be old: Kafka does not answer."""


class Message(NamedTuple):
    """One message of a topic."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    """Its own time."""
    value: bytes | None


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage's ledger."""

    name: str
    counts: dict[str, Any]
    lag: int
    records: int
    balanced: bool
    rate: float


class State:
    """The page's figures; the methods may be called from any thread.

    :param settings: the workload's.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._lock = threading.Lock()
        window = round(settings.live.window.total_seconds() * 1000)
        self.rows = Rows(settings.live, settings.key)
        self._window = window
        self._started_ms = _now_ms()
        self._in, self._out = Seconds(CHART_SECONDS), Seconds(CHART_SECONDS)
        self._types, self._pages = SlidingCounter(window), SlidingCounter(window)
        self._places = Places(window)
        self._sessions = OpenSessions(round(settings.gap.total_seconds() * 1000))
        self._failures = Failures(window, masked=self.rows.masked)
        self._alerts: dict[str, Alert] = {}
        self._log: deque[Seen] = deque(maxlen=LOG_HELD)
        self._stages: list[StageFigures] = []
        self._rates = Rates()
        self._looked: float | None = None
        self.skipped = 0
        self.unreadable = 0

    # The feed's.

    def take(self, messages: Iterable[Message], *, caught_up: bool) -> None:
        """Take messages in the order in which they came.

        :param caught_up: whether they came just now. Then one that says to be from another time
            (a replay can give messages any) counts as of now.
        """
        now = _now_ms()
        with self._lock:
            for message in messages:
                at = message.at_ms
                if caught_up and not now - RECENT_MS < at <= now:
                    at = now
                if message.topic == self._topics.raw:
                    self._in.add(at)
                elif message.value is not None:
                    try:
                        self._take(message, message.value, at, now)
                    except (InvalidEvent, msgspec.DecodeError, UnicodeDecodeError):
                        self.unreadable += 1

    def _take(self, message: Message, value: bytes, at: int, now: int) -> None:
        if message.topic == self._topics.enriched:
            event = self.rows.decode(value)
            self._out.add(at)
            self._types.add(event.event_type[:100], at, now)
            if page := self.rows.page(event):
                self._pages.add(page, at, now)
            self._places.add(event, at, now)
            self._log.append(Seen(at, message.partition, message.offset, event))
        elif message.topic == self._topics.sessions:
            self._sessions.add(value, message.at_ms)
        elif message.topic == self._topics.failed:
            self._failures.add(value, at, now)
        elif message.topic == self._topics.alerts:
            alert = decode_alert(value)
            self._alerts.pop(alert.alert_id, None)
            self._alerts[alert.alert_id] = alert
            if len(self._alerts) > MAX_ALERTS:
                self._forget_an_alert()

    def _forget_an_alert(self) -> None:
        resolved = (name for name, each in self._alerts.items() if each.status == "resolved")
        del self._alerts[next(resolved, next(iter(self._alerts)))]

    def skip(self, topic: str, count: int) -> None:
        """Know that the page could not keep up and left messages out."""
        with self._lock:
            if topic == self._topics.raw:
                self._in.add(_now_ms(), count)  # they are only counted anyway
            else:
                self.skipped += count

    # The watch's.

    def look(self, views: Mapping[str, GroupView]) -> None:
        """Take the ledgers of the stages, by their names."""
        now = time.monotonic()
        received = {name: view.counts().received for name, view in views.items()}
        with self._lock:
            rates = self._rates.add(now, received)
            self._looked = now
            self._stages = [
                StageFigures(
                    name,
                    view.counts().report(),
                    view.lag,
                    view.emitted,
                    all(ledger.counts.balanced for ledger in view.ledgers.values()),
                    rates[name],
                )
                for name, view in views.items()
            ]

    def kafka_problem(self) -> str | None:
        """Why the figures are old; None where they are not."""
        if self._looked is None:
            return "Kafka has not answered yet"
        age = time.monotonic() - self._looked
        return f"Kafka has not answered for {age:.0f} s" if age > STALE_S else None

    # The viewers'.

    def snapshot(self) -> dict[str, Any]:
        """All figures at this moment, as docs/live.md has them."""
        now = _now_ms()
        with self._lock:
            self._types.expire(now)
            self._pages.expire(now)
            return {
                "pipeline": self._settings.pipeline,
                "version": __version__,
                "at": now,
                "started": self._started_ms,
                "window_seconds": self._window // 1000,
                "kafka": self._kafka(),
                "totals": self._totals(),
                "rate": self._rate(now),
                "stages": [self._stage(each) for each in self._stages],
                "types": _top(self._types, MAX_TYPES),
                "pages": _top(self._pages, MAX_PAGES),
                "places": self._places.report(now),
                "sessions": self._sessions.report(now) if self._topics.sessions else None,
                "failed": self._failures.report(now),
                "alerts": self._alert_report() if self._topics.alerts else None,
                "log": [self.rows.row(each) for each in self._newest(LOG_PUSHED)],
                "masked": self.rows.masked,
                "skipped": self.skipped,
                "unreadable": self.unreadable,
            }

    def events(self, wanted: str = "", event_type: str = "", limit: int = 50) -> dict[str, Any]:
        """The newest events, newest first.

        :param wanted: text that one of a row's values must hold; upper and lower case are alike.
        :param event_type: the only type to tell of; all where empty.
        :param limit: how many at most.
        """
        needle = wanted.casefold()
        found: list[dict[str, Any]] = []
        with self._lock:
            for seen in reversed(self._log):
                if event_type and seen.event.event_type != event_type:
                    continue
                row = self.rows.row(seen)
                if needle and not any(needle in str(each).casefold() for each in row.values()):
                    continue
                found.append(row)
                if len(found) >= limit:
                    break
            return {"events": found, "searched": len(self._log)}

    def _newest(self, count: int) -> list[Seen]:
        return [self._log[-n] for n in range(1, min(count, len(self._log)) + 1)]

    def _kafka(self) -> dict[str, Any]:
        problem = self.kafka_problem()
        age = None if self._looked is None else round(time.monotonic() - self._looked, 1)
        return {"up": problem is None, "problem": problem, "age_seconds": age}

    def _totals(self) -> dict[str, int]:
        """Of the whole pipeline: what enrich read and delivered, and what failed anywhere."""
        enrich = next((each for each in self._stages if each.name == "enrich"), None)
        return {
            "in": enrich.counts["in"] if enrich else 0,
            "out": enrich.counts["out"] if enrich else 0,
            "failed": sum(each.counts["failed"] for each in self._stages),
            "dropped": sum(sum(each.counts["dropped"].values()) for each in self._stages),
            "lag": sum(each.lag for each in self._stages),
        }

    def _rate(self, now: int) -> dict[str, Any]:
        came, went = self._in.last(now), self._out.last(now)
        return {"end": now // 1000 * 1000, "now": sum(came[-5:]) / 5, "in": came, "out": went}

    @staticmethod
    def _stage(each: StageFigures) -> dict[str, Any]:
        return {
            "name": each.name,
            **each.counts,
            "lag": each.lag,
            "records": each.records,
            "balanced": each.balanced,
            "rate": round(each.rate, 1),
        }

    def _alert_report(self) -> dict[str, Any]:
        newest = list(reversed(self._alerts.values()))
        firing = [each for each in newest if each.status == "firing"]
        return {
            "firing": [msgspec.to_builtins(each) for each in firing[:20]],
            "firing_count": len(firing),
            "resolved": [msgspec.to_builtins(each) for each in newest if each.status == "resolved"][
                :5
            ],
        }


def _top(counter: SlidingCounter, count: int) -> dict[str, Any]:
    """The most frequent keys, with what all others have together."""
    total = counter.total.total()
    top = [(name, n) for name, n in counter.total.most_common(count + 1) if name != OTHER][:count]
    rest = total - sum(n for _, n in top)
    return {
        "total": total,
        "distinct": len(counter.total),
        "top": [{"name": name, "count": n} for name, n in top],
        "rest": rest,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
