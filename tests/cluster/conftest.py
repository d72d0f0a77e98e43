"""A real API server for the cluster tests, and real servers beside it.

The cluster is the one that KUBECONFIG names: kind, or any other that may be written to;
scripts/with-cluster starts one where ../shared/cluster is there. Without it the tests are skipped.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kube import Kube, OperatorProcess, find_kubectl
from shop import Shop

from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.kafka_server import EmbeddedKafka

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHARED = Path(os.environ.get("WEBEVENTS_SHARED", ROOT.parent / "shared"))
IMAGE = "webevents.test/standin:1"

StartOperator = Callable[..., OperatorProcess]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test waits for several things one after the other, each for minutes on a busy machine."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The cluster's kubeconfig."""
    given = os.environ.get("KUBECONFIG")
    if not given:
        pytest.skip("no cluster: set KUBECONFIG (such as kind's), or run make test-cluster")
    return Path(given)


@pytest.fixture(scope="session")
def kube(kubeconfig: Path) -> Kube:
    """The API server with our definition installed as it is in the repository."""
    made = Kube(kubeconfig, find_kubectl())
    made.apply_crd(ROOT / "manifests/crd/webeventpipelines.yaml")
    made.apply_crd(ROOT / "manifests/crd/webeventbackfills.yaml")
    return made


@pytest.fixture(scope="session")
def strimzi(kube: Kube) -> Kube:
    """The API server with Strimzi's own definitions."""
    files = sorted((SHARED / "crds" / "strimzi").glob("*.yaml"))
    if not files:
        pytest.skip("Strimzi's definitions are not in ../shared/crds")
    for file in files:
        kube.apply_crd(file)
    return kube


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of the test's own."""
    with kube.namespace() as name:
        yield name


@pytest.fixture(scope="session")
def image(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image on the node in which pods become ready without doing anything."""
    if given := os.environ.get("WEBEVENTS_TEST_IMAGE"):
        return given
    folder, load = os.environ.get("KUBE_DIR"), SHARED / "cluster" / "load-image.sh"
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not folder or not load.is_file() or not compiler:
        pytest.skip("pods need an image: set WEBEVENTS_TEST_IMAGE, or KUBE_DIR and have gcc")
    work = tmp_path_factory.mktemp("image")
    program = work / "root" / "usr" / "bin" / "webevents"
    program.parent.mkdir(parents=True)
    (work / "root" / "tmp").mkdir()
    source, archive = HERE / "image" / "webevents.c", work / "image.tar"
    subprocess.run([compiler, "-O2", "-static", "-o", program, source], check=True)
    make = [f"{folder}/bin/kube", "mkimage", "--name", IMAGE, "--rootfs", str(work / "root")]
    subprocess.run([*make, "--out", archive, "--entrypoint", "/usr/bin/webevents"], check=True)
    subprocess.run([load, archive], check=True, env=os.environ | {"KUBE_DIR": folder})
    return IMAGE


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Kafka: its bootstrap address."""
    server = EmbeddedKafka(tmp_path_factory.mktemp("kafka") / "home").start()
    yield server.bootstrap
    server.stop()


@pytest.fixture(scope="session")
def elasticsearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Elasticsearch: its URL."""
    server = EmbeddedElasticsearch(tmp_path_factory.mktemp("elasticsearch") / "home").start()
    yield server.url
    server.stop()


@pytest.fixture
def shop(kube: Kube, namespace: str, kafka: str) -> Shop:
    """A pipeline on the real Kafka, not yet created."""
    return Shop(kube, namespace, kafka)


SETTINGS: dict[str, Any] = {
    "imagePullPolicy": "Never",
    "image": "webevents.test/none:1",
    "resyncInterval": "5s",
    "ledgerInterval": "2s",
    "usualResources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}},
}


@pytest.fixture
def start_operator(kube: Kube, namespace: str, tmp_path: Path) -> Iterator[StartOperator]:
    """Start operators for the test's namespace: ``start_operator(**settings)``.

    ``namespaces`` are others to watch; none means all of the cluster.
    """
    made: list[OperatorProcess] = []

    def start(
        *, kubeconfig: Path | None = None, namespaces: list[str] | None = None,
        wait: bool = True, **settings: Any,
    ) -> OperatorProcess:  # fmt: skip
        where = kubeconfig or kube.kubeconfig
        watched = [namespace] if namespaces is None else namespaces
        process = OperatorProcess(tmp_path, where, watched or None, SETTINGS | settings)
        made.append(process)
        return process.start(wait=wait)

    yield start
    for process in made:
        process.kill()
        faults = [line for line in process.logged() if line.get("event") == "pass failed"]
        assert not faults, faults[0]
