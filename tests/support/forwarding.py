"""What all HTTP proxies do: asking the server behind, and answering."""

import http.client
from http.server import BaseHTTPRequestHandler

_OWN = {"host", "content-length", "connection"}
"""Headers that the client of the server behind sets itself."""

Headers = list[tuple[str, str]]


class Forwarding(BaseHTTPRequestHandler):
    """Reads a request and answers it; what comes between is the subclass's ``_forward``."""

    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        raise NotImplementedError

    def body(self) -> bytes:
        """The request's body."""
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def ask(
        self, host: str, port: int | None, body: bytes, *, without: frozenset[str] = frozenset()
    ) -> tuple[int, Headers, bytes]:
        """The answer of the server behind to this request with a body.

        :param without: headers, in lower case, that are not passed on.
        """
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _OWN | without}
        upstream = http.client.HTTPConnection(host, port, timeout=60)
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        drop = {"content-length", "transfer-encoding", "connection"}
        kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in drop]
        upstream.close()
        return answer.status, kept, content

    def answer(self, status: int, headers: Headers, content: bytes) -> None:
        """Answer the request."""
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        self._forward()

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815 - the server's names

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""
