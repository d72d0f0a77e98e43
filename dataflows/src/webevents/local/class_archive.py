"""An archive of loaded classes (AppCDS) for each server, which makes its next starts faster.

The JVM writes it at the end of the first run; it is renamed into place only after a clean end, so
that a half-written one is never used. A JVM ignores an archive that does not fit it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

from webevents.local.java import Jdk

_numbers = itertools.count()


class ClassArchive:
    """The archive of one server, for one Java and one set of jars.

    :param cache: the cache's folder
    :param server: the server's name
    :param jdk: the Java that runs it
    :param jars: a short name for its jars
    """

    def __init__(self, cache: Path, server: str, jdk: Jdk, jars: str) -> None:
        name = f"{server.lower()}-{jars}-java{jdk.full_version}.jsa"
        self.path = cache / "classes" / name
        # Two servers of one process must not write the same file.
        self._made = self.path.with_name(f"{name}.{os.getpid()}.{next(_numbers)}.new")

    def flags(self) -> list[str]:
        """The JVM's flags: use the archive, or make it at the end of this run."""
        if self.path.exists():
            return [f"-XX:SharedArchiveFile={self.path}", "-Xshare:auto", "-Xlog:cds=off"]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._remove_left_overs()
        return [f"-XX:ArchiveClassesAtExit={self._made}", "-Xlog:cds=off"]

    def keep(self, *, clean_end: bool) -> None:
        """Take the archive that the run made, or throw it away.

        :param clean_end: whether the JVM ended when asked to, so that the archive is whole
        """
        with contextlib.suppress(FileNotFoundError):
            if clean_end and not self.path.exists():
                self._made.replace(self.path)
            else:
                self._made.unlink()

    def _remove_left_overs(self) -> None:
        """Files of runs that were killed while the JVM wrote them."""
        for path in self.path.parent.glob(f"{self.path.name}.*.new"):
            pid = int(path.name.split(".")[-3])
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                path.unlink(missing_ok=True)
            except PermissionError:  # another user's process: it is in use
                continue
