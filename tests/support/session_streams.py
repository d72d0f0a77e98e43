"""Streams of events for sessions, and a partition that reads them with commits and crashes."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from hypothesis import strategies as st
from reference_sessions import time_text

from webevents.logic.sessions.record import entry_reader
from webevents.logic.sessions.tracker import PartitionSessions
from webevents.spec.analytics import AnalyticsSpec
from webevents.spec.stages import SessionsSpec

PIPELINE = "shop"
BASE = 1_699_999_200_000_000
"""A multiple of an hour, so that streams cross cuts of any maximum length used here."""
SECOND = 1_000_000

Message = tuple[bytes, int]
"""(value, record time in milliseconds)."""
Action = Literal["", "commit", "publish", "restart", "crash", "idle"]

SPECS = [
    SessionsSpec(gap=timedelta(seconds=gap), max_length=length, allowed_lateness=lateness)
    for gap, length, lateness in (
        (10, timedelta(seconds=30), timedelta(seconds=25)),
        (10, timedelta(seconds=10), timedelta(seconds=40)),
        (20, timedelta(seconds=45), timedelta(0)),
        (60, timedelta(hours=1), timedelta(minutes=10)),
        (120, timedelta(minutes=4), timedelta(minutes=7)),
    )
]


def message(us: int, event_id: str, record_ms: int | None = None, **fields: Any) -> Message:
    """A message of an event at a time; of the visitor ``ann`` unless told."""
    event = {
        "event_id": event_id,
        "event_timestamp": time_text(us),
        "event_type": "pageview",
        "user_domain_id": "ann",
        **fields,
    }
    ms = us // 1000 if record_ms is None else record_ms
    return json.dumps({k: v for k, v in event.items() if v is not None}).encode(), ms


def _some_event(us: int, number: int, record_ms: int) -> Message:
    """An event with a random choice of fields, the same for the same number."""
    chance = random.Random(number)

    def maybe(share: float, *values: Any) -> Any:
        return chance.choice(values) if chance.random() < share else None

    return message(
        us,
        f"e{chance.randrange(1_000_000)}",
        record_ms,
        user_domain_id=chance.choice(("ann",) * 6 + ("bob", "bob", None)),
        event_type=chance.choice(("pageview", "page_view", "click", "search", "purchase")),
        page_url=maybe(0.7, "https://a/1", "https://a/2", "https://a/3", ""),
        page_url_path=maybe(0.5, "/1", "/2"),
        referer_url=maybe(0.5, "https://g/", "https://b/", ""),
        product_id=maybe(0.3, "p1", "p2", 7, 0),
        search_query=maybe(0.3, "red", "green", "blue"),
        user_id=maybe(0.2, "u1", "u2", 5),
        revenue=maybe(0.1, 0.1, 0.07, 19.99, 1e13),
        price=maybe(0.5, 9.99, 1, 1e300),
        quantity=maybe(0.5, 2, 3),
        channel=maybe(0.5, "Direct", "Paid Search"),
        is_bot=maybe(0.3, True, False),
        host=maybe(0.5, "a", "b"),
    )


@st.composite
def streams(draw: st.DrawFn, spec: SessionsSpec, max_size: int = 50) -> list[Message]:
    """A partition's log: times near each other's gap, lateness and cuts; duplicates.

    Most events lie about a gap from the newest or from another one, so that chains grow, fall
    behind, are bridged and get longer than the maximum length.
    """
    gap, length, late = (
        span // timedelta(microseconds=1)
        for span in (spec.gap, spec.max_length, spec.allowed_lateness)
    )
    steps = [gap] * 5 + [gap // 2] * 3 + [2 * gap, length, late, gap + late, SECOND, 0]
    step = st.tuples(
        st.sampled_from(steps),
        st.sampled_from(["ahead", "ahead", "behind", "after one", "before one", "at a cut"]),
        st.sampled_from([0, 0, 1, -1]),
        st.integers(0, 1 << 30),
        st.integers(0, 19),
    )
    newest = BASE - draw(st.sampled_from([0, 1, gap, 2 * gap]))
    record_ms = newest // 1000
    made: list[Message] = []
    times = [newest]
    for distance, where, nudge, number, odds in draw(st.lists(step, max_size=max_size)):
        record_ms += number % 3
        if made and odds == 0:
            made.append((made[number % len(made)][0], record_ms))
            continue
        one = number % len(times) if where.endswith("one") else times.index(newest)
        us = times[one]
        us += -distance if where in ("behind", "before one") else distance
        if where == "at a cut":
            us = round(us / length) * length
        times.append(us + nudge)
        newest = max(newest, us + nudge)
        made.append(_some_event(us + nudge, number, record_ms))
    return made


def actions(length: int, *, idle: bool = False) -> st.SearchStrategy[list[Action]]:
    """What happens after each event."""
    some: list[Action] = ["", "", "", "commit", "publish", "restart", "crash"]
    if idle:
        some.append("idle")
    return st.lists(st.sampled_from(some), min_size=length, max_size=length)


@dataclass
class Partition:
    """A partition's owner, its compacted state, and what readers of the sessions have."""

    spec: SessionsSpec
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    state: dict[str, bytes] = field(default_factory=dict)
    note: dict[str, int] = field(default_factory=dict)
    readers: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    position: int = 0
    analytics: AnalyticsSpec | None = None
    published: list[dict[str, Any]] = field(default_factory=list)
    """All records in their order."""

    def __post_init__(self) -> None:
        self.read = entry_reader(self.spec, self.analytics)
        self.log: list[Message] = []
        self.offset = 0
        self._since_commit: Counter[str] = Counter()
        self._own()

    def _own(self) -> None:
        """Become the partition's owner: note and state as they are committed, nothing else."""
        self.sessions = PartitionSessions(PIPELINE, self.spec, dict(self.note), self.analytics)
        states = list(self.state.values())
        self.chance.shuffle(states)
        for state in states:
            self.sessions.restore(state)
        self._since_commit.clear()
        self.offset = self.position

    def run(self, log: Sequence[Message], what: Sequence[Action]) -> None:
        """Read messages; each is followed by an action, which happens once."""
        left = dict(enumerate(what, start=len(self.log)))
        self.log += log
        while self.offset < len(self.log):
            here = self.offset
            self._take(self.log[here])
            match left.pop(here, ""):
                case "commit":
                    self.commit(publish_open=False)
                case "publish":
                    self.commit(publish_open=True)
                case "restart":
                    self.commit(publish_open=False)
                    self._own()
                case "crash":
                    self._own()
                case "idle":
                    self.sessions.idle(self.chance.randrange(600) * SECOND)
                    self.commit(publish_open=self.chance.random() < 0.5)

    def _take(self, message: Message) -> None:
        raw, record_ms = message
        self.offset += 1
        key, entry = self.read(raw)
        reason = "no_session_key" if key is None else self.sessions.add(key, entry, record_ms)
        self._since_commit[reason or "accepted"] += 1

    def commit(self, *, publish_open: bool = True) -> list[dict[str, Any]]:
        """Commit, and have the readers see it; the records, in their order."""
        made = self.sessions.commit(publish_open=publish_open)
        records = [json.loads(value) for _, value in made.sessions]
        self.published += records
        for (key, _), record in zip(made.sessions, records, strict=True):
            assert key == record["session_key"]
            known = record["session_id"]
            assert record["version"] > self.versions.get(known, 0), "a version must grow"
            self.versions[known] = record["version"]
            if record.get("retracted"):
                assert self.readers.pop(known, None) is not None, "retracted what nobody knew"
            else:
                self.readers[known] = record
        for state_key, state in made.state:
            if state is None:
                assert self.state.pop(state_key, None) is not None, "a needless tombstone"
            else:
                self.state[state_key] = state
        assert len(self.state) == self.sessions.size
        self.note = self.sessions.note()
        self.position = self.offset
        self.counts += self._since_commit
        self._since_commit.clear()
        return records

    def pass_by(self) -> None:
        """Have stream time pass everything, by an event of another visitor far ahead."""
        newest = max(self.sessions.stream_us, BASE)
        far = newest + 100 * 24 * 3600 * SECOND
        self.run([message(far, "far", user_domain_id="zoe")], [])
        self.commit()


def without_version(records: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Records by id, without their version."""
    return {
        r["session_id"]: {name: value for name, value in r.items() if name != "version"}
        for r in records
    }
