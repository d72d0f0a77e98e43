"""100,000 malformed requests: no crash, flat memory, and each accounted for.

Expected: an answer to each; what the collector counted by status is what was answered; as many
events and failed events, with their payloads, are on the topics as it counted; memory stays flat.
"""

import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from collectors import collector

from webevents.local.ports import LOOPBACK

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

REQUESTS = 100_000
THREADS = 20
SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
GOOD = {
    "/v1/events": {"event_type": "x", "event_id": "e", "deep": {"a": [1, {"b": "c"}]}},
    "/v1/track": {"event": "x", "properties": {"price": 1}, "context": {"page": {"url": "u"}}},
    "/v1/batch": {"batch": [{"type": "page", "messageId": "m"}]},
    "/com.snowplowanalytics.snowplow/tp2": {"schema": SCHEMA, "data": [{"e": "pv"}]},
}
POISON = [None, 5, -1e300, True, [], {}, "", "x" * 50, [[[[]]]], {"a": {"b": {}}}, "\u0000"]


def mutate(random_: random.Random, value: object) -> object:
    """Put something that does not belong there somewhere into a value."""
    if isinstance(value, dict) and value and random_.random() < 0.8:
        key = random_.choice(sorted(value))
        return {**value, key: mutate(random_, value[key])}
    if isinstance(value, list) and value and random_.random() < 0.8:
        return [mutate(random_, value[0]), *value[1:]]
    return random_.choice(POISON)


def damage(random_: random.Random, raw: bytes) -> bytes:
    """Cut, repeat and overwrite bytes."""
    made = bytearray(raw)
    for _ in range(random_.randint(1, 4)):
        where = random_.randrange(len(made) + 1)
        match random_.randrange(4):
            case 0:
                del made[where:]
            case 1:
                made[where:where] = bytes(random_.randrange(256) for _ in range(3))
            case 2:
                made[where : where + 1] = bytes([random_.randrange(256)])
            case 3:
                made[where:where] = made[:where][-20:]
    return bytes(made)


def requests(seed: int, count: int) -> Iterator[bytes]:
    """Whole HTTP requests, whose heads are in order: the server itself answers the others."""
    random_ = random.Random(seed)
    for _ in range(count):
        path = random_.choice(sorted(GOOD))
        kind = random_.random()
        if kind < 0.1:
            # Characters that a URL may have: the server itself refuses others.
            query = bytes(random_.choice(b"abe=&%f0+;[]'") for _ in range(random_.randrange(60)))
            target = random_.choice([b"/i?", b"/pixel.gif?", b"/v1/events?", b"/nothing?"])
            yield b"GET %s%s HTTP/1.1\r\nHost: x\r\n\r\n" % (target, query)
            continue
        body = json.dumps(mutate(random_, GOOD[path])).encode()
        if kind > 0.5:
            body = damage(random_, body)
        more = b""
        if kind > 0.9:
            name = random_.choice([b"Content-Encoding", b"Authorization", b"Cookie", b"Origin"])
            value = random_.choice([b"gzip", b"br", b"Basic %%%", b"Basic ", b"a=b;;=;", b"\xc3"])
            more = name + b": " + value + b"\r\n"
        length = len(body)
        yield (
            b"POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n"
            % (path.encode(), more, length)
            + body
        )


class Connection:
    """Sends requests one after another and reads the answers' heads."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open()

    def _open(self) -> None:
        self._socket = socket.create_connection((LOOPBACK, self._port), timeout=60)
        self._file = self._socket.makefile("rb")

    def ask(self, request: bytes) -> int:
        """The status of the answer."""
        self._socket.sendall(request)
        head = self._file.readline()
        assert head, "no answer"
        status, length, close = int(head.split()[1]), 0, False
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.lower().partition(b": ")
            length = int(value) if name == b"content-length" else length
            close |= (name, value) == (b"connection", b"close")
        self._file.read(length)
        if close:
            self._socket.close()
            self._open()
        return status


def test_each_is_accounted_for(kafka: str, tmp_path: Path) -> None:
    answers: list[Counter[int]] = [Counter() for _ in range(THREADS)]
    faults: list[BaseException] = []

    def send(number: int, port: int, count: int) -> None:
        connection = Connection(port)
        try:
            for request in requests(number, count):
                answers[number][connection.ask(request)] += 1
        except BaseException as error:
            faults.append(error)

    def send_all(port: int, count: int) -> None:
        threads = [
            threading.Thread(target=send, args=(number, port, count // THREADS))
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults

    with collector(kafka, tmp_path) as running:
        send_all(running.port, REQUESTS // 4)
        before = running.rss()
        send_all(running.port, REQUESTS * 3 // 4)
        grown = running.rss() - before
        metrics = running.metrics()
        events, failed = running.events(), running.failed()
        log = running.log.read_text()
        assert running.stop() == 0
    total = sum(answers, Counter[int]())
    assert total.total() == REQUESTS
    assert 500 not in total, log[-3000:]
    assert "Traceback" not in log

    prefix = "webevents_collector_"
    by_status = {
        int(name.partition("status=")[2].rstrip("}")): count
        for name, count in metrics.items()
        if name.startswith(f"{prefix}requests_total{{status=")
    }
    assert {status: by_status[status] for status in total if status != 200} == {
        status: count for status, count in total.items() if status != 200
    }
    assert metrics[f"{prefix}events_total{{fate=failed}}"] == len(failed) > REQUESTS / 10
    assert metrics[f"{prefix}events_total{{fate=delivered}}"] == len(events) > REQUESTS / 100
    refused = metrics[f"{prefix}refused_requests_total"]
    taken = sum(metrics[f"{prefix}requests_total{{endpoint={name}}}"] for name in
                ("segment", "snowplow", "json", "pixel"))  # fmt: skip
    # Empty batches are taken and hold nothing; the batches here hold one event at most.
    assert len(failed) + len(events) + refused >= taken * 0.97
    assert len(failed) + len(events) <= taken
    reasons = Counter(each.reason for each in failed)
    assert {"invalid_json", "invalid_payload", "wrong_type"} <= reasons.keys()
    assert all(each.size == len(each.original()) for each in failed)
    assert grown < 30_000_000, f"{grown} bytes"
