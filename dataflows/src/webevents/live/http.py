"""Requests and answers of the page, over ASGI."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

Headers = list[tuple[str, str]]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
JSON, TEXT = "application/json", "text/plain; charset=utf-8"
GZIP: Headers = [("content-encoding", "gzip"), ("vary", "accept-encoding")]
SAFE: Headers = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
]
NO_STORE = ("cache-control", "no-store")


class Request:
    """A request, by the names that matter here."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self.scheme: str = scope["scheme"]
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self.receive = receive

    @property
    def is_stream(self) -> bool:
        """Whether it asks for snapshots as they come."""
        return self.path == "/api/stream" and self.method == "GET"

    @property
    def takes_gzip(self) -> bool:
        """Whether the answer may be packed."""
        return "gzip" in self.headers.get("accept-encoding", "")

    async def body(self, limit: int) -> bytes | None:
        """The body; None where it is larger than ``limit`` bytes."""
        found = b""
        while len(found) <= limit:
            message = await self.receive()
            found += message.get("body", b"")
            if not message.get("more_body"):
                return found if len(found) <= limit else None
        return None


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    content_type: str
    body: bytes
    headers: Headers = []  # noqa: RUF012 - nobody changes it


def start(status: int, content_type: str, headers: Headers) -> Message:
    sent = [("content-type", content_type), *SAFE, *headers]
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode(), value.encode()) for name, value in sent],
    }


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def send_answer(send: Send, answer: Answer, *, empty: bool = False) -> None:
    headers = answer.headers
    if not any(name == "cache-control" for name, _ in headers):
        headers = [*headers, NO_STORE]
    if answer.status != 304:
        headers = [*headers, ("content-length", str(len(answer.body)))]
    await send(start(answer.status, answer.content_type, headers))
    await send(part(b"" if empty else answer.body, more=False))


async def left(request: Request) -> None:
    """End when the viewer has closed the page."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
