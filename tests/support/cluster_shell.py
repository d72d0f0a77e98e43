"""The cluster as a person at a terminal has it: kubectl, helm, and looks into the servers."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

RELEASE = "web"
OPERATOR = f"deployment/{RELEASE}-web-event-pipeline-operator"
Object = dict[str, Any]

_COUNT = """if True:
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
_TOPICS = """if True:
    from confluent_kafka.admin import AdminClient
    found = AdminClient({"bootstrap.servers": "kafka:9092"}).list_topics(timeout=10).topics
    print(*(name for name in found if not name.startswith("__")))
"""
_OBJECTS = """if True:
    import sys
    from webevents.connectors.s3 import ObjectStore
    from webevents.logic.objects import ObjectName, read_object
    from webevents.spec.s3 import S3Spec
    import os
    os.environ["KEY"] = "key"
    store = ObjectStore(S3Spec(endpoint="http://s3:5000", bucket=sys.argv[1],
        access_key_env="KEY", secret_key_env="KEY"))
    seen = []
    for each in store.list(sys.argv[2] + "/"):
        name = ObjectName.parse(each.key, sys.argv[2])
        body, _ = store.get(each.key)
        seen += [(m.topic, m.partition, m.offset) for m in read_object(body, name.format)]
    print(len(seen), len(set(seen)))
"""
_GET = (
    "import sys, urllib.request as u;"
    "r = u.Request(sys.argv[1], method=sys.argv[2]); print(u.urlopen(r).read().decode())"
)


@dataclass
class Cluster:
    """A namespace of the cluster, by kubectl and helm."""

    namespace: str

    def run(self, program: str, *arguments: str, check: bool = True, **options: Any) -> str:
        """Run a program in the namespace; returns what it prints."""
        folder = os.environ.get("KUBE_DIR")
        path = (shutil.which(program, path=f"{folder}/bin") if folder else None) or program
        if program == "helm":
            path = os.environ.get("HELM", path)
        done = subprocess.run(
            [path, "--namespace", self.namespace, *arguments],
            capture_output=True, text=True, check=False, timeout=600, **options,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{program} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Run kubectl."""
        return self.run("kubectl", *arguments, **options)

    def helm(self, *arguments: str, **options: Any) -> str:
        """Run helm; the variable HELM names another one."""
        return self.run("helm", *arguments, **options)

    def apply(self, *objects: Object, **options: Any) -> str:
        """Apply objects."""
        made = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return self.kubectl("apply", "--filename", "-", input=json.dumps(made), **options)

    def json(self, *arguments: str) -> Any:
        """What ``kubectl get`` has, as JSON."""
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def pods(self, workload: str) -> list[str]:
        """Names of a workload's pods that are ready."""
        found = self.json("pods", "--selector", f"webevents.dev/workload={workload}")["items"]
        return [each["metadata"]["name"] for each in found if is_ready(each)]

    def python(self, script: str, *arguments: str, where: str = OPERATOR) -> str:
        """Run Python in a pod; the operator's has our packages."""
        return self.kubectl("exec", where, "--", "python3", "-c", script, *arguments)

    def topic(self, name: str) -> tuple[int, int]:
        """Messages of a topic that are committed, and how many different event ids they have."""
        count, ids = self.python(_COUNT, name).split()
        return int(count), int(ids)

    def topics(self) -> set[str]:
        """Topics that Kafka has, without its own; Kafka is asked from the operator's pod."""
        return set(self.python(_TOPICS).split())

    def topic_folders(self) -> set[str]:
        """Topics by the folders of their partitions: needs nothing of ours."""
        told = self.kubectl("exec", "kafka-0", "--", "ls", "/tmp/data/log")
        parts = (line.rpartition("-") for line in told.split())
        return {name for name, _, number in parts if number.isdigit() and name[:2] != "__"}

    def documents(self, index: str) -> int:
        """Documents of indices, counted by Elasticsearch itself."""
        self.elasticsearch(f"{index}/_refresh")
        return int(self.elasticsearch(f"{index}/_count").get("count", 0))

    def get(self, url: str, where: str) -> Any:
        """What a server answers to a pod, as JSON."""
        return json.loads(self.python(_GET, url, "GET", where=where))

    def elasticsearch(self, path: str) -> Any:
        """GET of Elasticsearch."""
        return self.get(f"http://elasticsearch:9200/{path}", "elasticsearch-0")

    def sql(self, statement: str) -> str:
        """What PostgreSQL answers, by its own terminal; columns parted by |."""
        words = ["-h", "/tmp", "-U", "webevents", "-Atc", statement, "webevents"]
        folder = "LD_LIBRARY_PATH=/opt/postgres/lib"
        command = ["env", folder, "/opt/postgres/bin/psql", *words]
        return self.kubectl("exec", "postgres-0", "--", *command).strip()

    def archived(self, bucket: str, root: str) -> tuple[int, int]:
        """Messages in objects, and how many different ones."""
        count, different = self.python(_OBJECTS, bucket, root).split()
        return int(count), int(different)

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket."""
        self.python(_GET, f"http://localhost:5000/{bucket}", "PUT", where="s3-0")

    def prometheus(self, path: str, **query: str) -> Any:
        """GET of Prometheus' API: the data of its answer."""
        asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        answer = self.get(f"http://localhost:9090/api/v1/{path}?{asked}", "prometheus-0")
        assert answer["status"] == "success", answer
        return answer["data"]

    def dump(self) -> str:
        """What somebody needs who looks for what went wrong."""
        parts = []
        for words in (
            ["get", "wep,pods,jobs,statefulsets", "--output", "wide"],
            ["get", "wep", "--output", "yaml"],
            ["get", "events", "--sort-by", ".lastTimestamp"],
            ["logs", "--selector", "app.kubernetes.io/part-of", "--all-containers", "--tail=40",
             "--prefix", "--max-log-requests=40"],
            ["logs", "--selector", "app.kubernetes.io/name=webevents", "--tail=15", "--prefix",
             "--max-log-requests=40"],
        ):  # fmt: skip
            try:
                text = self.kubectl(*words, check=False)
            except subprocess.TimeoutExpired as error:
                text = str(error)
            parts.append(f"$ kubectl {' '.join(words)}\n{text[-12_000:]}")
        return "\n".join(parts)


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready, and not on its way out."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
