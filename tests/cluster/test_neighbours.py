"""Pipelines beside others: who has a topic, what is somebody else's, and whose namespace it is."""

import time
from collections.abc import Callable

from kube import Kube, OperatorProcess, eventually, own_labels
from shop import Shop

from webevents_operator import kinds

StartOperator = Callable[..., OperatorProcess]


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


def test_all_namespaces(kube: Kube, shop: Shop, start_operator: StartOperator, kafka: str) -> None:
    with kube.namespace() as elsewhere:
        # Another name: consumer groups are named after the pipeline, on one Kafka.
        other = Shop(kube, elsewhere, kafka, "other").create()
        shop.create()
        start_operator(namespaces=[])
        for each in (shop, other):
            eventually(
                lambda each=each: len(kube.list(kinds.STATEFUL_SET, each.namespace)),
                lambda count: count == 3,
            )
            each.wait("TopicsReady")
        # Drift is seen in both, too.
        for each in (shop, other):
            kube.delete(kinds.SERVICE, each.namespace, each.name)
            eventually(lambda each=each: kube.get(kinds.SERVICE, each.namespace, each.name))
