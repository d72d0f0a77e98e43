"""An operator that is killed at any write, a faulty API server, and health that proves work."""

import itertools
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_proxy import ApiProxy
from kube import Kube, OperatorProcess, condition, eventually, own_labels, pipeline

from webevents_operator import kinds, names
from webevents_operator.kinds import Object

StartOperator = Callable[..., OperatorProcess]

_QUIET_S = 8
"""Longer than the operator's resync here (5 s), after which rates are told."""
_MADE = (kinds.CONFIG_MAP, kinds.SERVICE, kinds.STATEFUL_SET, kinds.DISRUPTION_BUDGET)


@pytest.fixture
def proxy(kubeconfig: Path, tmp_path: Path) -> Iterator[ApiProxy]:
    made = ApiProxy(kubeconfig, tmp_path)
    yield made
    made.close()


def _spec(kafka: str) -> Object:
    prefix = uuid.uuid4().hex[:8]
    return {
        "generator": {},
        "kafka": {"bootstrapServers": kafka},
        "index": {"enabled": False},
        "stages": {"enrich": {"replicas": 2}},
        "topics": {
            which: {"name": f"{prefix}-{which}"}
            for which in ("raw", "enriched", "sessions", "failed")
        },
    }


def _state(kube: Kube, namespace: str) -> dict[str, Any]:
    """What the operator made, without what differs between two runs of the same."""
    made = {}
    for kind in _MADE:
        for found in kube.list(kind, namespace, **own_labels("shop")):
            metadata = found["metadata"]
            annotations = metadata.get("annotations") or {}
            name = f"{kind.kind} {metadata['name']}"
            made[name] = (annotations.get(names.APPLIED), metadata["labels"], found.get("data"))
    return made


def _settled(kube: Kube, namespace: str) -> bool:
    found = kube.must_get(kinds.PIPELINE, namespace, "shop")
    waiting = condition(found, "WorkloadsReady").get("reason") in ("Progressing", "PodsFailing")
    return waiting and condition(found, "TopicsReady").get("status") == "True"


@pytest.mark.timeout(1200)
def test_killed_at_each_write_it_converges_to_the_same(
    kube: Kube, namespace: str, start_operator: StartOperator, proxy: ApiProxy, kafka: str
) -> None:
    # The one that is not killed shows what must come of it, and how many writes that takes.
    spec = _spec(kafka)
    created = kube.create(pipeline(namespace, "shop", spec))
    operator = start_operator(kubeconfig=proxy.kubeconfig)
    assert not _ended(operator, kube, namespace, proxy)
    wanted, writes = _state(kube, namespace), proxy.writes
    operator.kill()
    assert len(wanted) >= 8
    assert writes >= len(wanted)
    for at in range(1, writes + 1):
        kube.delete(kinds.PIPELINE, namespace, "shop")
        eventually(lambda: _state(kube, namespace) == {})
        again = kube.create(pipeline(namespace, "shop", spec))
        assert again["metadata"]["uid"] != created["metadata"]["uid"]
        if not _kill_at(kube, namespace, proxy, at, start_operator):
            # Now and then the first one wrote an event or a status more than it takes.
            assert at > len(wanted), f"it was done after {at - 1} writes"
            break
        survivor = start_operator(kubeconfig=proxy.kubeconfig)
        eventually(lambda: _settled(kube, namespace))
        eventually(lambda: _state(kube, namespace).keys(), lambda now: now == wanted.keys())
        now = _state(kube, namespace)
        # The hash covers the owner's id, which is another for each; everything else is the same.
        assert {k: v[1:] for k, v in now.items()} == {k: v[1:] for k, v in wanted.items()}
        survivor.kill()


def _kill_at(
    kube: Kube, namespace: str, proxy: ApiProxy, at: int, start_operator: StartOperator
) -> bool:
    """Start an operator and kill it at its n-th write: before it in odd runs, after it in even.

    :returns: whether it came to that write.
    """
    base = proxy.writes
    victim: list[OperatorProcess] = []

    def on_write(number: int) -> bool:
        if number - base < at:
            return True
        if victim:
            victim[0].kill()
        return at % 2 == 0

    proxy.on_write = on_write
    victim.append(start_operator(kubeconfig=proxy.kubeconfig, wait=False))
    try:
        return _ended(victim[0], kube, namespace, proxy)
    finally:
        victim[0].kill()
        proxy.on_write = lambda number: True


def _ended(operator: OperatorProcess, kube: Kube, namespace: str, proxy: ApiProxy) -> bool:
    """Wait until it has ended (True), or all is done and it writes no more."""
    assert operator.process
    writes, since = proxy.writes, time.monotonic()
    while time.monotonic() - since < _QUIET_S or not _settled(kube, namespace):
        try:
            operator.process.wait(0.2)
            return True
        except subprocess.TimeoutExpired:
            if proxy.writes != writes:
                writes, since = proxy.writes, time.monotonic()
    return False


def test_a_faulty_api_server(
    kube: Kube, namespace: str, start_operator: StartOperator, proxy: ApiProxy, kafka: str
) -> None:
    operator = start_operator(kubeconfig=proxy.kubeconfig, canaryInterval="5s")
    proxy.fault_share = 0.3
    kube.create(pipeline(namespace, "shop", _spec(kafka)))
    deadline = time.monotonic() + 240
    for number in itertools.count():
        replicas = (1, 3, 2)[number % 3]
        change = {"spec": {"stages": {"sessionize": {"replicas": replicas}}}}
        kube.merge(kinds.PIPELINE, namespace, "shop", change)
        time.sleep(1)
        if proxy.faults > 40 and replicas == 2:
            break
        assert time.monotonic() < deadline, f"it was given {proxy.faults} faults only"
    assert operator.process and operator.process.poll() is None, "it has crashed"
    proxy.fault_share = 0.0
    with operator.within(60):
        eventually(lambda: _settled(kube, namespace))
        eventually(
            lambda: kube.get(kinds.STATEFUL_SET, namespace, "shop-sessionize"),
            lambda found: found is not None and found["spec"]["replicas"] == 2,
        )
    eventually(lambda: operator.get("/readyz"), lambda code: code == 200)
    assert operator.get("/healthz") == 200


def test_a_pipeline_that_goes_while_nobody_watches(
    kube: Kube, namespace: str, start_operator: StartOperator, proxy: ApiProxy, kafka: str
) -> None:
    operator = start_operator(kubeconfig=proxy.kubeconfig)
    spec = _spec(kafka)
    kube.create(pipeline(namespace, "shop", spec))
    eventually(lambda: _settled(kube, namespace))
    time.sleep(1.1)  # creation times are in seconds
    kube.create(pipeline(namespace, "second", spec))
    eventually(
        lambda: condition(kube.must_get(kinds.PIPELINE, namespace, "second"), "Ready"),
        lambda c: c.get("reason") == "ResourceConflict",
    )
    # The server has forgotten what happened meanwhile: a new watch begins with what there is.
    proxy.expire_watches()
    kube.delete(kinds.PIPELINE, namespace, "shop")
    eventually(lambda: kube.get(kinds.PIPELINE, namespace, "shop") is None)
    eventually(lambda: any("webeventpipelines" in path for path in proxy.ended_watches))
    proxy.expired = False
    with operator.within(60):
        eventually(
            lambda: len(kube.list(kinds.STATEFUL_SET, namespace, **own_labels("second"))),
            lambda count: count == 3,
        )
    # What belonged to the first is collected, and not made again.
    eventually(lambda: _state(kube, namespace) == {})
    operator.passes(3)
    assert _state(kube, namespace) == {}
    assert operator.get("/healthz") == 200


def test_watches_that_the_server_breaks_off_with_an_error(
    kube: Kube, namespace: str, start_operator: StartOperator, proxy: ApiProxy
) -> None:
    operator = start_operator(kubeconfig=proxy.kubeconfig)
    proxy.broken_watches = ""
    proxy.end_watches()
    for kind in ("WebEventPipeline", "StatefulSet"):
        eventually(
            lambda kind=kind: operator.metrics("webevents_operator_watch_restarts_total").get(
                f'{{kind="{kind}"}}', 0
            )
        )
    proxy.broken_watches = None
    kube.create(pipeline(namespace, "shop", _spec("127.0.0.1:9")))
    with operator.within(60):
        eventually(
            lambda: condition(kube.must_get(kinds.PIPELINE, namespace, "shop"), "Ready"),
            lambda c: c.get("reason") == "KafkaUnavailable",
        )
    assert operator.stop() == 0


@pytest.mark.parametrize("status", [401, 403])
def test_an_api_server_that_refuses_the_operator_for_a_while(
    kube: Kube, namespace: str, start_operator: StartOperator, proxy: ApiProxy, status: int
) -> None:
    operator = start_operator(kubeconfig=proxy.kubeconfig)
    proxy.refusal = status
    proxy.end_watches()
    eventually(lambda: proxy.refusals >= 5)
    time.sleep(5)
    assert operator.process and operator.process.poll() is None, operator.log.read_text()[-2000:]
    proxy.refusal = None
    kube.create(pipeline(namespace, "shop", _spec("127.0.0.1:9")))
    with operator.within(60):
        eventually(
            lambda: condition(kube.must_get(kinds.PIPELINE, namespace, "shop"), "Ready"),
            lambda c: c.get("reason") == "KafkaUnavailable",
        )


def test_health_proves_work(
    kube: Kube, namespace: str, start_operator: StartOperator, proxy: ApiProxy
) -> None:
    operator = start_operator(kubeconfig=proxy.kubeconfig, canaryInterval="2s")
    canary = eventually(lambda: kube.get(kinds.PIPELINE, namespace, "webevents-canary"))
    assert canary
    eventually(lambda: operator.get("/readyz"), lambda code: code == 200)
    proxy.fault_share = 1.0
    eventually(lambda: operator.get("/readyz"), lambda code: code == 503)
    # Starting it again would not help: it is the server that does not answer.
    assert operator.get("/healthz") == 200
    proxy.fault_share = 0.0
    eventually(lambda: operator.get("/readyz"), lambda code: code == 200)
    assert kube.list(kinds.STATEFUL_SET, namespace) == []  # the canary wants nothing
    operator.stop()
    assert kube.get(kinds.PIPELINE, namespace, "webevents-canary") is None


def test_dependencies_that_are_away_do_not_hold_up_others(
    kube: Kube, namespace: str, start_operator: StartOperator, kafka: str
) -> None:
    operator = start_operator(workers=2)
    for number in range(6):
        # An address that does not answer at all (RFC 5737).
        spec = _spec("192.0.2.1:9092")
        kube.create(pipeline(namespace, f"away-{number}", spec))
    # Each of the others takes 15 s to find out that nobody answers.
    with operator.within(15):
        kube.create(pipeline(namespace, "shop", _spec(kafka)))
        eventually(lambda: len(kube.list(kinds.STATEFUL_SET, namespace, **own_labels("shop"))) == 3)
    told = eventually(
        lambda: condition(kube.must_get(kinds.PIPELINE, namespace, "away-0"), "Ready"),
        lambda c: c.get("reason") == "KafkaUnavailable",
    )
    assert "check its address" in told["message"]
    assert operator.get("/healthz") == 200


def test_a_hundred_bad_resources_do_not_touch_a_good_one(
    kube: Kube, namespace: str, start_operator: StartOperator, kafka: str
) -> None:
    operator = start_operator()
    kube.create(pipeline(namespace, "shop", _spec(kafka)))
    eventually(lambda: len(kube.list(kinds.STATEFUL_SET, namespace)) == 3)
    before = _state(kube, namespace)
    for number in range(100):
        # What only the models know: a session's gap that is longer than the session may be.
        spec = _spec(kafka) | {"sessions": {"gap": "13h"}}
        kube.create(pipeline(namespace, f"bad-{number}", spec))
    with operator.within(5):
        eventually(
            lambda: [
                condition(each, "Ready").get("reason")
                for each in kube.list(kinds.PIPELINE, namespace)
                if each["metadata"]["name"].startswith("bad-")
            ],
            lambda found: found == ["InvalidSpec"] * 100,
        )
    assert _state(kube, namespace) == before


def test_secrets_are_not_logged(
    kube: Kube, namespace: str, start_operator: StartOperator, kafka: str
) -> None:
    operator = start_operator()
    word = f"hidden{uuid.uuid4().hex}"
    kube.create(kinds.SECRET.of("login", namespace, stringData={"password": word}))
    sasl = {"username": "u", "passwordFile": "secret:login/password"}
    spec = _spec(kafka)
    kube.create(pipeline(namespace, "shop", spec | {"kafka": spec["kafka"] | {"sasl": sasl}}))
    eventually(
        lambda: condition(kube.must_get(kinds.PIPELINE, namespace, "shop"), "Ready"),
        lambda c: c.get("reason") == "KafkaUnavailable",
    )
    operator.stop()
    assert word not in operator.log.read_text()
    found = kube.must_get(kinds.PIPELINE, namespace, "shop")
    assert word not in str(found)
    assert word not in str(kube.list(kinds.CONFIG_MAP, namespace))
    assert all("event" in line and "level" in line for line in operator.logged())
