"""The bulk writer under faults.

The server is a real HTTP server that only plays faults, because a real Elasticsearch cannot be told
to make them; what a healthy one does is tested in tests/integration/test_elasticsearch.py.
"""

import gzip
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from webevents.connectors.elasticsearch import Backoff, BulkWriter, connect
from webevents.connectors.elasticsearch.transport import ReloadingTransport
from webevents.logic.documents import Document
from webevents.spec.elasticsearch import ElasticsearchSpec

QUICK = Backoff(base_s=0.005, cap_s=0.02)
Items = list[dict[str, Any]]
Fault = Callable[["Request"], None]


class Request:
    """One bulk request, with the ways to answer it."""

    def __init__(self, handler: "_Handler", body: bytes) -> None:
        self.handler = handler
        self.body = body
        self.headers = handler.headers
        self.actions = _actions(body)

    def answer(self, status: int, body: Any, kind: str = "application/json") -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.handler.send_response(status)
        self.handler.send_header("content-type", kind)
        self.handler.send_header("content-length", str(len(raw)))
        self.handler.end_headers()
        self.handler.wfile.write(raw)

    def items(self, fate: Callable[[str], tuple[int, str | None]]) -> None:
        """Answer per item: status and error type by the document's id."""
        items: Items = []
        for action, target, body in self.actions:
            status, error = fate(target["_id"])
            item: dict[str, Any] = {"status": status}
            if error:
                item["error"] = {"type": error, "reason": f"{error} of {body}"}
            else:
                self.handler.stand.stored[target["_id"]] = target
            items.append({action: item})
        errors = any("error" in item for each in items for item in each.values())
        self.answer(200, {"errors": errors, "items": items})

    def reset(self) -> None:
        """Cut the connection without an answer."""
        linger = struct.pack("ii", 1, 0)
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.handler.close_connection = True
        self.handler.connection.close()


def _actions(body: bytes) -> list[tuple[str, dict[str, Any], Any]]:
    assert body.endswith(b"\n")
    lines = iter(body.splitlines())
    actions = []
    for line in lines:
        ((action, target),) = json.loads(line).items()
        actions.append((action, target, None if action == "delete" else json.loads(next(lines))))
    return actions


def fine(request: Request) -> None:
    request.items(lambda _: (201, None))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand: "Stand"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.stand.play(Request(self, body))

    def log_message(self, *_: Any) -> None:
        pass


class Stand:
    """A server that plays its script's faults in turn, then takes everything."""

    def __init__(self) -> None:
        self.script: list[Fault] = []
        self.always: Fault = fine
        self.requests: list[Request] = []
        self.stored: dict[str, Any] = {}
        self.under_way = self.most_under_way = 0
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"stand": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def play(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            fault = self.script.pop(0) if self.script else self.always
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            fault(request)
        finally:
            with self._lock:
                self.under_way -= 1

    def sent(self) -> Counter[str]:
        """How often each document was sent."""
        return Counter(target["_id"] for r in self.requests for _, target, _ in r.actions)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    stand.close()


@pytest.fixture
def writer_of(stand: Stand) -> Iterator[Callable[..., BulkWriter]]:
    made: list[BulkWriter] = []

    def make(spec: ElasticsearchSpec | None = None, **options: Any) -> BulkWriter:
        client = connect(spec or ElasticsearchSpec(urls=(stand.url,)))
        made.append(BulkWriter(client, **{"backoff": QUICK, **options}))
        return made[-1]

    yield make
    for writer in made:
        writer.close()


WriterOf = Callable[..., BulkWriter]


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def documents(count: int, size: int = 20, start: int = 0) -> list[Document]:
    return [
        Document("web-events-2020.07.05", str(n), b'{"page_url":"%b"}' % (b"u" * size))
        for n in range(start, start + count)
    ]


def test_the_request_on_the_wire(stand: Stand, writer_of: WriterOf) -> None:
    given = [
        Document("i-2020.07.05", 'a"b', b'{"x":1}'),
        Document("i-2020.07.05", "c", b'{"x":2}', 7),
        Document("i-2020.07.05", "d", None, 8),
    ]
    writer = writer_of(compression=True)
    assert writer.submit(given).result(5).accepted == 3
    (request,) = stand.requests
    assert request.body.decode().splitlines() == [
        '{"index":{"_index":"i-2020.07.05","_id":"a\\"b"}}',
        '{"x":1}',
        '{"index":{"_index":"i-2020.07.05","_id":"c","version":7,"version_type":"external"}}',
        '{"x":2}',
        '{"delete":{"_index":"i-2020.07.05","_id":"d","version":8,"version_type":"external"}}',
    ]
    assert "x-ndjson" in request.headers["content-type"]
    assert request.headers["content-encoding"] == "gzip"


def test_nothing_to_write_is_done_at_once(stand: Stand, writer_of: WriterOf) -> None:
    handle = writer_of().submit([])
    assert handle.done()
    assert handle.result(0).accepted == 0
    assert stand.requests == []


def test_only_refused_items_are_sent_again(stand: Stand, writer_of: WriterOf) -> None:
    """A destination under pressure answers 429 for 30% of the items."""
    chance = random.Random(7)
    refused: Counter[str] = Counter()

    def pressed(request: Request) -> None:
        def fate(document_id: str) -> tuple[int, str | None]:
            if chance.random() < 0.3:
                refused[document_id] += 1
                return 429, "es_rejected_execution_exception"
            return 201, None

        request.items(fate)

    stand.always = pressed
    result = writer_of().submit(documents(500)).result(20)
    assert (result.accepted, result.failed) == (500, [])
    assert set(stand.stored) == {str(n) for n in range(500)}
    assert sum(refused.values()) > 100
    assert stand.sent() == Counter({str(n): 1 + refused[str(n)] for n in range(500)})


@pytest.mark.parametrize(
    "fault",
    [
        lambda request: request.answer(429, {"error": {"type": "circuit_breaking_exception"}}),
        lambda request: request.answer(503, {"error": {"type": "cluster_block_exception"}}),
        lambda request: request.answer(502, b"<html>", "text/html"),
        lambda request: request.answer(404, b"not here", "text/plain"),
        lambda request: request.answer(400, {"error": {"type": "media_type_header_exception"}}),
        lambda request: request.answer(403, {"error": {"type": "security_exception"}}),
        lambda request: request.answer(200, b"<html>welcome</html>", "text/html"),
        lambda request: request.answer(200, {"errors": True, "items": []}),
        lambda request: request.items(lambda _: (500, "node_closed_exception")),
        lambda request: request.items(lambda _: (503, "unavailable_shards_exception")),
        lambda request: request.items(lambda _: (403, "security_exception")),
        lambda request: request.items(lambda _: (400, "validation_exception")),
        lambda request: request.items(lambda _: (404, "index_not_found_exception")),
        Request.reset,
    ],
)
def test_an_outage_ends_and_nothing_is_lost(
    stand: Stand, writer_of: WriterOf, fault: Fault
) -> None:
    stand.always = fault
    writer = writer_of()
    before = time.time()
    handle = writer.submit(documents(50))
    until(lambda: writer.outage is not None and writer.outage.attempts >= 3)
    assert writer.outage is not None
    assert before <= writer.outage.since <= time.time()
    assert writer.outage.error
    assert not handle.done()
    stand.always = fine
    result = handle.result(10)
    assert (result.accepted, result.failed) == (50, [])
    assert set(stand.stored) == {str(n) for n in range(50)}
    writer.close(cancel=False, timeout=5)
    assert writer.outage is None
    assert writer.repeated >= 150


def test_no_answer_in_time_is_asked_again(stand: Stand, writer_of: WriterOf) -> None:
    stand.script = [lambda _: time.sleep(1.5)]
    spec = ElasticsearchSpec.model_validate({"urls": [stand.url], "requestTimeout": "1s"})
    writer = writer_of(spec)
    handle = writer.submit(documents(3))
    assert handle.result(10).accepted == 3
    assert stand.sent() == Counter({"0": 2, "1": 2, "2": 2})


def test_refused_for_good(stand: Stand, writer_of: WriterOf) -> None:
    fates: dict[str, tuple[int, str | None]] = {
        "1": (400, "document_parsing_exception"),
        "3": (409, "version_conflict_engine_exception"),
        "4": (404, None),
        "5": (400, "strict_dynamic_mapping_exception"),
    }
    stand.always = lambda request: request.items(lambda i: fates.get(i, (201, None)))
    result = writer_of().submit(documents(7)).result(5)
    assert result.accepted == 5
    assert [(e.position, e.status, e.type) for e in result.failed] == [
        (1, 400, "document_parsing_exception"),
        (5, 400, "strict_dynamic_mapping_exception"),
    ]
    assert not any("uuu" in error.reason for error in result.failed)
    assert len(stand.requests) == 1


def test_repeated_and_refused_in_one_answer(stand: Stand, writer_of: WriterOf) -> None:
    def first(request: Request) -> None:
        statuses = {"0": (429, "busy"), "1": (400, "bad"), "2": (201, None), "3": (503, "gone")}
        request.items(lambda i: statuses[i])

    def second(request: Request) -> None:
        request.items(lambda i: (400, "bad too") if i == "3" else (201, None))

    stand.script = [first, second]
    result = writer_of().submit(documents(4)).result(5)
    assert result.accepted == 2
    assert [(e.position, e.type) for e in result.failed] == [(1, "bad"), (3, "bad too")]
    assert stand.sent() == Counter({"0": 2, "1": 1, "2": 1, "3": 2})


def test_too_large_requests_are_halved(stand: Stand, writer_of: WriterOf) -> None:
    def narrow(request: Request) -> None:
        if len(request.body) > 20_000:
            request.answer(413, b"", "text/plain")
        else:
            fine(request)

    stand.always = narrow
    writer = writer_of()
    given = [
        *documents(100, 500),
        Document("i", "big", b'"%b"' % (b"x" * 30_000)),
        Document("i", "z", b"{}"),
    ]
    result = writer.submit(given).result(10)
    assert result.accepted == 101
    assert [(e.position, e.status) for e in result.failed] == [(100, 413)]
    assert set(stand.stored) == {*(str(n) for n in range(100)), "z"}
    # The limit is remembered: what follows is cut to it at once.
    stand.requests.clear()
    assert writer.submit(documents(100, 500, 1000)).result(10).accepted == 100
    assert max(len(request.body) for request in stand.requests) <= 20_000


def test_a_document_that_spoils_its_request_is_singled_out(
    stand: Stand, writer_of: WriterOf
) -> None:
    def picky(request: Request) -> None:
        if any(target["_id"] == "13" for _, target, _ in request.actions):
            request.answer(400, {"error": {"type": "action_request_validation_exception"}})
        else:
            fine(request)

    stand.always = picky
    result = writer_of().submit(documents(40)).result(10)
    assert result.accepted == 39
    assert [(e.position, e.status, e.type) for e in result.failed] == [
        (13, 400, "action_request_validation_exception")
    ]


def test_requests_keep_to_their_limits(stand: Stand, writer_of: WriterOf) -> None:
    writer = writer_of(max_bytes=10_000, max_documents=30, max_in_flight=2)
    stand.always = lambda request: (time.sleep(0.01), fine(request))[1]  # type: ignore[func-returns-value]
    handles = [writer.submit(documents(100, 100 + 5 * n, 100 * n)) for n in range(5)]
    assert [handle.result(10).accepted for handle in handles] == [100] * 5
    assert max(len(request.body) for request in stand.requests) <= 10_000
    assert max(len(request.actions) for request in stand.requests) <= 30
    assert stand.most_under_way == 2
    assert set(stand.sent().values()) == {1}


def test_what_waits_is_put_together(stand: Stand, writer_of: WriterOf) -> None:
    release = threading.Event()
    stand.script = [lambda request: (release.wait(5), fine(request))[1]]  # type: ignore[func-returns-value]
    writer = writer_of(max_in_flight=1)
    handles = [writer.submit(documents(1))]
    until(lambda: stand.requests)
    handles += [writer.submit(documents(5, start=10 * n)) for n in range(1, 9)]
    release.set()
    assert [handle.result(5).accepted for handle in handles] == [1, *[5] * 8]
    assert [len(request.actions) for request in stand.requests] == [1, 40]


def test_submitting_does_not_wait(stand: Stand, writer_of: WriterOf) -> None:
    stand.always = Request.reset
    writer = writer_of()
    begin = time.monotonic()
    handles = [writer.submit(documents(10)) for _ in range(20)]
    assert time.monotonic() - begin < 0.5
    assert not any(handle.done() for handle in handles)
    with pytest.raises(TimeoutError):
        handles[0].result(0.01)


@pytest.mark.parametrize(
    "fault", [Request.reset, lambda _: time.sleep(3)], ids=["refusing", "silent"]
)
def test_closing_in_an_outage_is_quick(stand: Stand, writer_of: WriterOf, fault: Fault) -> None:
    stand.always = fault
    writer = writer_of(backoff=Backoff(base_s=60, cap_s=60))
    handles = [writer.submit(documents(10)) for _ in range(4)]
    until(lambda: stand.requests)
    begin = time.monotonic()
    writer.close()
    assert time.monotonic() - begin < 1
    assert not any(handle.done() for handle in handles)
    with pytest.raises(RuntimeError):
        writer.submit(documents(1))


def test_closing_without_cancelling_waits(stand: Stand, writer_of: WriterOf) -> None:
    stand.always = lambda request: (time.sleep(0.1), fine(request))[1]  # type: ignore[func-returns-value]
    writer = writer_of(max_documents=10)
    handles = [writer.submit(documents(10, start=10 * n)) for n in range(6)]
    writer.close(cancel=False, timeout=10)
    assert all(handle.done() for handle in handles)
    assert len(stand.stored) == 60


def test_a_fault_of_our_own_loses_nothing(
    stand: Stand, writer_of: WriterOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, calls = ReloadingTransport.post, []

    def broken(self: ReloadingTransport, *args: Any) -> Any:
        calls.append(args)
        if len(calls) < 3:
            raise AttributeError("a bug")
        return post(self, *args)

    monkeypatch.setattr(ReloadingTransport, "post", broken)
    assert writer_of().submit(documents(5)).result(5).accepted == 5


def test_another_node_takes_over(stand: Stand, writer_of: WriterOf) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
    writer = writer_of(ElasticsearchSpec(urls=(dead, stand.url)))
    for n in range(5):
        assert writer.submit(documents(5, start=5 * n)).result(5).accepted == 5


def test_a_rotated_password_is_taken_up(stand: Stand, writer_of: WriterOf, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("old\n")

    def guarded(request: Request) -> None:
        if request.headers["authorization"] == "Basic dTpuZXc=":  # u:new
            fine(request)
        else:
            request.answer(401, {"error": {"type": "security_exception"}})

    stand.always = guarded
    spec = {"urls": [stand.url], "username": "u", "passwordFile": str(secret)}
    writer = writer_of(ElasticsearchSpec.model_validate(spec))
    handle = writer.submit(documents(5))
    until(lambda: writer.outage)
    assert writer.outage is not None
    assert "401 security_exception" in writer.outage.error
    new = tmp_path / "new"
    new.write_text("new\n")
    new.replace(secret)
    assert handle.result(5).accepted == 5


def test_backoff_grows_with_jitter_up_to_its_cap() -> None:
    backoff = Backoff(base_s=0.1, cap_s=10)
    for attempt, limit in [(0, 0.1), (3, 0.8), (6, 6.4), (7, 10), (1000, 10)]:
        waits = [backoff.wait(attempt) for _ in range(300)]
        assert 0 <= min(waits) < limit * 0.1
        assert limit * 0.9 < max(waits) <= limit
