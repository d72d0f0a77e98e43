"""Pipelines that wait to be reconciled: each once, never two passes of one at a time."""

import asyncio
import heapq
import random
import time
from collections import deque
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
    """A work queue with delays and backoff, for one event loop.

    A thousand pipelines wait here most of the time: one timer waits for the first of them, and one
    worker wakes for each whose turn has come.
    """

    def __init__(self) -> None:
        self._due: dict[Key, tuple[float, bool]] = {}
        self._heap: list[tuple[float, Key]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ready: deque[Key] = deque()
        """Whose turn has come; ``_turns`` counts them."""
        self._turns = asyncio.Semaphore(0)
        self._held: set[Key] = set()
        """Whose turn has come while a pass over it is under way."""
        self._running: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key, after: float = 0.0, *, poll: bool = False) -> None:
        """Have a pipeline's turn come in ``after`` seconds, or sooner if it was to come sooner."""
        due = time.monotonic() + after
        known = self._due.get(key)
        if known is not None:
            due, poll = min(due, known[0]), poll and known[1]
        self._due[key] = (due, poll)
        if known is None or due < known[0]:
            heapq.heappush(self._heap, (due, key))
            if self._heap[0] == (due, key):
                self._advance()
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
        await self._turns.acquire()
        key = self._ready.popleft()
        _, poll = self._due.pop(key)
        self._running[key] = time.monotonic()
        metrics.QUEUE.set(len(self._due))
        return Item(key, poll)

    def done(self, key: Key) -> None:
        """A pass over a pipeline has ended."""
        self._running.pop(key, None)
        if key in self._held:
            self._held.discard(key)
            self._offer(key)

    def _advance(self) -> None:
        """Offer all whose turn has come, and wait for the next."""
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            if self._due.get(key, (None, False))[0] != due:
                continue  # it came sooner
            if key in self._running:
                self._held.add(key)
            else:
                self._offer(key)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            loop = asyncio.get_running_loop()
            pause = max(0.0, self._heap[0][0] - now)
            self._timer = loop.call_later(pause, self._advance)

    def _offer(self, key: Key) -> None:
        self._ready.append(key)
        self._turns.release()

    def stuck(self, seconds: float) -> list[Key]:
        """Pipelines whose pass has been under way for longer."""
        now = time.monotonic()
        return [key for key, began in self._running.items() if now - began > seconds]
