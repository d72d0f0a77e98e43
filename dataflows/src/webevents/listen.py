"""What servers of our own check before they listen."""

import contextlib
import resource
import socket

from webevents.errors import UserError


def check_port(host: str, port: int, setting: str) -> None:
    """See that a port is free: Granian shares one with whoever else has it, and would get every
    second request.

    :param setting: where another port can be set.
    :raises UserError: when it is taken or not permitted.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"cannot listen on {host} port {port} ({error.strerror}): stop the program that "
                f"has it, or choose another port ({setting})"
            ) from None


def allow_connections(wanted: int) -> None:
    """Raise the limit of open files as far as that is allowed: a connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + 1024
    if soft != resource.RLIM_INFINITY and soft < need:
        target = need if hard == resource.RLIM_INFINITY else min(need, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
