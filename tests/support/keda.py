"""KEDA as it is, beside a cluster: its operator and its metrics adapter as processes of this
machine, and the API server's external metrics led to the adapter."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import trustme
import yaml
from kube import Kube, condition, eventually, free_port

METRICS = "v1beta1.external.metrics.k8s.io"


class Keda:
    """What a test asks of a cluster that has KEDA."""

    def __init__(self, kube: Kube, folder: Path) -> None:
        self._kube, self._folder = kube, folder

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create or change objects."""
        file = self._folder / "objects.yaml"
        file.write_text(yaml.safe_dump_all(objects))
        self.kubectl("apply", "-f", str(file))

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says."""
        done = self._kube.kubectl(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """An object."""
        return dict(json.loads(self.kubectl("get", *arguments, "-o", "json")))


@contextmanager
def keda(kube: Kube, built: Path, folder: Path) -> Iterator[Keda]:
    """KEDA while the block runs; no trace of it is left.

    :param built: what scripts/build-keda has made.
    """
    asked = Keda(kube, folder)
    definitions = sorted((built / "crd").glob("*.yaml"))
    certificates, port = _certificates(folder), free_port()
    shared = {
        "KUBECONFIG": str(kube.kubeconfig),
        "WATCH_NAMESPACE": "",
        "POD_NAMESPACE": "kube-system",
        "KEDA_CLUSTER_OBJECT_NAMESPACE": "kube-system",
    }
    service = f"127.0.0.1:{free_port()}"
    operator = ["--cert-dir", str(certificates), "--metrics-service-bind-address", service]
    operator += [
        "--metrics-bind-address",
        "127.0.0.1:0",
        "--health-probe-bind-address",
        "127.0.0.1:0",
    ]
    adapter = ["--cert-dir", str(certificates), "--metrics-service-address", service]
    adapter += ["--secure-port", str(port), "--port", str(free_port())]
    adapter += ["--tls-cert-file", str(certificates / "tls.crt")]
    adapter += ["--tls-private-key-file", str(certificates / "tls.key")]
    for which in ("lister-kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"):
        adapter += [f"--{which}", str(kube.kubeconfig)]
    with ExitStack() as stack:
        for file in definitions:
            # Larger than what an annotation may hold: the server keeps who set what.
            asked.kubectl("apply", "--server-side", "-f", str(file))
            stack.callback(asked.kubectl, "delete", "--ignore-not-found", "-f", str(file))
        stack.enter_context(_running(built / "bin" / "operator", operator, shared, folder))
        stack.enter_context(_running(built / "bin" / "adapter", adapter, shared, folder))
        for name in _external_metrics(asked, port):
            stack.callback(
                asked.kubectl, "delete", "-n", "kube-system", "--ignore-not-found", *name
            )
        eventually(
            lambda: condition(asked.get("apiservice", METRICS), "Available"),
            lambda found: found.get("status") == "True",
        )
        yield asked


def _external_metrics(asked: Keda, port: int) -> list[tuple[str, str]]:
    """Lead the API server's external metrics to a port of this machine; the objects made."""
    [node] = asked.get("nodes")["items"]
    [address] = [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"]
    name, where = "keda-metrics-apiserver", {"namespace": "kube-system"}
    metadata = {"name": name, **where}
    labels = {"kubernetes.io/service-name": name}
    ports = [{"name": "https", "port": 443, "targetPort": port, "protocol": "TCP"}]
    asked.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata | {"labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address]}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": METRICS},
            "spec": {
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "service": {"name": name, **where},
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
            },
        },
    )
    return [("service", name), ("endpointslice", name), ("apiservice", METRICS)]


def _certificates(folder: Path) -> Path:
    """What operator and adapter know each other by."""
    made = folder / "certificates"
    made.mkdir()
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(made / "ca.crt"))
    server.private_key_pem.write_to_path(str(made / "tls.key"))
    (made / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in server.cert_chain_pems))
    return made


@contextmanager
def _running(
    program: Path, arguments: list[str], environment: dict[str, str], folder: Path
) -> Iterator[None]:
    log = folder / f"{program.name}.log"
    with log.open("wb") as out:
        process = psutil.Popen(
            [str(program), *arguments], stdout=out, stderr=out, env=os.environ | environment
        )
    try:
        yield
        assert process.poll() is None, log.read_text()[-3000:]
    finally:
        if process.is_running():
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
