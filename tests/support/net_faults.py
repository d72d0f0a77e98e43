"""Between a pipeline and its servers: a TCP proxy with faults, and a search engine too busy."""

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from urllib.parse import urlsplit

from forwarding import Forwarding

from webevents.local.ports import LOOPBACK

_PIECE = 65_536


@dataclass
class Faults:
    """What a proxy does to connections; may be changed while it runs."""

    delay_s: float = 0.0
    """Added to each piece that passes."""
    refuse: bool = False
    """Whether new connections are closed at once."""
    blackhole: bool = False
    """Whether what arrives is swallowed: nothing passes, nothing is closed."""
    resets: int = 0
    """Connections that were reset so far."""
    _open: set[socket.socket] = field(default_factory=set)

    def reset_all(self) -> None:
        """Reset (RST) all connections that are open."""
        for each in list(self._open):
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                each.shutdown(socket.SHUT_RDWR)
            self._close(each)
        self.resets += 1

    def _close(self, *sockets: socket.socket) -> None:
        for each in sockets:
            self._open.discard(each)
            with suppress(OSError):
                each.close()


@contextmanager
def tcp_proxy(port: int, listen: int) -> Iterator[Faults]:
    """Pass connections of ``listen`` on to ``port`` on this machine, with faults."""
    faults = Faults()
    server = socket.create_server((LOOPBACK, listen))
    server.settimeout(0.2)
    ended = threading.Event()

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                if faults.delay_s:
                    time.sleep(faults.delay_s)
                if not faults.blackhole:
                    target.sendall(piece)
        faults._close(source, target)

    def accept() -> None:
        while not ended.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            if faults.refuse:
                client.close()
                continue
            try:
                upstream = socket.create_connection((LOOPBACK, port), 5)
            except OSError:
                client.close()
                continue
            upstream.settimeout(None)
            client.settimeout(None)
            faults._open |= {client, upstream}
            for pair in ((client, upstream), (upstream, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield faults
    finally:
        ended.set()
        thread.join()
        faults.reset_all()
        server.close()


@dataclass
class Busy:
    """How busy a search engine plays."""

    share: float = 0.0
    """Of the items of a bulk request, those that are answered 429 and not passed on."""
    rejected: int = 0
    revoked: bool = False
    """Whether nobody's credentials are good: every request is answered 401."""


@contextmanager
def busy_search(url: str) -> Iterator[tuple[str, Busy]]:
    """Serve a real Elasticsearch that rejects a share of bulk items.

    A stand-in: a real one rejects items when its write queue is full, which cannot be had on
    purpose. Items that are rejected do not reach it; the others do, and their answers are its own.
    The one that runs here has no security module either, so a log-in that is revoked is played too.
    """
    target, busy = urlsplit(url), Busy()
    chance, lock = random.Random(9), threading.Lock()

    class Proxy(Forwarding):
        def _forward(self) -> None:
            body = self.body()
            if busy.revoked:
                self.answer(401, [], b"")
                return
            rejected: list[int] = []
            if self.path.partition("?")[0].endswith("/_bulk") and busy.share:
                body, rejected = self._thin(body)
            without = frozenset({"accept-encoding"})  # answers are read here
            status, headers, content = self.ask(
                target.hostname or "", target.port, body, without=without
            )
            if rejected and status == 200:
                content = _with_rejected(content, rejected)
                with lock:
                    busy.rejected += len(rejected)
            self.answer(status, headers, content)

        def _thin(self, body: bytes) -> tuple[bytes, list[int]]:
            items = list(_items(body))
            kept, rejected = [], []
            for number, item in enumerate(items):
                with lock:
                    out = chance.random() < busy.share
                # An empty request would be an error.
                if out and not (number == len(items) - 1 and not kept):
                    rejected.append(number)
                else:
                    kept.append(item)
            return b"".join(kept), rejected

    server = ThreadingHTTPServer((LOOPBACK, 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}", busy
    finally:
        server.shutdown()
        server.server_close()


def _items(body: bytes) -> Iterator[bytes]:
    """The items of a bulk request: an action, and but for deletions the document below it."""
    lines = iter(body.splitlines(keepends=True))
    for action in lines:
        yield action if action.startswith(b'{"delete"') else action + next(lines)


def _with_rejected(content: bytes, rejected: list[int]) -> bytes:
    """An answer in which the rejected items stand where they were asked for."""
    answer = json.loads(content)
    items = answer["items"]
    for number in rejected:
        error = {"type": "es_rejected_execution_exception", "reason": "queue is full"}
        items.insert(number, {"index": {"status": 429, "error": error}})
    answer["errors"] = True
    return json.dumps(answer).encode()
