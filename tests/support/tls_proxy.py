"""A TLS proxy that checks credentials in front of the real Elasticsearch or OpenSearch.

The embedded ones have no security module, so TLS and log-in are played here; what is behind them
is real.
"""

import base64
import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import trustme


@contextmanager
def secured(
    url: str, authority: trustme.CA, *, user: str, password: str, key: str
) -> Iterator[str]:
    """Serve ``url`` over TLS while the block runs, to whom has the password or the API key."""
    target = urlsplit(url)
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    allowed = {f"Basic {basic}", f"ApiKey {key}"}

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("authorization") not in allowed:
                self._answer(401, [], b"{}")
                return
            skip = {"host", "authorization", "content-length", "connection"}
            headers = {k: v for k, v in self.headers.items() if k.lower() not in skip}
            upstream = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
            drop = {"content-length", "transfer-encoding", "connection"}
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in drop]
            self._answer(answer.status, kept, content)
            upstream.close()

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _forward  # noqa: N815 - the server's names

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that does not trust us hangs up: that is what some tests want

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = Server(("127.0.0.1", 0), Proxy)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
