"""What the embedded Kafka and Elasticsearch have in common: a JVM with its folders and its port."""

from __future__ import annotations

import fcntl
import os
import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self

from webevents.errors import UserError
from webevents.local.class_archive import ClassArchive
from webevents.local.jar_lock import digest, pinned
from webevents.local.jars import Say, cache_dir, ensure_jars
from webevents.local.java import Jdk, find_jdk
from webevents.local.ports import free_port, require_free
from webevents.local.process import ProcessFailedError, ServerProcess

_PORT_TRIES = 3
_PORT_TAKEN = re.compile(r"Address already in use|BindException|BindHttpException")
_KNOWN_FAILURES = (
    (
        re.compile(r"No space left on device|Disk quota exceeded"),
        "the disk of {data_dir} is full: free some space or choose another data folder",
    ),
    (
        re.compile(r"OutOfMemoryError|Could not reserve enough space|insufficient memory"),
        "{heap_mb} MB of heap are not to be had or not enough: free memory or set another size",
    ),
)


class EmbeddedServer(ABC):
    """A server that runs as a child process with its data in a folder.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. Stopped or killed, it can
    be started again: data and port stay the same.

    :param data_dir: where it keeps data, configuration and log; made when it is not there
    :param port: the port to listen on, on the loopback address; None takes a free one
    :param heap_mb: Java heap, MB
    :param extra: further settings in the server's own names; they win over ours
    :param say: receives lines of progress
    :param cache: the folder of jars and compiled classes, by default the user's cache
    :param jdk: the Java to use, looked for when None
    """

    name: ClassVar[str]
    jar_sets: ClassVar[tuple[str, ...]]
    jvm_flags: ClassVar[tuple[str, ...]] = ()
    start_timeout: ClassVar[float] = 120
    """Seconds; a start takes 3 to 6 s, and several times that on a machine under load."""
    stop_grace: ClassVar[float] = 20
    """Seconds from SIGTERM to SIGKILL."""

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        heap_mb: int,
        extra: Mapping[str, str] | None = None,
        say: Say | None = None,
        cache: Path | None = None,
        jdk: Jdk | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.heap_mb = heap_mb
        self.extra = dict(extra or {})
        self.log_file = self.data_dir / f"{self.name.lower()}.log"
        self._say = say
        self._cache = cache or cache_dir()
        self._jdk = jdk
        self._port: int | None = port
        self._archive: ClassArchive | None = None
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

        :raises UserError: no JDK, no jars, a taken port, or a start that failed, with the mend
        """
        if self.alive:
            return self
        jars = ensure_jars(*self.jar_sets, cache=self._cache, say=self._say)
        self._jdk = self._jdk or find_jdk()
        self._take_data_dir()
        try:
            self._start(self._jdk, jars)
        except BaseException:
            self._give_back_data_dir()
            raise
        return self

    def _start(self, jdk: Jdk, jars: Mapping[str, list[Path]]) -> None:
        fixed = self._port
        for attempt in range(1, _PORT_TRIES + 1):
            self._port = free_port() if fixed is None else require_free(fixed, self.name)
            self._process = self._make_process(jdk, jars)
            try:
                self._process.start(timeout=self.start_timeout)
            except ProcessFailedError as error:
                self._port = fixed
                # Another program took a port between our look and the server's bind.
                if attempt < _PORT_TRIES and _PORT_TAKEN.search(self._process.log_text()):
                    continue
                raise self._mendable(error) from error
            break

    def _take_data_dir(self) -> None:
        """Lock the data folder: a second Kafka would write into the first one's metadata log
        before it notices (its own lock comes later in its start)."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            lock = (self.data_dir / ".lock").open("w")
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise UserError(
                f"{self.name} cannot start: another process uses {self.data_dir}; stop it or "
                "choose another data folder."
            ) from error
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
        if self._archive is not None:
            self._archive.keep(clean_end=was_alive and code != -signal.SIGKILL)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._give_back_data_dir()
            if self._archive is not None:
                self._archive.keep(clean_end=False)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @abstractmethod
    def _command(self, jdk: Jdk, jars: Mapping[str, list[Path]]) -> list[str]:
        """Write the configuration and give the command after ``java`` and the common flags."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the started server answers."""

    def _make_process(self, jdk: Jdk, jars: Mapping[str, list[Path]]) -> ServerProcess:
        temp_dir = self.data_dir / "tmp"
        try:
            for folder in (self.data_dir, self._config_dir, temp_dir):
                folder.mkdir(parents=True, exist_ok=True)
            command = self._command(jdk, jars)
        except OSError as error:
            raise self._unwritable(error) from error
        self._archive = ClassArchive(
            self._cache, self.name, jdk, digest(jar for name in jars for jar in pinned()[name])
        )
        flags = [
            f"-Xms{self.heap_mb}m",
            f"-Xmx{self.heap_mb}m",
            "-XX:+UseSerialGC",  # as fast as G1 here (2 cores), with a third less memory
            "-XX:-UsePerfData",  # no file below the system's temporary folder
            "-XX:+ExitOnOutOfMemoryError",
            f"-Djava.io.tmpdir={temp_dir}",
            *self.jvm_flags,
            *self._archive.flags(),
        ]
        # A person's JAVA_TOOL_OPTIONS and the like are meant for other programs.
        env = {k: v for k, v in os.environ.items() if k not in ("JAVA_TOOL_OPTIONS", "CLASSPATH")}
        return ServerProcess(
            self.name,
            [jdk.java, *flags, *command],
            log_file=self.log_file,
            env=env,
            cwd=self.data_dir,
            ready=self._is_ready,
            temp_dir=temp_dir,
        )

    @property
    def _config_dir(self) -> Path:
        return self.data_dir / "config"

    def _mendable(self, error: ProcessFailedError) -> UserError:
        assert self._process is not None
        log = self._process.log_text()
        for pattern, mend in _KNOWN_FAILURES:
            if pattern.search(log):
                text = mend.format(data_dir=self.data_dir, heap_mb=self.heap_mb)
                return UserError(f"{self.name} could not start: {text}.")
        return UserError(f"{error}\nThe whole log: {self.log_file}")
