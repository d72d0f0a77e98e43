"""What the embedded Kafka and Elasticsearch have in common: a JVM with its jars."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from webevents.errors import UserError
from webevents.local.class_archive import ClassArchive
from webevents.local.jar_lock import digest, pinned
from webevents.local.jars import Say, cache_dir, ensure_jars
from webevents.local.java import Jdk, find_jdk
from webevents.local.process import ProcessFailedError, ServerProcess
from webevents.local.server import LocalServer

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


class EmbeddedServer(LocalServer):
    """A :class:`~webevents.local.server.LocalServer` that is a Java program.

    :param data_dir: see :class:`~webevents.local.server.LocalServer`, like the others
    :param heap_mb: Java heap, MB
    :param cache: the folder of jars and compiled classes, by default the user's cache
    :param jdk: the Java to use, looked for when None
    """

    jvm_flags: ClassVar[tuple[str, ...]] = ()
    port_taken: ClassVar[re.Pattern[str]] = re.compile(
        r"Address already in use|BindException|BindHttpException"
    )

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
        super().__init__(data_dir, port=port, extra=extra, say=say)
        self.heap_mb = heap_mb
        self._cache = cache or cache_dir()
        self._jdk = jdk
        self._jars: Mapping[str, list[Path]] = {}
        self._archive: ClassArchive | None = None

    def _prepare(self) -> None:
        self._jars = ensure_jars(*self.jar_sets, cache=self._cache, say=self._say)
        self._jdk = self._jdk or find_jdk()

    def _ended(self, *, clean: bool) -> None:
        if self._archive is not None:
            self._archive.keep(clean_end=clean)

    @abstractmethod
    def _command(self, jdk: Jdk, jars: Mapping[str, list[Path]]) -> list[str]:
        """Write the configuration and give the command after ``java`` and the common flags."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the started server answers."""

    def _make_process(self) -> ServerProcess:
        jdk, jars = self._jdk, self._jars
        assert jdk is not None
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
        return super()._mendable(error)
