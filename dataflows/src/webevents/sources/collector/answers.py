"""Small parts of requests and answers: headers, the write key, refusals."""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec

from webevents.sources.collector.origins import Headers
from webevents.sources.collector.refusal import Refused
from webevents.sources.collector.routes import JSON, TEXT, Route

_encode = msgspec.json.encode


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    content_type: str
    body: bytes
    headers: Headers


def check_head(path: str, query: str, headers: Mapping[str, str], limit: int) -> None:
    """Refuse a head that is too large; the server's own limit is a rough one.

    :raises Refused: with reason head_too_large.
    """
    size = len(path) + len(query) + sum(map(len, headers)) + sum(map(len, headers.values()))
    if size > limit:
        raise Refused("head_too_large", f"URL and headers are larger than {limit} bytes")


def headers_of(raw: Any) -> dict[str, str]:
    """The headers by name; the values of one that came several times are joined, as HTTP has it."""
    found: dict[str, str] = {}
    for name, value in raw.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def write_key(query: str, headers: Mapping[str, str]) -> str | None:
    """The write key in the header Authorization or in the query."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "basic":
            try:
                return b64decode(credentials).decode().partition(":")[0] or None
            except (Base64Error, ValueError):
                return credentials  # no key of anybody's
        case "bearer":
            return credentials.strip() or None
    if "key=" in query:
        values = parse_qs(query).get("key")
        return values[0] if values else None
    return None


def refusal(refused: Refused, route: Route | None) -> Answer:
    """The answer that says why a request was not taken."""
    status = refused.status
    if status == 413 and route is not None and route.too_large is not None:
        status = route.too_large
    headers: Headers = []
    if refused.retry_after is not None:
        headers.append(("retry-after", str(refused.retry_after)))
    if status == 401:
        headers.append(("www-authenticate", 'Basic realm="write key"'))
    body = _encode({"error": refused.reason, "detail": refused.detail})
    return Answer(status, JSON, body, headers)


def probe(problem: str | None) -> Answer:
    """The answer to a probe.

    :param problem: what is wrong; None where nothing is.
    """
    status = 200 if problem is None else 503
    return Answer(status, TEXT, f"{problem or 'ok'}\n".encode(), [])
