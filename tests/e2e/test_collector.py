"""Collectors in real pods: restarted, killed and given other keys while trackers send.

Nothing that was answered with 200 is lost, nothing counts twice, and the live page's pod says so.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Object = dict[str, Any]
NAME = "collect"
DEPLOYMENT = f"deployment/{NAME}-collector"
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

CLIENT = """
import http.client, json, os, sys, threading, time, uuid
from collections import Counter

host, threads, counts, lock = sys.argv[1], int(sys.argv[2]), Counter(), threading.Lock()

def count(what):
    with lock:
        counts[what] += 1

def send(number):
    connection = None
    while not os.path.exists("/tmp/stop"):
        event = {"event_id": str(uuid.uuid4()), "event_type": "click",
                 "user_domain_id": f"visitor-{number}"}
        body = json.dumps(event)
        while True:  # as a tracker does: again and again, under the same identifier
            if connection is None:
                connection = http.client.HTTPConnection(host, 80, timeout=30)
                try:
                    connection.connect()
                except OSError:
                    count("not connected")
                    connection = None
                    time.sleep(0.1)
                    continue
            try:
                connection.request("POST", "/v1/events?key=one", body)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                count("unanswered")
                connection = None
                time.sleep(0.1)
                continue
            if answer.will_close:
                count("asked to go")
                connection.close()
                connection = None
            if answer.status == 200:
                count("accepted")
                break
            count(str(answer.status))
            time.sleep(0.2)
        time.sleep(0.1)

running = [threading.Thread(target=send, args=(number,)) for number in range(threads)]
for each in running: each.start()
for each in running: each.join()
print(json.dumps(counts))
"""

SPEC: Object = {
    "live": {"enabled": True},
    "collector": {"replicas": 2, "sites": [{"name": "shop", "writeKeys": ["one"]}]},
    "topics": {which: {"name": f"{NAME}-{which}"} for which in
               ("raw", "enriched", "sessions", "failed")},
    "index": {"events": {"prefix": f"{NAME}-events"}, "sessions": {"prefix": f"{NAME}-sessions"}},
    # Nothing is left for the tests that follow.
    "deletionPolicy": {"topics": "Delete", "indices": "Delete"},
}  # fmt: skip


@pytest.fixture(scope="module")
def collecting(
    cluster: Any, install: Callable[..., str], eventually: Callable[..., Any]
) -> Iterator[Any]:
    """The cluster with the operator, and a pipeline with a collector."""
    install("install", "--set", "pipeline.create=false")
    pipeline = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": NAME, "namespace": cluster.namespace},
        "spec": SPEC,
    }
    cluster.apply(pipeline)
    try:
        ready = ("wait", f"wep/{NAME}", "--for=condition=Ready", "--timeout=10s")
        eventually(
            lambda: cluster.kubectl(*ready, check=False),
            lambda told: "condition met" in told,
            seconds=600,
        )
        yield cluster
    finally:
        cluster.kubectl("delete", f"wep/{NAME}", "--wait", check=False)
        cluster.helm("uninstall", "web", "--wait", "--timeout", "4m", check=False)


@pytest.fixture
def client(collecting: Any, eventually: Callable[..., Any]) -> Iterator[Callable[[], Object]]:
    """Trackers that send all the time; call it to stop them and learn what they counted."""
    image = collecting.json(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]["image"]
    container = {
        "name": "client",
        "image": image,
        "command": ["python", "-c", CLIENT, f"{NAME}-collector", "4"],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": collecting.namespace},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    collecting.apply(pod)
    collecting.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=120s")

    def stop() -> Object:
        collecting.kubectl("exec", "client", "--", "touch", "/tmp/stop")
        collecting.kubectl(
            "wait", "pod/client", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s"
        )
        counted = dict(json.loads(collecting.kubectl("logs", "client")))
        print(f"\nthe client counted {counted}", flush=True)
        return counted

    yield stop
    collecting.kubectl("delete", "pod/client", "--force", check=False)


def uids(cluster: Any) -> set[str]:
    found = cluster.json("pods", "--selector", "webevents.dev/workload=collector")["items"]
    return {each["metadata"]["uid"] for each in found}


def roll(cluster: Any) -> None:
    """A rolling restart, from its beginning until the last old pod is gone."""
    before = uids(cluster)
    cluster.kubectl("rollout", "restart", DEPLOYMENT)
    deadline = time.monotonic() + 600
    while before & uids(cluster) or len(cluster.pods("collector")) != 2:
        assert time.monotonic() < deadline, "the old pods do not end, or the new ones do not begin"
        time.sleep(1)


def all_there(cluster: Any, eventually: Callable[..., Any], accepted: int, more: int) -> None:
    """Every accepted event is on the topic and in the index, which has it once.

    :param more: requests that may have got through without an answer, and were sent again.
    """
    raw, ids = cluster.topic(f"{NAME}-raw")
    print(f"accepted {accepted}, on the topic {raw}, of {ids} identifiers", flush=True)
    assert ids == accepted
    assert raw <= accepted + more
    documents = lambda: cluster.documents(f"{NAME}-events-*")  # noqa: E731
    assert eventually(documents, lambda count: count >= accepted, seconds=180) == accepted


def test_the_status_shows_it(collecting: Any) -> None:
    status = collecting.json(f"wep/{NAME}")["status"]["collector"]
    address = f"http://{NAME}-collector.{collecting.namespace}.svc"
    assert status == {"replicas": 2, "ready": 2, "address": address}


def test_restarts_under_load_lose_nothing(
    collecting: Any, client: Callable[[], Object], eventually: Callable[..., Any]
) -> None:
    topic = f"{NAME}-raw"
    eventually(lambda: collecting.topic(topic)[0], lambda count: count > 100)
    roll(collecting)
    roll(collecting)
    graceful = collecting.topic(topic)[0]
    (pod, *_) = eventually(lambda: collecting.pods("collector"), lambda pods: len(pods) == 2)
    collecting.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    eventually(lambda: collecting.topic(topic)[0], lambda count: count > graceful + 100)
    eventually(lambda: len(collecting.pods("collector")), lambda count: count == 2)
    counted = client()
    assert counted["asked to go"] > 0  # pods that stop send their clients to others
    all_there(collecting, eventually, counted["accepted"], counted.get("unanswered", 0))


def test_a_key_is_rotated_without_a_restart(
    collecting: Any, client: Callable[[], Object], eventually: Callable[..., Any]
) -> None:
    before = uids(collecting)
    ask = (
        "import sys, urllib.request as u, urllib.error as e\n"
        "try: print(u.urlopen(sys.argv[1], data=b'{}').status)\n"
        "except e.HTTPError as error: print(error.code)"
    )

    def answer(key: str) -> set[str]:
        url = f"http://{NAME}-collector/v1/events?key={key}"
        # Each asks on a connection of its own, so that both pods answer.
        run = ("exec", "client", "--", "python", "-c", ask, url)
        return {collecting.kubectl(*run).strip() for _ in range(6)}

    assert answer("two") == {"401"}
    sites = [{"name": "shop", "writeKeys": ["one", "two"]}]
    patch = json.dumps({"spec": {"collector": {"sites": sites}}})
    began = time.monotonic()
    collecting.kubectl("patch", f"wep/{NAME}", "--type=merge", "--patch", patch)
    # {} is no event: its key is known, and it is told so.
    eventually(lambda: answer("two"), lambda found: found == {"400"}, seconds=180)
    print(f"\nthe new key holds after {time.monotonic() - began:.1f} s", flush=True)
    assert answer("one") == {"400"}
    assert uids(collecting) == before
    client()


def test_the_live_page_and_the_indices_tell_of_all_of_it(
    collecting: Any, eventually: Callable[..., Any]
) -> None:
    def stats() -> Object:
        return dict(collecting.get("http://127.0.0.1:8090/api/stats", f"{NAME}-live-0"))

    raw, _ = collecting.topic(f"{NAME}-raw")
    failed, _ = collecting.topic(f"{NAME}-failed")
    assert failed > 0, "the requests that were no events"
    done = {"in": raw, "out": raw, "lag": 0}
    told = eventually(stats, lambda now: done.items() <= now["totals"].items(), seconds=120)
    assert told["kafka"]["up"]
    assert told["failed"]["total"] == failed
    assert all(reason["example"] for reason in told["failed"]["reasons"])
    assert eventually(lambda: collecting.documents(f"failed-{NAME}-*")) == failed
    assert eventually(lambda: collecting.documents(f"stages-{NAME}-*"))
