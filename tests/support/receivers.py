"""Receivers of alerts for tests: real HTTP servers that check what they are sent.

They hold the payloads against what the services document: PagerDuty's Events API v2 (required
fields, their lengths, the words of ``severity`` and ``event_action``), Slack's incoming webhooks
(``text`` or ``blocks``, Block Kit's limits), and answer what the services answer.
"""

import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SEVERITIES = {"critical", "error", "warning", "info"}


@dataclass
class Received:
    """One accepted request."""

    body: Any
    headers: dict[str, str]
    at: float = field(default_factory=time.time)


class LocalReceiver:
    """A receiver on a free port.

    :param kind: webhook, slack or pagerduty; whose documented shape is asked for.
    """

    def __init__(self, kind: str = "webhook", port: int = 0) -> None:
        self.kind = kind
        self.received: list[Received] = []
        self.attempts = 0
        self.malformed: list[str] = []
        self.answers: deque[int | float | tuple[int, dict[str, str]]] = deque()
        """What the next requests meet: a status, with headers, or seconds of silence."""
        self.always: int | None = None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._handle(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/s3cret"

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        self.attempts += 1
        raw = request.rfile.read(int(request.headers["Content-Length"]))
        answer = self.answers.popleft() if self.answers else self.always
        headers: dict[str, str] = {}
        if isinstance(answer, tuple):
            answer, headers = answer
        if isinstance(answer, float):
            time.sleep(answer)
            answer = None
        status = 202 if self.kind == "pagerduty" else 200
        if answer is None:
            body = json.loads(raw)
            if problem := self.problem(body):
                self.malformed.append(problem)
                answer = 400
            else:
                self.received.append(Received(body, dict(request.headers)))
        try:
            request.send_response(answer or status)
            for name, value in headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", "2")
            request.end_headers()
            request.wfile.write(b"ok")
        except OSError:
            pass  # it has not waited

    def problem(self, body: Any) -> str | None:
        """What is wrong by the service's documentation."""
        check = {"slack": slack_problem, "pagerduty": pagerduty_problem}.get(self.kind)
        return check(body) if check else None

    def wait_for(self, count: int, timeout: float = 60) -> list[Received]:
        deadline = time.monotonic() + timeout
        while len(self.received) < count:
            assert time.monotonic() < deadline, (self.received, self.malformed, self.attempts)
            time.sleep(0.05)
        return self.received

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def pagerduty_problem(body: Any) -> str | None:
    """The Events API v2: developer.pagerduty.com, "Send an alert event"."""
    if len(body.get("routing_key", "")) != 32:
        return "routing_key has 32 characters"
    if body.get("event_action") not in {"trigger", "acknowledge", "resolve"}:
        return "event_action"
    if not 0 < len(body.get("dedup_key", "")) <= 255:
        return "dedup_key has up to 255 characters"
    if body["event_action"] == "trigger":
        payload = body.get("payload", {})
        if not 0 < len(payload.get("summary", "")) <= 1024:
            return "payload.summary has up to 1024 characters"
        if not payload.get("source") or payload.get("severity") not in SEVERITIES:
            return "payload.source and payload.severity are required"
    return None


def slack_problem(body: Any) -> str | None:
    """Incoming webhooks and Block Kit: header 150 characters of plain text, section 3,000."""
    if not body.get("text"):
        return "no_text"
    if len(body.get("blocks", ())) > 50:
        return "invalid_blocks"
    for block in body.get("blocks", ()):
        kind, text = block.get("type"), block.get("text", {})
        if kind == "header" and not (
            text.get("type") == "plain_text" and 0 < len(text["text"]) <= 150
        ):
            return "invalid_blocks: header"
        if kind == "section" and not (text.get("type") == "mrkdwn" and len(text["text"]) <= 3000):
            return "invalid_blocks: section"
        if kind not in {"header", "section", "context"}:
            return f"invalid_blocks: {kind}"
    return None
