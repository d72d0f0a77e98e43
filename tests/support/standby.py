"""A PostgreSQL that follows another one (streaming replication) until it is promoted."""

import subprocess
from pathlib import Path

import psycopg

from webevents.connectors.postgres.client import password_of
from webevents.local import postgres_server
from webevents.local.postgres_server import EmbeddedPostgres
from webevents.spec.postgres import PostgresSpec

HOST = "127.0.0.2"
"""Another address of this machine, so that both servers have one port, as in production (Linux)."""


class Standby(EmbeddedPostgres):
    """A copy of a server that runs; it listens on the same port of :data:`HOST`.

    :param primary: with ``synchronous_standby_names`` set to ``*``, so that what it has
        acknowledged is here as well.
    """

    def __init__(self, data_dir: Path, primary: EmbeddedPostgres) -> None:
        super().__init__(data_dir, port=primary.port, extra={"listen_addresses": HOST})
        self._primary = primary.spec

    @property
    def spec(self) -> PostgresSpec:
        return super().spec.model_copy(update={"host": HOST})

    def _start(self) -> None:
        self._process = self._make_process()
        self._process.start(timeout=self.start_timeout)

    def _initialise(self) -> None:
        self._password_file.write_text(password_of(self._primary) or "")
        user = postgres_server._unprivileged() if postgres_server._prefix() else None
        self._data.mkdir(mode=0o700)
        if user:
            postgres_server.os.chown(self._data, user.pw_uid, user.pw_gid)
        where = f"host={self._primary.host} port={self.port} user={self._primary.username}"
        subprocess.run(
            [
                *postgres_server._prefix(),
                str(self._programs / "pg_basebackup"),
                *("-D", str(self._data), "-d", where, "--write-recovery-conf"),
                *("--wal-method=stream", "--checkpoint=fast"),
            ],
            check=True,
            timeout=300,
            env={**postgres_server._environment(), "PGPASSWORD": password_of(self._primary) or ""},
        )

    def _is_ready(self) -> bool:
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """Execute something, also while nothing can be written."""
        with psycopg.connect(
            host=HOST,
            port=self.port,
            dbname=self.spec.database,
            user=self.spec.username,
            password=password_of(self.spec),
            autocommit=True,
        ) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[arg-type]
