"""Pipelines that wait to be reconciled: each once, never two passes of one at a time."""

import asyncio
import heapq
import random
import time
from dataclasses import dataclass

from webevents_operator import metrics
from webevents_operator.names import Key

BACKOFF_S = 1.0
BACKOFF_LIMIT_S = 45.0
"""Longest pause before something that failed is tried again: less than a minute."""


@dataclass(frozen=True, slots=True)
class Item:
    """A pipeline whose turn it is."""

    key: Key
    poll: bool
    """Whether nothing is known to have changed: it is only time to look again."""


class Queue:
    """A work queue with delays and backoff, for one event loop."""

    def __init__(self) -> None:
        self._due: dict[Key, tuple[float, bool]] = {}
        self._heap: list[tuple[float, Key]] = []
        self._running: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()

    def add(self, key: Key, after: float = 0.0, *, poll: bool = False) -> None:
        """Have a pipeline's turn come in ``after`` seconds, or sooner if it was to come sooner."""
        due = time.monotonic() + after
        known = self._due.get(key)
        if known is not None:
            due, poll = min(due, known[0]), poll and known[1]
        self._due[key] = (due, poll)
        if known is None or due < known[0]:
            heapq.heappush(self._heap, (due, key))
            self._wake.set()
        metrics.QUEUE.set(len(self._due))

    def retry(self, key: Key) -> float:
        """Have a pipeline that failed come again, later each time; returns the pause in seconds."""
        failures = self._failures[key] = min(self._failures.get(key, 0) + 1, 20)
        pause = min(BACKOFF_LIMIT_S, BACKOFF_S * 2.0 ** (failures - 1)) * random.uniform(0.5, 1)
        self.add(key, pause)
        return pause

    def succeeded(self, key: Key) -> None:
        """The next failure is the first again."""
        self._failures.pop(key, None)

    async def get(self) -> Item:
        """Wait for the next pipeline whose turn it is; say :meth:`done` afterwards."""
        while True:
            now = time.monotonic()
            waiting: list[tuple[float, Key]] = []
            found = None
            while self._heap and self._heap[0][0] <= now and found is None:
                due, key = heapq.heappop(self._heap)
                current = self._due.get(key)
                if current is None or current[0] != due:
                    continue  # it came sooner, or was put off
                if key in self._running:
                    waiting.append((due, key))
                    continue
                found = Item(key, current[1])
            for entry in waiting:
                heapq.heappush(self._heap, entry)
            if found is not None:
                del self._due[found.key]
                self._running[found.key] = now
                metrics.QUEUE.set(len(self._due))
                return found
            self._wake.clear()
            idle = [due for due, key in self._heap if key not in self._running]
            pause = max(0.0, min(idle) - now) if idle else None
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """A pass over a pipeline has ended."""
        self._running.pop(key, None)
        if key in self._due:
            self._wake.set()

    def stuck(self, seconds: float) -> list[Key]:
        """Pipelines whose pass has been under way for longer."""
        now = time.monotonic()
        return [key for key, began in self._running.items() if now - began > seconds]
