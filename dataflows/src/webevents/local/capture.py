"""Change data capture on this machine: Kafka Connect is kept running, and the connector in it."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException

from webevents.connectors.kafka_connect import ConnectError, KafkaConnect
from webevents.connectors.kafka_observe import Observer
from webevents.connectors.postgres import connect, password_of
from webevents.errors import UserError
from webevents.local.connect_server import EmbeddedConnect
from webevents.local.jars import Say
from webevents.plan.capture import MARKER_PREFIX
from webevents.plan.model import Connector
from webevents.spec.kafka import KafkaSpec
from webevents.spec.source import DebeziumSpec

LOOK_EVERY_S = 1.0
RESTART_EVERY_S = 5.0
"""Between two attempts to bring back what has failed."""
MARK_EVERY_S = 3.0
DRAIN_S = 120.0
"""How long reading the rest of the database's log may take at the end of a run."""
_PASSWORD = "database.password"  # noqa: S105 - the name of a setting


class LocalCapture:
    """Runs a pipeline's connector, with a Kafka Connect of its own where none is named.

    Everything happens in a thread: what failed is started again, for ever, and said once.

    :param kafka: where the changes go.
    :param folder: for the data of Kafka Connect.
    :param say: receives lines of progress.
    :raises UserError: where the password, or the way to Kafka, cannot be handed on.
    """

    def __init__(
        self,
        debezium: DebeziumSpec,
        connector: Connector,
        kafka: KafkaSpec,
        folder: Path,
        say: Say,
    ) -> None:
        self._database = debezium.postgres
        self._tables = [table.name for table in debezium.tables]
        self._connector = connector
        self._say = say
        self._server: EmbeddedConnect | None = None
        url = debezium.connect.url
        if url is None:
            if kafka.tls or kafka.sasl:
                raise UserError(
                    "source.debezium.connect.url: name a Kafka Connect; the local one reaches "
                    "Kafka without TLS and SASL only"
                )
            assert kafka.bootstrap_servers
            self._server = EmbeddedConnect(
                folder / "connect", kafka.bootstrap_servers, f"{connector.name}-connect"
            )
        self._url = url
        secrets = None if self._server is None else folder / "connect" / "secrets"
        self._config = {**connector.config, **_password(debezium, secrets)}
        self._stop = threading.Event()
        self._began = threading.Event()
        """Set once the connector is made."""
        self._told = ""
        self._thread = threading.Thread(target=self._keep, name="capture", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and Kafka Connect where it is ours."""
        self._stop.set()
        if self._server is not None:
            self._server.stop()  # also ends a start that waits
        if self._thread.ident is not None:
            self._thread.join()
            if self._server is not None:
                self._server.stop()  # one that was spawned just then

    def drain(
        self, observer: Observer, tick: Callable[[], object], give_up: Callable[[], bool]
    ) -> bool:
        """Wait until all changes of the database so far are in Kafka.

        Marks are written into the database's log, and one is waited for at its other end. One
        that is written while the connector still takes its snapshot never comes out: therefore
        several.

        :param tick: called again and again meanwhile; it takes its time.
        :returns: whether they are; True where the connector never began to read.
        """
        marks: list[bytes] = []
        since, marked = time.monotonic(), -MARK_EVERY_S
        while self._began.is_set():
            if time.monotonic() - marked >= MARK_EVERY_S:
                marked = time.monotonic()
                with contextlib.suppress(psycopg.Error, UserError):
                    marks.append(self._mark())
            tick()
            if self._has_passed(marks, observer):
                return True
            if time.monotonic() - since > DRAIN_S or give_up():
                return False
        return True

    def _mark(self) -> bytes:
        """Write a mark into the database's log.

        :returns: how it looks in Kafka.
        """
        mark = uuid.uuid4().hex
        with connect(self._database, "webevents drain") as connection:
            connection.execute(
                "SELECT pg_logical_emit_message(true, %s, %s)", (MARKER_PREFIX, mark)
            )
        return base64.b64encode(mark.encode())

    def _has_passed(self, marks: list[bytes], observer: Observer) -> bool:
        try:
            return any(
                mark in (message.value() or b"")
                for message in observer.messages(self._connector.marker_topic)
                for mark in marks
            )
        except KafkaException:
            return False  # the brokers are busy or away; the next look may tell

    # The thread.

    def _keep(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S if self._began.is_set() else 0.2):
            try:
                trouble = self._look()
            except (UserError, ConnectError, psycopg.Error) as error:
                trouble = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            if self._stop.is_set():
                return
            if trouble != self._told and trouble:
                self._say(f"capture: {trouble}")
            self._told = trouble
            if trouble:
                self._stop.wait(RESTART_EVERY_S if self._began.is_set() else LOOK_EVERY_S)

    def _look(self) -> str:
        """Do what is to be done now.

        :returns: what is in the way; empty where all is well.
        """
        if self._server is not None and not self._server.alive:
            if self._url is not None:
                self._say("capture: Kafka Connect ended; starting it again")
                self._server.stop()  # lets go of what the dead process held
            began = time.monotonic()
            self._server.start()
            self._url = self._server.url
            self._say(
                f"{self._server.name} is ready on port {self._server.port} "
                f"({time.monotonic() - began:.1f} s)"
            )
        assert self._url
        rest, name = KafkaConnect(self._url), self._connector.name
        status = rest.status(name) if self._began.is_set() else None
        if status is None:
            if missing := self._missing():
                return f"waiting for {', '.join(missing)} in {self._database.address}"
            # Also where it is there already: servers may have other ports than at its first run.
            rest.put(name, self._config)
            self._began.set()
            self._say(f"connector {name} reads {', '.join(self._tables)}")
            return ""
        if status.state == "FAILED":
            rest.restart(name)
            return f"connector {name} failed and is started again: {status.reason}"
        return ""

    def _missing(self) -> list[str]:
        """Tables that are not there; a connector without them would only fail."""
        with connect(self._database, "webevents capture") as connection:
            return [
                name
                for name in self._tables
                if connection.execute(
                    "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s",
                    name.split(".", 1),
                ).rowcount
                == 0
            ]


def _password(debezium: DebeziumSpec, folder: Path | None) -> dict[str, str]:
    """How the connector gets the password, without having it in its configuration.

    :param folder: where the local Kafka Connect may read it; None for another one.
    """
    database = debezium.postgres
    if _PASSWORD in debezium.config or not (database.password_file or database.password_env):
        return {}
    if folder is None:
        raise UserError(
            "source.debezium.config: set database.password to what your Kafka Connect's config "
            "provider makes of it, such as ${directory:/secrets:password}; it is not sent in clear"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "password"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(password_of(database) or "", encoding="utf-8")
    return {_PASSWORD: f"${{directory:{folder.absolute()}:{path.name}}}"}
