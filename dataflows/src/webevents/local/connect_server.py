"""A real Kafka Connect with Debezium's connector for PostgreSQL as a child process."""

from __future__ import annotations

import http.client
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from webevents.local.embedded import EmbeddedServer
from webevents.local.jars import Say
from webevents.local.java import Jdk
from webevents.local.ports import LOOPBACK
from webevents.local.properties import write_properties

_CONNECTOR = "debezium"

_SETTINGS = {
    "offset.storage.partitions": "1",
    "status.storage.partitions": "1",
    "config.storage.replication.factor": "1",
    "offset.storage.replication.factor": "1",
    "status.storage.replication.factor": "1",
    "key.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "offset.flush.interval.ms": "1000",
    # One worker: nobody else will come back for its tasks, and after a crash it is alone.
    "scheduled.rebalance.max.delay.ms": "0",
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "1000",
    "plugin.discovery": "service_load",
    # A row of up to 10 MB, as the topics take it.
    "producer.max.request.size": "10485760",
    # Where a connector's configuration names secrets, so that none is in Kafka.
    "config.providers": "directory",
    "config.providers.directory.class": (
        "org.apache.kafka.common.config.provider.DirectoryConfigProvider"
    ),
}

_LOGGING = """\
rootLogger.level = WARN
rootLogger.appenderRef.stdout.ref = stdout
logger.debezium.name = io.debezium
logger.debezium.level = INFO
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
"""


class EmbeddedConnect(EmbeddedServer):
    """One worker of Kafka Connect on the loopback address.

    :param data_dir: see :class:`~webevents.local.embedded.EmbeddedServer`, like the others
    :param bootstrap: a Kafka that is there, ``host:port``, reached without TLS
    :param group: tells it from others on the same Kafka; its topics are named after it
    :param extra: worker settings that win over ours
    """

    name: ClassVar[str] = "Kafka Connect"
    jar_sets: ClassVar[tuple[str, ...]] = ("connect", _CONNECTOR)
    jvm_flags: ClassVar[tuple[str, ...]] = ("-XX:TieredStopAtLevel=1",)

    def __init__(
        self,
        data_dir: Path,
        bootstrap: str,
        group: str,
        *,
        port: int | None = None,
        heap_mb: int = 256,
        extra: Mapping[str, str] | None = None,
        say: Say | None = None,
        cache: Path | None = None,
        jdk: Jdk | None = None,
    ) -> None:
        super().__init__(
            data_dir, port=port, heap_mb=heap_mb, extra=extra, say=say, cache=cache, jdk=jdk
        )
        self.log_file = self.data_dir / "connect.log"
        self._bootstrap = bootstrap
        self._group = group

    @property
    def url(self) -> str:
        """The address of its REST API: ``http://127.0.0.1:PORT``."""
        return f"http://{LOOPBACK}:{self.port}"

    def _command(self, jdk: Jdk, jars: Mapping[str, list[Path]]) -> list[str]:
        settings = {
            **_SETTINGS,
            "bootstrap.servers": self._bootstrap,
            "group.id": self._group,
            **{f"{w}.storage.topic": f"{self._group}-{w}" for w in ("config", "offset", "status")},
            "listeners": self.url,
            "rest.advertised.host.name": LOOPBACK,
            "plugin.path": str(self._plugins(jars[_CONNECTOR])),
            **self.extra,
        }
        properties = self._config_dir / "worker.properties"
        write_properties(properties, settings)
        logging = self._config_dir / "log4j2.properties"
        logging.write_text(_LOGGING, encoding="utf-8")
        return [
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            ":".join(map(str, jars["connect"])),
            "org.apache.kafka.connect.cli.ConnectDistributed",
            str(properties),
        ]

    def _plugins(self, jars: list[Path]) -> Path:
        """The folder with one folder a plugin, which Connect loads each by itself."""
        folder = self.data_dir / "plugins"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / _CONNECTOR).mkdir(parents=True)
        for jar in jars:
            (folder / _CONNECTOR / jar.name).symlink_to(jar)
        return folder

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=2)
        try:
            connection.request("GET", "/connectors")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
