"""Keeps the run's own servers alive: one that ends by itself is started again, with its data."""

import threading
import time
from collections.abc import Sequence

from webevents.errors import UserError
from webevents.local.jars import Say
from webevents.local.server import LocalServer

PAUSE_S = 5.0
"""Between a start that failed and the next try."""


class ServerKeeper:
    """Starts servers again, each in a thread, so that nobody waits for a start.

    :param servers: those that the run has started.
    """

    def __init__(self, servers: Sequence[LocalServer]) -> None:
        self._servers = list(servers)
        self._starting: dict[LocalServer, threading.Thread] = {}
        self._closed = threading.Event()
        self.lost: list[str] = []
        """What went with a server that keeps its data in memory, for people."""

    def keep_alive(self, say: Say) -> None:
        """Begin to start again what has ended; returns at once.

        :param say: receives lines of what happens.
        """
        for server in self._servers:
            thread = self._starting.get(server)
            if server.alive or (thread is not None and thread.is_alive()):
                continue
            say(f"{server.name} ended; starting it again")
            if not server.durable:
                self.lost.append(
                    f"{server.name} ended, and with it what it kept in memory: name a store that "
                    "lasts, and run again"
                )
            server.kill()  # lets go of what the dead process held
            thread = threading.Thread(
                target=self._start, args=(server, say), name=f"start {server.name}", daemon=True
            )
            self._starting[server] = thread
            thread.start()

    def close(self) -> None:
        """End the starts that are under way; the servers themselves are left to whoever made
        them."""
        self._closed.set()
        for server in self._servers:
            thread = self._starting.get(server)
            while thread is not None and thread.is_alive():
                server.stop()  # ends a start that waits
                thread.join(0.2)

    def _start(self, server: LocalServer, say: Say) -> None:
        began = time.monotonic()
        while not self._closed.is_set():
            try:
                server.start()
            except UserError as error:
                if self._closed.is_set():
                    return
                say(f"{server.name}: {str(error).splitlines()[0]}")
                self._closed.wait(PAUSE_S)
            else:
                say(
                    f"{server.name} is ready again on port {server.port} "
                    f"({time.monotonic() - began:.1f} s)"
                )
                return
