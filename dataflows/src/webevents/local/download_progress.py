"""Progress of downloads: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_MB = 1_000_000


class DownloadProgress(Protocol):
    """What a download reports; called from several threads."""

    def advance(self, count: int) -> None:
        """Some bytes have come; negative when a failed try is begun again."""

    def file_done(self) -> None:
        """One file is complete."""


@contextmanager
def download_progress(
    total: int, files: int, say: Callable[[str], None] | None, console: Console | None = None
) -> Iterator[DownloadProgress]:
    """Show a download's progress while the block runs.

    :param total: bytes to come
    :param files: number of files
    :param say: receives plain lines where the console is no terminal
    :param console: standard error by default
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(total, files, say)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress, total, files)


class _Bar:
    def __init__(self, progress: Progress, total: int, files: int) -> None:
        self._progress = progress
        self._task = progress.add_task(f"Fetching {files} jars", total=total)

    def advance(self, count: int) -> None:
        self._progress.advance(self._task, count)

    def file_done(self) -> None:
        """The bar shows bytes."""


class _Lines:
    """A line at the start and for every quarter."""

    def __init__(self, total: int, files: int, say: Callable[[str], None] | None) -> None:
        self._say = say or (lambda _line: None)
        self._total, self._files = total, files
        self._bytes = self._done = self._quarter = 0
        self._lock = Lock()
        self._say(f"Fetching {files} jars ({total / _MB:.0f} MB) …")

    def advance(self, count: int) -> None:
        with self._lock:
            self._bytes += count
            quarter = 4 * self._bytes // self._total
            if self._quarter < quarter < 4:
                self._quarter = quarter
                self._say(f"  {25 * quarter}% of {self._total / _MB:.0f} MB")

    def file_done(self) -> None:
        with self._lock:
            self._done += 1
            if self._done == self._files:
                self._say(f"Fetched {self._files} jars.")
