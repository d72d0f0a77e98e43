"""Sessions without Kafka: the tracker against Bytewax's session windows and simpler state.

Usage: ``python tests/bench/sessions.py [--rounds N] [--scale F] [--report FILE]``; the scale is
that of keys and events. Visitors have
an event every 10 minutes on average, 30% of them up to 5 minutes out of order, and sessions end
after 30 minutes without one. Each variant runs in a process of its own; rounds are interleaved.

``tracker``                the project's; commits every 10,000 events
``fold_window``            Bytewax's SessionWindower and EventClock, the same totals and records
``fold_window, counts``    the same, but only start, end and number of events
``stateful_batch, counts`` a list of sessions per key, as Bytewax's documentation keeps state
``dictionary, counts``     a plain dictionary: a floor, not a service

"replay" is the same stream, years old. What counts is the process's CPU time while it works, and
how much its memory grew. Only the tracker also makes the state that a restart needs, at every
commit. All must find the same sessions: where the times are fixed ("replay"), a difference ends
the measurement.
"""

import gc
import hashlib
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from measure import Spread, arguments, publish

GAP_US = 30 * 60 * 1_000_000
CHUNK = 1000
Event = tuple[str, int]
Session = tuple[str, int, int, int]

CASES: dict[str, tuple[int, int, bool]] = {
    # name: keys, events, replay of old data
    "10k keys": (10_000, 300_000, False),
    "100k keys": (100_000, 600_000, False),
    "100k keys, replay": (100_000, 600_000, True),
}
SLOW = {"fold_window": 0.2, "fold_window, counts": 0.2}
"""The share of the events that slow variants get."""


def stream(keys: int, number: int, *, replay: bool) -> list[Event]:
    """Events of visitors; the newest is now, or in 2020."""
    rng = random.Random(7)
    span_us = int(number / (keys / 600) * 1e6)
    newest = datetime(2020, 7, 5, 14, tzinfo=UTC) if replay else datetime.now(UTC)
    start = int(newest.timestamp() * 1e6) - span_us
    made = []
    for n in range(number):
        at = start + n * span_us // number
        if rng.random() < 0.3:
            at -= rng.randrange(300_000_000)
        made.append((f"visitor-{rng.randrange(keys):06d}", at))
    return made


def entries(events: list[Event]) -> list[tuple[str, Any]]:
    """The events as the sessionize stage has read them: of five types, on a hundred pages."""
    from webevents.events.session import HEAD_FIELDS
    from webevents.logic.sessions.totals import Entry

    head = (None,) * len(HEAD_FIELDS)
    types, pages = [f"type-{n}" for n in range(5)], [f"/page-{n}" for n in range(100)]
    return [
        (
            key,
            Entry(at, str(n), n, types[n % 5], pages[n * 7 % 100], None, None, None, None, 0, head),
        )
        for n, (key, at) in enumerate(events)
    ]


def tracker(events: list[tuple[str, Any]]) -> list[bytes]:
    """The project's sessions of one partition."""
    from webevents.logic.sessions.tracker import PartitionSessions
    from webevents.spec.stages import SessionsSpec

    sessions = PartitionSessions("bench", SessionsSpec(), {})
    records: list[bytes] = []
    for n, (key, entry) in enumerate(events):
        sessions.add(key, entry, entry.time_us // 1000)
        if n % 10_000 == 9_999:
            records += [record for _, record in sessions.commit(publish_open=False).sessions]
    sessions.idle(2 * GAP_US)
    records += [record for _, record in sessions.commit(publish_open=True).sessions]
    return records


def from_records(records: list[bytes]) -> Iterator[Any]:
    """What holds in the end: the highest version of each session, without the version."""
    import msgspec

    newest: dict[str, dict[str, Any]] = {}
    for raw in records:
        record = msgspec.json.decode(raw)
        if record["version"] >= newest.get(record["session_id"], record)["version"]:
            newest[record["session_id"]] = record
    for record in newest.values():
        if not record.get("retracted"):
            del record["version"]
            yield sorted((name, str(value)) for name, value in record.items())


def fold(windows: list[list[int]], at: int) -> None:
    """Put an event into the sessions of a key, [start, end, events] each."""
    near = [w for w in windows if w[0] - GAP_US <= at <= w[1] + GAP_US]
    if not near:
        windows.append([at, at, 1])
        return
    first = near[0]
    for other in near[1:]:
        windows.remove(other)
        first[:] = min(first[0], other[0]), max(first[1], other[1]), first[2] + other[2]
    first[:] = min(first[0], at), max(first[1], at), first[2] + 1


def dictionary(events: list[Event]) -> list[Session]:
    """A dictionary of lists."""
    state: dict[str, list[list[int]]] = {}
    for key, at in events:
        fold(state.setdefault(key, []), at)
    return [
        (key, start, end, count) for key, windows in state.items() for start, end, count in windows
    ]


def _bytewax(events: list[Any], build: Callable[..., object]) -> list[Any]:
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    out: list[Any] = []
    flow = Dataflow("bench")
    source = op.input("read", flow, TestingSource(events, batch_size=CHUNK))
    op.output("write", build(source), TestingSink(out))
    run_main(flow)
    return out


def stateful_batch(events: list[Event]) -> list[Session]:
    """State by key in Bytewax."""
    import bytewax.operators as op
    from bytewax.operators import StatefulBatchLogic

    class Windows(StatefulBatchLogic):
        def __init__(self, state: object) -> None:
            self.windows: list[list[int]] = []

        def on_batch(self, values: list[int]) -> tuple[list[tuple[int, ...]], bool]:
            for at in values:
                fold(self.windows, at)
            return [], False

        def on_eof(self) -> tuple[list[tuple[int, ...]], bool]:
            return [tuple(window) for window in self.windows], True

        def snapshot(self) -> object:
            return self.windows

    def build(source: object) -> object:
        made = op.stateful_batch("sessions", source, Windows)
        return op.map("flat", made, lambda found: (found[0], *found[1]))

    return _bytewax(events, build)


def _windows(
    events: list[Any], at: Callable[[Any], int], folder: Any, merger: Any, made: Any
) -> list[Any]:
    import bytewax.operators as op
    from bytewax.operators import windowing as win

    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    gap = timedelta(microseconds=GAP_US)

    def build(source: object) -> object:
        clock = win.EventClock(
            lambda value: epoch + timedelta(microseconds=at(value)), timedelta(hours=1)
        )
        found = win.fold_window("sessions", source, clock, win.SessionWindower(gap),
                                lambda: None, folder, merger)  # fmt: skip
        return op.map("made", found.down, lambda one: made(one[0], one[1][1]))

    return _bytewax(events, build)


def fold_window_counts(events: list[Event]) -> list[Session]:
    """Bytewax's own session windows: start, end and number of events."""

    def folder(window: tuple[int, int, int] | None, at: int) -> tuple[int, int, int]:
        return (
            (at, at, 1)
            if window is None
            else (min(window[0], at), max(window[1], at), window[2] + 1)
        )

    def merger(one: Any, other: Any) -> Any:
        if one is None or other is None:
            return one or other
        return (min(one[0], other[0]), max(one[1], other[1]), one[2] + other[2])

    return _windows(events, lambda at: at, folder, merger, lambda key, window: (key, *window))


def fold_window(events: list[tuple[str, Any]]) -> list[bytes]:
    """Bytewax's own session windows with the project's totals and records."""
    from webevents.logic.sessions.record import session_record
    from webevents.logic.sessions.totals import Totals
    from webevents.spec.stages import SessionsSpec

    spec = SessionsSpec()
    cell_us = int(spec.max_length.total_seconds() * 1e6)

    def folder(totals: Totals | None, entry: Any) -> Totals:
        if totals is None:
            return Totals.of(entry.time_us // cell_us, 1, entry)
        totals.add(entry, spec.max_values)
        return totals

    def merger(one: Totals | None, other: Totals | None) -> Totals | None:
        if one is None or other is None:
            return one or other
        one.merge(other, spec.max_values)
        return one

    def made(key: str, totals: Totals) -> bytes:
        return session_record("bench", key, totals, 1, False, spec)

    return _windows(events, lambda entry: entry.time_us, folder, merger, made)


VARIANTS: dict[str, tuple[Callable[..., list[Any]], bool]] = {
    # name: (function, whether it makes the whole records)
    "tracker": (tracker, True),
    "fold_window": (fold_window, True),
    "fold_window, counts": (fold_window_counts, False),
    "stateful_batch, counts": (stateful_batch, False),
    "dictionary, counts": (dictionary, False),
}


def one(variant: str, keys: int, number: int, replay: bool) -> None:
    """Run a variant in this process and print its figures as JSON."""
    function, whole = VARIANTS[variant]
    events: list[Any] = stream(keys, number, replay=replay)
    if whole:
        events = entries(events)
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)  # as the stages' workers do
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    made = function(events)
    cpu = time.process_time() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sessions = sorted(from_records(made) if whole else made)
    digest = hashlib.sha256(repr(sessions).encode()).hexdigest()
    print(json.dumps({"rate": number / cpu, "mb": grown / 1024, "digest": digest,
                      "sessions": len(sessions)}))  # fmt: skip


def run(variant: str, keys: int, number: int, replay: bool) -> dict[str, Any]:
    """Run a variant in a process of its own."""
    command = [sys.executable, __file__, "--one", variant, str(keys), str(number), str(int(replay))]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def measure(rounds: int, scale: float) -> dict[str, dict[str, dict[str, list[float]]]]:
    """All variants and cases, in interleaved rounds.

    :raises AssertionError: when two variants find other sessions in the same events.
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = {case: {} for case in CASES}
    for turn in range(rounds):
        for case, (keys, events, replay) in CASES.items():
            digests: dict[tuple[int, bool], str] = {}
            for variant, (_, whole) in VARIANTS.items():
                number = int(events * scale * SLOW.get(variant, 1))
                told = run(variant, int(keys * scale), number, replay)
                if replay:  # the same times in every process, so the same sessions must be found
                    kind = (number, whole)
                    if kind not in digests and variant in SLOW:
                        exact = "tracker" if whole else "dictionary, counts"
                        digests[kind] = run(exact, int(keys * scale), number, replay)["digest"]
                    assert digests.setdefault(kind, told["digest"]) == told["digest"], variant
                figures = found[case].setdefault(variant, {"rate": [], "mb": []})
                figures["rate"].append(told["rate"])
                figures["mb"].append(told["mb"])
                told_rate = f"{told['rate']:>12,.0f} events/s of CPU  {told['mb']:,.0f} MB"
                print(f"round {turn + 1}/{rounds}  {case:18} {variant:22} {told_rate}", flush=True)
    return found


def table(found: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """Thousands of events per CPU second as a table in Markdown: min / **median** / max."""
    lines = [f"| thousand events per CPU second | {' | '.join(VARIANTS)} | tracker / fold_window |",
             "|---|" + "---|" * (len(VARIANTS) + 1)]  # fmt: skip
    for case, variants in found.items():
        rates = {name: Spread(tuple(v / 1000 for v in variants[name]["rate"])) for name in VARIANTS}
        ratio = rates["tracker"].median / rates["fold_window"].median
        lines.append(f"| {case} | {' | '.join(map(str, rates.values()))} | {ratio:,.0f}× |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "1")
        return
    asked = arguments(__doc__, rounds=3, scale=1.0).parse_args()
    found = measure(asked.rounds, asked.scale)
    publish(table(found), found, asked.report)


if __name__ == "__main__":
    main()
