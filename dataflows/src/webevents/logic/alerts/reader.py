"""From messages to what alerts count."""

from collections.abc import Callable
from typing import NamedTuple

from webevents.events.event import EventDecoder, event_time_us
from webevents.logic.sessions.totals import revenue_of
from webevents.spec.stages import SessionsSpec


class Counted(NamedTuple):
    """What alerts count of an event."""

    time_us: int
    order: bool
    revenue: int
    """In ten-thousandths."""


def count_reader(spec: SessionsSpec) -> Callable[[bytes], Counted]:
    """Make the function that reads a message.

    The function raises :class:`webevents.events.event.InvalidEvent`.
    """
    decode = EventDecoder(only=("revenue", "price", "quantity")).decode
    orders = frozenset(spec.purchase_types)

    def read(raw: bytes) -> Counted:
        event = decode(raw)
        order = event.event_type in orders
        return Counted(event_time_us(event), order, revenue_of(event, spec))

    return read
