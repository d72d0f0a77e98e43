"""A chain: the events of one key that no pause longer than the gap divides."""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

import msgspec
from msgspec import Raw

from webevents.logic.sessions.totals import Entry, Totals

_FORMAT = 1
EVENT_BYTES = 24_000
"""By how much one event can make a state longer at most: five listed values, each of 1,024
characters of four bytes, and what else is kept of it."""


class Shown(IntEnum):
    """What readers know of a chain's last session."""

    STALE = 0
    """Not its last change."""
    OPEN = 1
    CLOSED = 2


class Chain:
    """Events of one key at most ``gap`` apart, in cuts of the maximum length.

    A chain that rests is *packed*: only its times and its encoded state are kept, which take a
    third of the memory. Call :meth:`unpack` before anything that reads or changes its parts.
    """

    __slots__ = (
        "_dumped",
        "_state",
        "alive",
        "cutting",
        "end_us",
        "key",
        "parts",
        "published",
        "saved_start",
        "shown",
        "start_us",
        "waiting",
    )

    def __init__(self, key: str, time_us: int) -> None:
        self.key = key
        self.start_us = time_us
        self.end_us = time_us
        self.parts: list[Totals] = []
        """One for every cut, in their order; empty while packed."""
        self.published: dict[int, int] = {}
        """Start of each session that readers know -> the version that they know."""
        self.saved_start: int | None = None
        """The start under which the state was last saved."""
        self.alive = True
        self.shown = Shown.STALE
        self.waiting = False
        """Whether a timer will close it."""
        self.cutting = False
        """Whether a timer will look at the end of its newest cut."""
        self._state = b""
        self._dumped = 0
        """Number of events in the state."""

    @property
    def events(self) -> int:
        """Number of events in it; not to be asked while packed."""
        return sum([part.events for part in self.parts])

    def size(self, *, exact: bool) -> int:
        """Bytes of the state.

        :param exact: whether to measure them; a quick upper bound otherwise.
        """
        grown = self.events - self._dumped
        if grown and exact:
            self.dump()
            grown = 0
        return len(self._state) + grown * EVENT_BYTES

    def is_long(self, max_length_us: int) -> bool:
        """Whether the chain is longer than one session may be."""
        return self.end_us - self.start_us > max_length_us

    def part(self, cell: int) -> Totals | None:
        """The part in this cut, if any."""
        for part in reversed(self.parts):
            if part.cell == cell:
                return part
        return None

    def add(self, part: Totals | None, cell: int, entry: Entry, version: int, limit: int) -> None:
        """Add an event that is not in yet.

        :param part: what :meth:`part` gave for the cell.
        :param limit: see :meth:`Totals.add`.
        """
        if part is None:
            self.parts.append(Totals.of(cell, version, entry))
            if len(self.parts) > 1:
                self.parts.sort(key=_cell)
        else:
            part.add(entry, limit)
            part.version = version
        time_us = entry.time_us
        if time_us > self.end_us:
            self.end_us = time_us
        elif time_us < self.start_us:
            self.start_us = time_us

    def absorb(self, other: "Chain", limit: int) -> None:
        """Take in a later chain of the key, which ends to be."""
        for theirs in other.parts:
            ours = self.part(theirs.cell)
            if ours is None:
                self.parts.append(theirs)
            else:
                ours.merge(theirs, limit)
        self.parts.sort(key=_cell)
        self.end_us = max(self.end_us, other.end_us)
        for start_us, known in other.published.items():
            self.published[start_us] = max(known, self.published.get(start_us, 0))
        other.alive = False
        other.parts = []

    def touch_all(self, version: int) -> None:
        """Give every part a new version: what is published of them no longer holds."""
        for part in self.parts:
            part.version = version

    def sessions(self, max_length_us: int, limit: int) -> Iterator[Totals]:
        """The chain's sessions."""
        if len(self.parts) == 1 or self.is_long(max_length_us):
            yield from self.parts
        else:
            whole = self.parts[0].copy()
            for part in self.parts[1:]:
                whole.merge(part, limit)
            yield whole

    def dump(self) -> bytes:
        """The chain's state, for :meth:`load`; also what :meth:`pack` keeps."""
        body = (self.parts, self.published)
        self._state = _encode((_FORMAT, self.key, self.start_us, self.end_us, self.shown, body))
        self._dumped = self.events
        return self._state

    @classmethod
    def load(cls, state: bytes) -> "Chain":
        """Make the chain that :meth:`dump` wrote; it is packed.

        :raises ValueError: when the state was written by another version.
        """
        try:
            written, key, start_us, end_us, shown, _ = _decode_outline(state)
        except msgspec.ValidationError:
            written = -1
        if written != _FORMAT:
            raise ValueError(
                f"a session's state is not of format {_FORMAT}: an incompatible version wrote it"
            )
        chain = cls(key, start_us)
        chain.end_us = end_us
        chain.shown = Shown(shown)
        chain.saved_start = start_us
        chain._state = state
        return chain

    def pack(self) -> None:
        """Keep only what the last :meth:`dump` wrote; nothing may have changed since."""
        self.parts = _PACKED_PARTS
        self.published = _PACKED_PUBLISHED

    def unpack(self) -> None:
        """Make parts and published ready for use."""
        if not self.parts:
            self.parts, self.published = _decode(self._state)[5]
            self._dumped = self.events


_PACKED_PARTS: list[Totals] = []
_PACKED_PUBLISHED: dict[int, int] = {}

_encode = msgspec.msgpack.Encoder().encode
_decode_outline: Any = msgspec.msgpack.Decoder(tuple[int, str, int, int, int, Raw]).decode
_decode: Any = msgspec.msgpack.Decoder(
    tuple[int, str, int, int, int, tuple[list[Totals], dict[int, int]]]
).decode


def _cell(part: Totals) -> int:
    return part.cell
