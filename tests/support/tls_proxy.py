"""A TLS proxy that checks credentials in front of the real Elasticsearch or OpenSearch.

The embedded ones have no security module, so TLS and log-in are played here; what is behind them
is real.
"""

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from urllib.parse import urlsplit

import trustme
from forwarding import Forwarding


@contextmanager
def secured(
    url: str, authority: trustme.CA, *, user: str, password: str, key: str
) -> Iterator[str]:
    """Serve ``url`` over TLS while the block runs, to whom has the password or the API key."""
    target = urlsplit(url)
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    allowed = {f"Basic {basic}", f"ApiKey {key}"}

    class Proxy(Forwarding):
        def _forward(self) -> None:
            body = self.body()
            if self.headers.get("authorization") not in allowed:
                self.answer(401, [], b"{}")
                return
            without = frozenset({"authorization"})
            self.answer(*self.ask(target.hostname or "", target.port, body, without=without))

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
