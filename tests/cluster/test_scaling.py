"""Scaling: the rate, the generators by hand and by an autoscaler, stages and their partitions."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer
from kube import OperatorProcess, eventually
from shop import Shop

from webevents_operator import kinds, names

StartOperator = Callable[..., OperatorProcess]


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


def test_an_autoscaler_drives_the_generators(
    shop: Shop, start_operator: StartOperator, image: str
) -> None:
    if shop.kube.kubectl_path is None:
        pytest.skip("kubectl is not installed")
    start_operator(image=image)
    shop.create()
    shop.wait()
    # A real HorizontalPodAutoscaler, by the subresource; it keeps to its bounds without metrics,
    # which this cluster has not. test_keda.py has one that follows a metric.
    scale = (
        "autoscale",
        "-n",
        shop.namespace,
        "wep/shop",
        "--min=3",
        "--max=4",
        "--cpu-percent=80",
    )
    done = shop.kube.kubectl(*scale)
    assert done.returncode == 0, done.stderr
    eventually(lambda: shop.resource()["spec"]["generator"]["replicas"], lambda count: count == 3)
    eventually(lambda: len(shop.pods("generator")), lambda count: count == 3)
    shop.wait()

    def autoscaler() -> Any:
        told = shop.kube.kubectl("get", "hpa", "-n", shop.namespace, "shop", "-o", "json").stdout
        return json.loads(told).get("status") or {}

    status = eventually(autoscaler, lambda found: found.get("currentReplicas") == 3)
    able = [each for each in status["conditions"] if each["type"] == "AbleToScale"]
    assert [each["status"] for each in able] == ["True"]
    # The selector of the status is one by which the autoscaler finds the pods.
    assert not [each for each in status["conditions"] if each["reason"] == "InvalidSelector"]
    shop.change({"generator": {"replicas": 6}})
    eventually(lambda: shop.resource()["spec"]["generator"]["replicas"], lambda count: count == 4)


def test_columns_show_what_runs(
    shop: Shop, start_operator: StartOperator, image: str, kafka: str
) -> None:
    if shop.kube.kubectl_path is None:
        pytest.skip("kubectl is not installed")
    start_operator(image=image)
    shop.create()
    shop.wait()
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(37):
        producer.produce(f"{shop.prefix}-raw", str(number).encode())
    assert producer.flush(60) == 0

    def row() -> dict[str, str]:
        told = shop.kube.kubectl("get", "wep", "-n", shop.namespace, "shop").stdout
        head, _, line = told.partition("\n")
        return dict(zip(head.split(), line.split(), strict=False))

    shown = eventually(row, lambda found: found.get("LAG") == "37")
    age = shown.pop("AGE")
    assert shown == {
        "NAME": "shop", "READY": "True", "REASON": "AsWanted", "EVENTS/S": "0", "LAG": "37",
        "GENERATORS": "1/1", "PAUSED": "false",
    }  # fmt: skip
    assert age[-1] in "sm"
    # By its category too.
    assert "shop" in shop.kube.kubectl("get", "webevents", "-n", shop.namespace).stdout
