"""Real servers for the integration tests: one Kafka and one Elasticsearch per test session.

Workers of pytest-xdist share them, for the memory's sake: the worker that asks first starts a
server and stops it at its session's end, when the kernel says that no other worker holds the
server's ``users`` lock any more.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

import pytest
from requirements import require

from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.opensearch_server import EmbeddedOpenSearch
from webevents.local.postgres_server import EmbeddedPostgres
from webevents.local.server import LocalServer
from webevents.spec.postgres import PostgresSpec

KafkaFactory = Callable[..., EmbeddedKafka]
ElasticsearchFactory = Callable[..., EmbeddedElasticsearch]
PostgresFactory = Callable[..., EmbeddedPostgres]
Server = TypeVar("Server", bound=LocalServer)

_OPEN = pytest.StashKey[list["_SharedServer"]]()


class _SharedServer:
    """One server of the session, seen from this worker."""

    def __init__(self, folder: Path, server: LocalServer) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.users: IO[str] = (folder / "users").open("a")
        self.owned: LocalServer | None = None
        self._port_file = port_file = folder / "port.json"
        with (folder / "start").open("a") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(self.users, fcntl.LOCK_SH)
            if not port_file.exists():
                self.owned = server.start()
                port_file.write_text(json.dumps(server.port))
        self.port: int = json.loads(port_file.read_text())

    def close(self) -> None:
        """Give it up; the owner waits for the other workers, then stops it."""
        if self.owned is not None:
            fcntl.flock(self.users, fcntl.LOCK_EX)
            self.owned.stop()
            # A worker that asks only now starts a server of its own.
            self._port_file.unlink()
        self.users.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Close the session's servers; not in a fixture, whose end pytest-timeout would bound."""
    opened = session.config.stash.get(_OPEN, [])
    # Those of others first: two workers that own one server each would wait for each other.
    for shared in sorted(opened, key=lambda shared: shared.owned is not None):
        shared.close()


def _session_port(server: LocalServer, folder: Path, config: pytest.Config, label: str) -> int:
    shared = _SharedServer(folder / label, server)
    config.stash.setdefault(_OPEN, []).append(shared)
    return shared.port


@pytest.fixture(scope="session")
def _servers_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "servers"


@pytest.fixture(scope="session")
def kafka(_servers_folder: Path, request: pytest.FixtureRequest) -> str:
    """The session's Kafka: its bootstrap address. Topics of a test want names of their own."""
    require(EmbeddedKafka)
    server = EmbeddedKafka(_servers_folder / "kafka" / "home")
    port = _session_port(server, _servers_folder, request.config, "kafka")
    return f"127.0.0.1:{port}"


@pytest.fixture(scope="session")
def elasticsearch(_servers_folder: Path, request: pytest.FixtureRequest) -> str:
    """The session's Elasticsearch: its URL. Indices of a test want names of their own."""
    require(EmbeddedElasticsearch)
    server = EmbeddedElasticsearch(_servers_folder / "elasticsearch" / "home")
    port = _session_port(server, _servers_folder, request.config, "elasticsearch")
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def opensearch(_servers_folder: Path, request: pytest.FixtureRequest) -> str:
    """The session's OpenSearch: its URL. Indices of a test want names of their own."""
    require(EmbeddedOpenSearch)
    server = EmbeddedOpenSearch(_servers_folder / "opensearch" / "home")
    port = _session_port(server, _servers_folder, request.config, "opensearch")
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def postgres(_servers_folder: Path, request: pytest.FixtureRequest) -> PostgresSpec:
    """The session's PostgreSQL. Tests want schemas of their own."""
    home = _servers_folder / "postgres" / "home"
    server = EmbeddedPostgres(home)
    port = _session_port(server, _servers_folder, request.config, "postgres")
    return EmbeddedPostgres(home, port=port).spec


def _factory(kind: type[Server], folder: Path) -> Iterator[Callable[..., Server]]:
    require(kind)
    made: list[Server] = []

    def make(**arguments: object) -> Server:
        arguments.setdefault("data_dir", folder / f"{kind.name.lower()}-{len(made)}")
        server = kind(**arguments)  # type: ignore[arg-type]
        made.append(server)
        return server.start()

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def kafka_server(tmp_path: Path) -> Iterator[KafkaFactory]:
    """Start Kafkas of a test's own: ``kafka_server(**arguments of EmbeddedKafka)``."""
    yield from _factory(EmbeddedKafka, tmp_path)


@pytest.fixture
def elasticsearch_server(tmp_path: Path) -> Iterator[ElasticsearchFactory]:
    """Start Elasticsearches of a test's own, as :func:`kafka_server` does."""
    yield from _factory(EmbeddedElasticsearch, tmp_path)


@pytest.fixture
def postgres_server(tmp_path: Path) -> Iterator[PostgresFactory]:
    """Start PostgreSQLs of a test's own, as :func:`kafka_server` does."""
    yield from _factory(EmbeddedPostgres, tmp_path)
