"""The live page on a real broker: its figures are the ledger's, also after kills and outages."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from live_pages import get, live_page, stats, wait_for
from live_state import event
from pipelines import Servers, TestPipeline, children

from webevents.connectors.kafka_observe import Observer
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.ports import LOOPBACK, free_port
from webevents.sources.output import KafkaOutput
from webevents.sources.simulator import run_simulator
from webevents.spec.generator import GeneratorSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

EVENTS = 5_000
GENERATOR = {
    "eventsPerSecond": 100,
    "time": {"mode": "backdated", "start": "2026-11-01T00:00:00Z"},
    "faults": {"corrupt": 0.02, "duplicates": 0.02},
}
TOKEN = "a-token-that-is-long-enough"


def ledger(pipeline: TestPipeline) -> dict[str, Any]:
    """What ``webevents ledger`` prints."""
    command = [
        *(sys.executable, "-m", "webevents", "ledger", "-f", str(pipeline.file)),
        *("--kafka", pipeline.servers.kafka, "--json"),
    ]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def counted_of(seen: dict[str, Any]) -> list[Any]:
    """The figures that only events change; what is equally frequent comes in any order."""
    stages = [[each[key] for key in ("in", "out", "failed", "dropped")] for each in seen["stages"]]
    tops = [
        sorted((each["name"], each["count"]) for each in seen[name]["top"])
        for name in ("types", "pages")
    ]
    places = seen["places"]
    by_country = [each["count"] for each in places["countries"]]
    return [stages, tops, sorted(places["points"]), by_country, places["total"], seen["totals"]]


def test_the_figures_are_the_ledgers_also_after_a_kill(kafka: str, tmp_path: Path) -> None:
    port = free_port()
    spec = {
        "index": {"enabled": False},
        "live": {"enabled": True, "port": port, "window": "1h"},
        "sessions": {"allowedLateness": "2h"},
    }
    pipeline = TestPipeline(Servers(kafka, "http://127.0.0.1:1"), tmp_path, spec)
    pipeline.make_topics()
    with KafkaOutput(pipeline.servers.config, pipeline.raw_topic) as output:
        run_simulator(GeneratorSpec.model_validate(GENERATOR), output, count=EVENTS)

    def drained() -> dict[str, Any] | None:
        seen = stats(port)
        there = seen and seen["kafka"]["up"] and seen["totals"]["in"] >= EVENTS
        return seen if there and seen["totals"]["lag"] == 0 else None

    def settled() -> dict[str, Any] | None:
        """The figures, once the feed has read what the ledgers have counted."""
        seen = drained()
        out = seen and seen["types"]["total"] == seen["totals"]["out"]
        return (
            seen if out and seen and seen["failed"]["total"] == seen["totals"]["failed"] else None
        )

    with pipeline.running() as run:
        seen = wait_for(settled, 180)
        counted = ledger(pipeline)["stages"]
        assert {
            each["name"]: {name: each[name] for name in ("in", "out", "failed", "dropped", "lag")}
            for each in seen["stages"]
        } == {
            name: {key: each[key] for key in ("in", "out", "failed", "dropped", "lag")}
            for name, each in counted.items()
        }
        assert seen["totals"]["in"] == seen["totals"]["out"] + seen["totals"]["failed"]
        assert seen["totals"]["failed"] > 0
        assert seen["stages"][1]["dropped"]["duplicate"] > 0
        assert seen["pages"]["total"] > 0
        assert seen["places"]["total"] > 0
        assert all(each["balanced"] for each in seen["stages"])
        assert not seen["skipped"]
        assert not seen["unreadable"]

        [page] = [pid for pid, command in children(run.process.pid) if "live" in command]
        os.kill(page, signal.SIGKILL)
        wait_for(lambda: page not in [pid for pid, _ in children(run.process.pid)])
        again = wait_for(settled, 120)
        assert counted_of(again) == counted_of(seen)
        observer = Observer(pipeline.servers.config)
        topics = {
            f"{pipeline.name}-live": [pipeline.pipeline.spec.topics.enriched.name],
            f"{pipeline.name}-enrich": [pipeline.raw_topic],
        }
        page_view, enrich_view = observer.groups(topics).values()
        observer.close()
        assert enrich_view.ledgers
        assert not page_view.ledgers  # the page commits nothing
        run.interrupt()
        report = run.finish()
    assert report["restarts"] == 1
    assert report["events"] == seen["totals"]["in"]


def test_snapshots_are_pushed_within_a_second(kafka: str, tmp_path: Path) -> None:
    with live_page(kafka, tmp_path) as page:
        page.wait_for(lambda seen: seen["kafka"]["up"])
        connection = HTTPConnection(LOOPBACK, page.port, timeout=60)
        connection.request("GET", "/api/stream")
        stream = connection.getresponse()
        assert stream.getheader("content-type") == "text/event-stream"

        def pushed() -> dict[str, Any]:
            while not (line := stream.readline()).startswith(b"data: "):
                assert line
            found: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            return found

        ages = []
        for number in range(8):
            page.send("enriched", [event(number)])
            sent = time.time()
            while (seen := pushed())["types"]["total"] <= number:
                assert time.time() - sent < 60
            ages.append(time.time() - sent)
            assert seen["log"][0]["id"] == f"e{number}"
        connection.close()
        # The best of them, because a busy machine may delay any one.
        assert min(ages) < 1
        wait_for(lambda: json.loads(get(page.port, "/health")[1])["viewers"] == 0)
        assert page.stop() == 0


def test_topics_that_come_later_and_transactions_that_fail(kafka: str, tmp_path: Path) -> None:
    with live_page(kafka, tmp_path, topics=False) as page:
        page.make_topics()
        producer = Producer(page.config | {"transactional.id": f"{page.name}-t"})
        producer.init_transactions(60)
        topic = f"{page.name}-enriched"
        for number, commit in ((1, False), (2, True)):
            producer.begin_transaction()
            producer.produce(topic, json.dumps(event(number)).encode())
            producer.flush(60)
            if commit:
                producer.commit_transaction(60)
            else:
                producer.abort_transaction(60)
        page.send("raw", [b"1", b"2", b"3"])
        seen = page.wait_for(lambda seen: seen["types"]["total"] and sum(seen["rate"]["in"]) == 3)
        assert [each["id"] for each in seen["log"]] == ["e2"]


def test_brokers_that_are_away_are_told_and_found_again(
    kafka_server: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    server = kafka_server()
    with live_page(server.bootstrap, tmp_path) as page:
        page.send("enriched", [event(n) for n in range(10)])
        page.wait_for(lambda seen: seen["kafka"]["up"] and seen["types"]["total"] == 10)
        assert get(page.port, "/readyz")[0] == 200
        server.kill()
        old = page.wait_for(lambda seen: not seen["kafka"]["up"])
        assert "Kafka has not answered" in old["kafka"]["problem"]
        assert old["types"]["total"] == 10  # what is known stays there
        assert json.loads(get(page.port, "/health")[1])["status"] == "degraded"
        assert get(page.port, "/readyz")[0] == 503
        assert get(page.port, "/healthz")[0] == 200
        server.start()
        page.wait_for(lambda seen: seen["kafka"]["up"])
        page.send("enriched", [event(n) for n in range(10, 15)])
        seen = page.wait_for(lambda seen: seen["types"]["total"] >= 15)
        assert seen["types"]["total"] == 15
        assert {each["id"] for each in seen["log"]} == {f"e{n}" for n in range(15)}


def test_with_a_token_it_listens_to_all_and_tells_nobody_else(kafka: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with live_page(kafka, tmp_path, {"tokenFile": str(token)}) as page:
        assert get(page.port, "/api/stats")[0] == 401
        assert get(page.port, "/api/stats", {"Authorization": "Bearer wrong"})[0] == 401
        bearer = {"Authorization": f"Bearer {TOKEN}", "Host": "page.example"}
        wait_for(lambda: get(page.port, "/api/stats", bearer)[0] == 200)
        assert get(page.port, "/", bearer)[0] == 200
        assert get(page.port, f"/api/stats?token={TOKEN}")[0] == 401
        assert page.stop() == 0
        log = page.log.read_text()
        assert '"host": "0.0.0.0"' in log
        assert TOKEN not in log


def test_without_a_token_another_address_is_refused(kafka: str, tmp_path: Path) -> None:
    with live_page(kafka, tmp_path) as page:
        command = [sys.executable, "-m", "webevents", "live", "--settings", str(page.settings)]
        done = subprocess.run(
            [*command, "--host", "0.0.0.0"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 2
        assert "spec.live.tokenFile" in done.stderr
        # And a port that is taken is told too, not shared.
        done = subprocess.run(
            [*command, "--port", str(page.port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert "spec.live.port" in done.stderr


def test_the_server_waits_for_who_reads_slowly() -> None:
    """What a viewer does not read must not pile up in the server: the page relies on it, and not
    every interface of the server has it (docs/decisions/0006)."""
    sent = 0

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            part = {"type": "http.response.body", "body": bytes(65_536), "more_body": True}
            await send(part)
            sent += 65_536
            await asyncio.sleep(0)

    async def run() -> list[int]:
        port = free_port()
        server = Server(
            endless,
            address=LOOPBACK,
            port=port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
        )
        serving = asyncio.create_task(server.serve())
        while get_nothing(port):
            await asyncio.sleep(0.05)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((LOOPBACK, port))
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            seen = []
            while len(seen) < 8 or len(set(seen[-4:])) > 1:  # until it stands still
                assert len(seen) < 200, seen
                await asyncio.sleep(0.25)
                seen.append(sent)
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({serving}, timeout=10)
        return seen

    def get_nothing(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, port)) != 0

    seen = asyncio.run(run())
    assert 0 < seen[-1] < 50_000_000  # what the kernel keeps
