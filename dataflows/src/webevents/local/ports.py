"""Free TCP ports of this machine for servers that must know their port before they start."""

from __future__ import annotations

import errno
import socket
from threading import Lock
from typing import IO

from webevents.errors import UserError
from webevents.local.jars import cache_dir
from webevents.local.locks import hold

LOOPBACK = "127.0.0.1"

_given: set[int] = set()
_claims: list[IO[str]] = []
"""Locks on ports that are wanted by name, held for as long as this process lives."""
_lock = Lock()


def free_port() -> int:
    """A port of the loopback address that nothing listens on, never the same one twice.

    The kernel picks it (bind to port 0). Another program can still take it before the server
    binds it, so a caller tries again with another port when the server reports it as taken.

    :raises UserError: when no port can be bound at all
    """
    with _lock:
        for _ in range(100):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                try:
                    probe.bind((LOOPBACK, 0))
                except OSError as error:
                    raise UserError(
                        f"No free port on {LOOPBACK} ({error.strerror}): stop programs that hold "
                        "many connections, then try again."
                    ) from error
                port = int(probe.getsockname()[1])
            if port not in _given:
                _given.add(port)
                return port
    raise UserError(f"No free port on {LOOPBACK}: stop servers that are not needed, then retry.")


def require_free(port: int, server: str) -> int:
    """Check that a port that a person asked for can be bound.

    :param port: the port asked for (1 to 65535)
    :param server: the server that wants it, for the message
    :returns: the port
    :raises UserError: when it is out of range, taken, or not permitted
    """
    if not 1 <= port <= 65535:
        raise UserError(f"Port {port} for {server} is not a port: choose one from 1 to 65535.")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a stopped server that still linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                why = "is taken by another program: stop that program"
            else:
                why = f"cannot be used ({error.strerror})"
            raise UserError(
                f"Port {port} for {server} {why} or choose another port "
                "(without one, a free port is taken)."
            ) from error
    return port


def port_like(wanted: int) -> int:
    """The wanted port where it is free and not given to another server, else a free one.

    Nor is it given to two processes that choose at the same time, before either's server has
    bound it: it stays this process's until it ends.

    :raises UserError: when no port can be bound at all
    """
    with _lock:
        try:
            if wanted not in _given and _claim(require_free(wanted, "")):
                _given.add(wanted)
                return wanted
        except UserError:
            pass
    return free_port()


def _claim(port: int) -> bool:
    """Whether no other process has claimed the port; it is this one's then."""
    try:
        claim = hold(cache_dir() / "ports" / str(port))
    except OSError:
        return True  # nowhere to say it: who binds it first has it
    if claim is not None:
        _claims.append(claim)
    return claim is not None


def is_listening(port: int, *, timeout: float = 0.2) -> bool:
    """Whether something accepts connections on a loopback port.

    :param timeout: seconds to wait for the connection
    """
    try:
        socket.create_connection((LOOPBACK, port), timeout=timeout).close()
    except OSError:
        return False
    return True
