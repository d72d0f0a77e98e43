"""The operator with many pipelines on a real API server, beside the figures to reach.

``make bench-operator`` (PIPELINES=1000). Needs KUBECONFIG, and Strimzi's definitions on the server:
topics are KafkaTopics, and a stand-in for Strimzi says that they are ready, so that no broker is
measured. Workloads have no replicas: a node holds a hundred pods, not thousands.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from kube import Kube, OperatorProcess, eventually, find_kubectl, pipeline

from webevents_operator import kinds
from webevents_operator.kube import ApiFailure, Cluster

PIPELINES = int(os.environ.get("PIPELINES", "1000"))
CHANGES = int(os.environ.get("CHANGES", "200"))
IDLE_S = float(os.environ.get("IDLE_SECONDS", "65"))
ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("WEBEVENTS_SHARED", ROOT.parent / "shared"))
CONFIG = {"resyncInterval": "30s", "image": "webevents.test/none:1"}


def spec(number: int) -> dict[str, Any]:
    """A pipeline of four topics, three workloads and no pods."""
    none = {"replicas": 0}
    return {
        "generator": none,
        "kafka": {"strimzi": {"cluster": "events"}},
        "index": {"enabled": False},
        "topics": {
            which: {"name": f"p{number}-{which}"}
            for which in ("raw", "enriched", "sessions", "failed")
        },
        "stages": {"enrich": none, "sessionize": none},
    }


async def at_once(count: int, work: Any, width: int = 24) -> None:
    """Run ``work(0)`` to ``work(count - 1)``, so many at a time."""
    gate = asyncio.Semaphore(width)

    async def one(number: int) -> None:
        async with gate:
            await work(number)

    await asyncio.gather(*(one(number) for number in range(count)))


async def create_all(cluster: Cluster, namespace: str) -> None:
    async def create(number: int) -> None:
        await cluster.create(pipeline(namespace, f"p{number}", spec(number)))

    await at_once(PIPELINES, create)


async def be_strimzi(cluster: Cluster, namespace: str, stop: asyncio.Event) -> None:
    """Say of every KafkaTopic that it is ready."""
    done: set[tuple[str, int]] = set()
    while not stop.is_set():
        topics, _ = await cluster.list(kinds.KAFKA_TOPIC, namespace, {})
        new = [
            each["metadata"]
            for each in topics
            if (each["metadata"]["name"], each["metadata"]["generation"]) not in done
        ]

        async def ready(number: int, new: list[Any] = new) -> None:
            metadata = new[number]
            status = {
                "observedGeneration": metadata["generation"],
                "conditions": [{"type": "Ready", "status": "True"}],
            }
            try:
                await cluster.apply_status(kinds.KAFKA_TOPIC, namespace, metadata["name"], status)
                done.add((metadata["name"], metadata["generation"]))
            except ApiFailure as failure:
                print(failure, file=sys.stderr)

        await at_once(len(new), ready, 8)
        await asyncio.sleep(1)


async def all_ready(cluster: Cluster, namespace: str) -> int:
    """How many pipelines are ready."""
    found, _ = await cluster.list(kinds.PIPELINE, namespace, {})
    return sum(
        any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in (each.get("status") or {}).get("conditions") or []
        )
        for each in found
    )


async def changes(cluster: Cluster, kube: Kube, namespace: str) -> list[float]:
    """Seconds from a change to its status, one after the other."""
    took = []
    watch = aiter(cluster.watch(kinds.PIPELINE, namespace, {}, ""))
    for number in range(CHANGES):
        name = f"p{number * PIPELINES // CHANGES}"
        began = time.monotonic()
        change = {"spec": {"generator": {"eventsPerSecond": 100 + number + 1}}}
        made = await asyncio.to_thread(kube.merge, kinds.PIPELINE, namespace, name, change)
        generation = made["metadata"]["generation"]
        async with asyncio.timeout(60):
            while True:
                _, seen = await anext(watch)
                status = seen.get("status") or {}
                if (
                    seen["metadata"]["name"] == name
                    and status.get("observedGeneration") == generation
                ):
                    break
        took.append(time.monotonic() - began)
    return took


def row(what: str, measured: str, goal: str = "", ok: bool = True) -> None:
    """A line of the table; without a goal it tells what bounds the others."""
    verdict = ("ok" if ok else "MISSED") if goal else ""
    print(f"{what:<44} {measured:>12} {goal:>12}  {verdict}".rstrip(), flush=True)


def cpu(process: psutil.Process) -> float:
    """Seconds of a processor that a process has taken."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def write_s(cluster: Cluster, namespace: str) -> float:
    """Seconds of one write to the API server, as a median: what a change takes two of."""
    took = []
    for number in range(50):
        made = kinds.CONFIG_MAP.of("probe", namespace, data={"number": str(number)})
        began = time.monotonic()
        await cluster.apply(made, force=True)
        took.append(time.monotonic() - began)
    return statistics.median(took)


async def bench(kube: Kube, namespace: str, folder: Path) -> None:
    load = os.getloadavg()[0]
    cluster = Cluster()
    kube.apply(
        {
            "apiVersion": "kafka.strimzi.io/v1",
            "kind": "Kafka",
            "metadata": {"name": "events", "namespace": namespace},
            "spec": {
                "kafka": {
                    "listeners": [{"name": "plain", "port": 9092, "type": "internal", "tls": False}]
                }
            },
        }
    )
    await create_all(cluster, namespace)
    stop = asyncio.Event()
    strimzi = asyncio.create_task(be_strimzi(cluster, namespace, stop))
    operator = OperatorProcess(folder, kube.kubeconfig, [namespace], CONFIG)
    print(f"{PIPELINES} pipelines, {os.cpu_count()} cores, load {load:.0f} before")
    print(f"{'':<44} {'measured':>12} {'goal':>12}")
    began = time.monotonic()
    operator.start(wait=False)
    while await all_ready(cluster, namespace) < PIPELINES:
        await asyncio.sleep(1)
    row("all objects made, every pipeline ready", f"{time.monotonic() - began:.1f} s")
    stop.set()
    await strimzi
    await asyncio.sleep(5)
    operator.stop()

    operator = OperatorProcess(folder, kube.kubeconfig, [namespace], CONFIG)
    began = time.monotonic()
    await asyncio.to_thread(operator.start)
    passes = "webevents_operator_reconciles_total"
    while operator.metric(passes) < PIPELINES or operator.metric("webevents_operator_queue_length"):
        await asyncio.sleep(0.2)
    cold = time.monotonic() - began
    assert operator.process
    process = psutil.Process(operator.process.pid)
    row("cold start", f"{cold:.1f} s", "<= 60 s", cold <= 60)
    row("  of that on a processor", f"{cpu(process):.1f} s")
    writes = operator.metric("webevents_operator_api_writes_total")
    row("writes of the cold start", f"{writes:.0f}", "0", writes == 0)

    before, began = cpu(process), time.monotonic()
    await asyncio.sleep(IDLE_S)
    share = (cpu(process) - before) / (time.monotonic() - began)
    row("idle CPU", f"{share:.1%} core", "<= 2% core", share <= 0.02)
    writes = operator.metric("webevents_operator_api_writes_total") - writes
    row("writes while idle", f"{writes:.0f}", "0", writes == 0)

    row("a write to the API server, p50", f"{await write_s(cluster, namespace) * 1000:.0f} ms")
    before = cpu(process)
    took = sorted(await changes(cluster, kube, namespace))
    p50, p99 = statistics.median(took), took[int(len(took) * 0.99)]
    row("change to status, p50", f"{p50 * 1000:.0f} ms", "<= 250 ms", p50 <= 0.25)
    row("change to status, p99", f"{p99 * 1000:.0f} ms", "<= 2000 ms", p99 <= 2)
    row("  of each on a processor", f"{(cpu(process) - before) / CHANGES * 1000:.0f} ms")
    memory = process.memory_info().rss / 1e6
    row("memory (RSS)", f"{memory:.0f} MB", "<= 200 MB", memory <= 200)
    operator.stop()
    await cluster.close()


def as_in_the_image(folder: Path) -> None:
    """Keep pyarrow, which the image has not, from the operator: Elasticsearch's client would load
    it where it is (26 MB)."""
    folder.mkdir()
    (folder / "pyarrow.py").write_text('raise ImportError("the image has none")\n')
    known = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), known)))


def main() -> None:
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig:
        sys.exit("bench-operator: set KUBECONFIG")
    kube = Kube(Path(kubeconfig), find_kubectl())
    kube.apply_crd(ROOT / "manifests/crd/webeventpipelines.yaml")
    for file in sorted((SHARED / "crds" / "strimzi").glob("*.yaml")):
        kube.apply_crd(file)
    with kube.namespace() as namespace, tempfile.TemporaryDirectory() as folder:
        as_in_the_image(Path(folder) / "image")
        asyncio.run(bench(kube, namespace, Path(folder)))
        eventually(lambda: True)


if __name__ == "__main__":
    main()
