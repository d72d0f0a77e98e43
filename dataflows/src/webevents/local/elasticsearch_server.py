"""A real Elasticsearch (one node, without security) as a child process."""

from __future__ import annotations

import http.client
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from webevents.local.embedded import EmbeddedServer
from webevents.local.jar_lock import digest, pinned
from webevents.local.jars import Say
from webevents.local.java import Jdk
from webevents.local.launchers import launcher_jar
from webevents.local.ports import LOOPBACK, free_port
from webevents.local.properties import write_properties

_MODULE = "transport-netty4"

_SETTINGS = {
    "cluster.name": "webevents-local",
    "node.name": "local",
    "discovery.type": "single-node",
    "network.host": LOOPBACK,
    # A laptop's disk that is 90% full must not make indices read-only.
    "cluster.routing.allocation.disk.threshold_enabled": "false",
    # The limit on real memory counts garbage that the serial collector has not yet come to: once
    # above it, every request is refused (429), so that nothing allocates, nothing is collected,
    # and it stays so. Without it the limit is on what requests are known to hold.
    "indices.breaker.total.use_real_memory": "false",
}

_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.native.name = org.elasticsearch.nativeaccess
logger.native.level = error
logger.lucene.name = org.apache.lucene
logger.lucene.level = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
"""


class EmbeddedElasticsearch(EmbeddedServer):
    """One Elasticsearch node on the loopback address.

    It has what the Maven artifacts have: indices, templates, aliases, data streams, search and
    aggregations; no security, ILM, ingest, ES|QL or scripts.

    :param data_dir: see :class:`~webevents.local.embedded.EmbeddedServer`, like the others
    :param extra: node settings (``elasticsearch.yml``) that win over ours
    """

    name: ClassVar[str] = "Elasticsearch"
    jar_sets: ClassVar[tuple[str, ...]] = ("elasticsearch", _MODULE)

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
        library = jars["elasticsearch"]
        home = lay_out_home(jars, self._cache)
        return [
            f"-Dlog4j2.configurationFile={logging}",
            # Native helpers come with the distribution only; Java code takes their place.
            f"-Des.nativelibs.path={home / 'lib'}",
            "-p",
            ":".join(map(str, library)),
            "--add-modules=ALL-MODULE-PATH",
            "--add-modules=jdk.incubator.vector",
            "--enable-native-access=ALL-UNNAMED,org.apache.lucene.core",
            "-cp",
            str(launcher_jar("EsLaunch", jdk, library, self._cache)),
            "EsLaunch",
            str(home),
            str(properties),
        ]

    def _is_ready(self) -> bool:
        return is_healthy(self.port)


def is_healthy(port: int) -> bool:
    """Whether a node on the loopback address answers, and its cluster is not red."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/_cluster/health")
        response = connection.getresponse()
        return response.status == 200 and json.load(response)["status"] != "red"
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return False
    finally:
        connection.close()


def lay_out_home(jars: Mapping[str, list[Path]], cache: Path) -> Path:
    """The folder that Elasticsearch loads its HTTP module from, made once for a set of jars.

    A module is a folder with its jars and the descriptor files that its own jar carries.

    :param jars: the sets ``elasticsearch`` and ``transport-netty4``
    :param cache: the cache's folder
    """
    home = cache / f"elasticsearch-home-{digest(pinned()[_MODULE])}"
    if home.exists():
        return home
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".home-", dir=cache) as folder:
        made = Path(folder) / "home"
        module = made / "modules" / _MODULE
        module.mkdir(parents=True)
        for name in ("config", "plugins"):
            (made / name).mkdir()
        prefix = f"META-INF/es-plugins/{_MODULE}/"
        for jar in jars[_MODULE]:
            shutil.copy2(jar, module)
            if jar.name.startswith(f"{_MODULE}-"):
                with zipfile.ZipFile(jar) as archive:
                    for entry in archive.namelist():
                        if entry.startswith(prefix) and not entry.endswith("/"):
                            target = module / entry.removeprefix(prefix)
                            target.write_bytes(archive.read(entry))
        try:
            made.rename(home)
        except OSError:  # another process was faster
            if not home.exists():
                raise
    return home
