"""A chain: the events of one key that no pause longer than the gap divides."""

from collections.abc import Iterator
from typing import Any

import msgspec

from webevents.logic.sessions.totals import Entry, Totals


class Part:
    """The events of a chain in one cut, with the version of its last change."""

    __slots__ = ("totals", "version")

    def __init__(self, totals: Totals, version: int) -> None:
        self.totals = totals
        self.version = version


class Chain:
    """Events of one key at most ``gap`` apart, in cuts of ``max_length``.

    ``published`` maps the start of each session that readers know to the version they know.
    """

    __slots__ = ("alive", "end_us", "key", "parts", "published", "saved_start", "start_us")

    def __init__(self, key: str, time_us: int) -> None:
        self.key = key
        self.start_us = time_us
        self.end_us = time_us
        self.parts: list[Part] = []
        self.published: dict[int, int] = {}
        self.saved_start: int | None = None
        self.alive = True

    def is_long(self, max_length_us: int) -> bool:
        """Whether the chain is longer than one session may be."""
        return self.end_us - self.start_us > max_length_us

    def part(self, cell: int) -> Part | None:
        """The part in this cut, if any."""
        for part in reversed(self.parts):
            if part.totals.cell == cell:
                return part
        return None

    def add(self, cell: int, entry: Entry, version: int, max_values: int) -> None:
        """Add an event that is not in yet."""
        part = self.part(cell)
        if part is None:
            self.parts.append(Part(Totals(cell, entry), version))
            self.parts.sort(key=_cell)
        else:
            part.totals.add(entry, max_values)
            part.version = version
        self.start_us = min(self.start_us, entry.time_us)
        self.end_us = max(self.end_us, entry.time_us)

    def absorb(self, other: "Chain", version: int, max_values: int) -> None:
        """Take in another chain of the key, which ends to be."""
        for theirs in other.parts:
            ours = self.part(theirs.totals.cell)
            if ours is None:
                self.parts.append(theirs)
            else:
                ours.totals.merge(theirs.totals, max_values)
                ours.version = version
        self.parts.sort(key=_cell)
        self.start_us = min(self.start_us, other.start_us)
        self.end_us = max(self.end_us, other.end_us)
        for start_us, known in other.published.items():
            self.published[start_us] = max(known, self.published.get(start_us, 0))
        other.alive = False

    def touch_all(self, version: int) -> None:
        """Give every part a new version: what is published of them no longer holds."""
        for part in self.parts:
            part.version = version

    def sessions(self, max_length_us: int, max_values: int) -> Iterator[tuple[Totals, int]]:
        """The chain's sessions as (totals, version)."""
        if self.is_long(max_length_us) or len(self.parts) == 1:
            for part in self.parts:
                yield part.totals, part.version
        elif self.parts:
            whole = self.parts[0].totals.copy()
            for part in self.parts[1:]:
                whole.merge(part.totals, max_values)
            yield whole, max(part.version for part in self.parts)

    def dump(self) -> bytes:
        """The chain's state, for :func:`load`."""
        parts = [[part.version, part.totals.dump()] for part in self.parts]
        return _encode([1, self.key, self.start_us, self.end_us, parts, self.published])


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def load(state: bytes) -> Chain:
    """Make the chain that :meth:`Chain.dump` wrote.

    :raises ValueError: when the state was written by a later version.
    """
    values: list[Any] = _decode(state)
    if values[0] != 1:
        raise ValueError(f"session state of format {values[0]}; this version reads format 1")
    _, key, start_us, end_us, parts, published = values
    chain = Chain(key, start_us)
    chain.end_us = end_us
    chain.parts = [Part(Totals.load(totals), version) for version, totals in parts]
    chain.published = published
    chain.saved_start = start_us
    return chain


def _cell(part: Part) -> int:
    return part.totals.cell
