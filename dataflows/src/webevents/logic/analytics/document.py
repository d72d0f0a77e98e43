"""What documents of analytics are made from, and the messages that carry them."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import xxhash

from webevents.events.times import format_time, from_us

_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode


class Fact(NamedTuple):
    """What documents are about: an attempt, a visitor in a period, a conversion."""

    kind: str
    """One of :data:`webevents.events.analytics.KINDS`."""
    key: str
    """Tells it from the visitor's others."""
    timestamp_us: int
    final_us: int
    """It is final when no session that began by then can change."""
    cause: Any
    """All that the documents depend on, of plain values."""
    documents: Callable[[], list[tuple[str, dict[str, Any]]]]
    """Makes the documents: their ids, and their fields without those that all have."""
    size: int = 1
    """How many documents there are."""


def fact_id(pipeline: str, key: str, what: str) -> str:
    """An identifier: a hash of pipeline, visitor and what it is about; 32 hexadecimal digits."""
    text = f"{pipeline}\x00{key}\x00{what}".encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def digest_of(cause: Any) -> int:
    """64 bits that stand for plain values, the same in every process."""
    return xxhash.xxh3_64_intdigest(_pack(cause))


class Messages:
    """Makes the messages that carry a visitor's documents.

    :param version: of all of them.
    """

    def __init__(self, pipeline: str, key: str, version: int) -> None:
        self._common = {"pipeline": pipeline, "session_key": key, "version": version}
        self._version = version

    def of(self, kind: str, id_: str, timestamp_us: int, fields: dict[str, Any]) -> bytes:
        """The message of a document."""
        timestamp = format_time(timestamp_us)
        return _encode(
            {
                "kind": kind,
                "id": id_,
                "version": self._version,
                "timestamp": timestamp,
                "document": {"timestamp": timestamp, **self._common, **fields},
            }
        )

    def end_of(self, kind: str, id_: str, timestamp_us: int) -> bytes:
        """The message that a document is no more."""
        return _encode(
            {
                "kind": kind,
                "id": id_,
                "version": self._version,
                "timestamp": format_time(timestamp_us),
                "retracted": True,
            }
        )


def month_of(us: int) -> tuple[int, int]:
    """The month (UTC) whose index has the document."""
    moment: datetime = from_us(us)
    return moment.year, moment.month
