"""Start several local servers at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol

from webevents.local.jars import Say, ensure_jars
from webevents.local.java import find_jdk


class Server(Protocol):
    """A server of this machine: one of :class:`~webevents.local.server.LocalServer` or the like."""

    @property
    def name(self) -> str:
        """How people call it."""

    @property
    def port(self) -> int:
        """Where it listens, once started."""

    def start(self) -> object:
        """Start it and wait until it answers.

        :raises UserError: with the mend
        """

    def stop(self) -> None:
        """Stop it; nothing happens when it does not run."""


def start_servers(*servers: Server, say: Say | None = None, cache: Path | None = None) -> None:
    """Start servers in parallel; when one fails, the others are stopped and its error is raised.

    :param servers: not started yet; none is in order
    :param say: receives lines of progress
    :param cache: the folder of jars, by default the user's cache
    :raises UserError: no JDK, no jars, a taken port, a failed start: with the mend
    """
    if not servers:
        return
    say = say or (lambda _line: None)
    if jar_sets := [name for server in servers for name in getattr(server, "jar_sets", ())]:
        find_jdk()  # before a long download
        ensure_jars(*jar_sets, cache=cache, say=say)

    def start(server: Server) -> None:
        begin = time.monotonic()
        server.start()
        say(f"{server.name} is ready on port {server.port} ({time.monotonic() - begin:.1f} s)")

    names = [server.name for server in servers]
    say(f"Starting {' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))} …")
    try:
        with ThreadPoolExecutor(len(servers)) as pool:
            jobs = [pool.submit(start, server) for server in servers]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                # Ends the starts that are still waiting for their server.
                for server in servers:
                    server.stop()
                raise
    except BaseException:
        stop_servers(*servers)  # one that was spawned just then
        raise


def stop_servers(*servers: Server) -> None:
    """Stop servers in parallel; those that do not run are passed over."""
    with ThreadPoolExecutor(max(1, len(servers))) as pool:
        for job in [pool.submit(server.stop) for server in servers]:
            job.result()
