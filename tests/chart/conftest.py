"""The chart, rendered by Helm; and a real API server that judges what was rendered."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_definitions import Unavailable, definitions

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "web-event-pipeline"
SHARED = Path(os.environ.get("WEBEVENTS_SHARED", ROOT.parent / "shared"))

Object = dict[str, Any]
Render = Callable[..., list[Object]]


def tool(name: str) -> str:
    """A program beside the cluster's own, or on the path; the test is skipped without it.

    The variable HELM names another helm, such as one of version 4.
    """
    if name == "helm" and (given := os.environ.get("HELM")):
        return given
    folder = os.environ.get("KUBE_DIR")
    found = (shutil.which(name, path=f"{folder}/bin") if folder else None) or shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed (PATH, or $KUBE_DIR/bin)")
    return found


def values_file(name: str) -> Path:
    return CHART / "values" / f"{name}.yaml"


@pytest.fixture(scope="session")
def helm() -> str:
    return tool("helm")


@pytest.fixture(scope="session")
def template(helm: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``helm template`` with values files and further values."""

    def run(
        *files: str, namespace: str = "shop", apis: tuple[str, ...] = (), **values: Any
    ) -> subprocess.CompletedProcess[str]:
        # The version that helm takes for granted without a cluster depends on how it was built.
        command = [helm, "template", "web", str(CHART), "--namespace", namespace]
        command += ["--kube-version", "1.34.0"]
        for file in files:
            command += ["--values", str(values_file(file))]
        for api in apis:
            command += ["--api-versions", api]
        command += ["--values", "-"]  # what comes last wins
        return subprocess.run(
            command, input=json.dumps(values), capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="session")
def render(template: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """The objects of the chart."""

    def run(*files: str, **options: Any) -> list[Object]:
        done = template(*files, **options)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    return run


@pytest.fixture(scope="session")
def refused(template: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """What Helm says to values that it refuses."""

    def run(*files: str, **options: Any) -> str:
        done = template(*files, **options)
        assert done.returncode != 0, "Helm took them"
        return done.stderr

    return run


@pytest.fixture(scope="session")
def kubectl() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """kubectl on a real API server with the definitions of Strimzi and ECK."""
    given = os.environ.get("KUBECONFIG")
    if not given:
        pytest.skip("no cluster: set KUBECONFIG (such as that of kind or of ../shared/cluster)")
    program = tool("kubectl")

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments],
            capture_output=True, text=True, check=False, timeout=120, **options,
        )  # fmt: skip

    folders = [SHARED / "crds" / "strimzi", SHARED / "crds" / "eck"]
    if not all(folder.is_dir() for folder in folders):
        pytest.skip("the definitions of Strimzi and ECK are not in ../shared/crds")
    for folder in folders:
        done = run("apply", "--server-side", "--force-conflicts", "--filename", str(folder))
        assert done.returncode == 0, done.stderr
    yield run


@pytest.fixture
def monitoring(kubectl: Callable[..., subprocess.CompletedProcess[str]]) -> Iterator[None]:
    """The Prometheus operator's own definitions on the API server."""
    try:
        files = definitions("podmonitors", "prometheusrules")
    except Unavailable as error:
        pytest.skip(str(error))
    words = [word for file in files for word in ("--filename", str(file))]
    done = kubectl("apply", "--server-side", "--force-conflicts", *words)
    assert done.returncode == 0, done.stderr
    done = kubectl("wait", *words, "--for=condition=Established", "--timeout=60s")
    assert done.returncode == 0, done.stderr
    yield
    # Other tests look whether this API is there.
    kubectl("delete", *words, "--wait=true")
