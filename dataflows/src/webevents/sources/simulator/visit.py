"""A visit: the true session, and what the engine asks of a profile."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from webevents.sources.simulator.visitors import Visitor

_CRAWL = (5, 25)
MEAN_CRAWL = sum(_CRAWL) / 2
"""Mean number of events of a crawler's visit."""


def crawl_length(random: Callable[[], float]) -> int:
    """Number of events of a crawler's visit: 5 to 25."""
    fewest, most = _CRAWL
    return fewest + int(random() * (most - fewest + 1))


class Visit(ABC):
    """One visit of one visitor, which gives its events one after the other.

    :ivar key: the key of the visit's messages.
    :ivar id_prefix: the first 24 characters of its events' identifiers.
    :ivar sure_us: time of its last event that certainly arrives; other times on which a pause
        is reckoned could leave a gap that no visitor made.
    :ivar events: number of its events so far.
    """

    __slots__ = ("channel", "events", "id_prefix", "key", "ordinal", "start_us", "sure_us",
                 "visitor")  # fmt: skip

    def __init__(
        self, visitor: Visitor, key: bytes, id_prefix: bytes, channel: str, start_us: int
    ) -> None:
        visitor.ordinal += 1
        self.visitor = visitor
        self.ordinal = visitor.ordinal
        self.key = key
        self.id_prefix = id_prefix
        self.channel = channel
        self.start_us = start_us
        self.sure_us = start_us
        self.events = 0

    @abstractmethod
    def render(self, event_id: bytes, time_text: bytes) -> bytes:
        """The visit's present event as JSON; begins with event_id, event_timestamp, event_type."""

    @abstractmethod
    def advance(self, time_us: int) -> int:
        """Go on to the next event.

        :param time_us: time of the present event.
        :returns: microseconds until the next event; -1 where the visit is over.
        """


class Profile(ABC):
    """A kind of events with its visitors and visits."""

    @abstractmethod
    def visitor(self, number: int) -> Visitor:
        """Make the visitor of a number, which is unique among the replicas."""

    @abstractmethod
    def crawler(self, number: int) -> Visitor:
        """Make a crawler for one visit."""

    @abstractmethod
    def visit(self, visitor: Visitor, id_prefix: bytes, start_us: int) -> Visit:
        """Begin a visit."""

    @abstractmethod
    def mean_events(self) -> float:
        """Mean number of events of a human's visit."""
