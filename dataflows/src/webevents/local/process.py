"""Child processes that are watched while they start, stopped by their own id, and never left over.

:class:`ServerProcess` runs servers (Kafka, Elasticsearch) and workloads (stages) alike.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from webevents.stop import SIGNALS

_GUARD = Path(__file__).parents[1] / "parent_guard.py"
_POLL_SECONDS = 0.05


class ProcessFailedError(RuntimeError):
    """A process ended before it was ready, or was not ready in time.

    :param name: the process' name
    :param reason: what happened, without the name
    :param returncode: the exit code, None when it still ran
    :param log_tail: the last lines of its log
    """

    def __init__(self, name: str, reason: str, returncode: int | None, log_tail: str) -> None:
        self.name = name
        self.returncode = returncode
        self.log_tail = log_tail
        super().__init__(
            f"{name} {reason}." + (f" Its last lines:\n{log_tail}" if log_tail else "")
        )


class ServerProcess:
    """A child process in a process group of its own, with its output in a log file.

    It can be started again after it ended or was stopped. When this Python process dies, by
    SIGKILL too, the child is killed: on Linux by the kernel, elsewhere by a watcher process.

    :param name: how messages call it
    :param command: the program and its arguments
    :param log_file: receives standard output and error, appended over restarts
    :param env: the whole environment of the child; None passes this process' environment on
    :param cwd: the child's working folder
    :param ready: asked repeatedly while starting; the start is done when it says True
    :param temp_dir: a folder of the process' own that is removed when it stops
    :param stop_signal: what asks it to end (dataflows want SIGINT, servers SIGTERM)
    :param holds_signals: the process takes a stop up when it is ready for it
        (:meth:`webevents.stop.Stop.install`), also one that came while it was starting
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_file: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: Callable[[], bool] | None = None,
        temp_dir: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        holds_signals: bool = False,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log_file = log_file
        self.env = env
        self.cwd = cwd
        self.ready = ready
        self.temp_dir = temp_dir
        self.stop_signal = stop_signal
        self.holds_signals = holds_signals
        self._child: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The process id of the last start, None before the first."""
        return self._child.pid if self._child else None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """How the last start ended (negative: by that signal), None while it runs."""
        return self._child.poll() if self._child else None

    def start(self, *, timeout: float | None = 120) -> Self:
        """Start the process and wait until it is ready.

        :param timeout: seconds to wait for ``ready``; None waits for ever
        :raises ProcessFailedError: when it ended or was not ready in time (it is stopped then)
        """
        self.spawn()
        try:
            self.wait_ready(timeout=timeout)
        except BaseException:
            self.stop(grace=5)
            raise
        return self

    def spawn(self) -> None:
        """Start the process without waiting.

        :raises RuntimeError: when it runs already
        """
        if self.alive:
            raise RuntimeError(f"{self.name} runs already (process {self.pid})")
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._child = _spawner.run(lambda: self._popen(log))
        if sys.platform != "linux":
            self._watcher = _watch(self._child.pid)

    def _popen(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        # In the spawner's thread: a child begins with its mask, and execve(2) keeps it.
        how = signal.SIG_BLOCK if self.holds_signals else signal.SIG_UNBLOCK
        signal.pthread_sigmask(how, SIGNALS)
        return subprocess.Popen(
            [*_guard_prefix(), *self.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if self.env is None else dict(self.env),
            cwd=self.cwd,
            start_new_session=True,
        )

    def wait_ready(self, *, timeout: float | None = 120) -> None:
        """Wait until ``ready`` says True; at once where there is none.

        :param timeout: seconds to wait; None waits for ever
        :raises ProcessFailedError: when it ended or was not ready in time
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if not self.alive:
                code = self.returncode
                raise ProcessFailedError(
                    self.name, f"ended while starting ({_how(code)})", code, self.log_tail()
                )
            if self.ready is None or self.ready():
                return
            if deadline is not None and time.monotonic() > deadline:
                reason = f"was not ready after {timeout:g} s"
                raise ProcessFailedError(self.name, reason, None, self.log_tail())
            time.sleep(_POLL_SECONDS)

    def stop(self, *, grace: float = 15) -> int | None:
        """Ask the process to end, kill it after a grace period, and remove its temporary folder.

        Only its own id is signalled. Safe to call twice, and on a process that ended by itself.

        :param grace: seconds between the stop signal and SIGKILL
        :returns: the exit code, None when it was never started
        """
        try:
            if self._child is not None and self._child.poll() is None:
                self.signal(self.stop_signal)
                try:
                    self._child.wait(timeout=grace)
                except subprocess.TimeoutExpired:
                    self.kill()
        finally:
            self._end_watcher()
            if self.temp_dir is not None:
                shutil.rmtree(self.temp_dir, ignore_errors=True)
        return self.returncode

    def kill(self) -> int | None:
        """End the process at once (SIGKILL), as a crash would; its temporary folder stays."""
        if self._child is None:
            return None
        self.signal(signal.SIGKILL)
        code = self._child.wait()
        self._end_watcher()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process; nothing happens when it has ended."""
        if self._child is not None:
            # Popen polls first, so a recycled id is never signalled.
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the process' own end.

        :param timeout: seconds; None waits for ever
        :returns: the exit code, None when it still runs or was never started
        """
        if self._child is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(timeout=timeout)
        return None

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that the last start wrote to its log."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def log_text(self) -> str:
        """All that the last start wrote to its log so far (its last MB)."""
        try:
            with self.log_file.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, size - 1_000_000))
                return log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def __enter__(self) -> Self:
        return self if self.alive else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _end_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _guard_prefix() -> list[str]:
    if sys.platform != "linux":
        return []
    # -I -S: neither the environment nor site-packages, which a wrapper has no use for.
    return [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid())]


def _watch(pid: int) -> subprocess.Popen[bytes]:
    """A process that kills ``pid`` when this process ends, seen by the end of its input."""
    code = f"import os, sys; sys.stdin.read(); os.kill({pid}, 9)"
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


class _Spawner:
    """Starts every child from one thread that lives as long as the process.

    Linux sends PR_SET_PDEATHSIG's signal when the *thread* that made the child ends (prctl(2)),
    so a server started from a short-lived thread would die with that thread.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[
            tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]
        ] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = 0

    def run(self, job: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            # A forked child of this process has no such thread.
            if self._thread is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._thread = threading.Thread(target=self._serve, name="spawner", daemon=True)
                self._thread.start()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((job, future))
        return future.result()

    def _serve(self) -> None:
        while True:
            job, future = self._jobs.get()
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)


_spawner = _Spawner()
