"""The collector on a real broker: what it answered with success is there, whatever dies.

A sender posts events one after another and notes what was answered; then the raw topic must hold
every event that got a 200, and no other but those whose answer never came.
"""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
import trustme
from collectors import RunningCollector, collector

from webevents.connectors.kafka_observe import Observer
from webevents.events.key import key_reader
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.ports import LOOPBACK

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SPOOL: dict[str, Any] = {"onOutage": "spool", "acknowledgeWithin": "2s"}


class Sender:
    """Threads that post events one after another, as fast as they are answered."""

    def __init__(self, port: int, threads: int = 4) -> None:
        self._port = port
        self._stop = threading.Event()
        self.accepted: list[str] = []
        self.refused: Counter[int] = Counter()
        self.retry_after: set[str | None] = set()
        self.unanswered: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def __enter__(self) -> "Sender":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        connection = HTTPConnection(LOOPBACK, self._port, timeout=30)
        count = 0
        while not self._stop.is_set():
            event_id = f"{number}-{count}"
            count += 1
            body = {"event_id": event_id, "event_type": "click", "user_domain_id": f"v{number}"}
            try:
                connection.request("POST", "/v1/events", json.dumps(body))
                response = connection.getresponse()
                response.read()
            except (OSError, HTTPException):
                self.unanswered.append(event_id)
                connection.close()
                time.sleep(0.02)
                continue
            if response.status == 200:
                self.accepted.append(event_id)
            else:
                self.refused[response.status] += 1
                self.retry_after.add(response.getheader("retry-after"))
                time.sleep(0.02)

    def wait(self, more: int, seconds: float = 60) -> None:
        """Wait until so many more events are accepted."""
        target = len(self.accepted) + more
        deadline = time.monotonic() + seconds
        while len(self.accepted) < target:
            assert time.monotonic() < deadline, (len(self.accepted), self.refused)
            time.sleep(0.02)


def check(sender: Sender, running: RunningCollector, *, again: bool = False) -> None:
    """Hold the topic against what was answered.

    :param again: whether an event may be there twice, because it was sent twice on its way.
    """
    found = Counter(event["event_id"] for event in running.events())
    lost = set(sender.accepted) - found.keys()
    assert not lost, f"{len(lost)} of {len(sender.accepted)} lost"
    if not again:
        assert max(found.values()) == 1


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> float:
    """Wait; how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come about"
        time.sleep(0.05)
    return time.monotonic() - began


def resumed(server: EmbeddedKafka) -> None:
    """Let a broker that was stopped by SIGSTOP go on, however the test ended."""
    with contextlib.suppress(ProcessLookupError):
        if server.pid:
            os.kill(server.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def running(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    limits = {"headerTimeout": "2s", "bodyTimeout": "2s", "maxConnections": 11_000}
    spec = {"limits": limits, "demoPage": True}
    with collector(kafka, tmp_path_factory.mktemp("collector"), spec) as running:
        yield running


def test_every_protocol_lands_on_the_raw_topic_under_its_visitors_key(
    kafka: str, tmp_path: Path
) -> None:
    with collector(kafka, tmp_path) as running:
        connection = HTTPConnection(LOOPBACK, running.port, timeout=30)
        schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
        requests = [
            ("POST", "/v1/events", {"event_type": "a", "user_domain_id": "v1"}),
            ("POST", "/v1/page", {"anonymousId": "v1"}),
            ("GET", "/i?e=pv&duid=v1", None),
            (
                "POST",
                "/com.snowplowanalytics.snowplow/tp2",
                {"schema": schema, "data": [{"e": "pv", "duid": "v1"}]},
            ),
            ("GET", "/pixel.gif?user_domain_id=v1", None),
            ("POST", "/v1/track", {"anonymousId": "v1"}),
        ]
        statuses = []
        for method, path, body in requests:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
        assert statuses == [200, 200, 200, 200, 200, 400]
        observer = Observer(running.config)
        messages = list(observer.messages(running.pipeline.spec.topics.raw.name))
        observer.close()
        assert len(messages) == 5
        assert {message.key() for message in messages} == {b"v1"}
        assert len({message.partition() for message in messages}) == 1
        read = key_reader(("user_domain_id",))
        assert read(type("E", (), {"user_domain_id": "v1"})) == "v1"
        [failed] = running.failed()
        assert (failed.reason, failed.stage) == ("invalid_payload", "collector")


def test_without_a_spool_an_outage_is_503_until_kafka_is_back(
    kafka_server: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    server = kafka_server()
    with collector(server.bootstrap, tmp_path, {"acknowledgeWithin": "2s"}) as running:
        with Sender(running.port) as sender:
            sender.wait(200)
            server.kill()
            wait_until(lambda: running.status("/readyz") == 503)
            assert running.status("/healthz") == 200
            accepted = len(sender.accepted)
            time.sleep(1)
            assert len(sender.accepted) == accepted
            assert sender.refused[503] > 10, "once Kafka is known to be away nobody waits"
            assert sender.retry_after == {"5"}
            server.start()
            sender.wait(200)
        assert running.status("/readyz") == 200
        assert (
            running.metrics()["webevents_collector_refused_requests_total{reason=kafka_away}"] > 10
        )
        check(sender, running, again=True)
        assert running.stop() == 0


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_with_a_spool_an_outage_refuses_nobody_and_keeps_the_order(
    kafka_server: Callable[..., EmbeddedKafka], tmp_path: Path, how: str
) -> None:
    server = kafka_server()
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(collector(server.bootstrap, tmp_path, SPOOL))
        with Sender(running.port) as sender:
            sender.wait(200)
            if how == "killed":
                server.kill()
            else:
                assert server.pid
                os.kill(server.pid, signal.SIGSTOP)
                stack.callback(resumed, server)
            wait_until(lambda: running.metrics()["webevents_collector_spool_events"] > 500)
            assert running.status("/readyz") == 200
            if how == "killed":
                server.start()
            else:
                resumed(server)
            wait_until(lambda: running.metrics()["webevents_collector_spool_events"] == 0)
            sender.wait(200)
        assert not sender.refused
        check(sender, running, again=True)
        # Each thread waits for its answers, so that a visitor's events have an order.
        first: dict[str, list[int]] = {}
        for event in running.events():
            number, count = event["event_id"].split("-")
            seen = first.setdefault(number, [])
            if int(count) not in set(seen[-50:]):
                seen.append(int(count))
        for counts in first.values():
            distinct = list(dict.fromkeys(counts))
            assert distinct == sorted(distinct)
        metrics = running.metrics()
        assert metrics["webevents_collector_events_total{fate=spooled}"] > 500
        assert running.stop() == 0


def test_a_kill_in_an_outage_loses_nothing_that_was_accepted(
    kafka_server: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    server = kafka_server()
    with collector(server.bootstrap, tmp_path, SPOOL) as running:
        with Sender(running.port) as sender:
            sender.wait(200)
            server.kill()
            for _ in range(3):
                wait_until(lambda: running.metrics()["webevents_collector_spool_events"] > 100)
                running.kill()
                running.start(ready=False)
            server.start()
            wait_until(lambda: running.status("/readyz") == 200)
            wait_until(lambda: running.metrics()["webevents_collector_spool_events"] == 0)
            sender.wait(100)
        check(sender, running, again=True)


def test_kills_under_load_lose_nothing_that_was_accepted(kafka: str, tmp_path: Path) -> None:
    with collector(kafka, tmp_path) as running:
        with Sender(running.port, threads=8) as sender:
            for _ in range(5):
                sender.wait(300)
                running.kill()
                running.start()
            sender.wait(100)
        assert sender.unanswered
        check(sender, running)


def test_a_stop_under_load_answers_what_has_come_and_takes_no_more(
    kafka: str, tmp_path: Path
) -> None:
    with collector(kafka, tmp_path) as running:
        with Sender(running.port, threads=8) as sender:
            for _ in range(3):
                sender.wait(300)
                began = time.monotonic()
                assert running.stop() == 0
                assert time.monotonic() - began < 5
                running.start()
            sender.wait(100)
        assert not sender.refused
        found = {event["event_id"] for event in running.events()}
        # What was not answered was not taken either: it came when nobody listened any more.
        assert set(sender.accepted) == found


def test_a_drained_stop_sends_its_clients_to_others(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBEVENTS_COLLECTOR_DRAIN", "8")
    with collector(kafka, tmp_path) as running:
        assert running.process
        old = HTTPConnection(LOOPBACK, running.port, timeout=30)

        def send(connection: HTTPConnection, event_id: str) -> str | None:
            body = json.dumps({"event_id": event_id, "event_type": "click"})
            connection.request("POST", "/v1/events", body)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            return answer.getheader("Connection")

        assert send(old, "before") is None
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        # Not ready any more, so that nobody new is sent here; yet whoever comes is answered.
        wait_until(lambda: running.status("/readyz") == 503)
        assert running.status("/healthz") == 200
        assert send(old, "on a connection from before") == "close"
        new = HTTPConnection(LOOPBACK, running.port, timeout=30)
        assert send(new, "on a new one") == "close"
        assert new.sock is None, "the server has closed it"
        assert running.process.wait(60) == 0
        assert time.monotonic() - began >= 8
        assert len(running.events()) == 3


def test_a_stop_while_kafka_is_away_does_not_wait_for_it(
    kafka_server: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    server = kafka_server()
    with collector(server.bootstrap, tmp_path, {"acknowledgeWithin": "1m"}) as running:
        assert server.pid
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with Sender(running.port) as sender:
                time.sleep(1)
                began = time.monotonic()
                assert running.stop() == 0
                assert time.monotonic() - began < 8
        finally:
            resumed(server)
        assert sender.refused[503] == 4
        assert not sender.accepted


# --- clients that misbehave ---


def raw(port: int, data: bytes, *, wait: float = 10) -> bytes:
    """Send bytes and read until the server closes, or says nothing for so long."""
    with socket.create_connection((LOOPBACK, port), timeout=wait) as client:
        with contextlib.suppress(OSError):
            client.sendall(data)
        answer = b""
        with contextlib.suppress(OSError):
            while part := client.recv(65536):
                answer += part
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else 0


HEAD = b"POST /v1/events HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (HEAD + b"Content-Length: x\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (HEAD + b"X: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(300)) + b"\r\n", 431),
        (b"GET /pixel.gif?" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (HEAD + b"Content-Length: 90000000\r\nConnection: close\r\n\r\n", 413),
        (HEAD + b"Content-Length: 50\r\n\r\nabc", 408),  # and nothing more comes
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", 408),
        (HEAD + b"Content-Length: 2\r\nOrigin: \xff\xfe\r\nConnection: close\r\n\r\n{}", 400),
        (b"GET /pixel.gif?x=%ff%00&\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        (b"OPTIONS /v1/t HTTP/1.1\r\nHost: x\r\nOrigin: o\r\n"
         b"Access-Control-Request-Headers: \xe4\r\nConnection: close\r\n\r\n", 204),
    ],
)  # fmt: skip
def test_requests_that_are_none(running: RunningCollector, data: bytes, expected: int) -> None:
    assert status(raw(running.port, data)) in (expected, 200 if b"%ff" in data else expected)
    assert running.status("/healthz") == 200


def test_heads_that_do_not_come_are_given_up(running: RunningCollector) -> None:
    began = time.monotonic()
    assert raw(running.port, HEAD) == b""
    assert raw(running.port, b"") == b""
    assert time.monotonic() - began < 9


def test_slow_clients_do_not_hold_the_server(running: RunningCollector) -> None:
    """500 connections drip bytes while another client gets its answers at once."""
    slow = [socket.create_connection((LOOPBACK, running.port)) for _ in range(500)]
    for number, client in enumerate(slow):
        client.sendall(
            HEAD[: 10 + number % 20] if number % 2 else HEAD + b"Content-Length: 9\r\n\r\n{"
        )
    try:
        connection = HTTPConnection(LOOPBACK, running.port, timeout=10)
        worst = 0.0
        for _ in range(200):
            began = time.monotonic()
            connection.request("POST", "/v1/events", b'{"event_type": "x"}')
            assert connection.getresponse().read() == b'{"accepted":1,"failed":[]}'
            worst = max(worst, time.monotonic() - began)
        connection.close()
        assert worst < 1.5
    finally:
        for client in slow:
            client.close()


def test_a_client_that_leaves_before_its_answer_harms_nobody(running: RunningCollector) -> None:
    before = len(running.events())
    for _ in range(200):
        client = socket.create_connection((LOOPBACK, running.port))
        client.sendall(HEAD + b'Content-Length: 19\r\n\r\n{"event_type": "x"}')
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()  # with a reset
    assert running.status("/healthz") == 200
    wait_until(lambda: running.metrics()["webevents_collector_in_flight_requests"] == 0)
    assert len(running.events()) <= before + 200
    assert "Traceback" not in running.log.read_text()


def test_ten_thousand_open_connections(running: RunningCollector) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 12_000:
        pytest.skip(f"only {hard} open files are allowed here: raise `ulimit -Hn` to 12000")
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (12_000, hard))
    before = running.rss()
    open_: list[socket.socket] = []
    request = (
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n"
        + b'{"event_type": "x"}'
    )
    try:
        for _ in range(10_000):
            open_.append(socket.create_connection((LOOPBACK, running.port), timeout=30))
        for client in open_[::100]:
            client.sendall(request)
        for client in open_[::100]:
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        grown = running.rss() - before
        assert grown < 400_000_000, f"{grown} bytes for 10,000 connections"
    finally:
        for client in open_:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- the rest ---


def test_tls(kafka: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert(LOOPBACK)
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    (tmp_path / "cert.pem").write_bytes(b"".join(p.bytes() for p in certificate.cert_chain_pems))
    tls = {"certFile": str(tmp_path / "cert.pem"), "keyFile": str(tmp_path / "key.pem")}
    running = RunningCollector(kafka, tmp_path / "run", {"tls": tls})
    context = ssl.create_default_context()
    authority.configure_trust(context)
    running.status = lambda path: _https(running.port, path, context)  # type: ignore[method-assign]
    running.start()
    try:
        assert running.status("/pixel.gif") == 200
        assert len(running.events()) == 1
        assert status(raw(running.port, b"GET / HTTP/1.1\r\n\r\n", wait=2)) == 0
        assert running.stop() == 0
    finally:
        if running.process and running.process.poll() is None:
            running.kill()


def _https(port: int, path: str, context: ssl.SSLContext) -> int:
    from http.client import HTTPSConnection

    connection = HTTPSConnection(LOOPBACK, port, timeout=10, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def test_keys_are_rotated_while_it_runs(kafka: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("old")
    spec = {"sites": [{"name": "shop", "writeKeysFile": str(keys)}]}
    with collector(kafka, tmp_path / "run", spec) as running:
        assert running.status("/i?e=pv&aid=old") == 200
        assert running.status("/i?e=pv&aid=new") == 401
        keys.write_text("old\nnew")
        wait_until(lambda: running.status("/i?e=pv&aid=new") == 200, 10)
        assert running.status("/i?e=pv&aid=old") == 200
        keys.write_text("new")
        wait_until(lambda: running.status("/i?e=pv&aid=old") == 401, 10)
        assert {event["site"] for event in running.events()} == {"shop"}


def test_a_port_that_is_taken_is_said(running: RunningCollector) -> None:
    other = subprocess.run(
        [
            *(sys.executable, "-m", "webevents", "collect", "--settings", str(running.settings)),
            *("--host", LOOPBACK, "--port", str(running.port)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert other.returncode == 2
    assert f"port {running.port}" in other.stderr
    assert "spec.collector.port" in other.stderr


def test_the_demo_page_is_served(running: RunningCollector) -> None:
    answer = raw(running.port, b"GET /demo/cart HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status(answer) == 200
    assert b"<title>Demo shop</title>" in answer
