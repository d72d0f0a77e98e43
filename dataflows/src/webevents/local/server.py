"""What all embedded servers have in common: a process with its data folder and its port."""

from __future__ import annotations

import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self

from webevents.errors import UserError
from webevents.local.jars import Say
from webevents.local.locks import hold
from webevents.local.ports import free_port, require_free
from webevents.local.process import ProcessFailedError, ServerProcess

_PORT_TRIES = 3


class LocalServer(ABC):
    """A server that runs as a child process with its data in a folder.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. Stopped or killed, it can
    be started again: data and port stay the same.

    :param data_dir: where it keeps data, configuration and log; made when it is not there
    :param port: the port to listen on, on the loopback address; None takes a free one
    :param extra: further settings in the server's own names; they win over ours
    :param say: receives lines of progress
    """

    name: ClassVar[str]
    jar_sets: ClassVar[tuple[str, ...]] = ()
    """Sets of jars that it needs; with any of them it needs a Java too."""
    start_timeout: ClassVar[float] = 120
    """Seconds; a start takes 3 to 6 s, and several times that on a machine under load."""
    durable: ClassVar[bool] = True
    """Whether its data outlasts its process."""
    stop_grace: ClassVar[float] = 20
    """Seconds from the stop signal to SIGKILL."""
    port_taken: ClassVar[re.Pattern[str]]
    """How its log tells that the port is taken."""

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        extra: Mapping[str, str] | None = None,
        say: Say | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.extra = dict(extra or {})
        self.log_file = self.data_dir / f"{self.name.lower()}.log"
        self._say = say
        self._port: int | None = port
        self._process: ServerProcess | None = None
        self._lock: IO[str] | None = None

    @property
    def port(self) -> int:
        """The port it listens on.

        :raises RuntimeError: before the first start when none was asked for
        """
        if self._port is None:
            raise RuntimeError(f"{self.name} has no port before it is started")
        return self._port

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int | None:
        """Its process id, None before the first start."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Start it and wait until it answers.

        :raises UserError: something that is missing, a taken port, or a start that failed, with
            the mend
        """
        if self.alive:
            return self
        self._prepare()
        self._take_data_dir()
        try:
            self._start()
        except BaseException:
            self._give_back_data_dir()
            raise
        return self

    def _start(self) -> None:
        fixed = self._port
        for attempt in range(1, _PORT_TRIES + 1):
            self._port = free_port() if fixed is None else require_free(fixed, self.name)
            self._process = self._make_process()
            try:
                self._process.start(timeout=self.start_timeout)
            except ProcessFailedError as error:
                self._port = fixed
                # Another program took a port between our look and the server's bind.
                if attempt < _PORT_TRIES and self.port_taken.search(self._process.log_text()):
                    continue
                raise self._mendable(error) from error
            break

    def _take_data_dir(self) -> None:
        """Lock the data folder: a second Kafka would write into the first one's metadata log
        before it notices (its own lock comes later in its start)."""
        try:
            lock = hold(self.data_dir / ".lock")
        except OSError as error:
            raise self._unwritable(error) from error
        if lock is None:
            raise UserError(
                f"{self.name} cannot start: another process uses {self.data_dir}; stop it or "
                "choose another data folder."
            )
        self._give_back_data_dir()
        self._lock = lock

    def _give_back_data_dir(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self.name} cannot write its data folder {self.data_dir} ({error.strerror}): "
            "free space, mend its permissions, or choose another data folder."
        )

    def stop(self) -> None:
        """Stop it; nothing happens when it does not run."""
        if self._process is None:
            return
        was_alive = self._process.alive
        code = self._process.stop(grace=self.stop_grace)
        self._give_back_data_dir()
        self._ended(clean=was_alive and code != -signal.SIGKILL)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._give_back_data_dir()
            self._ended(clean=False)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        """Get what a start needs, before anything is touched.

        :raises UserError: when it cannot be had, with the mend
        """

    @abstractmethod
    def _make_process(self) -> ServerProcess:
        """Make the data folder ready and the process that listens on :attr:`port`.

        :raises UserError: when the folder cannot be written
        """

    def _mendable(self, error: ProcessFailedError) -> UserError:
        """Say what a person can do about a start that failed."""
        return UserError(f"{error}\nThe whole log: {self.log_file}")

    def _ended(self, *, clean: bool) -> None:
        """Learn that it was stopped or killed; ``clean`` when it ended by itself in time."""
