"""Start several embedded servers at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from webevents.local.embedded import EmbeddedServer
from webevents.local.jars import Say, ensure_jars
from webevents.local.java import find_jdk


def start_servers(
    *servers: EmbeddedServer, say: Say | None = None, cache: Path | None = None
) -> None:
    """Start servers in parallel; when one fails, the others are stopped and its error is raised.

    :param servers: not started yet; none is in order
    :param say: receives lines of progress
    :param cache: the folder of jars, by default the user's cache
    :raises UserError: no JDK, no jars, a taken port, a failed start: with the mend
    """
    if not servers:
        return
    say = say or (lambda _line: None)
    find_jdk()  # before a long download
    ensure_jars(*(name for server in servers for name in server.jar_sets), cache=cache, say=say)

    def start(server: EmbeddedServer) -> None:
        begin = time.monotonic()
        server.start()
        say(f"{server.name} is ready on port {server.port} ({time.monotonic() - begin:.1f} s)")

    say(f"Starting {' and '.join(server.name for server in servers)} …")
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


def stop_servers(*servers: EmbeddedServer) -> None:
    """Stop servers in parallel; those that do not run are passed over."""
    with ThreadPoolExecutor(max(1, len(servers))) as pool:
        for job in [pool.submit(server.stop) for server in servers]:
            job.result()
