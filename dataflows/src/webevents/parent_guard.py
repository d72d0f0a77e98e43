"""Run a command that must not outlive the process that asked for it.

Used as a script, by path: ``python parent_guard.py PARENT_PID COMMAND...`` replaces itself with
the command. Standard library only, so that it starts in some 20 ms and needs no package path.

Linux only: the kernel sends SIGKILL when the parent dies (prctl(2), PR_SET_PDEATHSIG), which
survives execve(2). A wrapper is used rather than ``preexec_fn`` because Python code between fork
and exec can deadlock in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(argv: list[str]) -> None:
    """Tie this process to its parent, then become the command."""
    parent, command = int(argv[0]), argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died before prctl took effect.
    if os.getppid() != parent:
        sys.exit(f"The parent process {parent} has ended.")
    try:
        os.execvp(command[0], command)  # noqa: S606 - the caller's own command
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
