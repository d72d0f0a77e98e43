"""Locks between processes that the kernel frees when their holder ends, however it ends."""

import fcntl
from pathlib import Path
from typing import IO


def hold(path: Path) -> IO[str] | None:
    """Lock a file, which is made where it is absent.

    :returns: the open file, whose closing gives the lock back; None where another holds it.
    :raises OSError: when the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
