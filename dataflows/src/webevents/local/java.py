"""Find a Java development kit on this machine."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from webevents.errors import UserError

MIN_VERSION = 21
"""The oldest Java that Elasticsearch 9 runs on (its support matrix; class files of version 65)."""

ELASTICSEARCH_MODULES = frozenset({"jdk.compiler", "jdk.jdi", "jdk.jlink"})
"""Modules that only a full JDK has: the compiler for our launcher, the others for Elasticsearch."""

_JVM_FOLDERS = (
    "/usr/lib/jvm/*",
    "/usr/lib64/jvm/*",
    "/usr/java/*",
    "/opt/java/*",
    "/opt/jdk*",
    "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "/usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "~/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "~/.sdkman/candidates/java/*",
    "~/.jdks/*",
    "~/.asdf/installs/java/*",
    "~/.local/share/mise/installs/java/*",
)


@dataclass(frozen=True, slots=True)
class Jdk:
    """A Java installation.

    :param home: its folder
    :param version: its feature version, such as 21
    :param full_version: its whole version, such as "21.0.8"
    :param modules: the modules it contains
    """

    home: Path
    version: int
    full_version: str
    modules: frozenset[str]

    @property
    def java(self) -> Path:
        """The program that runs Java classes."""
        return self.home / "bin" / "java"

    @property
    def javac(self) -> Path:
        """The compiler."""
        return self.home / "bin" / "javac"


def find_jdk(
    env: Mapping[str, str] | None = None,
    *,
    min_version: int = MIN_VERSION,
    modules: frozenset[str] = ELASTICSEARCH_MODULES,
    folders: tuple[str, ...] = _JVM_FOLDERS,
) -> Jdk:
    """The first Java that is new enough and complete.

    JAVA_HOME comes first, then ``java`` on PATH, then the usual folders (the newest of them).

    :param env: the environment, this process' own by default
    :param min_version: the oldest feature version that will do
    :param modules: the modules that it must contain
    :param folders: glob patterns of the usual folders
    :raises UserError: when there is none; it says what was found instead
    """
    env = os.environ if env is None else env
    found: list[Jdk] = []
    for jdk in _candidates(env, folders):
        if jdk.version >= min_version and modules <= jdk.modules:
            return jdk
        found.append(jdk)
    seen = ", ".join(sorted({f"{_kind(jdk)} {jdk.full_version} in {jdk.home}" for jdk in found}))
    raise UserError(
        f"No JDK {min_version} or newer was found"
        + (f" (only {seen})" if seen else "")
        + ": install one, for example Eclipse Temurin"
        + (" (`brew install temurin`)" if sys.platform == "darwin" else "")
        + ", or set JAVA_HOME to its folder."
    )


def _candidates(env: Mapping[str, str], folders: tuple[str, ...]) -> Iterator[Jdk]:
    seen: set[Path] = set()

    def fresh(home: Path) -> Jdk | None:
        home = home.resolve()
        if home in seen:
            return None
        seen.add(home)
        return read_jdk(home)

    if (java_home := env.get("JAVA_HOME")) and (jdk := fresh(Path(java_home).expanduser())):
        yield jdk
    if (java := shutil.which("java", path=env.get("PATH", ""))) is not None:
        # bin/java, after the links of update-alternatives and the like.
        home = Path(java).resolve().parent.parent
        if jdk := fresh(home):
            yield jdk
    usual = (fresh(home) for pattern in folders for home in _glob(pattern, env))
    yield from sorted((jdk for jdk in usual if jdk), key=lambda jdk: -jdk.version)


def _glob(pattern: str, env: Mapping[str, str]) -> list[Path]:
    if pattern.startswith("~/"):
        if not (user_home := env.get("HOME")):
            return []
        pattern = user_home + pattern[1:]
    path = Path(pattern)
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def read_jdk(home: Path) -> Jdk | None:
    """Read a Java installation from its ``release`` file, without running it.

    :returns: None where there is no Java, or a file that names no version
    """
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    values = dict(re.findall(r'^(\w+)="?(.*?)"?\s*$', text, re.MULTILINE))
    full_version = values.get("JAVA_VERSION", "")
    match = re.match(r"(?:1\.)?(\d+)", full_version)
    if match is None or not os.access(home / "bin" / "java", os.X_OK):
        return None
    modules = frozenset(values.get("MODULES", "").split())
    return Jdk(home, int(match[1]), full_version, modules or _modules_of_files(home))


def _modules_of_files(home: Path) -> frozenset[str]:
    """The modules for a ``release`` file that lists none, by the files that a JDK ships."""
    return frozenset(path.stem for path in (home / "jmods").glob("*.jmod"))


def _kind(jdk: Jdk) -> str:
    return "JDK" if "jdk.compiler" in jdk.modules else "a Java runtime without compiler,"
