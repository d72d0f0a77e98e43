"""The pinned jars of the embedded servers: ``jars.lock.json``, read, and written by maintainers.

The lock holds Maven coordinates, hashes and sizes; where they come from is jgo's own knowledge
(and a person's jgo configuration: mirrors), so no address stands in it.
``python -m webevents.local.jar_lock`` writes it anew from the roots that it names.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("jars.lock.json")

ROOTS: dict[str, list[str]] = {
    # Kafka logs to slf4j 1; its own log4j version, so that no third one gets in.
    "kafka": [
        "org.apache.kafka:kafka_2.13:4.4.0",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5",
    ],
    "elasticsearch": ["org.elasticsearch:elasticsearch:9.5.3"],
    # The HTTP module, loaded by Elasticsearch from its modules folder.
    "transport-netty4": ["org.elasticsearch.plugin:transport-netty4:9.5.3"],
    "opensearch": [
        "org.opensearch:opensearch:3.8.0",
        "org.opensearch.plugin:transport-netty4-client:3.8.0",
        "org.apache.logging.log4j:log4j-core:2.25.4",
    ],
    "connect": [
        "org.apache.kafka:connect-runtime:4.3.1",
        "org.apache.kafka:connect-json:4.3.1",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5",
    ],
    # The connector, loaded by Kafka Connect from its plugin folder.
    "debezium": ["io.debezium:debezium-connector-postgres:3.7.0.Final"],
}
"""What each set of jars is made from."""

_PROVIDED = {"transport-netty4": "elasticsearch", "debezium": "connect"}
"""A module's jars without those of the set that loads it."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar.

    :param group: Maven group, such as "org.apache.kafka"
    :param artifact: Maven artifact, such as "kafka-clients"
    :param version: exact version
    :param sha256: hash of the file, hexadecimal
    :param size: bytes
    """

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def coordinate(self) -> str:
        """``group:artifact:version``."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def relative_path(self) -> Path:
        """Its place in a folder laid out as a Maven repository."""
        folder = Path(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}.jar"


@cache
def pinned() -> dict[str, tuple[Jar, ...]]:
    """The pinned jars of each set."""
    sets: dict[str, list[dict[str, Any]]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return {name: tuple(Jar(**jar) for jar in jars) for name, jars in sets.items()}


def digest(jars: Iterable[Jar]) -> str:
    """A short name for exactly these jars, for folders made from them."""
    text = "\n".join(sorted(f"{jar.coordinate} {jar.sha256}" for jar in jars))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _resolve(roots: list[str], folder: Path) -> list[Jar]:
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=folder, timeout=60)
    jars: dict[str, Jar] = {}
    for root in roots:  # one by one: jgo would take every root's managed versions for all of them
        found, transitive = context.resolver.resolve([context.create_dependency(root)])
        for dependency in (*found, *transitive):
            artifact = dependency.artifact
            if artifact.classifier:
                continue  # native code of some platform, which each of them does without
            path = Path(artifact.resolve())
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            jar = Jar(
                artifact.groupId, artifact.artifactId, artifact.version, sha256, path.stat().st_size
            )
            known = jars.setdefault(f"{jar.group}:{jar.artifact}", jar)
            if known != jar:
                raise SystemExit(f"Two versions: {known.coordinate} and {jar.coordinate}")
    return sorted(jars.values(), key=lambda jar: jar.coordinate)


def write() -> None:
    """Resolve the roots and write the lock."""
    with tempfile.TemporaryDirectory() as folder:
        sets = {name: _resolve(roots, Path(folder)) for name, roots in ROOTS.items()}
    for name, provider in _PROVIDED.items():
        sets[name] = [jar for jar in sets[name] if jar not in sets[provider]]
    content = {name: [asdict(jar) for jar in jars] for name, jars in sets.items()}
    _FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
