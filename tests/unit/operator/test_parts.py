"""The operator's smaller parts: queue, claims, quantities, pods, parsing, conditions, secrets."""

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webevents.errors import UserError
from webevents.spec.kafka import StrimziSpec
from webevents.spec.secrets import SecretRef
from webevents_operator import kinds, pods
from webevents_operator.claims import Claim, Claimant, Claims
from webevents_operator.config import ConnectionsConfig, OperatorConfig, load_config
from webevents_operator.diff import ref_of
from webevents_operator.kinds import Object
from webevents_operator.names import Key
from webevents_operator.objects.frame import Frame
from webevents_operator.objects.quantities import canonical
from webevents_operator.objects.strimzi import choose_listener
from webevents_operator.outcome import Blocked
from webevents_operator.parse import read
from webevents_operator.queue import Queue
from webevents_operator.secrets import SecretFiles, entries
from webevents_operator.status import Reason
from webevents_operator.store import Store

MakeFrame = Callable[..., Frame]
A, B, C = Key("n", "a"), Key("n", "b"), Key("n", "c")


def test_a_pipeline_waits_once_and_never_runs_twice_at_a_time() -> None:
    async def run() -> None:
        queue = Queue()
        for _ in range(3):
            queue.add(A)
        assert (await queue.get()).key == A
        queue.add(A)  # while it runs
        queue.add(B)
        assert (await queue.get()).key == B
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 0.05)
        queue.done(A)
        assert (await asyncio.wait_for(queue.get(), 1)).key == A

    asyncio.run(run())


def test_what_comes_sooner_goes_before() -> None:
    async def run() -> None:
        queue = Queue()
        queue.add(A, 30)
        queue.add(B, 0.05, poll=True)
        queue.add(A, 0.01)
        assert (await asyncio.wait_for(queue.get(), 1)).key == A
        item = await asyncio.wait_for(queue.get(), 1)
        assert item.key == B
        assert item.poll
        queue.add(C, poll=True)
        queue.add(C)  # something has changed after all
        assert not (await queue.get()).poll

    asyncio.run(run())


def test_each_turn_wakes_one_of_many_workers() -> None:
    async def run() -> None:
        queue, taken = Queue(), []

        async def work() -> None:
            while True:
                item = await queue.get()
                taken.append(item.key)
                queue.add(item.key, 60)  # comes again, much later
                queue.done(item.key)

        workers = [asyncio.create_task(work()) for _ in range(8)]
        keys = [Key("n", str(number)) for number in range(500)]
        for number, key in enumerate(keys):
            queue.add(key, number % 5 / 100)
        for _ in range(200):
            if len(taken) == len(keys):
                break
            await asyncio.sleep(0.05)
        assert sorted(taken) == sorted(keys)
        for worker in workers:
            worker.cancel()

    asyncio.run(run())


def test_pauses_grow_and_stay_below_a_minute() -> None:
    async def run() -> None:
        queue = Queue()
        pauses = [queue.retry(A) for _ in range(12)]
        assert pauses[0] <= 1
        assert 20 < max(pauses) < 60
        queue.succeeded(A)
        assert queue.retry(A) <= 1

    asyncio.run(run())


def test_a_pass_that_does_not_end_is_stuck() -> None:
    async def run() -> None:
        queue = Queue()
        queue.add(A)
        queue.add(B)
        await queue.get()
        await asyncio.sleep(0.05)
        assert queue.stuck(0.02) == [A]
        assert queue.stuck(60) == []
        queue.done(A)
        assert queue.stuck(0) == []

    asyncio.run(run())


def test_the_oldest_has_it() -> None:
    claims = Claims()
    topic, other = Claim("topic", "k", "raw"), Claim("topic", "k", "other")
    claims.put(Claimant("2026-01-02", B), {topic, other})
    claims.put(Claimant("2026-01-01", A), {topic})
    claims.put(Claimant("2026-01-01", C), {topic})
    assert claims.conflicts(A) == []
    (conflict,) = claims.conflicts(B)
    assert (conflict.claim, conflict.owner) == (topic, A)
    assert claims.conflicts(C)[0].owner == A  # of the same age: by name
    assert claims.remove(A) == {B, C}
    assert claims.conflicts(C) == []
    assert claims.put(Claimant("2026-01-01", C), set()) == {B}
    assert claims.conflicts(B) == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("1000m", "1"), ("0.5", "500m"), ("1500m", "1500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"),
        ("2000M", "2G"), ("1Ki", "1Ki"), ("0", "0"), ("0.0001", "1m"), ("1e", None),
    ],
)  # fmt: skip
def test_quantities_as_the_server_writes_them(given: str, kept: str | None) -> None:
    if kept is None:
        with pytest.raises((AssertionError, ValueError)):
            canonical(given)
    else:
        assert canonical(given) == kept


def _pod(workload: str, **status: Any) -> Object:
    metadata = {"labels": {"webevents.dev/workload": workload}, "name": f"{workload}-0"}
    return {"metadata": metadata, "status": status}


def test_why_pods_do_not_run() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    crashing = {"reason": "CrashLoopBackOff"}
    found = pods.problems(
        [
            _pod("enrich", containerStatuses=[{"state": {"waiting": waiting}}]),
            _pod("index", containerStatuses=[{
                "state": {"waiting": crashing},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            }]),
            _pod("store", conditions=[
                {"type": "PodScheduled", "reason": "Unschedulable", "message": "no room"}
            ]),
            _pod("fine", containerStatuses=[{"state": {"running": {}}}]),
            _pod("new", containerStatuses=[{"state": {"waiting": {"reason": "PodInitializing"}}}]),
        ]
    )  # fmt: skip
    assert found.keys() == {"enrich", "index", "store"}
    assert "ImagePullBackOff" in found["enrich"]
    assert "OOMKilled, exit code 137" in found["index"]
    assert "no room" in found["store"]


def _read(spec: Object, **connections: Any) -> Any:
    config = OperatorConfig(connections=ConnectionsConfig.model_validate(connections))
    found = kinds.PIPELINE.of("shop", "web", spec=spec)
    return read(found, config).spec


def test_servers_of_the_operator_where_the_pipeline_names_none() -> None:
    usual = {"bootstrapServers": "usual:9092", "replicationFactor": 3}
    elastic = {"urls": ["https://es:9200"]}
    spec = _read({}, kafka=usual, elasticsearch=elastic)
    assert spec.kafka.bootstrap_servers == "usual:9092"
    assert spec.kafka.replication_factor == 3
    assert spec.elasticsearch.urls == ("https://es:9200",)
    own = _read({"kafka": {"bootstrapServers": "own:9092"}}, kafka=usual, elasticsearch=elastic)
    assert own.kafka.bootstrap_servers == "own:9092"
    assert own.kafka.replication_factor == 1
    assert _read({"kafka": {"strimzi": {"cluster": "c"}}}, elasticsearch=elastic).kafka.strimzi


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        ({}, Reason.DEPENDENCY_MISSING, "spec.kafka.bootstrapServers or spec.kafka.strimzi"),
        ({"kafka": {"bootstrapServers": "k:1"}}, Reason.DEPENDENCY_MISSING, "elasticsearch.urls"),
        ({"sessions": {"gap": "2d"}}, Reason.INVALID_SPEC, "gap must be longer"),
        (
            {
                "kafka": {"bootstrapServers": "k:1", "tls": {"caFile": "/etc/ca"}},
                "index": {"enabled": False},
            },
            Reason.INVALID_SPEC,
            "spec.kafka.tls.caFile: this is a file of no pod; write secret:NAME/KEY",
        ),
    ],
)
def test_what_blocks_names_the_mend(spec: Object, reason: Reason, message: str) -> None:
    with pytest.raises(Blocked) as blocked:
        _read(spec)
    assert blocked.value.reason is reason
    assert message in blocked.value.message


def test_connections_that_are_not_used_are_not_judged() -> None:
    spec = {
        "kafka": {"bootstrapServers": "k:1"},
        "index": {"enabled": False},
        "elasticsearch": {"urls": ["https://es:9200"], "tls": {"caFile": "/a"}},
    }
    assert _read(spec).elasticsearch.tls is None


@pytest.mark.parametrize(
    ("listeners", "asked", "chosen"),
    [
        (["plain", "tls"], None, "tls"),
        (["plain", "scram"], None, "scram"),
        (["plain", "scram"], "plain", "plain"),
        (["oauth", "plain"], None, "plain"),
        (["outside"], None, None),
        (["outside"], "outside", "outside"),
        ([], None, None),
    ],
)
def test_the_listener(listeners: list[str], asked: str | None, chosen: str | None) -> None:
    known: dict[str, Object] = {
        "plain": {"type": "internal"},
        "tls": {"type": "internal", "tls": True, "authentication": {"type": "tls"}},
        "scram": {"type": "cluster-ip", "authentication": {"type": "scram-sha-512"}},
        "oauth": {"type": "internal", "authentication": {"type": "oauth"}},
        "outside": {"type": "loadbalancer", "tls": True},
    }
    found = choose_listener(
        StrimziSpec(cluster="c", listener=asked),
        [{"name": name, "port": 9092, **known[name]} for name in listeners],
    )
    assert (found and found["name"]) == chosen


def test_secrets_that_are_there(tmp_path: Path) -> None:
    ref = SecretRef("login", "password")
    secret = {"data": {"password": base64.b64encode(b"word").decode()}}
    values = entries([ref], {"login": secret}, "web")
    assert values == {ref: b"word"}
    with pytest.raises(Blocked, match="no key other"):
        entries([SecretRef("login", "other")], {"login": secret}, "web")
    with pytest.raises(Blocked, match="There is no Secret web/gone"):
        entries([SecretRef("gone", "a")], {"gone": None}, "web")
    kept = SecretFiles(tmp_path)
    file = kept.write(Key("web", "shop"), values) / "login" / "password"
    assert file.read_bytes() == b"word"
    assert file.stat().st_mode & 0o077 == 0
    before = file.stat().st_mtime_ns
    kept.write(Key("web", "shop"), values)
    assert file.stat().st_mtime_ns == before
    kept.forget(Key("web", "shop"))
    assert not file.exists()


def test_the_store_notices_what_went_while_nobody_watched(make_frame: MakeFrame) -> None:
    from webevents_operator.objects.desired import desired_objects

    store, key = Store(), Key("web", "shop")
    objects = [
        each | {"metadata": each["metadata"] | {"resourceVersion": "1", "managedFields": [1]}}
        for each in desired_objects(make_frame({}))
    ]
    assert {store.put_child(each) for each in objects} == {key}
    assert store.put_child(objects[0]) is None  # nothing new about it
    assert "managedFields" not in store.children(key)[ref_of(objects[0])]["metadata"]
    maps = [each for each in objects if each["kind"] == "ConfigMap"]
    present = {(key, ref_of(each)) for each in maps[1:]}
    assert list(store.retain(kinds.CONFIG_MAP, "web", present)) == [key]
    assert ref_of(maps[0]) not in store.children(key)
    assert list(store.retain(kinds.CONFIG_MAP, "elsewhere", set())) == []
    foreign = kinds.CONFIG_MAP.of("a", "web", metadata={"labels": {}})
    assert store.put_child(foreign) is None


def test_settings_of_the_operator(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("image: a:1\nworkers: 2\nconnections: {kafka: {strimzi: {cluster: c}}}\n")
    assert load_config(file).image == "a:1"
    assert load_config(None) == OperatorConfig()
    file.write_text("imge: a:1\nworkers: 0\n")
    with pytest.raises(UserError, match="imge"):
        load_config(file)
    with pytest.raises(UserError, match="cannot read"):
        load_config(tmp_path / "none")
