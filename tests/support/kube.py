"""A Kubernetes cluster and an operator process for tests."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_global_resource
from lightkube.types import PatchType

from webevents_operator import names
from webevents_operator.kinds import BY_NAME, Kind, Object

CRD = create_global_resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"
)
NAMESPACE = create_global_resource("", "v1", "Namespace", "namespaces")
T = TypeVar("T")


def eventually(
    ask: Callable[[], T], accept: Callable[[T], Any] = bool, *, seconds: float = 150
) -> T:
    """Ask until the answer is accepted; fail with the last answer.

    :param seconds: far more than it takes: what is promised in time is measured by
        :meth:`OperatorProcess.within`.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if accept(answer):
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s; the last answer: {answer}")
        time.sleep(0.1)


@dataclass
class Kube:
    """The API server, seen by a test."""

    kubeconfig: Path
    kubectl_path: str | None = None
    _client: Client = field(init=False)

    def __post_init__(self) -> None:
        config = KubeConfig.from_file(self.kubeconfig).get()
        assert config
        self._client = Client(config=config, field_manager="test", timeout=httpx2.Timeout(120))

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """An object, or None."""
        try:
            return dict(self._client.get(kind.resource, name, namespace=namespace))
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    def must_get(self, kind: Kind, namespace: str, name: str) -> Object:
        """An object that is there."""
        found = self.get(kind, namespace, name)
        assert found is not None, f"{kind.kind} {namespace}/{name}"
        return found

    def list(self, kind: Kind, namespace: str, **labels: str) -> list[Object]:
        """Objects of a namespace."""
        found = self._client.list(kind.resource, namespace=namespace, labels=dict(labels))
        return [dict(each) for each in found]

    def apply(self, wanted: Object, *, dry_run: bool = False) -> Object:
        """Create or change an object as a user does."""
        return self.apply_as("test", wanted, dry_run=dry_run)

    def apply_as(self, manager: str, wanted: Object, *, dry_run: bool = False) -> Object:
        """Create or change an object with the fields of a field manager."""
        kind, metadata = BY_NAME[wanted["kind"]], wanted["metadata"]
        return dict(
            self._client.patch(
                kind.resource,
                metadata["name"],
                kind.resource(wanted),
                namespace=metadata["namespace"],
                patch_type=PatchType.APPLY,
                field_manager=manager,
                force=True,
                dry_run=dry_run,
            )
        )

    def create(self, wanted: Object) -> Object:
        """Create an object."""
        client: Any = self._client
        resource = BY_NAME[wanted["kind"]].resource
        return dict(client.create(resource(wanted), namespace=wanted["metadata"]["namespace"]))

    def create_strictly(self, wanted: Object) -> Object:
        """Have the server judge an object as ``kubectl create --dry-run=server`` does."""
        kind, namespace = BY_NAME[wanted["kind"]], wanted["metadata"]["namespace"]
        path = f"/apis/{kind.api_version}/namespaces/{namespace}/{kind.plural}"
        answer = self._raw().post(
            path, json=wanted, params={"dryRun": "All", "fieldValidation": "Strict"}
        )
        if answer.status_code >= 400:
            raise ApiError(response=answer)
        return dict(answer.json())

    def review(self, asked: Object) -> Object:
        """Ask the authorizer: a SubjectAccessReview with its answer."""
        path = f"/apis/{asked['apiVersion']}/subjectaccessreviews"
        answer = self._raw().post(path, json=asked)
        if answer.status_code >= 400:
            raise ApiError(response=answer)
        return dict(answer.json())

    def _raw(self) -> Any:
        """The client library's own HTTP client, with its credentials."""
        generic: Any = self._client._client
        return generic._client

    def merge(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Change an object."""
        client: Any = self._client
        return dict(
            client.patch(
                kind.resource, name, patch, namespace=namespace, patch_type=PatchType.MERGE
            )
        )

    def merge_status(self, kind: Kind, namespace: str, name: str, status: Object) -> None:
        """Change an object's status."""
        client: Any = self._client
        client.patch(
            kind.resource.Status,
            name,
            {"status": status},
            namespace=namespace,
            patch_type=PatchType.MERGE,
        )

    def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Remove an object."""
        with contextlib.suppress(ApiError):
            self._client.delete(kind.resource, name, namespace=namespace)

    def apply_crd(self, file: Path) -> None:
        """Install the definitions of a file and wait until they are served."""
        client: Any = self._client
        for made in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            name = made["metadata"]["name"]
            client.patch(CRD, name, CRD(made), patch_type=PatchType.APPLY, force=True)

            def established(name: str = name) -> bool:
                status = client.get(CRD, name).get("status") or {}
                return any(
                    each["type"] == "Established" and each["status"] == "True"
                    for each in status.get("conditions") or []
                )

            eventually(established)
            spec = made["spec"]
            eventually(lambda spec=spec: spec["names"]["plural"] in self._served(spec["group"]))

    def _served(self, group: str) -> set[str]:
        """The resources of a group that the server tells of, a moment after they are established;
        kubectl asks in this way."""
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        groups = self._raw().get("/apis", headers={"Accept": accept}).json()["items"]
        return {
            resource["resource"]
            for each in groups
            if each["metadata"]["name"] == group
            for version in each["versions"]
            for resource in version["resources"]
        }

    @contextlib.contextmanager
    def namespace(self) -> Iterator[str]:
        """A namespace for a test."""
        client: Any = self._client
        name = f"test-{uuid.uuid4().hex[:8]}"
        client.create(NAMESPACE({"metadata": {"name": name}}))
        try:
            yield name
        finally:
            for pipeline in self.list(BY_NAME["WebEventPipeline"], name):
                metadata = pipeline["metadata"]
                with contextlib.suppress(ApiError):
                    self.merge(
                        BY_NAME["WebEventPipeline"],
                        name,
                        metadata["name"],
                        {"metadata": {"finalizers": []}},
                    )
            client.delete(NAMESPACE, name)

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run kubectl."""
        assert self.kubectl_path
        return subprocess.run(
            [self.kubectl_path, "--kubeconfig", str(self.kubeconfig), *arguments],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


def find_kubectl() -> str | None:
    """The path of kubectl."""
    folder = os.environ.get("KUBE_DIR")
    found = shutil.which("kubectl", path=f"{folder}/bin") if folder else None
    return found or shutil.which("kubectl")


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OperatorProcess:
    """The operator as a process of its own.

    :param kubeconfig: how it reaches the API server.
    :param namespaces: those it watches; None for all.
    """

    def __init__(
        self,
        folder: Path,
        kubeconfig: Path,
        namespaces: list[str] | None,
        config: Mapping[str, Any],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = folder / f"operator-{self.port}.log"
        self._config = folder / f"operator-{self.port}.yaml"
        self._config.write_text(yaml.safe_dump(dict(config)))
        self._kubeconfig = kubeconfig
        self._namespaces = namespaces
        # Whoever kills it leaves its temporary folders behind: here, not on the machine.
        self._temporary = folder / "tmp"
        self._temporary.mkdir(exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> "OperatorProcess":
        """Start it."""
        command = [sys.executable, "-m", "webevents_operator", "--config", str(self._config)]
        command += ["--port", str(self.port), "--host", "127.0.0.1"]
        for namespace in self._namespaces or ():
            command += ["--namespace", namespace]
        environment = os.environ | {
            "KUBECONFIG": str(self._kubeconfig),
            "TMPDIR": str(self._temporary),
        }
        if self._namespaces:
            environment["POD_NAMESPACE"] = self._namespaces[0]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, stderr=out, stdout=out, env=environment)
        if wait:
            eventually(lambda: self.get("/readyz"), lambda code: code == 200)
        return self

    def get(self, path: str) -> int:
        """The status of an answer of its endpoint; 0 without one."""
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            assert self.process and self.process.poll() is None, self.log.read_text()[-3000:]
            return 0

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Hold what is waited for meanwhile against a promise.

        On a machine that others keep busy the promise is stretched by as much as the operator's
        work takes longer there: the time that it waited for a processor, as the kernel counts it,
        against the time that it had one.
        """
        ran_then, waited_then = self._scheduled()
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        ran, waited = self._scheduled()
        stretched = seconds * (1 + (waited - waited_then) / max(ran - ran_then, 0.05))
        assert took <= stretched, f"{took:.1f} s, not {seconds} s (here {stretched:.1f} s)"

    def _scheduled(self) -> tuple[float, float]:
        """Seconds that the operator's loop had a processor, and that it waited for one."""
        assert self.process
        ran, waited, _ = Path(f"/proc/{self.process.pid}/schedstat").read_text().split()
        return int(ran) / 1e9, int(waited) / 1e9

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        return sum(self.metrics(name).values())

    def metrics(self, name: str) -> dict[str, float]:
        """The values of a metric by its labels."""
        lines = self.page("/metrics").splitlines()
        return {
            line.rpartition(" ")[0].removeprefix(name): float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith((f"{name} ", f"{name}{{"))
        }

    def page(self, path: str) -> str:
        """What its endpoint answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def passes(self, count: int) -> None:
        """Wait until it has made so many passes more, over any pipelines."""
        name = "webevents_operator_reconciles_total"
        before = self.metric(name)
        eventually(lambda: self.metric(name), lambda now: now >= before + count)

    def logged(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def kill(self) -> None:
        """SIGKILL."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self, timeout: float = 120) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError("the operator did not end at SIGTERM") from None
        return int(self.process.returncode)


def condition(resource: Object, kind: str) -> Object:
    """A condition of a pipeline's status."""
    for each in (resource.get("status") or {}).get("conditions") or []:
        if each["type"] == kind:
            return dict(each)
    return {}


def pipeline(namespace: str, name: str, spec: Object) -> Object:
    """A WebEventPipeline."""
    return BY_NAME["WebEventPipeline"].of(name, namespace, spec=spec)


def own_labels(name: str) -> dict[str, str]:
    """The labels by which a pipeline's objects are found."""
    return {names.PIPELINE: name}
