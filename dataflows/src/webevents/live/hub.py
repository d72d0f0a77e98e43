"""Handing snapshots to viewers: each is made once, and everybody gets the same bytes."""

import asyncio
import zlib
from dataclasses import dataclass

LEVEL = 6


@dataclass(frozen=True, slots=True)
class Frame:
    """One snapshot as a server-sent event."""

    number: int
    json: bytes
    plain: bytes
    packed: bytes
    """The same as a part of a gzip stream that begins with :attr:`Hub.gzip_head`."""


class Hub:
    """The newest snapshot, and those who wait for the next.

    A viewer asks for what is newer than what it had: one who is slow misses what came meanwhile,
    and nothing piles up for it.
    """

    def __init__(self) -> None:
        self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
        # A full flush ends on a byte and refers to nothing before it, so a stream may be made of
        # this head and any of the later parts.
        self.gzip_head = self._packer.compress(b"") + self._packer.flush(zlib.Z_FULL_FLUSH)
        self.newest: Frame | None = None
        self.viewers = 0
        self.closed = False
        self._next: asyncio.Future[None] | None = None

    def publish(self, json: bytes) -> None:
        """Hand a snapshot to all viewers; call it in the event loop's thread.

        :param json: one line.
        """
        number = self.newest.number + 1 if self.newest else 1
        plain = b"id: %d\nevent: state\ndata: %b\n\n" % (number, json)
        packed = self._packer.compress(plain) + self._packer.flush(zlib.Z_FULL_FLUSH)
        self.newest = Frame(number, json, plain, packed)
        self._wake()

    def close(self) -> None:
        """Send everybody home."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._next = self._next, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def after(self, number: int) -> Frame | None:
        """The newest snapshot, once there is one after ``number``; None when the hub closes."""
        while not self.closed:
            if self.newest is not None and self.newest.number > number:
                return self.newest
            if self._next is None:
                self._next = asyncio.get_running_loop().create_future()
            # The future is everybody's: one who leaves must not cancel it for the others.
            await asyncio.shield(self._next)
        return None
