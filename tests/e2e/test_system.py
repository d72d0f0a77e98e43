"""From ``helm install`` to ``helm uninstall``, while events flow through real pods.

The tests are steps of one life of a release, in the order of the file.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
NAME = "web-events"
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def pipeline(cluster: Any) -> Object:
    return dict(cluster.json(f"wep/{NAME}"))


def stages(cluster: Any) -> dict[str, Object]:
    found = pipeline(cluster).get("status", {}).get("stages", [])
    return {each["name"]: each for each in found}


def received(cluster: Any) -> int:
    return int(stages(cluster).get("enrich", {}).get("received") or 0)


def settle(cluster: Any, eventually: Callable[..., Any]) -> None:
    """Stop the generator and let every stage finish; then all counts must agree."""
    cluster.kubectl("scale", "wep", NAME, "--replicas=0")
    eventually(lambda: not cluster.pods("generator"))

    def counts() -> tuple[Any, ...]:
        status = pipeline(cluster)["status"]
        told = [(s["name"], s.get("lag"), s.get("received")) for s in status["stages"]]
        return (cluster.documents("web-events-*"), *told)

    last: tuple[Any, ...] = ()
    deadline = time.monotonic() + 120
    while True:  # nothing changes over two looks at the ledger, and nothing waits
        time.sleep(12)
        now = counts()
        lags = [lag for name, lag, _ in now[1:] if name != "generator"]
        if now == last and all(lag == 0 for lag in lags):
            break
        assert time.monotonic() < deadline, now
        last = now
    raw, ids = cluster.topic("raw-web-events")
    enriched, enriched_ids = cluster.topic("enriched-web-events")
    documents = cluster.documents("web-events-*")
    found = stages(cluster)
    print(f"raw {raw} enriched {enriched} documents {documents} ids {ids}", flush=True)
    assert raw > 0
    assert (ids, enriched_ids, documents) == (raw, raw, raw)
    assert enriched == raw
    for name in ("enrich", "sessionize", "index"):
        one = found[name]
        assert one["received"] == one["delivered"] + one["failed"] + one["dropped"], one
    assert found["enrich"]["received"] == raw
    assert found["sessionize"]["received"] == raw
    assert pipeline(cluster)["status"]["ledger"]["balanced"] is True


def flow(cluster: Any, eventually: Callable[..., Any], replicas: int = 1) -> None:
    """Have the generator run, and see events arrive."""
    cluster.kubectl("scale", "wep", NAME, f"--replicas={replicas}")
    before = received(cluster)
    eventually(lambda: received(cluster), lambda now: now > before + 100)


def test_install(cluster: Any, eventually: Callable[..., Any], install: Callable[..., str]) -> None:
    began = time.monotonic()
    notes = install("install")
    installed = time.monotonic() - began
    assert f"get wep {NAME} --watch" in notes
    cluster.kubectl("wait", f"wep/{NAME}", "--for=condition=Ready", "--timeout=300s")
    ready = time.monotonic() - began
    eventually(lambda: cluster.documents("web-events-*"))
    first = time.monotonic() - began
    print(
        f"\nhelm install {installed:.1f} s, Ready after {ready:.1f} s, "
        f"first document after {first:.1f} s",
        flush=True,
    )
    assert first < 300


def test_helm_test_finds_its_event(cluster: Any) -> None:
    told = cluster.helm("test", "web", "--logs", "--timeout", "4m")
    assert "found the event in web-events-" in told
    assert "found the session in web-sessions-" in told


def test_counts_are_equal(cluster: Any, eventually: Callable[..., Any]) -> None:
    flow(cluster, eventually)
    settle(cluster, eventually)


def test_generators_share_the_rate(cluster: Any, eventually: Callable[..., Any]) -> None:
    cluster.kubectl("patch", "wep", NAME, "--type=merge", "--patch",
                    '{"spec": {"generator": {"eventsPerSecond": 60}}}')  # fmt: skip
    for replicas in (1, 3, 1):
        flow(cluster, eventually, replicas)
        eventually(lambda: cluster.pods("generator"), lambda pods, n=replicas: len(pods) == n)
        began, before = time.monotonic(), received(cluster)
        time.sleep(30)
        rate = (received(cluster) - before) / (time.monotonic() - began)
        print(f"generator x{replicas}: {rate:.1f} events/s of 60", flush=True)
        assert 30 < rate < 90  # the total rate stays whatever the number


def test_enrich_is_scaled_without_a_loss(cluster: Any, eventually: Callable[..., Any]) -> None:
    for replicas in (1, 2, 1):
        patch = f'{{"spec": {{"stages": {{"enrich": {{"replicas": {replicas}}}}}}}}}'
        cluster.kubectl("patch", "wep", NAME, "--type=merge", "--patch", patch)
        eventually(lambda: cluster.pods("enrich"), lambda pods, n=replicas: len(pods) == n)
        flow(cluster, eventually)
    settle(cluster, eventually)


def test_killed_pods_lose_nothing(cluster: Any, eventually: Callable[..., Any]) -> None:
    flow(cluster, eventually)
    for workload in ("enrich", "sessionize", "index", "generator"):
        (pod, *_) = eventually(lambda w=workload: cluster.pods(w))
        cluster.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        before = received(cluster)
        eventually(lambda w=workload: cluster.pods(w))
        eventually(lambda b=before: received(cluster) > b)
    operator = cluster.json("pods", "--selector", "app.kubernetes.io/component=operator")
    for each in operator["items"]:
        cluster.kubectl("delete", "pod", each["metadata"]["name"], "--grace-period=0", "--force")
    cluster.kubectl("rollout", "status", "deployment/web-web-event-pipeline-operator")
    settle(cluster, eventually)


def test_drift_is_reverted(cluster: Any, eventually: Callable[..., Any]) -> None:
    cluster.kubectl("delete", f"statefulset/{NAME}-enrich", f"configmap/{NAME}-index")
    eventually(lambda: cluster.pods("enrich"))
    assert cluster.json(f"configmap/{NAME}-index")["data"]["settings.json"]


def test_a_bad_resource_is_refused(cluster: Any) -> None:
    bad = '{"spec": {"generator": {"replicas": -1}}}'
    told = cluster.kubectl("patch", "wep", NAME, "--type=merge", "--patch", bad, check=False)
    assert "spec.generator.replicas" in told and "greater than or equal to 0" in told


def test_upgrade_and_rollback_lose_nothing(
    cluster: Any, eventually: Callable[..., Any], install: Callable[..., str]
) -> None:
    flow(cluster, eventually)
    install("upgrade", "--set", "operator.workers=4", "--set", "pipeline.spec.index.shards=2")
    assert pipeline(cluster)["spec"]["index"]["shards"] == 2
    flow(cluster, eventually)
    cluster.helm("rollback", "web", "1", "--wait", "--timeout", "4m")
    assert "shards" not in pipeline(cluster)["spec"]["index"] or (
        pipeline(cluster)["spec"]["index"]["shards"] == 1
    )
    flow(cluster, eventually)
    settle(cluster, eventually)


def test_uninstall_leaves_only_what_the_policy_retains(
    cluster: Any, eventually: Callable[..., Any]
) -> None:
    documents = cluster.documents("web-events-*")
    cluster.helm("uninstall", "web", "--wait", "--timeout", "4m")
    assert cluster.documents("web-events-*") == documents > 0
    every = (
        "deployments,statefulsets,jobs,pods,services,configmaps,serviceaccounts,roles,"
        "rolebindings,poddisruptionbudgets,networkpolicies,wep,secrets"
    )
    servers = {"kafka", "elasticsearch", "kafka-0", "elasticsearch-0", "servers"}
    kubernetes = {"default", "kube-root-ca.crt"}

    def left() -> set[str]:
        found = cluster.json(every)["items"]
        return {each["metadata"]["name"] for each in found} - servers - kubernetes

    assert eventually(left, lambda names: not names) == set()
