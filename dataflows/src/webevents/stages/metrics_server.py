"""The HTTP endpoint of a workload: /metrics for Prometheus, /healthz and /readyz for probes."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from webevents.errors import UserError

log = structlog.get_logger()

REQUEST_TIMEOUT_S = 10.0
"""How long a client may take to send its request or to read the answer."""


class Source(Protocol):
    """What is served."""

    registry: CollectorRegistry

    def unhealthy(self) -> str | None:
        """Why the process should be started again; None where it is alive."""

    def unready(self) -> str | None:
        """Why it is not ready; None where it is."""


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT_S
    server_version, sys_version = "webevents", ""

    def __init__(self, source: Source, *arguments: object) -> None:
        self._source = source
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer a request."""
        match self.path.partition("?")[0]:
            case "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, encode(self._source.registry), content_type)
            case "/healthz":
                self._probe(self._source.unhealthy)
            case "/readyz":
                self._probe(self._source.unready)
            case _:
                self._answer(HTTPStatus.NOT_FOUND, b"/metrics, /healthz or /readyz\n")

    do_HEAD = do_GET  # noqa: N815 - the name is the base class's

    def _probe(self, ask: Callable[[], str | None]) -> None:
        problem = ask()
        status = HTTPStatus.OK if problem is None else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, f"{problem or 'ok'}\n".encode())

    def _answer(
        self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: probes come every few seconds."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, source: Source) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), partial(_Handler, source))

    def server_bind(self) -> None:
        """Bind without asking a name server how the machine is called, as the base class does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "webevents", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what is our own fault; a client that went away is none."""
        log.debug("metrics request failed", exc_info=True)


@contextmanager
def metrics_server(source: Source, port: int, host: str) -> Iterator[int]:
    """Serve a workload's metrics from a thread of its own.

    :param port: where; 0 for none.
    :param host: the address to listen on, such as ``0.0.0.0`` or ``::`` for all of this machine.
    :returns: the port; 0 where nothing is served.
    :raises UserError: when it cannot listen there.
    """
    if port == 0:
        yield 0
        return
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        server = _Server(host, port, source)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--metrics-port {port}: cannot listen on {host} ({error}); choose another port"
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    log.info("metrics", host=host, port=port)
    try:
        yield port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(1)
