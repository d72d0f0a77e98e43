"""Run a command as another user, for servers that refuse to run as root.

Used as a script, by path: ``python run_as.py UID GID COMMAND...`` replaces itself with the command.
Standard library only, as in ``parent_guard.py``.

The command keeps one right of root, where this process has it: to read and write files whatever
their permissions (CAP_DAC_OVERRIDE, as an ambient capability; capabilities(7)). So it finds its
programs and its data below root's own folders, and no permission has to be loosened.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def main(argv: list[str]) -> None:
    """Become the user, then the command."""
    uid, gid, command = int(argv[0]), int(argv[1]), argv[2:]
    parent = os.getppid()
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True) if linux else None
    if libc is not None:
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if libc is not None:
        _keep_file_access(libc)
        # A change of the user clears what parent_guard.py has set (prctl(2)).
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(f"The parent process {parent} has ended.")
    try:
        os.execvp(command[0], command)  # noqa: S606 - the caller's own command
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def _keep_file_access(libc: Any) -> None:
    """Keep CAP_DAC_OVERRIDE and no other; without it where it is not ours to keep."""
    bit = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable, for capabilities 0 to 31, then for those above.
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if libc.capset(header, sets) == 0:
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)
    else:
        libc.capset(header, (ctypes.c_uint32 * 6)())


if __name__ == "__main__":
    main(sys.argv[1:])
