"""One document of analytics, and the message that carries it to the index stage."""

import hashlib
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import xxhash

from webevents.events.times import format_time, from_us

_encode = msgspec.json.Encoder().encode


class Fact(NamedTuple):
    """A document before it is encoded."""

    kind: str
    """One of :data:`webevents.events.analytics.KINDS`."""
    id: str
    timestamp_us: int
    fields: dict[str, Any]
    """Without those that all documents have."""


def fact_id(pipeline: str, key: str, what: str) -> str:
    """An identifier: a hash of pipeline, visitor and what it is about; 32 hexadecimal digits."""
    text = f"{pipeline}\x00{key}\x00{what}".encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def body_of(pipeline: str, key: str, fact: Fact) -> bytes:
    """The document's JSON without its version."""
    head = {
        "timestamp": format_time(fact.timestamp_us),
        "pipeline": pipeline,
        "session_key": key,
    }
    return _encode(head | fact.fields)


digest_of = xxhash.xxh3_64_intdigest
"""64 bits that stand for a document."""


def message(kind: str, id_: str, timestamp_us: int, version: int, body: bytes | None) -> bytes:
    """The message of a document, or of its end where there is no body."""
    envelope: dict[str, Any] = {
        "kind": kind,
        "id": id_,
        "version": version,
        "timestamp": format_time(timestamp_us),
    }
    if body is None:
        envelope["retracted"] = True
    else:
        envelope["document"] = msgspec.Raw(b'{"version":%d,' % version + body[1:])
    return _encode(envelope)


def month_of(us: int) -> tuple[int, int]:
    """The month (UTC) whose index has the document."""
    moment: datetime = from_us(us)
    return moment.year, moment.month
