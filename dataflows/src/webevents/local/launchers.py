"""Compile the small Java launchers once; a compiled one starts a second faster than a source file.

(``java File.java`` compiles at every start, and its classes cannot be archived.)
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from webevents.errors import UserError
from webevents.local.java import MIN_VERSION, Jdk

_SOURCES = Path(__file__).with_name("java")


def launcher_jar(name: str, jdk: Jdk, class_path: Sequence[Path], cache: Path) -> Path:
    """The compiled launcher as a jar, made anew when its source or the class path changes.

    :param name: the class' name: ``KafkaLaunch`` or ``EsLaunch``
    :param jdk: a JDK with a compiler
    :param class_path: jars that it needs
    :param cache: the cache's folder
    :raises UserError: when the compiler fails
    """
    source = _SOURCES / f"{name}.java"
    key = hashlib.sha256(source.read_bytes())
    key.update("\n".join(jar.name for jar in class_path).encode())
    target = cache / "launchers" / f"{name}-{key.hexdigest()[:12]}.jar"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".compile-", dir=target.parent) as folder:
        classes = Path(folder) / "classes"
        command = [str(jdk.javac), "-proc:none", "--release", str(MIN_VERSION), "-d", str(classes)]
        command += ["-cp", os.pathsep.join(map(str, class_path)), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UserError(
                f"{jdk.javac} could not compile {source.name}: set JAVA_HOME to another JDK "
                f"{MIN_VERSION} or newer. It said:\n{(done.stdout + done.stderr)[-2000:]}"
            )
        jar = Path(folder) / target.name
        with zipfile.ZipFile(jar, "w") as archive:
            for path in sorted(classes.rglob("*.class")):
                archive.write(path, path.relative_to(classes).as_posix())
        jar.replace(target)
    return target
