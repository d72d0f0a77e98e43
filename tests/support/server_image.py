"""An image of real Kafka and Elasticsearch, and their objects on a cluster without a registry."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from webevents.local.elasticsearch_server import lay_out_home
from webevents.local.jars import cache_dir, ensure_jars
from webevents.local.java import find_jdk
from webevents.local.launchers import launcher_jar
from webevents.local.properties import write_properties

IMAGE = "webevents.test/servers:1"
DOCKERFILE = Path(__file__).parents[1] / "e2e" / "Dockerfile"
CLUSTER_ID = "d2ViZXZlbnRzLXRlc3QtMQ"
_SETS = ("kafka", "elasticsearch", "transport-netty4")
Object = dict[str, Any]


def build(folder: Path) -> Path:
    """Build the image with buildah; returns its archive."""
    context = folder / "context"
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
    subprocess.run(["chmod", "-R", "a+rX", str(context)], check=True)
    archive = folder / "servers.tar"
    words = os.environ.get("BUILD_ARGUMENTS", "").split()
    base = os.environ.get("BASE")
    arguments = ["--build-arg", f"BASE={base}"] if base else []
    subprocess.run(
        ["buildah", "bud", "--quiet", *arguments, *words, "--file", str(DOCKERFILE),
         "--tag", IMAGE, str(context)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    shutil.rmtree(context)
    subprocess.run(
        ["buildah", "push", "--quiet", IMAGE, f"docker-archive:{archive}:{IMAGE}"], check=True
    )
    return archive


def objects(namespace: str, folder: Path) -> list[Object]:
    """Kafka at kafka:9092 and Elasticsearch at elasticsearch:9200 of a namespace."""
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
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
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
    files = {}
    for name, settings in (("kafka", kafka), ("elasticsearch", elasticsearch)):
        write_properties(folder / name, settings)
        files[f"{name}.properties"] = (folder / name).read_text()
    files["log4j2.properties"] = (
        "rootLogger.level = WARN\nrootLogger.appenderRef.out.ref = out\n"
        "appender.out.type = Console\nappender.out.name = out\n"
        "appender.out.layout.type = PatternLayout\n"
        "appender.out.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n\n"
    )
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "servers", "namespace": namespace},
        "data": files,
    }
    run_kafka = [
        "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", "/opt/kafka/*:/opt/KafkaLaunch.jar",
        "-Dkafka.logs.dir=/tmp/data", "KafkaLaunch", "/etc/servers/kafka.properties",
        "/tmp/data/log", "--standalone", "--cluster-id", CLUSTER_ID,
    ]  # fmt: skip
    run_elasticsearch = [
        "-Xmx768m", "-Des.nativelibs.path=/opt/home/lib", "-p", "/opt/elasticsearch",
        "--add-modules=ALL-MODULE-PATH", "--add-modules=jdk.incubator.vector",
        "--enable-native-access=ALL-UNNAMED,org.apache.lucene.core",
        "-cp", "/opt/EsLaunch.jar", "EsLaunch", "/tmp/home", "/tmp/home/node.properties",
    ]  # fmt: skip
    return [
        config,
        *_server(namespace, "kafka", 9092, _java(run_kafka)),
        # Its home must be a folder that it may write to.
        *_server(
            namespace, "elasticsearch", 9200,
            "cp -rT /opt/home /tmp/home && cp /etc/servers/elasticsearch.properties "
            "/tmp/home/node.properties && " + _java(run_elasticsearch),
        ),
    ]  # fmt: skip


def _java(arguments: list[str]) -> str:
    words = ["/opt/jdk/bin/java", "-Dlog4j2.configurationFile=/etc/servers/log4j2.properties"]
    return "exec " + " ".join(f"'{word}'" for word in [*words, *arguments])


def _server(namespace: str, name: str, port: int, script: str) -> list[Object]:
    labels = {"app": name}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    container = {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["bash", "-c", script],
        "ports": [{"containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "50m", "memory": "512Mi"}},
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/servers"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    pod = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": "servers"}},
            # Lives as long as the pod: a container that is killed finds its data again.
            {"name": "tmp", "emptyDir": {}},
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
    return [json.loads(json.dumps(each)) for each in (service, stateful_set)]
