"""The collector's cost: CPU seconds per million events, latency at half load, memory.

Usage: ``python tests/bench/collector.py [SECONDS]``. Starts a Kafka and, in turn:

``answer``   the same server (Granian, RSGI) doing nothing but reading the body and answering
``plain``    a plain ASGI handler on the same server: json.loads, produce, await the delivery report
``collector``  ``webevents collect``, one JSON event of about 1 kB in a request
``segment``  the same, events as analytics.js sends them
``batch``    the same, 20 JSON events in a request

CPU is the server process's (user and system), by /proc, while 64 connections ask one after another:
the median of interleaved rounds, because machines are shared. Latency is then taken at half the
rate that the server has reached. The clients share the machine's cores with server and broker.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from collectors import RunningCollector
from confluent_kafka.admin import AdminClient

from webevents.connectors.kafka import Topic, client_config, ensure_topics
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.ports import LOOPBACK, free_port, is_listening
from webevents.spec.kafka import KafkaSpec

CONNECTIONS = 64
ROUNDS = 3
BATCH = 20

ANSWER = """
class App:
    async def __rsgi__(self, scope, stream):
        await stream()
        headers = [("content-type", "application/json")]
        stream.response_bytes(200, headers, b'{"accepted":1,"failed":[]}')
app, interface = App(), "rsgi"
"""

PLAIN = """
import asyncio, json, threading
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": BROKER, "acks": "all", "enable.idempotence": True,
                     "linger.ms": 5, "compression.type": "lz4"})
def poll():
    while True:
        producer.poll(0.2)
threading.Thread(target=poll, daemon=True).start()

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message.get("more_body"):
            break
    event = json.loads(body)
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    def delivered(error, _):
        loop.call_soon_threadsafe(future.set_result, error)
    producer.produce(TOPIC, json.dumps(event).encode(), event["user_domain_id"],
                     on_delivery=delivered)
    error = await future
    await send({"type": "http.response.start", "status": 503 if error else 200,
                "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b'{"accepted":1,"failed":[]}'})
interface = "asginl"
"""

SERVE = """
import asyncio
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
async def main():
    await Server(app, port=PORT, interface=Interfaces(interface), http=HTTPModes.http1,
                 websockets=False, backlog=4096, log_enabled=False).serve()
asyncio.run(main())
"""

EVENT = {
    "event_id": "0" * 36,
    "event_timestamp": "2026-03-01T10:00:00.250Z",
    "event_type": "pageview",
    "user_domain_id": "8f14e45f-ceea-467f-a07f-1e4cf3b1c9f0",
    "page_url": "https://shop.example/product/mug?utm_source=newsletter&utm_medium=email",
    "page_title": "A mug",
    "referer_url": "https://www.google.com/",
    "viewport_size": "1600x900",
    "product_id": "mug",
    "price": 12.5,
    "note": "x" * 500,
}
SEGMENT = {
    "type": "page",
    "messageId": "ajs-next-" + "0" * 36,
    "anonymousId": EVENT["user_domain_id"],
    "timestamp": "2026-03-01T10:00:00.250Z",
    "sentAt": "2026-03-01T10:00:00.300Z",
    "context": {
        "page": {
            "path": "/product/mug",
            "referrer": "https://www.google.com/",
            "search": "?utm_source=newsletter&utm_medium=email",
            "title": "A mug",
            "url": EVENT["page_url"],
        },
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0.0.0",
        "locale": "de-DE",
        "timezone": "Europe/Berlin",
        "campaign": {"source": "newsletter", "medium": "email"},
        "library": {"name": "analytics.js", "version": "npm:next-1.84.3"},
    },
    "properties": {"note": "x" * 200},
    "integrations": {},
}


def request(path: str, body: object) -> bytes:
    """The bytes of a browser's request."""
    raw = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: collect.shop.example\r\nOrigin: https://shop.example\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0.0.0\r\n"
        "Accept: */*\r\nAccept-Language: de-DE,de;q=0.9\r\nAccept-Encoding: gzip\r\n"
        "Content-Type: text/plain\r\nReferer: https://shop.example/product/mug\r\n"
        f"Cookie: webevents_id=abcdefghijklmnopqrstuvwx\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


class Load(asyncio.Protocol):
    """One connection that asks again when it is answered."""

    def __init__(self, load: "Loads") -> None:
        self._load = load
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.ask()

    def ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200 "), data[:300]
        load, now = self._load, time.perf_counter()
        load.latencies.append(now - self._began)
        if load.pause:
            asyncio.get_running_loop().call_later(
                max(0.0, load.pause - (now - self._began)), self.ask
            )
        else:
            self.ask()


class Loads:
    """Connections that ask for some seconds.

    :param rate: requests a second of all together; as many as are answered when absent.
    """

    def __init__(self, request: bytes, rate: float | None = None) -> None:
        self.request = request
        self.pause = CONNECTIONS / rate if rate else 0.0
        self.latencies: list[float] = []

    async def run(self, port: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        made = []
        for _ in range(CONNECTIONS):
            made.append(await loop.create_connection(lambda: Load(self), LOOPBACK, port))
            await asyncio.sleep(self.pause / CONNECTIONS)
        self.latencies.clear()
        await asyncio.sleep(seconds)
        for transport, _ in made:
            transport.close()


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


@contextmanager
def served(code: str, **names: object) -> Iterator[tuple[int, int]]:
    """A server of the code; its process and port."""
    port = free_port()
    head = "".join(f"{name} = {value!r}\n" for name, value in {**names, "PORT": port}.items())
    process = subprocess.Popen([sys.executable, "-c", head + code + SERVE])
    while not is_listening(port):
        assert process.poll() is None
        time.sleep(0.05)
    try:
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def measure(pid: int, port: int, request: bytes, seconds: float) -> tuple[float, float]:
    """CPU seconds per million requests, and requests a second."""
    loads = Loads(request)
    asyncio.run(loads.run(port, 1))
    before, began = cpu_seconds(pid), time.perf_counter()
    asyncio.run(loads.run(port, seconds))
    spent, elapsed = cpu_seconds(pid) - before, time.perf_counter() - began
    count = len(loads.latencies)
    return spent / count * 1e6, count / elapsed


def latency(port: int, request: bytes, rate: float, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds at a rate."""
    loads = Loads(request, rate)
    asyncio.run(loads.run(port, seconds))
    sorted_ = sorted(loads.latencies)
    return sorted_[len(sorted_) // 2] * 1e3, sorted_[int(len(sorted_) * 0.99)] * 1e3


def main() -> None:
    """Measure, and print a table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    json_, segment = request("/v1/events", EVENT), request("/v1/p", SEGMENT)
    batch = request("/v1/events", [EVENT] * BATCH)
    with tempfile.TemporaryDirectory() as folder:
        kafka = EmbeddedKafka(Path(folder) / "kafka").start()
        spec = KafkaSpec(bootstrap_servers=kafka.bootstrap)
        ensure_topics(AdminClient(client_config(spec)), [Topic("plain", 4)])
        running = RunningCollector(kafka.bootstrap, Path(folder) / "collector")
        running.start()
        assert running.process
        ours = (running.process.pid, running.port)
        try:
            with (
                served(ANSWER) as answer,
                served(PLAIN, BROKER=kafka.bootstrap, TOPIC="plain") as plain,
            ):
                cases = {
                    "answer": (answer, json_, 1),
                    "plain": (plain, json_, 1),
                    "collector": (ours, json_, 1),
                    "segment": (ours, segment, 1),
                    "batch": (ours, batch, BATCH),
                }
                found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
                for _ in range(ROUNDS):
                    for name, ((pid, port), sent, _) in cases.items():
                        found[name].append(measure(pid, port, sent, seconds))
                print(f"{'':10} CPU-s/M events  events/s  p50 ms  p99 ms  RSS MB")
                for name, ((pid, port), sent, events) in cases.items():
                    cost = statistics.median(each for each, _ in found[name]) / events
                    rate = statistics.median(each for _, each in found[name])
                    p50, p99 = latency(port, sent, rate / 2, seconds)
                    print(
                        f"{name:10} {cost:15.1f} {rate * events:9.0f} {p50:7.1f} {p99:7.1f} "
                        f"{memory_mb(pid):7.0f}"
                    )
        finally:
            running.kill()
            kafka.stop()


if __name__ == "__main__":
    main()
