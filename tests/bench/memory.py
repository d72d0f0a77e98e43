"""What an open session takes: bytes of memory, of its strings and of all else, by its events.

Usage: ``python tests/bench/memory.py [--sessions N] [--report FILE]``. The tracker gets the events
of visitors as the sessionize stage reads them; every case has a process of its own, and what
counts is by how much its memory grows (RSS), over the number of sessions.

``fresh``    all had an event within the last minute: all of each is at hand
``at rest``  visitors came over an hour, and none had an event in the last minute: packed
             (webevents.logic.sessions.chain)

Strings are the visitor's key and what the events say in words: each case is measured once more with
events that say nothing, and the key is taken off by its size.
"""

import gc
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
from measure import arguments, publish

from webevents.events.session import HEAD_FIELDS
from webevents.logic.sessions.totals import Entry
from webevents.logic.sessions.tracker import REST_US, PartitionSessions
from webevents.spec.stages import SessionsSpec

START_US = 1_750_000_000_000_000
STEP_US = 1_000_000
"""Between two events of a visitor."""
WAVES = 60
"""Of visitors, a minute apart each, where they come to rest."""
EVENTS = (1, 5, 20)
"""Of a session."""


def key_of(number: int) -> str:
    """A visitor, as long as a UUID."""
    return f"01234567-89ab-cdef-0123-{number:012d}"


def entries(visitors: range, at: int, turn: int, *, words: bool) -> Iterator[tuple[str, Entry]]:
    """An event of each visitor: a page view, referred to by a search engine."""
    head = (*("value",) * 8, *(None,) * (len(HEAD_FIELDS) - 8))
    for n in visitors:
        digest = hash((n, turn))  # 64 bits, as in the stage
        event_id = f"fedcba98-7654-3210-{turn:04d}-{n:012d}"
        page = f"https://shop.example/category-{n % 50}/product-{(n + turn) % 1000}"
        said = (event_id, digest, "pageview", page, "https://search.example/", None, None, None)
        quiet = ("", digest, "", "", "", None, None, None)
        yield key_of(n), Entry(at, *(said if words else quiet), 0, head if words else _QUIET)
        at += 1


_QUIET: Any = (None,) * len(HEAD_FIELDS)


def one(number: int, events: int, rest: bool, words: bool) -> None:
    """Measure a case in this process, and print the bytes of a session."""
    sessions = PartitionSessions("bench", SessionsSpec(), {})
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)  # as the stages' workers do
    process = psutil.Process()
    before = process.memory_info().rss
    at = START_US
    size = number // WAVES if rest else number
    for first in range(0, number, size):
        for turn in range(events):
            visitors = range(first, first + size)
            for key, entry in entries(visitors, at + turn * STEP_US, turn, words=words):
                sessions.add(key, entry, entry.time_us // 1000)
            sessions.commit(publish_open=False)
        at += REST_US + STEP_US
    for pause in range(3 if rest else 0):
        at += REST_US
        clock = Entry(at, "", pause, "", None, None, None, None, None, 0, _QUIET)
        sessions.add("clock", clock, at // 1000)
        sessions.commit(publish_open=False)
    gc.collect()
    print((process.memory_info().rss - before) / number)


def bytes_of(number: int, events: int, *, rest: bool, words: bool) -> float:
    """Measure a case in a process of its own."""
    given = [number, events, int(rest), int(words)]
    command = [sys.executable, __file__, "--one", *map(str, given)]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def measure(number: int) -> list[dict[str, Any]]:
    """All cases."""
    found = []
    for events in EVENTS:
        for rest in (True, False):
            whole = bytes_of(number, events, rest=rest, words=True)
            bare = bytes_of(number, events, rest=rest, words=False) - sys.getsizeof(key_of(0))
            state = "at rest" if rest else "fresh"
            found.append({"events": events, "state": state, "whole": whole, "bare": bare})
            print(f"{events:>3} events  {state:8} {whole:,.0f} B, {bare:,.0f} without strings",
                  flush=True)  # fmt: skip
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The figures as a table in Markdown."""
    lines = ["| bytes of an open session | events | whole | without its strings |",
             "|---|---|---|---|"]  # fmt: skip
    for case in found:
        cells = (case["state"], case["events"], *(f"{case[c]:,.0f}" for c in ("whole", "bare")))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--one"]:
        number, events, rest, words = map(int, sys.argv[2:])
        one(number, events, bool(rest), bool(words))
        return
    asked = arguments(__doc__, sessions=120_000).parse_args()
    found = measure(asked.sessions)
    publish(table(found), found, asked.report)


if __name__ == "__main__":
    main()
