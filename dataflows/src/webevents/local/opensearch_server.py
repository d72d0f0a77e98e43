"""A real OpenSearch (one node, without security) as a child process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from webevents.local.elasticsearch_server import is_healthy
from webevents.local.embedded import EmbeddedServer
from webevents.local.jars import Say
from webevents.local.java import Jdk
from webevents.local.launchers import launcher_jar
from webevents.local.ports import LOOPBACK, free_port
from webevents.local.properties import write_properties

_SETTINGS = {
    "cluster.name": "webevents-local",
    "node.name": "local",
    "discovery.type": "single-node",
    "network.host": LOOPBACK,
    "http.type": "netty4",
    "transport.type": "netty4",
    # A laptop's disk that is 90% full must not make indices read-only.
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}

_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.lucene.name = org.apache.lucene
logger.lucene.level = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
"""


class EmbeddedOpenSearch(EmbeddedServer):
    """One OpenSearch node on the loopback address: indices, templates, search, aggregations.

    :param data_dir: see :class:`~webevents.local.embedded.EmbeddedServer`, like the others
    :param extra: node settings (``opensearch.yml``) that win over ours
    """

    name: ClassVar[str] = "OpenSearch"
    jar_sets: ClassVar[tuple[str, ...]] = ("opensearch",)

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        heap_mb: int = 768,
        extra: Mapping[str, str] | None = None,
        say: Say | None = None,
        cache: Path | None = None,
        jdk: Jdk | None = None,
    ) -> None:
        super().__init__(
            data_dir, port=port, heap_mb=heap_mb, extra=extra, say=say, cache=cache, jdk=jdk
        )

    @property
    def url(self) -> str:
        """The address for clients: ``http://127.0.0.1:PORT``."""
        return f"http://{LOOPBACK}:{self.port}"

    def _command(self, jdk: Jdk, jars: Mapping[str, list[Path]]) -> list[str]:
        settings = {
            **_SETTINGS,
            "http.port": str(self.port),
            "transport.port": str(free_port()),
            "path.data": str(self.data_dir / "data"),
            "path.logs": str(self.data_dir / "logs"),
            **self.extra,
        }
        properties = self._config_dir / "node.properties"
        write_properties(properties, settings)
        logging = self._config_dir / "log4j2.properties"
        logging.write_text(_LOGGING, encoding="utf-8")
        library = jars["opensearch"]
        launcher = launcher_jar("OpenSearchLaunch", jdk, library, self._cache)
        return [
            f"-Dlog4j2.configurationFile={logging}",
            "--add-modules=jdk.incubator.vector",
            "--enable-native-access=ALL-UNNAMED",
            "-cp",
            ":".join(map(str, [*library, launcher])),
            "OpenSearchLaunch",
            str(self.data_dir),
            str(properties),
        ]

    def _is_ready(self) -> bool:
        return is_healthy(self.port)
