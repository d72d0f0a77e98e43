"""Reading a request's body: whole, in time, no larger than allowed, decompressed."""

import asyncio
import zlib
from typing import Any, Protocol

from webevents.sources.collector.refusal import Refused
from webevents.spec.collector import CollectorLimitsSpec

_GZIP = 31
"""zlib's window bits for gzip with its header."""
_MAGIC = b"\x1f\x8b"


class Stream(Protocol):
    """The body as the server hands it over (RSGI)."""

    async def __call__(self) -> bytes:
        """All of it."""

    def __aiter__(self) -> Any:
        """In parts."""


async def read_body(
    stream: Stream, length: str | None, encoding: str | None, limits: CollectorLimitsSpec
) -> bytes:
    """Read and decompress a body.

    :param length: the header Content-Length.
    :param encoding: the header Content-Encoding. What begins like gzip is taken for it without
        one too: a beacon cannot set headers.
    :raises Refused: with reason body_too_large, body_too_slow, body_incomplete or encoding.
    """
    limit = limits.max_body_bytes
    expected = int(length) if length is not None and length.isdecimal() else None
    if expected is not None and expected > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(limits.body_timeout.total_seconds()):
            body = await stream() if expected is not None else await _parts(stream, limit)
    except TimeoutError:
        raise Refused("body_too_slow", "the body did not come in time") from None
    if expected is not None and len(body) != expected:
        raise Refused("body_incomplete", "the body ended before Content-Length")
    return decompress(body, encoding, limit)


async def _parts(stream: Stream, limit: int) -> bytes:
    parts = bytearray()
    async for part in stream:
        parts += part
        if len(parts) > limit:
            raise _too_large(limit)
    return bytes(parts)


def decompress(body: bytes, encoding: str | None, limit: int) -> bytes:
    """Undo gzip, never making more than ``limit`` bytes.

    :raises Refused: with reason body_too_large, body_incomplete or encoding.
    """
    word = (encoding or "identity").strip().lower()
    if word not in ("identity", "gzip", "x-gzip", ""):
        raise Refused("encoding", "Content-Encoding is gzip or none")
    if not body.startswith(_MAGIC):
        if word in ("gzip", "x-gzip") and body:
            raise Refused("body_incomplete", "the body is not gzip")
        return body
    plain = b""
    while body:
        member = zlib.decompressobj(_GZIP)
        try:
            plain += member.decompress(body, limit + 1 - len(plain))
        except zlib.error:
            raise Refused("body_incomplete", "the body is not gzip") from None
        if len(plain) > limit or member.unconsumed_tail:
            raise _too_large(limit)
        if not member.eof:
            raise Refused("body_incomplete", "the gzip stream is cut off")
        body = member.unused_data
    return plain


def _too_large(limit: int) -> Refused:
    return Refused("body_too_large", f"the body is larger than {limit} bytes")
