"""A real Apache Kafka (KRaft, one node) as a child process."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from webevents.local.embedded import EmbeddedServer
from webevents.local.jars import Say
from webevents.local.java import Jdk
from webevents.local.launchers import launcher_jar
from webevents.local.ports import LOOPBACK, free_port, is_listening
from webevents.local.properties import write_properties

_MAX_MESSAGE_BYTES = 12 * 1024 * 1024
"""The broker's bound, so that a topic may raise ``max.message.bytes`` up to it."""

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # One node can hold one copy only.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Few partitions of the internal topics: 50 each make the first consumer wait for seconds.
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.num.partitions": "5",
    "share.coordinator.state.topic.num.partitions": "1",
    # A group starts at once instead of waiting 3 s for more members.
    "group.initial.rebalance.delay.ms": "0",
    # A topic comes from the plan, with its partitions and its settings, or not at all.
    "auto.create.topics.enable": "false",
    # The default of 128 MB does not fit into a small heap.
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
    "message.max.bytes": str(_MAX_MESSAGE_BYTES),
    "replica.fetch.max.bytes": str(_MAX_MESSAGE_BYTES),
    # Nothing expires while someone looks at it; the folder goes with the run.
    "log.retention.ms": "-1",
    # A broker that crashed may register again only when its old session is over (KIP-631); the
    # default of 9 s would make every restart after a crash wait for that long.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
}

_LOGGING = """\
rootLogger.level = WARN
rootLogger.appenderRef.stdout.ref = stdout
logger.server.name = kafka.server
logger.server.level = INFO
logger.config.name = org.apache.kafka.common.config
logger.config.level = ERROR
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
"""


class EmbeddedKafka(EmbeddedServer):
    """One Kafka broker, its own controller, on the loopback address.

    :param data_dir: see :class:`~webevents.local.embedded.EmbeddedServer`, like the others
    :param extra: broker settings (``server.properties``) that win over ours
    :param protocol: security protocol of the clients' listener, which is named ``CLIENT``:
        PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; its keys and mechanisms go into ``extra``,
        such as ``listener.name.client.ssl.keystore.location``
    :param format_arguments: for Kafka's ``storage format`` at the first start, such as
        ``("--add-scram", "SCRAM-SHA-512=[name=a,password=b]")``
    """

    name: ClassVar[str] = "Kafka"
    jar_sets: ClassVar[tuple[str, ...]] = ("kafka",)
    # The first compiler only: it is up in 0.8 instead of 1.2 s, and its first 400,000 messages
    # pass at 219k/s instead of 170k/s on 2 cores, which the second compiler needs for itself.
    jvm_flags: ClassVar[tuple[str, ...]] = ("-XX:TieredStopAtLevel=1",)

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        heap_mb: int = 256,
        extra: Mapping[str, str] | None = None,
        protocol: str = "PLAINTEXT",
        format_arguments: tuple[str, ...] = (),
        say: Say | None = None,
        cache: Path | None = None,
        jdk: Jdk | None = None,
    ) -> None:
        super().__init__(
            data_dir, port=port, heap_mb=heap_mb, extra=extra, say=say, cache=cache, jdk=jdk
        )
        self._protocol = protocol
        self._format_arguments = format_arguments
        self._logs = self.data_dir / "data"

    @property
    def bootstrap(self) -> str:
        """The address for clients: ``127.0.0.1:PORT``."""
        return f"{LOOPBACK}:{self.port}"

    def _command(self, jdk: Jdk, jars: Mapping[str, list[Path]]) -> list[str]:
        controller = f"{LOOPBACK}:{free_port()}"
        # The broker talks to itself without the clients' security.
        listeners = {"CLIENT": self.bootstrap, "BROKER": f"{LOOPBACK}:{free_port()}"}
        advertised = ",".join(f"{name}://{address}" for name, address in listeners.items())
        settings = {
            **_SETTINGS,
            "listeners": f"{advertised},CONTROLLER://{controller}",
            "advertised.listeners": advertised,
            "inter.broker.listener.name": "BROKER",
            "listener.security.protocol.map": (
                f"CLIENT:{self._protocol},BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": str(self._logs),
            **self.extra,
        }
        properties = self._config_dir / "server.properties"
        write_properties(properties, settings)
        logging = self._config_dir / "log4j2.properties"
        logging.write_text(_LOGGING, encoding="utf-8")
        class_path = [*jars["kafka"], launcher_jar("KafkaLaunch", jdk, jars["kafka"], self._cache)]
        return [
            f"-Dlog4j2.configurationFile={logging}",
            f"-Dkafka.logs.dir={self.data_dir}",
            "-cp",
            ":".join(map(str, class_path)),
            "KafkaLaunch",
            str(properties),
            str(self._logs),
            "--standalone",
            "--cluster-id",
            _cluster_id(),
            *self._format_arguments,
        ]

    def _is_ready(self) -> bool:
        assert self._process is not None
        return "Kafka Server started" in self._process.log_text() and is_listening(self.port)


def _cluster_id() -> str:
    """A random id in Kafka's form: 16 bytes, URL-safe base64, which may not begin with a dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith(
        "-"
    ):
        pass
    return text
