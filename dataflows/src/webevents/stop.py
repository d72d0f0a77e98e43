"""Stopping a process when it is asked to."""

import signal
from types import FrameType


class Stop:
    """Set by SIGTERM and SIGINT; callable as "should we stop?"."""

    def __init__(self) -> None:
        self._asked = False

    def install(self) -> None:
        """Take the two signals over; call it in the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def ask(self) -> None:
        """Ask to stop, as a signal does."""
        self._asked = True

    def __call__(self) -> bool:
        return self._asked
