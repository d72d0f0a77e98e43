"""The page's application: from a request to its answer (ASGI)."""

import asyncio
from typing import Any
from urllib.parse import parse_qs

import msgspec
import structlog
from prometheus_client.exposition import choose_encoder

from webevents.live.access import Access
from webevents.live.assets import Asset, load_assets
from webevents.live.http import (
    GZIP,
    JSON,
    NO_STORE,
    TEXT,
    Answer,
    Headers,
    Receive,
    Request,
    Send,
    left,
    part,
    send_answer,
    start,
)
from webevents.live.hub import Hub
from webevents.live.metrics import LiveMetrics
from webevents.live.state import LOG_HELD, State

log = structlog.get_logger()

MAX_FORM = 4_096
FORM_TIMEOUT_S = 10.0
GONE_AFTER_S = 30.0
"""A viewer whose connection has taken nothing for this long is let go."""
LOGIN_PAUSE_S = 0.5
"""How long a wrong token takes, so that nobody tries many."""
PATHS = frozenset(
    (
        *("/", "/login", "/health", "/healthz", "/readyz", "/metrics"),
        *("/api/stats", "/api/events", "/api/stream"),
    )
)
OPEN = frozenset(
    (
        *("/login", "/static/login.js", "/static/style.css", "/static/icon.svg"),
        *("/health", "/healthz", "/readyz"),
    )
)
"""Paths that tell nothing of the pipeline, and need no token."""


class App:
    """Answers requests; it changes nothing anywhere.

    :param state: the figures.
    :param hub: hands snapshots to viewers.
    :param access: decides who may look.
    :param metrics: what is counted.
    :param max_viewers: open pages.
    """

    def __init__(
        self, state: State, hub: Hub, access: Access, metrics: LiveMetrics, max_viewers: int
    ) -> None:
        self._state = state
        self._hub = hub
        self._access = access
        self._metrics = metrics
        self._max_viewers = max_viewers
        self._assets = load_assets()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request; called by the server."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            if request.is_stream and self._access.permits(request.headers):
                await self._stream(request, send)
                return
            answer = await self._answer(request)
        except Exception:
            path = request.path if request.path in PATHS else "other"
            log.exception("a request failed", path=path)
            answer = Answer(500, TEXT, b"the live page has a fault: see its log\n")
        await send_answer(send, answer, empty=request.method == "HEAD")
        self._count(request.path, answer.status)

    def _count(self, path: str, status: int) -> None:
        known = path in PATHS or path in self._assets
        self._metrics.request(path if known else "other", status)

    async def _answer(self, request: Request) -> Answer:
        path, method, headers = request.path, request.method, request.headers
        if path == "/login" and method == "POST" and self._access.needs_token:
            return await self._login(request)
        if method not in ("GET", "HEAD"):
            return Answer(405, TEXT, b"this page is for looking only\n", [("allow", "GET, HEAD")])
        if path not in OPEN and not self._access.permits(headers):
            return self._stranger(path)
        match path:
            case "/health":
                return self._health()
            case "/healthz":
                return _probe(self._metrics.unhealthy())
            case "/readyz":
                return _probe(self._metrics.unready())
            case "/metrics":
                encode, content_type = choose_encoder(headers.get("accept", ""))
                return Answer(200, content_type, encode(self._metrics.registry))
            case "/api/stats":
                newest = self._hub.newest
                return _json(newest.json) if newest else Answer(503, TEXT, b"not yet\n")
            case "/api/events":
                return self._events(request.query)
            case "/login" if not self._access.needs_token:
                return Answer(303, TEXT, b"", [("location", "/")])
        if asset := self._assets.get(path):
            return _file(asset, request)
        return Answer(404, TEXT, b"there is nothing at this path\n")

    def _stranger(self, path: str) -> Answer:
        if not self._access.needs_token:
            return Answer(403, TEXT, b"without a token this page is for http://localhost only\n")
        if path == "/":
            return Answer(303, TEXT, b"", [("location", "/login")])
        return Answer(
            401,
            TEXT,
            b"send the token: Authorization: Bearer TOKEN\n",
            [("www-authenticate", "Bearer")],
        )

    async def _login(self, request: Request) -> Answer:
        """Exchange the token for a cookie."""
        body = await asyncio.wait_for(request.body(MAX_FORM), FORM_TIMEOUT_S)
        if body is None:
            return Answer(413, TEXT, b"too large\n")
        given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
        if not self._access.is_token(given.strip()):
            await asyncio.sleep(LOGIN_PAUSE_S)
            return Answer(303, TEXT, b"", [("location", "/login?wrong")])
        secure = "https" in (request.scheme, request.headers.get("x-forwarded-proto"))
        cookie = self._access.cookie(secure=secure)
        return Answer(303, TEXT, b"", [("location", "/"), ("set-cookie", cookie)])

    def _health(self) -> Answer:
        problem = self._state.kafka_problem()
        return _json(
            msgspec.json.encode(
                {
                    "status": "ok" if problem is None else "degraded",
                    "problem": problem,
                    "viewers": self._hub.viewers,
                }
            )
        )

    def _events(self, query: str) -> Answer:
        asked = parse_qs(query)
        try:
            limit = int(asked.get("limit", ["50"])[0])
        except ValueError:
            limit = 0
        if not 1 <= limit <= LOG_HELD:
            return Answer(400, TEXT, b"limit must be a number from 1 to %d\n" % LOG_HELD)
        found = self._state.events(
            asked.get("q", [""])[0][:200], asked.get("type", [""])[0][:200], limit
        )
        return _json(msgspec.json.encode(found))

    async def _stream(self, request: Request, send: Send) -> None:
        """Send snapshots for as long as somebody looks."""
        hub = self._hub
        if hub.viewers >= self._max_viewers:
            full = Answer(
                503, TEXT, b"too many viewers (spec.live.maxViewers)\n", [("retry-after", "30")]
            )
            await send_answer(send, full)
            self._count(request.path, full.status)
            return
        more: Headers = [NO_STORE, ("x-accel-buffering", "no")]
        if request.takes_gzip:
            more += GZIP
        hub.viewers += 1
        self._count(request.path, 200)
        gone = asyncio.create_task(left(request))
        try:
            await send(start(200, "text/event-stream", more))
            if request.takes_gzip:
                await send(part(hub.gzip_head))
            number = 0
            while not gone.done() and (frame := await hub.after(number)) is not None:
                number = frame.number
                sent = part(frame.packed if request.takes_gzip else frame.plain)
                # It waits until there is room: whoever reads slowly gets the newest one next.
                await asyncio.wait_for(send(sent), GONE_AFTER_S)
                self._metrics.sent.inc()
            await asyncio.wait_for(send(part(b"", more=False)), GONE_AFTER_S)
        except TimeoutError:
            log.info("a viewer reads nothing any more")
        finally:
            gone.cancel()
            hub.viewers -= 1


def _json(body: bytes) -> Answer:
    return Answer(200, JSON, body)


def _probe(problem: str | None) -> Answer:
    return Answer(200 if problem is None else 503, TEXT, f"{problem or 'ok'}\n".encode())


def _file(asset: Asset, request: Request) -> Answer:
    # Asked for each time, so that a new version shows at once; answered from its tag.
    more: Headers = [("etag", asset.tag), ("cache-control", "no-cache")]
    if request.headers.get("if-none-match") == asset.tag:
        return Answer(304, asset.content_type, b"", more)
    if request.takes_gzip:
        return Answer(200, asset.content_type, asset.packed, more + GZIP)
    return Answer(200, asset.content_type, asset.body, more)
