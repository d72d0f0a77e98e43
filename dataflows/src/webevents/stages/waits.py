"""How long messages take through a stage, measured by their own times."""

from collections import deque
from collections.abc import Sequence

from webevents.events.ledger import Waits

WINDOW_S = 10.0
"""Over how long it is told."""
KEPT = 20
"""Messages of a chunk that are looked at: those beside them came at about the same time."""


class WaitClock:
    """How long the messages of one partition took from being written until their commit."""

    def __init__(self) -> None:
        self._open: list[int] = []
        """Times of messages that are not yet committed."""
        self._done: deque[tuple[float, list[int]]] = deque()

    def add(self, timestamps: Sequence[int]) -> None:
        """Take the messages of a chunk.

        :param timestamps: their own times, in milliseconds since the epoch; none for a chunk
            that only moves the offset on.
        """
        self._open += timestamps[:: max(len(timestamps) - 1, 0) // KEPT + 1]

    def commit(self, now_ms: int, now: float) -> Waits | None:
        """Measure what is committed now.

        :param now_ms: the wall clock, in milliseconds since the epoch.
        :param now: the monotonic clock, in seconds.
        :returns: of all messages of the window; None where there are none.
        """
        if self._open:
            # A clock that is ahead of ours would make them arrive before they were sent.
            self._done.append((now, [max(now_ms - each, 0) for each in self._open]))
            self._open = []
        while self._done and self._done[0][0] < now - WINDOW_S:
            self._done.popleft()
        took = sorted(each for _, some in self._done for each in some)
        if not took:
            return None
        last = len(took) - 1
        return Waits(took[round(last * 0.5)], took[round(last * 0.99)])
