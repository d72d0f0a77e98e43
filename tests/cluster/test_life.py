"""A pipeline from its creation to its end: its objects, their drift, pause, faults, deletion."""

from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient
from kube import OperatorProcess, eventually, own_labels
from shop import Shop

from webevents_operator import kinds, names
from webevents_operator.kinds import Kind, Object

StartOperator = Callable[..., OperatorProcess]
_WRITES = "webevents_operator_api_writes_total"


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
    # The ledger is read from Kafka; with the second look there are rates. Then all is still.
    eventually(shop.resource, lambda r: "eventsPerSecond" in r["status"])
    assert shop.resource()["status"]["ledger"]["balanced"] is True
    for _ in range(10):
        before, writes = shop.snapshot(), operator.metrics(_WRITES)
        operator.passes(4)  # at least two resyncs
        now, after = shop.snapshot(), operator.metrics(_WRITES)
        more = {labels: n - writes.get(labels, 0) for labels, n in after.items()}
        written = {labels: n for labels, n in more.items() if n}
        if before["objects"] == now["objects"]:
            break
        # Where a machine is busy pods may fail their probes: that is told, and that is all.
        told = [labels for labels in written if 'verb="status"' in labels or "Event" in labels]
        assert len(told) == len(written), f"{written}: {before} became {now}"
    else:
        pytest.fail(f"its objects are never still: {before} became {now}")
    assert not written, f"{written}: {before['pipeline']} became {now['pipeline']}"
    assert now == before
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
    operator = start_operator()
    shop.create()
    eventually(lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)
    before = shop.child(kind, workload)
    name = before["metadata"]["name"]
    with operator.within(60):
        shop.kube.merge(kind, shop.namespace, name, patch)
        eventually(
            lambda: shop.child(kind, workload),
            lambda now: (
                now.get("spec") == before.get("spec")
                and now.get("data") == before.get("data")
                and now["metadata"]["labels"] == before["metadata"]["labels"]
                and now["metadata"].get("ownerReferences") == before["metadata"]["ownerReferences"]
            ),
        )


def test_what_is_deleted_comes_back(shop: Shop, start_operator: StartOperator) -> None:
    operator = start_operator()
    shop.create()
    eventually(lambda: len(shop.kube.list(kinds.STATEFUL_SET, shop.namespace)) == 3)
    for kind in (kinds.STATEFUL_SET, kinds.CONFIG_MAP, kinds.SERVICE):
        for found in shop.kube.list(kind, shop.namespace, **own_labels("shop")):
            name, uid = found["metadata"]["name"], found["metadata"]["uid"]

            def anew(kind: Kind = kind, name: str = name, uid: str = uid) -> bool:
                there = shop.kube.get(kind, shop.namespace, name)
                return there is not None and there["metadata"]["uid"] != uid

            with operator.within(60):
                shop.kube.delete(kind, shop.namespace, name)
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
    operator = start_operator()
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
    shop.wait("Progressing", "False", "Paused")  # seen: it is about the change
    operator.passes(2)
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


def test_what_the_server_lets_through_but_contradicts_itself_is_a_condition(
    shop: Shop, start_operator: StartOperator
) -> None:
    operator = start_operator()
    with operator.within(5):
        shop.create(sessions={"gap": "2d"})
        told = shop.wait("Ready", "False", "InvalidSpec")
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
    told = shop.wait("WorkloadsReady", "False", "PodsFailing")
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
