"""The whole system on a cluster: images, servers, the release, and what tests ask it.

KUBECONFIG names the cluster. Images are built and loaded (KUBE_DIR and the loader of ../shared, or
kind); WEBEVENTS_E2E_LOADED=1 says that they are on the nodes already. While a step is being mended,
`--keep` leaves namespace and release as they are, and takes those that are there;
`--from-step NAME` leaves out the steps before it.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import server_image
import server_objects
from cluster_shell import RELEASE, Cluster
from node_hands import Hands

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("WEBEVENTS_SHARED", ROOT.parent / "shared"))
CHART = ROOT / "charts" / "web-event-pipeline"
ALERTS = ROOT / "manifests" / "monitoring" / "alerts.yaml"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
CRD = "crd/webeventpipelines.webevents.dev"
BACKFILLS = "crd/webeventbackfills.webevents.dev"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep", action="store_true", help="leave namespace and release behind")
    parser.addoption("--from-step", metavar="NAME", help="the first test to run of those given")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    first = config.getoption("from_step")
    if first:
        names = [item.name for item in items]
        if first not in names:
            raise pytest.UsageError(f"--from-step: there is no {first} in {', '.join(names)}")
        items[:] = items[names.index(first) :]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The project's images, and those of the servers, on the nodes."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("no cluster: set KUBECONFIG")
    if os.environ.get("WEBEVENTS_E2E_LOADED"):
        return
    folder = tmp_path_factory.mktemp("images")
    subprocess.run([ROOT / "scripts" / "images", folder], check=True)
    archives = [folder / "dataflows.tar", folder / "operator.tar", server_image.build(folder)]
    loader = SHARED / "cluster" / "load-image.sh"
    for archive in archives:
        if os.environ.get("KUBE_DIR") and loader.is_file():
            command = [str(loader), str(archive)]
        elif shutil.which("kind"):
            name = os.environ.get("KIND_CLUSTER_NAME", "web-events")
            command = ["kind", "load", "image-archive", str(archive), "--name", name]
        else:
            pytest.skip("images cannot be loaded: set KUBE_DIR, or install kind")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        archive.unlink()


@pytest.fixture(scope="session")
def cluster(
    images: None, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Cluster]:
    """A namespace with restricted pod security and every server, ready."""
    made = Cluster("web-events")
    keep = pytestconfig.getoption("keep")
    if keep and made.kubectl("get", "statefulset/prometheus", check=False).startswith("NAME"):
        yield made
        return
    # An earlier run's may still be on its way out.
    made.kubectl("wait", f"namespace/{made.namespace}", "--for=delete", "--timeout=120s")
    made.kubectl("create", "namespace", made.namespace)
    made.kubectl("label", "namespace", made.namespace, RESTRICTED)
    folder = tmp_path_factory.mktemp("servers")
    rules = folder / "alerts.yaml"
    rules.write_text(sooner(ALERTS.read_text()))
    try:
        told = made.apply(*server_objects.objects(made.namespace, folder, rules))
        assert "Warning" not in told
        for name in server_objects.PORTS:
            made.kubectl("rollout", "status", f"statefulset/{name}", "--timeout=300s")
        made.make_bucket(server_objects.BUCKET)
        yield made
    finally:
        if not keep:
            _clean_up(made)


def sooner(rules: str) -> str:
    """The alert rules, of which two judge half minutes: of a growing lag, and of the operator."""
    lag = {"> 10000": "> 500", "offset 10m": "offset 30s", "for: 10m": "for: 30s"}
    changes = {"WebeventsLagGrowing": lag, "WebeventsOperatorDown": {"for: 5m": "for: 30s"}}
    for name, change in changes.items():
        head, mark, rest = rules.partition(f"- alert: {name}\n")
        rule, next_mark, tail = rest.partition("- alert:")
        for old, new in change.items():
            assert old in rule
            rule = rule.replace(old, new)
        rules = head + mark + rule + next_mark + tail
    return rules


def _clean_up(cluster: Cluster) -> None:
    """Remove what this run made, whatever became of it."""
    cluster.helm("uninstall", RELEASE, "--no-hooks", check=False)
    ours = owner_of_definition(cluster) == cluster.namespace
    cluster.kubectl("delete", "namespace", cluster.namespace, "--wait=false", check=False)
    if ours:
        patch = '{"metadata": {"finalizers": null}}'
        for each in cluster.kubectl("get", "wep", "--output", "name", check=False).split():
            cluster.kubectl("patch", each, "--type=merge", "--patch", patch, check=False)
        cluster.kubectl("delete", CRD, BACKFILLS, "--wait=false", check=False)


def owner_of_definition(cluster: Cluster) -> str | None:
    """The namespace of the release that the definition belongs to; None where there is none."""
    there = cluster.kubectl("get", CRD, "--ignore-not-found", "--output", "json")
    if not there:
        return None
    annotations = json.loads(there)["metadata"].get("annotations") or {}
    return str(annotations.get("meta.helm.sh/release-namespace"))


@pytest.fixture(scope="session")
def hands(cluster: Cluster) -> Iterator[Hands]:
    """What sends signals to processes of pods."""
    with Hands(cluster) as made:
        yield made


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Ask until the answer is accepted; fail with the last answer."""

    def run(
        ask: Callable[[], Any], accept: Callable[[Any], Any] = bool, *, seconds: float = 400
    ) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if accept(answer := ask()):
                    return answer
            except AssertionError as error:  # such as a server that is just away
                answer = error
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; the last answer: {answer}")
            time.sleep(1)

    return run


@pytest.fixture(scope="session")
def install(cluster: Cluster) -> Callable[..., str]:
    """``helm install`` or ``helm upgrade`` of the release on the servers of the namespace."""
    settings = ["--values", str(Path(__file__).with_name("values.yaml"))]
    if owner_of_definition(cluster) not in (None, cluster.namespace):
        # A definition that somebody else installed is left to them.
        settings += ["--set", "crds.create=false"]

    def run(command: str, *more: str, chart: Path = CHART) -> str:
        wait = ("--wait", "--timeout", "5m")
        return cluster.helm(command, RELEASE, str(chart), *wait, *settings, *more)

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A step that fails says how the cluster looks."""
    report = yield
    made = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and report.when == "call" and made is not None:
        report.sections.append(("the cluster", made.dump()))
    return report
