"""Stopping a process when it is asked to."""

import signal
import time
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What asks a process to stop."""


class Stop:
    """Set by SIGTERM and SIGINT; callable as "should we stop?"."""

    def __init__(self) -> None:
        self._asked_at: float | None = None

    def install(self) -> None:
        """Take the two signals over; call it in the main thread.

        One that came while the process was starting is taken up now, where whoever started it has
        had them held back (see ``webevents.local.process``).
        """
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.ask()

    def ask(self) -> None:
        """Ask to stop, as a signal does."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()

    def __call__(self) -> bool:
        return self._asked_at is not None

    @property
    def seconds(self) -> float:
        """How long ago it was asked for; 0 where it was not."""
        return 0.0 if self._asked_at is None else time.monotonic() - self._asked_at
