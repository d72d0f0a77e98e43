"""Another operator takes over: after a restart, with another image, and from an older version."""

import time
from collections.abc import Callable

from kube import OperatorProcess, eventually
from shop import Shop

from webevents_operator import kinds, names

StartOperator = Callable[..., OperatorProcess]
_WRITES = "webevents_operator_api_writes_total"


def test_a_restart_writes_nothing_and_another_image_rolls(
    shop: Shop, start_operator: StartOperator, image: str
) -> None:
    first = start_operator(image=image)
    shop.create()
    shop.wait()
    eventually(shop.resource, lambda found: "eventsPerSecond" in found["status"])
    pods = {name: shop.pods(name) for name in ("generator", "enrich", "sessionize")}
    before = shop.snapshot()
    assert first.stop() == 0

    second = start_operator(image=image)
    second.passes(4)
    assert second.metric(_WRITES) == 0, (second.metrics(_WRITES), before, shop.snapshot())
    assert shop.snapshot() == before
    assert {name: shop.pods(name) for name in pods} == pods
    assert second.stop() == 0

    # The chart's next version names another image; here one that no node has.
    start_operator(image="webevents.test/next:1")

    def images() -> set[str]:
        sets = shop.kube.list(kinds.STATEFUL_SET, shop.namespace)
        return {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in sets}

    eventually(images, lambda found: found == {"webevents.test/next:1"})


def test_it_ends_at_a_signal_whenever_that_comes(start_operator: StartOperator) -> None:
    for pause in (0, 0.2, 0.5, 1, 2):
        operator = start_operator()
        time.sleep(pause)
        assert operator.stop() == 0


def test_what_an_older_version_left_is_put_right(shop: Shop, start_operator: StartOperator) -> None:
    first = start_operator()
    shop.create()
    eventually(lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)
    first.stop()
    # As from a version that set a field that is set no more, and had a stage that is gone.
    found = shop.child(kinds.STATEFUL_SET, "enrich")
    metadata = {
        name: found["metadata"][name] for name in ("name", "namespace", "labels", "ownerReferences")
    }
    metadata["annotations"] = {names.APPLIED: "older"}
    template = found["spec"]["template"]
    older = kinds.STATEFUL_SET.of(
        metadata["name"],
        shop.namespace,
        metadata=metadata,
        spec={
            **{name: found["spec"][name] for name in ("replicas", "selector", "serviceName")},
            "minReadySeconds": 5,
            "podManagementPolicy": "Parallel",
            "template": {
                "metadata": template["metadata"] | {"creationTimestamp": None},
                "spec": template["spec"] | {"priorityClassName": "system-cluster-critical"},
            },
        },
    )
    shop.kube.apply_as(names.FIELD_MANAGER, older)
    gone = kinds.CONFIG_MAP.of(
        "shop-oldstage", shop.namespace, metadata={"labels": metadata["labels"]}, data={"a": "b"}
    )
    shop.kube.apply_as(names.FIELD_MANAGER, gone)
    assert shop.child(kinds.STATEFUL_SET, "enrich")["spec"]["minReadySeconds"] == 5

    second = start_operator()
    eventually(
        lambda: shop.child(kinds.STATEFUL_SET, "enrich")["spec"],
        lambda spec: (
            not spec.get("minReadySeconds") and "priorityClassName" not in spec["template"]["spec"]
        ),
    )
    eventually(lambda: shop.kube.get(kinds.CONFIG_MAP, shop.namespace, "shop-oldstage") is None)
    assert second.stop() == 0
