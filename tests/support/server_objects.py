"""Objects that run the servers of server_image.py in a namespace with restricted pod security."""

import json
from pathlib import Path
from typing import Any

import yaml
from server_image import IMAGE

from webevents.local.properties import write_properties

CLUSTER_ID = "d2ViZXZlbnRzLXRlc3QtMQ"
BUCKET = "web-events"
Object = dict[str, Any]
PORTS = {"kafka": 9092, "elasticsearch": 9200, "postgres": 5432, "s3": 5000, "prometheus": 9090}
SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_LOGGING = (
    "rootLogger.level = WARN\nrootLogger.appenderRef.out.ref = out\n"
    "appender.out.type = Console\nappender.out.name = out\n"
    "appender.out.layout.type = PatternLayout\n"
    "appender.out.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n\n"
)


def objects(namespace: str, folder: Path, rules: Path) -> list[Object]:
    """Each server at its name and port (``PORTS``) of a namespace.

    :param folder: for scratch files.
    :param rules: Prometheus' alert rules.
    """
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "servers", "namespace": namespace},
        "data": _files(namespace, folder) | {"alerts.yaml": rules.read_text()},
    }
    made = [config, *_secrets(namespace), *_watcher(namespace)]
    for name, script in _scripts(namespace).items():
        made += _server(namespace, name, script)
    return [dict(json.loads(json.dumps(each))) for each in made]


def secret(namespace: str, name: str, **data: str) -> Object:
    """A Secret with text."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": data,
    }


def _secrets(namespace: str) -> list[Object]:
    return [
        secret(namespace, "postgres", password="first"),
        secret(namespace, "store", access="key", secret="secret"),
    ]


def _files(namespace: str, folder: Path) -> dict[str, str]:
    kafka = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": "CLIENT://:9092,CONTROLLER://127.0.0.1:9093",
        "advertised.listeners": f"CLIENT://kafka.{namespace}.svc:9092",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": "127.0.0.1:9093",
        "log.dirs": "/tmp/data/log",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "5",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "5",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "log.cleaner.dedupe.buffer.size": "8388608",
        "broker.session.timeout.ms": "9000",
        "broker.heartbeat.interval.ms": "1000",
    }
    elasticsearch = {
        "cluster.name": "test",
        "node.name": "test",
        "discovery.type": "single-node",
        "network.host": "0.0.0.0",
        "http.port": "9200",
        "path.data": "/tmp/data",
        "path.logs": "/tmp/logs",
        "cluster.routing.allocation.disk.threshold_enabled": "false",
    }
    files = {
        "pods.py": _FIND_PODS,
        "log4j2.properties": _LOGGING,
        "prometheus.yaml": yaml.safe_dump(_SCRAPING),
    }
    for name, settings in (("kafka", kafka), ("elasticsearch", elasticsearch)):
        write_properties(folder / name, settings)
        files[f"{name}.properties"] = (folder / name).read_text()
    return files


_SCRAPING: Object = {
    "global": {"scrape_interval": "10s", "evaluation_interval": "5s"},
    "rule_files": ["/etc/servers/alerts.yaml"],
    "scrape_configs": [
        {
            "job_name": "pods",
            "file_sd_configs": [{"files": ["/tmp/targets.json"], "refresh_interval": "5s"}],
        }
    ],
}
_FIND_PODS = """\
# Debian's Prometheus cannot ask Kubernetes, so this does: it finds the same pods, under the same
# job, as the Prometheus operator would by the PodMonitors of operator and pipelines.
import json, os, ssl, sys, time, urllib.request
jobs = {"webevents": "webevents", "web-event-pipeline": "webevents-operator"}
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
trust = ssl.create_default_context(cafile=f"{folder}/ca.crt")
url = f"https://kubernetes.default.svc/api/v1/namespaces/{sys.argv[1]}/pods"
while True:
    try:
        asked = urllib.request.Request(url)
        asked.add_header("Authorization", "Bearer " + open(f"{folder}/token").read())
        pods = json.load(urllib.request.urlopen(asked, context=trust, timeout=10))["items"]
        found = []
        for pod in pods:
            name = pod["metadata"].get("labels", {}).get("app.kubernetes.io/name")
            address = pod["status"].get("podIP")
            if name not in jobs or not address:
                continue
            if pod["status"]["phase"] != "Running":
                continue
            for container in pod["spec"]["containers"]:
                for port in container.get("ports", []):
                    if port.get("name") == "metrics":
                        labels = {"job": jobs[name], "pod": pod["metadata"]["name"]}
                        target = f"{address}:{port['containerPort']}"
                        found.append({"targets": [target], "labels": labels})
        with open("/tmp/targets.new", "w") as file:
            json.dump(found, file)
        os.replace("/tmp/targets.new", "/tmp/targets.json")
    except (OSError, ValueError) as error:
        print("no list of pods:", error, flush=True)
    time.sleep(2)
"""


def _scripts(namespace: str) -> dict[str, str]:
    kafka = [
        "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", "/opt/kafka/*:/opt/KafkaLaunch.jar",
        "-Dkafka.logs.dir=/tmp/data", "KafkaLaunch", "/etc/servers/kafka.properties",
        "/tmp/data/log", "--standalone", "--cluster-id", CLUSTER_ID,
    ]  # fmt: skip
    elasticsearch = [
        "-Xmx768m", "-Des.nativelibs.path=/opt/home/lib", "-p", "/opt/elasticsearch",
        "--add-modules=ALL-MODULE-PATH", "--add-modules=jdk.incubator.vector",
        "--enable-native-access=ALL-UNNAMED,org.apache.lucene.core",
        "-cp", "/opt/EsLaunch.jar", "EsLaunch", "/tmp/home", "/tmp/home/node.properties",
    ]  # fmt: skip
    return {
        "kafka": _java(kafka),
        # Its home must be a folder that it may write to.
        "elasticsearch": "cp -rT /opt/home /tmp/home && cp /etc/servers/elasticsearch.properties "
        "/tmp/home/node.properties && " + _java(elasticsearch),
        "postgres": _POSTGRES,
        # A name of the service, such as s3.shop.svc, would be taken for a bucket's.
        "s3": "export S3_IGNORE_SUBDOMAIN_BUCKETNAME=true PYTHONPATH=/opt/s3; "
        "exec python3 -m moto.server -H 0.0.0.0 -p 5000 > /dev/null 2>&1",
        "prometheus": f"python3 /etc/servers/pods.py {namespace} & exec /opt/prometheus "
        "--config.file=/etc/servers/prometheus.yaml --storage.tsdb.path=/tmp/data --log.level=warn",
    }


_POSTGRES = """\
set -e
export LC_ALL=C PATH=/opt/postgres/bin:$PATH LD_LIBRARY_PATH=/opt/postgres/lib
if [ ! -e /tmp/data ]; then
  rm -rf /tmp/new
  initdb -D /tmp/new --username webevents --auth=scram-sha-256 --pwfile=/etc/secret/password \
    --encoding=UTF8 --locale=C --no-instructions
  echo 'local all all trust' > /tmp/new/pg_hba.conf
  echo 'host all all all scram-sha-256' >> /tmp/new/pg_hba.conf
  echo 'CREATE DATABASE webevents' | postgres --single -D /tmp/new postgres
  mv /tmp/new /tmp/data
fi
exec postgres -D /tmp/data -c 'listen_addresses=*' -c unix_socket_directories=/tmp
"""


def _java(arguments: list[str]) -> str:
    words = ["/opt/jdk/bin/java", "-Dlog4j2.configurationFile=/etc/servers/log4j2.properties"]
    return "exec " + " ".join(f"'{word}'" for word in [*words, *arguments])


def _watcher(namespace: str) -> list[Object]:
    """The account by which Prometheus finds the pods."""
    metadata = {"name": "prometheus", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "prometheus"}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    api = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": api, "kind": "RoleBinding", "metadata": metadata, "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **metadata}],
        },
    ]  # fmt: skip


def _server(namespace: str, name: str, script: str) -> list[Object]:
    labels, port = {"app": name}, PORTS[name]
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    container = {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["bash", "-c", script],
        "ports": [{"containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}},
        "securityContext": SECURITY,
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/servers"},
            {"name": "tmp", "mountPath": "/tmp"},
            *([{"name": "secret", "mountPath": "/etc/secret"}] if name == "postgres" else []),
        ],
    }
    watches = name == "prometheus"
    pod = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": watches,
        **({"serviceAccountName": name} if watches else {}),
        "securityContext": {"fsGroup": 10001},
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": "servers"}},
            # Lives as long as the pod: a container that is killed finds its data again.
            {"name": "tmp", "emptyDir": {}},
            *([{"name": "secret", "secret": {"secretName": name}}] if name == "postgres" else []),
        ],
    }
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": labels, "ports": [{"port": port}]},
    }
    return [service, stateful_set]
