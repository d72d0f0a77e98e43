"""The sessions that are open now, by the records of their topic."""

from collections import OrderedDict
from itertools import takewhile
from typing import Any

import msgspec

ACTIVE_MS = 60_000
MAX_OPEN = 500_000
"""Sessions that are remembered; the longest silent ones are forgotten first."""
SLACK_MS = 60_000
"""How long after its pause a session still counts as open: its last record may be under way."""


class _Session(msgspec.Struct):
    session_id: str
    open: bool = False
    retracted: bool = False


_decode = msgspec.json.Decoder(_Session).decode


class OpenSessions:
    """Follows sessions.

    :param gap_ms: the pause that ends a session.
    """

    def __init__(self, gap_ms: int) -> None:
        self._keep = gap_ms + SLACK_MS
        self._open: OrderedDict[str, int] = OrderedDict()

    def add(self, value: bytes, at_ms: int) -> None:
        """Take a record of the topic.

        :raises msgspec.DecodeError: when it is none.
        """
        session = _decode(value)
        if not session.open or session.retracted:
            self._open.pop(session.session_id, None)
            return
        self._open[session.session_id] = at_ms
        self._open.move_to_end(session.session_id)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def report(self, now_ms: int) -> dict[str, Any]:
        """How many are open, and in how many something happened in the last minute."""
        while self._open and next(iter(self._open.values())) < now_ms - self._keep:
            self._open.popitem(last=False)
        recent = takewhile(lambda at: at >= now_ms - ACTIVE_MS, reversed(self._open.values()))
        return {"open": len(self._open), "active": sum(1 for _ in recent)}
