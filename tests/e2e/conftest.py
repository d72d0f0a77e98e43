"""The whole system on a cluster: images, servers, the release, and what tests ask it.

KUBECONFIG names the cluster. Images are built and loaded (KUBE_DIR and the loader of ../shared, or
kind); WEBEVENTS_E2E_LOADED=1 says that they are on the nodes already.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import server_image

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("WEBEVENTS_SHARED", ROOT.parent / "shared"))
CHART = ROOT / "charts" / "web-event-pipeline"
RELEASE = "web"
Object = dict[str, Any]


@dataclass
class Cluster:
    """A namespace of the cluster, by kubectl and helm."""

    namespace: str

    def run(self, program: str, *arguments: str, check: bool = True, **options: Any) -> str:
        """Run a program in the namespace; returns what it prints."""
        folder = os.environ.get("KUBE_DIR")
        path = (shutil.which(program, path=f"{folder}/bin") if folder else None) or program
        done = subprocess.run(
            [path, "--namespace", self.namespace, *arguments],
            capture_output=True, text=True, check=False, timeout=300, **options,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{program} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Run kubectl."""
        return self.run("kubectl", *arguments, **options)

    def helm(self, *arguments: str, **options: Any) -> str:
        """Run helm."""
        return self.run("helm", *arguments, **options)

    def apply(self, *objects: Object) -> None:
        """Apply objects."""
        made = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--filename", "-", input=json.dumps(made))

    def json(self, *arguments: str) -> Any:
        """What ``kubectl get`` has, as JSON."""
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def pods(self, workload: str) -> list[str]:
        """Names of a workload's pods that run."""
        found = self.json("pods", "--selector", f"webevents.dev/workload={workload}")["items"]
        return [
            each["metadata"]["name"]
            for each in found
            if not each["metadata"].get("deletionTimestamp")
            and all(one.get("ready") for one in each["status"].get("containerStatuses", [{}]))
        ]

    def documents(self, index: str) -> int:
        """Documents of indices, counted by Elasticsearch itself."""
        self._elasticsearch(f"{index}/_refresh")
        return int(self._elasticsearch(f"{index}/_count").get("count", 0))

    def _elasticsearch(self, path: str) -> Object:
        script = (
            "import sys, urllib.request as u;"
            "print(u.urlopen('http://elasticsearch:9200/' + sys.argv[1]).read().decode())"
        )
        text = self.kubectl("exec", "elasticsearch-0", "--", "python3", "-c", script, path)
        return dict(json.loads(text))

    def topic(self, name: str) -> tuple[int, int]:
        """Messages of a topic that are committed, and how many different event ids they have."""
        script = """if True:
            import json, sys
            from confluent_kafka import Consumer, TopicPartition
            consumer = Consumer({"bootstrap.servers": "kafka:9092", "group.id": "count",
                "isolation.level": "read_committed", "enable.partition.eof": True})
            parts = consumer.list_topics(sys.argv[1], 10).topics[sys.argv[1]].partitions
            consumer.assign([TopicPartition(sys.argv[1], part, 0) for part in parts])
            count, ids, ended = 0, set(), 0
            while ended < len(parts):
                message = consumer.poll(10)
                assert message is not None, "Kafka says nothing"
                if message.error():
                    ended += 1
                    continue
                count += 1
                try:
                    ids.add(json.loads(message.value())["event_id"])
                except (ValueError, KeyError, TypeError):
                    pass
            print(count, len(ids))
        """
        pod = f"deployment/{RELEASE}-web-event-pipeline-operator"
        count, ids = self.kubectl("exec", pod, "--", "python", "-c", script, name).split()
        return int(count), int(ids)


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
            command = ["kind", "load", "image-archive", str(archive)]
        else:
            pytest.skip("images cannot be loaded: set KUBE_DIR, or install kind")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        archive.unlink()


@pytest.fixture(scope="session")
def cluster(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A namespace with Kafka and Elasticsearch, ready."""
    made = Cluster(f"e2e-{int(time.time())}")
    made.kubectl("create", "namespace", made.namespace)
    restricted = "pod-security.kubernetes.io/enforce=baseline"
    made.kubectl("label", "namespace", made.namespace, restricted)
    try:
        folder = tmp_path_factory.mktemp("servers")
        made.apply(*server_image.objects(made.namespace, folder))
        for name in ("kafka", "elasticsearch"):
            made.kubectl("rollout", "status", f"statefulset/{name}", "--timeout=180s")
        yield made
    finally:
        made.kubectl("delete", "namespace", made.namespace, "--wait=false", check=False)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Ask until the answer is accepted; fail with the last answer."""

    def run(
        ask: Callable[[], Any], accept: Callable[[Any], Any] = bool, *, seconds: float = 120
    ) -> Any:
        deadline = time.monotonic() + seconds
        while not accept(answer := ask()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; the last answer: {answer}")
            time.sleep(1)
        return answer

    return run


@pytest.fixture(scope="session")
def install(cluster: Cluster) -> Callable[..., str]:
    """``helm install`` or ``helm upgrade`` of the release on the servers of the namespace."""
    settings = _values(cluster)

    def run(command: str, *more: str) -> str:
        return cluster.helm(
            command, RELEASE, str(CHART), "--wait", "--timeout", "4m", *settings, *more
        )

    return run


def _values(cluster: Cluster) -> list[str]:
    """Values of a release on the servers of the namespace, for Helm's command line."""
    crd = "crd/webeventpipelines.webevents.dev"
    there = cluster.kubectl("get", crd, "--ignore-not-found", "--output", "json")
    annotations = json.loads(there or "{}").get("metadata", {}).get("annotations") or {}
    helms = annotations.get("meta.helm.sh/release-namespace") == cluster.namespace
    settings = {
        "images.pullPolicy": "IfNotPresent",
        "kafka.create": "false",
        "kafka.existing.bootstrapServers": f"kafka.{cluster.namespace}.svc:9092",
        "elasticsearch.create": "false",
        "elasticsearch.existing.urls[0]": f"http://elasticsearch.{cluster.namespace}.svc:9200",
        "kibana.create": "false",
        "operator.ledgerInterval": "5s",
        "operator.resyncInterval": "10s",
        "operator.resources.requests.cpu": "10m",
        "dataflows.usualResources.requests.cpu": "10m",
        "dataflows.usualResources.requests.memory": "64Mi",
        "pipeline.spec.generator.eventsPerSecond": "20",
        # A definition that somebody else installed is left to them.
        "crds.create": str(not there or helms).lower(),
    }
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
