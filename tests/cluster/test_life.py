"""A pipeline from its creation to its end: its objects, their drift, scaling, pause, conflicts."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from kube import Kube, OperatorProcess, eventually, own_labels
from lightkube import ApiError
from shops import Shop

from webevents_operator import kinds, names
from webevents_operator.kinds import Kind, Object

StartOperator = Callable[..., OperatorProcess]


@pytest.fixture
def shop(kube: Kube, namespace: str, kafka: str) -> Shop:
    return Shop(kube, namespace, kafka)


def test_a_pipeline_comes_about_and_then_nothing_is_written(
    shop: Shop, start_operator: StartOperator, image: str
) -> None:
    operator = start_operator(image=image)
    shop.create()
    shop.wait()
    resource = shop.resource()
    assert resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
    for workload in ("generator", "enrich", "sessionize"):
        found = shop.child(kinds.STATEFUL_SET, workload)
        (owner,) = found["metadata"]["ownerReferences"]
        assert owner["uid"] == resource["metadata"]["uid"]
        managers = {each["manager"] for each in found["metadata"]["managedFields"]}
        assert names.FIELD_MANAGER in managers
        container = found["spec"]["template"]["spec"]["containers"][0]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert found["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
        assert found["spec"]["template"]["spec"]["enableServiceLinks"] is False
    stages = {stage["name"]: stage for stage in resource["status"]["stages"]}
    assert stages["enrich"]["ready"] == 1
    events = [each["reason"] for each in shop.kube.list(kinds.EVENT, shop.namespace)
              if each["involvedObject"]["name"] == "shop"]  # fmt: skip
    assert "Ready" in events
    assert "Changed" in events  # topics were created
    # The ledger is read from Kafka; then all is still.
    eventually(shop.resource, lambda r: r["status"].get("ledger", {}).get("balanced") is True)
    time.sleep(3)
    before = operator.metric("webevents_operator_api_writes_total")
    passes = operator.metric("webevents_operator_reconciles_total")
    time.sleep(12)  # two resyncs
    assert operator.metric("webevents_operator_reconciles_total") > passes
    assert operator.metric("webevents_operator_api_writes_total") == before
    assert operator.stop() == 0


def test_a_changed_setting_rolls_only_its_stage(
    shop: Shop, start_operator: StartOperator, image: str
) -> None:
    start_operator(image=image)
    shop.create()
    shop.wait()
    before = {name: shop.pods(name) for name in ("generator", "enrich", "sessionize")}
    shop.change({"enrich": {"userAgent": {"enabled": False}}})
    eventually(lambda: shop.pods("enrich"), lambda now: now and now != before["enrich"])
    shop.wait()
    assert shop.pods("sessionize") == before["sessionize"]
    assert shop.pods("generator") == before["generator"]


def test_the_rate_changes_without_a_restart(
    shop: Shop, start_operator: StartOperator, image: str
) -> None:
    start_operator(image=image)
    shop.create()
    shop.wait()
    before = shop.pods("generator")
    shop.change({"generator": {"eventsPerSecond": 75}})

    def live() -> Any:
        return json.loads(shop.child(kinds.CONFIG_MAP, "generator")["data"]["live.json"])

    eventually(live, lambda found: found == {"eventsPerSecond": 75})
    # The pod is touched, so that its kubelet refreshes the mounted file at once.
    eventually(
        lambda: shop.kube.must_get(kinds.POD, shop.namespace, "shop-generator-0"),
        lambda pod: names.LIVE in (pod["metadata"].get("annotations") or {}),
    )
    assert shop.pods("generator") == before


def test_scaling_by_the_subresource(shop: Shop, start_operator: StartOperator, image: str) -> None:
    if shop.kube.kubectl_path is None:
        pytest.skip("kubectl is not installed")
    start_operator(image=image)
    shop.create()
    shop.wait()
    done = shop.kube.kubectl("scale", "-n", shop.namespace, "wep/shop", "--replicas=3")
    assert done.returncode == 0, done.stderr
    eventually(lambda: len(shop.pods("generator")), lambda count: count == 3)
    shop.wait()
    assert shop.resource()["status"]["generators"] == "3/3"
    assert shop.resource()["status"]["replicas"] == 3
    template = shop.child(kinds.STATEFUL_SET, "generator")["spec"]["template"]
    assert template["spec"]["containers"][0]["args"][-2:] == ["--replicas", "3"]
    assert shop.child(kinds.DISRUPTION_BUDGET, "generator")["spec"]["maxUnavailable"] == 1
    shop.kube.kubectl("scale", "-n", shop.namespace, "wep/shop", "--replicas=1")
    eventually(lambda: len(shop.pods("generator")), lambda count: count == 1)
    name = "shop-generator"
    eventually(lambda: shop.kube.get(kinds.DISRUPTION_BUDGET, shop.namespace, name) is None)


def test_replicas_are_capped_by_partitions_and_partitions_roll(
    shop: Shop, start_operator: StartOperator, image: str
) -> None:
    start_operator(image=image)
    shop.create(stages={"enrich": {"replicas": 5}})
    told = shop.wait("Degraded", "True", "ReplicasCapped")
    assert "2 of 5 replicas" in told["message"]
    eventually(lambda: len(shop.pods("enrich")), lambda count: count == 2)
    before = shop.pods("enrich"), shop.pods("generator")
    shop.change({"topics": {"enriched": {"partitions": 5}}})
    eventually(lambda: shop.condition("TopicsReady").get("status"), lambda s: s == "True")
    shop.change({"topics": {"raw": {"partitions": 5}}})
    shop.wait("Degraded", "False")
    eventually(lambda: len(shop.pods("enrich")), lambda count: count == 5)
    eventually(
        lambda: shop.pods("enrich"), lambda now: not set(now.values()) & set(before[0].values())
    )
    assert shop.pods("generator") == before[1]


@pytest.mark.parametrize(
    ("kind", "workload", "patch"),
    [
        (kinds.STATEFUL_SET, "enrich", {"spec": {"replicas": 7}}),
        (
            kinds.STATEFUL_SET,
            "enrich",
            {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}},
        ),
        (kinds.CONFIG_MAP, "enrich", {"data": {"settings.json": "{}"}}),
        (kinds.SERVICE, None, {"spec": {"ports": [{"name": "metrics", "port": 1}]}}),
        (kinds.STATEFUL_SET, "sessionize", {"metadata": {"labels": {names.WORKLOAD: "x"}}}),
        (kinds.STATEFUL_SET, "sessionize", {"metadata": {"ownerReferences": []}}),
    ],
)
def test_drift_is_reverted(
    shop: Shop, start_operator: StartOperator, kind: Kind, workload: str, patch: Object
) -> None:
    start_operator()
    shop.create()
    eventually(lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)
    before = shop.child(kind, workload)
    name = before["metadata"]["name"]
    shop.kube.merge(kind, shop.namespace, name, patch)
    eventually(
        lambda: shop.child(kind, workload),
        lambda now: now.get("spec") == before.get("spec") and now.get("data") == before.get("data")
        and now["metadata"]["labels"] == before["metadata"]["labels"]
        and now["metadata"].get("ownerReferences") == before["metadata"]["ownerReferences"],
    )  # fmt: skip


def test_what_is_deleted_comes_back(shop: Shop, start_operator: StartOperator) -> None:
    start_operator()
    shop.create()
    eventually(lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)
    for kind in (kinds.STATEFUL_SET, kinds.CONFIG_MAP, kinds.SERVICE):
        for found in shop.kube.list(kind, shop.namespace, **own_labels("shop")):
            name, uid = found["metadata"]["name"], found["metadata"]["uid"]
            shop.kube.delete(kind, shop.namespace, name)

            def anew(kind: Kind = kind, name: str = name, uid: str = uid) -> bool:
                there = shop.kube.get(kind, shop.namespace, name)
                return there is not None and there["metadata"]["uid"] != uid

            eventually(anew)


def test_a_stage_that_is_switched_off_goes(shop: Shop, start_operator: StartOperator) -> None:
    start_operator()
    shop.create()
    eventually(lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)
    shop.change({"sessions": {"enabled": False}, "generator": None})
    eventually(
        lambda: {s["metadata"]["name"] for s in shop.kube.list(kinds.STATEFUL_SET, shop.namespace)},
        lambda there: there == {"shop-enrich"},
    )
    eventually(
        lambda: {
            each["metadata"]["name"]
            for each in shop.kube.list(kinds.CONFIG_MAP, shop.namespace, **own_labels("shop"))
        },
        lambda there: there == {"shop-enrich"},
    )


@pytest.mark.parametrize("way", ["field", "annotation"])
def test_paused(shop: Shop, start_operator: StartOperator, way: str) -> None:
    start_operator()
    shop.create()
    eventually(lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)
    on: Object = {"spec": {"paused": True}}
    off: Object = {"spec": {"paused": False}}
    if way == "annotation":
        on = {"metadata": {"annotations": {names.PAUSED: "true"}}}
        off = {"metadata": {"annotations": {names.PAUSED: None}}}
    shop.kube.merge(kinds.PIPELINE, shop.namespace, "shop", on)
    shop.wait("Progressing", "False", "Paused")
    assert shop.resource()["status"]["paused"] is True
    shop.kube.merge(kinds.STATEFUL_SET, shop.namespace, "shop-enrich", {"spec": {"replicas": 0}})
    shop.change({"stages": {"sessionize": {"replicas": 2}}})
    time.sleep(7)  # more than a resync
    assert shop.child(kinds.STATEFUL_SET, "enrich")["spec"]["replicas"] == 0
    assert shop.child(kinds.STATEFUL_SET, "sessionize")["spec"]["replicas"] == 1
    shop.kube.merge(kinds.PIPELINE, shop.namespace, "shop", off)
    for stage, replicas in (("enrich", 1), ("sessionize", 2)):
        eventually(
            lambda stage=stage: shop.child(kinds.STATEFUL_SET, stage)["spec"]["replicas"],
            lambda now, replicas=replicas: now == replicas,
        )


def test_a_pipeline_that_is_deleted_takes_its_objects_but_not_its_topics(
    shop: Shop, start_operator: StartOperator, kafka: str
) -> None:
    start_operator()
    shop.create()
    eventually(lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)
    assert not shop.resource()["metadata"].get("finalizers")
    shop.kube.delete(kinds.PIPELINE, shop.namespace, "shop")
    for kind in (kinds.STATEFUL_SET, kinds.CONFIG_MAP, kinds.SERVICE, kinds.DISRUPTION_BUDGET):
        eventually(
            lambda kind=kind: shop.kube.list(kind, shop.namespace, **own_labels("shop")),
            lambda there: not there,
        )
    topics = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics
    assert f"{shop.prefix}-raw" in topics


def test_the_oldest_has_the_topic(shop: Shop, start_operator: StartOperator, kafka: str) -> None:
    start_operator()
    shop.create()
    eventually(lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)
    time.sleep(1.1)  # creation times are in seconds
    other = Shop(shop.kube, shop.namespace, kafka, "second")
    other.spec["topics"]["enriched"]["name"] = shop.spec["topics"]["enriched"]["name"]
    other.create()
    told = other.wait("Ready", "False", "ResourceConflict")
    assert f"belongs to the older pipeline {shop.namespace}/shop" in told["message"]
    assert shop.kube.list(kinds.STATEFUL_SET, shop.namespace, **own_labels("second")) == []
    # When the oldest goes, the next one has it.
    shop.kube.delete(kinds.PIPELINE, shop.namespace, "shop")
    eventually(
        lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace, **own_labels("second"))),
        lambda count: count == 3,
    )


def test_what_is_not_ours_is_not_taken_over(shop: Shop, start_operator: StartOperator) -> None:
    start_operator()
    theirs = kinds.CONFIG_MAP.of("shop-enrich", shop.namespace, data={"mine": "yes"})
    shop.kube.create(theirs)
    shop.create()
    told = shop.wait("Ready", "False", "ResourceConflict")
    assert "ConfigMap" in told["message"]
    assert shop.child(kinds.CONFIG_MAP, "enrich")["data"] == {"mine": "yes"}
    shop.kube.delete(kinds.CONFIG_MAP, shop.namespace, "shop-enrich")
    eventually(
        lambda: shop.kube.get(kinds.CONFIG_MAP, shop.namespace, "shop-enrich") or {},
        lambda found: "settings.json" in found.get("data", {}),
    )


def test_what_the_server_lets_through_but_contradicts_itself_is_a_condition(
    shop: Shop, start_operator: StartOperator
) -> None:
    start_operator()
    shop.create(sessions={"gap": "2d"})
    told = shop.wait("Ready", "False", "InvalidSpec", seconds=5)
    assert "gap must be longer than 0s and not longer than maxLength" in told["message"]
    shop.change({"sessions": {"gap": "30m"}})
    eventually(lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)


@pytest.mark.parametrize(
    ("kafka_spec", "message"),
    [
        ({"sasl": {"username": "u", "passwordEnv": "P"}}, "secret:NAME/KEY"),
        ({"sasl": {"username": "u", "passwordFile": "/etc/p"}}, "secret:NAME/KEY"),
        ({"sasl": {"username": "u", "passwordFile": "secret:Bad"}}, "secret:NAME/KEY"),
    ],
)
def test_secrets_that_no_pod_has(
    shop: Shop, start_operator: StartOperator, kafka_spec: Object, message: str
) -> None:
    start_operator()
    shop.create(kafka=shop.spec["kafka"] | kafka_spec)
    assert message in shop.wait("Ready", "False", "InvalidSpec")["message"]


def test_a_pod_that_cannot_start_is_told(shop: Shop, start_operator: StartOperator) -> None:
    start_operator(image="webevents.test/nowhere:1")
    shop.create()
    told = shop.wait("WorkloadsReady", "False", "PodsFailing", seconds=90)
    assert "cannot start (ErrImageNeverPull)" in told["message"]
    assert shop.condition("Degraded")["status"] == "True"


def test_a_generator_that_ends_is_a_job(shop: Shop, start_operator: StartOperator) -> None:
    start_operator()
    generator = {"replicas": 2, "time": {"mode": "backdated", "duration": "1h"}}
    shop.create(generator=generator)
    (job,) = eventually(lambda: shop.kube.list(kinds.JOB, shop.namespace))
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 2
    assert job["spec"]["completionMode"] == "Indexed"
    sets = shop.kube.list(kinds.STATEFUL_SET, shop.namespace)
    assert "shop-generator" not in {each["metadata"]["name"] for each in sets}


def test_namespaces_of_others_are_left_alone(
    kube: Kube, shop: Shop, start_operator: StartOperator, kafka: str
) -> None:
    start_operator()
    with kube.namespace() as elsewhere:
        other = Shop(kube, elsewhere, kafka).create()
        shop.create()
        eventually(lambda: len(kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)
        assert "status" not in other.resource()
        assert kube.list(kinds.STATEFUL_SET, elsewhere) == []


def test_scale_of_what_does_not_exist_is_refused(kube: Kube, namespace: str) -> None:
    with pytest.raises(ApiError):
        kube.merge(kinds.PIPELINE, namespace, "nobody", {"spec": {}})
