"""Topics and users as Strimzi's resources, judged by its real definitions.

Strimzi's operators do not run here: the tests write the status that they would write.
"""

from collections.abc import Callable
from typing import Any

import pytest
from kube import Kube, OperatorProcess, condition, eventually, own_labels, pipeline
from prometheus_definitions import Unavailable, definitions

from webevents_operator import kinds
from webevents_operator.kinds import Kind, Object

StartOperator = Callable[..., OperatorProcess]

LISTENERS = [
    {"name": "plain", "port": 9092, "type": "internal", "tls": False},
    {
        "name": "tls",
        "port": 9093,
        "type": "internal",
        "tls": True,
        "authentication": {"type": "tls"},
    },
]


def _kafka(namespace: str, listeners: list[Any], authorization: str | None = "simple") -> Object:
    kafka: Object = {"version": "4.1.0", "listeners": listeners}
    if authorization:
        kafka["authorization"] = {"type": authorization}
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "Kafka",
        "metadata": {"name": "events", "namespace": namespace},
        "spec": {"kafka": kafka},
    }


def _be_strimzi(kube: Kube, namespace: str, *, refuse: str | None = None) -> None:
    """Do what Strimzi's entity operator does with every topic and user."""
    for kind in (kinds.KAFKA_TOPIC, kinds.KAFKA_USER):
        for found in kube.list(kind, namespace):
            metadata = found["metadata"]
            ready = {"type": "Ready", "status": "True"}
            if metadata["name"] == refuse:
                ready = {"type": "Ready", "status": "False", "message": "no more room"}
            kube.merge_status(
                kind,
                namespace,
                metadata["name"],
                {"observedGeneration": metadata["generation"], "conditions": [ready]},
            )
    for user in kube.list(kinds.KAFKA_USER, namespace):
        secret = kinds.SECRET.of(
            user["metadata"]["name"],
            namespace,
            stringData={"user.crt": "c", "user.key": "k", "password": "p"},
        )
        kube.apply(secret)
    kube.apply(kinds.SECRET.of("events-cluster-ca-cert", namespace, stringData={"ca.crt": "ca"}))


SPEC: Object = {
    "kafka": {"strimzi": {"cluster": "events"}, "replicationFactor": 3},
    "index": {"enabled": False},
    "topics": {"raw": {"name": "Raw_Events", "retention": "1h"}},
}


USERS = {f"shop-{account}" for account in ("enrich", "sessionize", "operator", "tools")}


def _allowed(user: Object) -> set[tuple[str, str, str]]:
    """What a KafkaUser may do: kind of resource, name (with * behind a prefix), operation."""
    return {
        (
            acl["resource"]["type"],
            acl["resource"]["name"] + ("*" if acl["resource"]["patternType"] == "prefix" else ""),
            operation,
        )
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }


def _names(kube: Kube, kind: Kind, namespace: str) -> set[str]:
    return {each["metadata"]["name"] for each in kube.list(kind, namespace, **own_labels("shop"))}


def test_topics_user_and_log_in(
    strimzi: Kube, namespace: str, start_operator: StartOperator
) -> None:
    kube = strimzi
    start_operator()
    kube.create(pipeline(namespace, "shop", SPEC))
    told = eventually(
        lambda: condition(kube.must_get(kinds.PIPELINE, namespace, "shop"), "Ready"),
        lambda c: c.get("reason") == "DependencyMissing",
    )
    assert f"There is no Kafka resource {namespace}/events" in told["message"]
    kube.apply(_kafka(namespace, LISTENERS))
    eventually(lambda: len(kube.list(kinds.KAFKA_TOPIC, namespace)) == 5)
    (raw,) = [
        each
        for each in kube.list(kinds.KAFKA_TOPIC, namespace)
        if each["spec"].get("topicName") == "Raw_Events"
    ]
    assert raw["spec"]["partitions"] == 4
    assert raw["spec"]["replicas"] == 3
    assert raw["spec"]["config"]["retention.ms"] == "3600000"
    assert raw["metadata"]["labels"]["strimzi.io/cluster"] == "events"
    assert "ownerReferences" not in raw["metadata"]  # retained
    eventually(lambda: _names(kube, kinds.KAFKA_USER, namespace) == USERS)
    user = kube.must_get(kinds.KAFKA_USER, namespace, "shop-enrich")
    assert user["spec"]["authentication"] == {"type": "tls"}
    assert _allowed(user) == {
        ("topic", "Raw_Events", "Read"),
        ("topic", "enriched-web-events", "Write"),
        ("topic", "failed-web-events", "Write"),
        ("group", "shop-enrich", "Read"),
        ("transactionalId", "shop-enrich-*", "Write"),
    }
    # The operator only looks: Strimzi makes the topics.
    watching = _allowed(kube.must_get(kinds.KAFKA_USER, namespace, "shop-operator"))
    assert {operation for *_, operation in watching} == {"Describe"}
    # Nothing runs before its topics are there.
    eventually(
        lambda: condition(kube.must_get(kinds.PIPELINE, namespace, "shop"), "TopicsReady"),
        lambda c: "Strimzi has not finished" in c.get("message", ""),
    )
    assert kube.list(kinds.STATEFUL_SET, namespace) == []
    _be_strimzi(kube, namespace)
    eventually(lambda: len(kube.list(kinds.STATEFUL_SET, namespace)) == 2)
    settings = kube.must_get(kinds.CONFIG_MAP, namespace, "shop-enrich")["data"]["settings.json"]
    assert f"events-kafka-bootstrap.{namespace}.svc:9093" in settings
    assert "/etc/webevents/secrets/shop-enrich/user.key" in settings
    assert "/etc/webevents/secrets/events-cluster-ca-cert/ca.crt" in settings
    for workload in ("enrich", "sessionize"):
        found = kube.must_get(kinds.STATEFUL_SET, namespace, f"shop-{workload}")
        mounted = {
            volume["secret"]["secretName"]
            for volume in found["spec"]["template"]["spec"]["volumes"]
            if "secret" in volume
        }
        assert mounted == {f"shop-{workload}", "events-cluster-ca-cert"}


def test_more_partitions_wait_for_strimzi_and_then_roll(
    strimzi: Kube, namespace: str, start_operator: StartOperator
) -> None:
    kube = strimzi
    start_operator()
    kube.apply(_kafka(namespace, LISTENERS[:1], None))
    kube.create(pipeline(namespace, "shop", SPEC))
    eventually(lambda: len(kube.list(kinds.KAFKA_TOPIC, namespace)) == 5)
    assert kube.list(kinds.KAFKA_USER, namespace) == []  # the listener asks for none
    _be_strimzi(kube, namespace)
    eventually(lambda: len(kube.list(kinds.STATEFUL_SET, namespace)) == 2)
    before = kube.must_get(kinds.STATEFUL_SET, namespace, "shop-sessionize")["spec"]["template"]
    change = {"spec": {"topics": {"enriched": {"partitions": 9}}}}
    kube.merge(kinds.PIPELINE, namespace, "shop", change)
    eventually(
        lambda: kube.must_get(kinds.KAFKA_TOPIC, namespace, "enriched-web-events"),
        lambda topic: topic["spec"]["partitions"] == 9,
    )
    now = kube.must_get(kinds.STATEFUL_SET, namespace, "shop-sessionize")["spec"]["template"]
    assert now == before
    _be_strimzi(kube, namespace)
    eventually(
        lambda: kube.must_get(kinds.STATEFUL_SET, namespace, "shop-sessionize"),
        lambda found: found["spec"]["template"] != before,
    )


def test_what_strimzi_refuses_is_told(
    strimzi: Kube, namespace: str, start_operator: StartOperator
) -> None:
    kube = strimzi
    start_operator()
    kube.apply(_kafka(namespace, LISTENERS[:1], None))
    kube.create(pipeline(namespace, "shop", SPEC))
    eventually(lambda: len(kube.list(kinds.KAFKA_TOPIC, namespace)) == 5)
    _be_strimzi(kube, namespace, refuse="web-sessions")
    told = eventually(
        lambda: condition(kube.must_get(kinds.PIPELINE, namespace, "shop"), "TopicsReady"),
        lambda c: c.get("reason") == "KafkaUnavailable",
    )
    assert "KafkaTopic web-sessions: no more room" in told["message"]


@pytest.mark.parametrize(("policy", "left"), [("Retain", 5), ("Delete", 0)])
def test_deletion(
    strimzi: Kube, namespace: str, start_operator: StartOperator, policy: str, left: int
) -> None:
    kube = strimzi
    start_operator()
    kube.apply(_kafka(namespace, LISTENERS))
    kube.create(pipeline(namespace, "shop", SPEC | {"deletionPolicy": {"topics": policy}}))
    eventually(lambda: len(kube.list(kinds.KAFKA_TOPIC, namespace)) == 5)
    eventually(lambda: _names(kube, kinds.KAFKA_USER, namespace) == USERS)
    kube.delete(kinds.PIPELINE, namespace, "shop")
    eventually(lambda: _names(kube, kinds.KAFKA_USER, namespace) == set())
    eventually(lambda: len(kube.list(kinds.KAFKA_TOPIC, namespace)), lambda n: n == left)
    assert kube.get(kinds.PIPELINE, namespace, "shop") is None
    if policy == "Retain":
        # The next pipeline of the name has them again.
        kube.create(pipeline(namespace, "shop", SPEC))
        _be_strimzi(kube, namespace)
        eventually(lambda: _names(kube, kinds.KAFKA_USER, namespace) == USERS)
        _be_strimzi(kube, namespace)
        eventually(lambda: len(kube.list(kinds.STATEFUL_SET, namespace)) == 2)


def test_a_kafka_of_another_namespace(
    strimzi: Kube, namespace: str, start_operator: StartOperator
) -> None:
    kube = strimzi
    with kube.namespace() as brokers:
        start_operator(namespaces=[namespace, brokers])
        kube.apply(_kafka(brokers, LISTENERS[:1], None))
        there = {"kafka": {"strimzi": {"cluster": "events", "namespace": brokers}}}
        spec = SPEC | there | {"deletionPolicy": {"topics": "Delete"}}
        kube.create(pipeline(namespace, "shop", spec))
        eventually(lambda: len(kube.list(kinds.KAFKA_TOPIC, brokers)) == 5)
        _be_strimzi(kube, brokers)
        eventually(lambda: len(kube.list(kinds.STATEFUL_SET, namespace)) == 2)
        kube.delete(kinds.KAFKA_TOPIC, brokers, "web-sessions")
        eventually(lambda: len(kube.list(kinds.KAFKA_TOPIC, brokers)) == 5)
        kube.delete(kinds.PIPELINE, namespace, "shop")
        eventually(lambda: kube.get(kinds.PIPELINE, namespace, "shop") is None)
        assert kube.list(kinds.KAFKA_TOPIC, brokers) == []


def test_change_data_capture(strimzi: Kube, namespace: str, start_operator: StartOperator) -> None:
    kube = strimzi
    start_operator()
    kube.apply(_kafka(namespace, LISTENERS[:1], None))
    kube.create(kinds.SECRET.of("shop-db", namespace, stringData={"password": "never-shown"}))
    debezium = {
        "postgres": {"host": "db", "passwordFile": "secret:shop-db/password"},
        "tables": [{"name": "public.clicks"}],
        "connect": {"cluster": "connect"},
    }
    kube.create(pipeline(namespace, "shop", SPEC | {"source": {"debezium": debezium}}))
    made = eventually(lambda: kube.get(kinds.KAFKA_CONNECTOR, namespace, "shop-connector"))
    assert made
    assert made["spec"]["config"]["table.include.list"].endswith("clicks")
    assert "never-shown" not in str(made)
    eventually(lambda: len(kube.list(kinds.KAFKA_TOPIC, namespace)), lambda count: count == 8)
    _be_strimzi(kube, namespace)
    eventually(lambda: kube.get(kinds.STATEFUL_SET, namespace, "shop-capture"))
    status = {
        "observedGeneration": made["metadata"]["generation"],
        "conditions": [{"type": "Ready", "status": "False", "message": "no such slot"}],
    }
    kube.merge_status(kinds.KAFKA_CONNECTOR, namespace, "shop-connector", status)
    told = eventually(
        lambda: condition(kube.must_get(kinds.PIPELINE, namespace, "shop"), "WorkloadsReady"),
        lambda c: c.get("reason") == "ConnectorFailing",
    )
    assert "no such slot" in told["message"]


def test_a_pod_monitor_where_its_api_is(
    kube: Kube, namespace: str, start_operator: StartOperator, tmp_path: Any
) -> None:
    try:
        (file,) = definitions("podmonitors")
    except Unavailable:
        # This one takes any content under the real names.
        file = tmp_path / "podmonitor.yaml"
        file.write_text(_POD_MONITOR)
    kube.apply_crd(file)
    start_operator()
    kube.create(pipeline(namespace, "shop", SPEC | {"kafka": {"bootstrapServers": "127.0.0.1:9"}}))
    found = eventually(lambda: kube.get(kinds.POD_MONITOR, namespace, "shop"))
    assert found
    (endpoint,) = found["spec"]["podMetricsEndpoints"]  # what is not defined is not kept
    assert (endpoint["port"], endpoint["path"], endpoint["honorLabels"]) == (
        "metrics", "/metrics", True
    )  # fmt: skip
    assert {
        each["sourceLabels"][0].removeprefix("__meta_kubernetes_pod_label_"): each["targetLabel"]
        for each in endpoint["relabelings"]
    } == {"webevents_dev_pipeline": "pipeline", "webevents_dev_workload": "stage"}


_POD_MONITOR = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: podmonitors.monitoring.coreos.com
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: PodMonitor, listKind: PodMonitorList, plural: podmonitors, singular: podmonitor}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          x-kubernetes-preserve-unknown-fields: true
"""
