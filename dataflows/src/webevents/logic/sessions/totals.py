"""What is known of the events of one session; merging two is commutative and associative."""

from bisect import insort
from decimal import Decimal
from typing import Any, NamedTuple, Self

import msgspec

from webevents.spec.stages import SessionsSpec

CENTS = 10_000
"""Revenue is summed in whole ten-thousandths, so that the order of the events cannot matter."""
MAX_ID = 128
"""Characters of an event's identifier that decide the order of events of the same time."""

Mark = tuple[int, str, str]
"""(event time, event id, value): compared by time, then id, so that ties have one order."""


Footprint = tuple[int, str, str, tuple[str, ...], tuple[str, ...], int]
"""What analytics need of an event: (time, id, page's path or event type, steps of funnels,
conversions, revenue in ten-thousandths); the id has MAX_ID characters."""

MAX_TRAIL = 500
"""Footprints that a session keeps, the first ones."""


class Entry(NamedTuple):
    """One event as a session sees it."""

    time_us: int
    event_id: str
    """Its first MAX_ID characters."""
    digest: int
    """64 bits that stand for id and time."""
    event_type: str
    page: str | None
    referrer: str | None
    product: str | None
    query: str | None
    user_id: str | None
    revenue: int
    """In ten-thousandths."""
    head: tuple[Any, ...]
    """The values of :data:`webevents.events.session.HEAD_FIELDS`."""
    footprint: Footprint | None = None
    """Where spec.analytics is enabled and the event matters to it."""


class Totals(msgspec.Struct, array_like=True, gc=False):
    """The aggregate of the events of one session (or of one cut of a long chain).

    A session lists ``limit`` distinct values of a kind, the first ones when sorted (queries: the
    first ones used); a value that is left out can never come back, so neither what is listed nor
    the counts of what is listed depend on the order of the events.
    """

    cell: int
    """Which multiple of the maximum length its events lie in."""
    version: int
    """Of its last change."""
    events: int
    first_us: int
    first_id: str
    head: tuple[Any, ...]
    last_us: int
    last_id: str
    types: dict[str, int]
    pages: set[str]
    referrers: set[str]
    products: set[str]
    queries: list[Mark]
    """Each query with its first use, in that order."""
    entry: Mark | None
    exit: Mark | None
    user: Mark | None
    revenue: Decimal
    """A whole number of ten-thousandths; 64 bits could not hold the sum of what events may say."""
    seen: set[int]
    truncated: bool
    trail: list[Footprint] = []
    """In their order."""
    trail_truncated: bool = False

    @classmethod
    def of(cls, cell: int, version: int, entry: Entry) -> Self:
        """The totals of one event."""
        time_us, event_id, digest, event_type, page, referrer, product, query, user_id = entry[:9]
        mark = None if page is None else (time_us, event_id, page)
        return cls(
            cell,
            version,
            1,
            time_us,
            event_id,
            entry.head,
            time_us,
            event_id,
            {event_type: 1},
            set() if page is None else {page},
            set() if referrer is None else {referrer},
            set() if product is None else {product},
            [] if query is None else [(time_us, event_id, query)],
            mark,
            mark,
            None if user_id is None else (time_us, event_id, user_id),
            Decimal(entry.revenue) if entry.revenue else _NO_REVENUE,
            {digest},
            False,
            [] if entry.footprint is None else [entry.footprint],
        )

    def add(self, entry: Entry, limit: int) -> None:
        """Add an event that is not in yet.

        :param limit: distinct values that each list holds (spec.sessions.maxValues).
        """
        (
            time_us,
            event_id,
            digest,
            event_type,
            page,
            referrer,
            product,
            query,
            user_id,
            revenue,
            head,
            footprint,
        ) = entry
        self.events += 1
        self.seen.add(digest)
        if time_us > self.last_us or (time_us == self.last_us and event_id > self.last_id):
            self.last_us, self.last_id = time_us, event_id
        elif time_us < self.first_us or (time_us == self.first_us and event_id < self.first_id):
            self.first_us, self.first_id, self.head = time_us, event_id, head
        self._count(event_type, 1, limit)
        if page is not None:
            if page not in self.pages:
                self._list(self.pages, page, limit)
            mark = (time_us, event_id, page)
            if self.exit is None or mark > self.exit:
                self.exit = mark
            if self.entry is None or mark < self.entry:
                self.entry = mark
        if referrer is not None and referrer not in self.referrers:
            self._list(self.referrers, referrer, limit)
        if product is not None and product not in self.products:
            self._list(self.products, product, limit)
        if query is not None:
            self._merge_queries([(time_us, event_id, query)], limit)
        if user_id is not None:
            user = (time_us, event_id, user_id)
            if self.user is None or user < self.user:
                self.user = user
        if revenue:
            self.revenue += revenue
        if footprint is not None:
            trail = self.trail
            if not trail or footprint > trail[-1]:
                trail.append(footprint)
            else:
                insort(trail, footprint)
            if len(trail) > MAX_TRAIL:
                self._cut_trail()

    def merge(self, other: "Totals", limit: int) -> None:
        """Take in the events of another; the two must not share any."""
        self.version = max(self.version, other.version)
        self.events += other.events
        self.seen |= other.seen
        if (other.first_us, other.first_id) < (self.first_us, self.first_id):
            self.first_us, self.first_id = other.first_us, other.first_id
            self.head = other.head
        if (other.last_us, other.last_id) > (self.last_us, self.last_id):
            self.last_us, self.last_id = other.last_us, other.last_id
        self.truncated = self.truncated or other.truncated
        for event_type, count in other.types.items():
            self._count(event_type, count, limit)
        for ours, theirs in (
            (self.pages, other.pages),
            (self.referrers, other.referrers),
            (self.products, other.products),
        ):
            for value in theirs:
                if value not in ours:
                    self._list(ours, value, limit)
        self._merge_queries(other.queries, limit)
        if other.entry is not None and (self.entry is None or other.entry < self.entry):
            self.entry = other.entry
        if other.exit is not None and (self.exit is None or other.exit > self.exit):
            self.exit = other.exit
        if other.user is not None and (self.user is None or other.user < self.user):
            self.user = other.user
        self.revenue += other.revenue
        if other.trail:
            self.trail = sorted(self.trail + other.trail)
            self.trail_truncated = self.trail_truncated or other.trail_truncated
            self._cut_trail()

    def copy(self) -> "Totals":
        """A copy that can be changed without changing this one."""
        new = msgspec.structs.replace(self)
        new.types, new.queries, new.seen = self.types.copy(), self.queries.copy(), self.seen.copy()
        new.pages, new.referrers = self.pages.copy(), self.referrers.copy()
        new.products, new.trail = self.products.copy(), self.trail.copy()
        return new

    def _cut_trail(self) -> None:
        if len(self.trail) > MAX_TRAIL:
            del self.trail[MAX_TRAIL:]
            self.trail_truncated = True

    def _count(self, event_type: str, count: int, limit: int) -> None:
        types = self.types
        known = types.get(event_type)
        if known is not None:
            types[event_type] = known + count
            return
        types[event_type] = count
        if len(types) > limit:
            self.truncated = True
            del types[max(types)]

    def _list(self, values: set[str], value: str, limit: int) -> None:
        values.add(value)
        if len(values) > limit:
            self.truncated = True
            values.remove(max(values))

    def _merge_queries(self, queries: list[Mark], limit: int) -> None:
        first: dict[str, Mark] = {mark[2]: mark for mark in self.queries}
        for mark in queries:
            known = first.get(mark[2])
            if known is None or mark < known:
                first[mark[2]] = mark
        marks = sorted(first.values())
        if len(marks) > limit:
            self.truncated = True
            del marks[limit:]
        self.queries = marks


_NO_REVENUE = Decimal(0)


def revenue_of(event: Any, spec: SessionsSpec) -> int:
    """The event's revenue in ten-thousandths: ``revenue``, or price x quantity of a purchase.

    Nothing where it is 1e14 or more, which is no revenue but an error of the source.
    """
    revenue = event.revenue
    if not isinstance(revenue, float | int):
        if event.event_type not in spec.purchase_types or not isinstance(event.price, float | int):
            return 0
        quantity = event.quantity if isinstance(event.quantity, int) else 1
        revenue = event.price * quantity
    return round(revenue * CENTS) if abs(revenue) < 1e14 else 0
