"""What goes on in a thread of its own while the page is up."""

import threading
from abc import ABC, abstractmethod

CLOSE_WAIT_S = 10.0


class Background(ABC):
    """Something that runs until it is closed.

    :param name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def _run(self) -> None:
        """Work until ``_closed`` is set."""

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def close(self) -> None:
        """Stop it."""
        self._closed.set()
        self._thread.join(CLOSE_WAIT_S)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._thread.is_alive()
