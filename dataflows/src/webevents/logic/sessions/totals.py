"""What is known of the events of one session; merging two is commutative and associative."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from webevents.spec.stages import SessionsSpec

CENTS = 10_000
"""Revenue is summed in whole ten-thousandths, so that the order of the events cannot matter."""
MAX_TEXT = 1024
"""Characters of a page, referrer, product or query that a session lists."""

Mark = tuple[int, str, Any]
"""(event time, event id, value): compared by time, then id, so that ties have one order."""


class Entry(NamedTuple):
    """One event as a session sees it."""

    time_us: int
    event_id: str
    digest: bytes
    """8 bytes that stand for id and time."""
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


class Totals:
    """The aggregate of the events of one session (or of one cut of a long chain)."""

    __slots__ = (
        "cell",
        "entry",
        "events",
        "exit",
        "first",
        "last_id",
        "last_us",
        "pages",
        "products",
        "queries",
        "referrers",
        "revenue",
        "seen",
        "truncated",
        "types",
        "user",
    )

    def __init__(self, cell: int, entry: Entry) -> None:
        time_us, event_id = entry.time_us, entry.event_id
        self.cell = cell
        self.events = 1
        self.first: Mark = (time_us, event_id, entry.head)
        self.last_us = time_us
        self.last_id = event_id
        self.types: dict[str, int] = {entry.event_type: 1}
        page = entry.page
        self.pages: tuple[str, ...] | set[str] = () if page is None else (page,)
        self.entry: Mark | None = None if page is None else (time_us, event_id, page)
        self.exit = self.entry
        self.referrers: tuple[str, ...] | set[str] = (
            () if entry.referrer is None else (entry.referrer,)
        )
        self.products: tuple[str, ...] | set[str] = (
            () if entry.product is None else (entry.product,)
        )
        self.queries: tuple[Mark, ...] = (
            () if entry.query is None else ((time_us, event_id, entry.query),)
        )
        self.user: Mark | None = (
            None if entry.user_id is None else (time_us, event_id, entry.user_id)
        )
        self.revenue = entry.revenue
        self.seen: bytes | set[bytes] = entry.digest
        self.truncated = False

    def has(self, digest: bytes) -> bool:
        """Whether an event with this digest is in already."""
        seen = self.seen
        if type(seen) is set:
            return digest in seen
        at = seen.find(digest)  # type: ignore[union-attr]
        while at >= 0 and at % 8:
            at = seen.find(digest, at + 1)  # type: ignore[union-attr]
        return at >= 0

    def add(self, entry: Entry, limit: int) -> None:
        """Add an event that is not in yet.

        :param limit: distinct values that each list holds (spec.sessions.maxValues).
        """
        time_us, event_id = entry.time_us, entry.event_id
        self.events += 1
        if type(self.seen) is bytes:
            self.seen += entry.digest
            if len(self.seen) > _SMALL_SEEN:
                self.seen = set(_digests(self.seen))
        else:
            self.seen.add(entry.digest)  # type: ignore[union-attr]
        if (time_us, event_id) < self.first[:2]:
            self.first = (time_us, event_id, entry.head)
        if (time_us, event_id) > (self.last_us, self.last_id):
            self.last_us, self.last_id = time_us, event_id
        self.types[entry.event_type] = self.types.get(entry.event_type, 0) + 1
        page = entry.page
        if page is not None:
            if page not in self.pages:
                self.pages = self._with(self.pages, page, limit)
            mark = (time_us, event_id, page)
            if self.entry is None or mark < self.entry:
                self.entry = mark
            if self.exit is None or mark > self.exit:
                self.exit = mark
        if entry.referrer is not None and entry.referrer not in self.referrers:
            self.referrers = self._with(self.referrers, entry.referrer, limit)
        if entry.product is not None and entry.product not in self.products:
            self.products = self._with(self.products, entry.product, limit)
        if entry.query is not None:
            self._merge_queries(((time_us, event_id, entry.query),), limit)
        if entry.user_id is not None:
            user = (time_us, event_id, entry.user_id)
            if self.user is None or user < self.user:
                self.user = user
        self.revenue += entry.revenue

    def merge(self, other: "Totals", limit: int) -> None:
        """Take in the events of another; the two must not share any."""
        self.events += other.events
        if type(self.seen) is bytes and type(other.seen) is bytes:
            self.seen += other.seen
            if len(self.seen) > _SMALL_SEEN:
                self.seen = set(_digests(self.seen))
        else:
            self.seen = {*_digests(self.seen), *_digests(other.seen)}
        self.first = min(self.first, other.first, key=_time_and_id)
        if (other.last_us, other.last_id) > (self.last_us, self.last_id):
            self.last_us, self.last_id = other.last_us, other.last_id
        for event_type, count in other.types.items():
            self.types[event_type] = self.types.get(event_type, 0) + count
        self.entry = _pick(min, self.entry, other.entry)
        self.exit = _pick(max, self.exit, other.exit)
        self.user = _pick(min, self.user, other.user)
        for name in ("pages", "referrers", "products"):
            values = getattr(self, name)
            for value in sorted(getattr(other, name)):
                if value not in values:
                    values = self._with(values, value, limit)
            setattr(self, name, values)
        self._merge_queries(other.queries, limit)
        self.revenue += other.revenue
        self.truncated = self.truncated or other.truncated

    def copy(self) -> "Totals":
        """A copy that can be changed without changing this one."""
        new = object.__new__(Totals)
        for name in Totals.__slots__:
            value = getattr(self, name)
            setattr(new, name, value.copy() if isinstance(value, dict | set) else value)
        return new

    def _with(
        self, values: tuple[str, ...] | set[str], value: str, limit: int
    ) -> tuple[str, ...] | set[str]:
        if len(values) >= limit:
            self.truncated = True
            return values
        if isinstance(values, set):
            values.add(value)
            return values
        return {*values, value} if len(values) >= _SMALL else (*values, value)

    def _merge_queries(self, queries: Iterable[Mark], limit: int) -> None:
        """Keep each query with its first use, in that order."""
        first: dict[str, Mark] = {mark[2]: mark for mark in self.queries}
        for mark in queries:
            known = first.get(mark[2])
            if known is None or mark < known:
                first[mark[2]] = mark
        marks = tuple(sorted(first.values()))
        if len(marks) > limit:
            self.truncated = True
            marks = marks[:limit]
        self.queries = marks

    def dump(self) -> list[Any]:
        """The state as plain values, for :meth:`load`."""
        seen = self.seen if isinstance(self.seen, bytes) else b"".join(sorted(self.seen))
        return [
            self.cell,
            self.events,
            self.first,
            self.last_us,
            self.last_id,
            self.types,
            sorted(self.pages),
            self.entry,
            self.exit,
            sorted(self.referrers),
            sorted(self.products),
            self.queries,
            self.user,
            self.revenue,
            seen,
            self.truncated,
        ]

    @classmethod
    def load(cls, values: list[Any]) -> "Totals":
        """Make the totals that :meth:`dump` wrote."""
        new = object.__new__(cls)
        new.cell, new.events, first, new.last_us, new.last_id, new.types = values[:6]
        pages, entry, exit_, referrers, products, queries, user, revenue, seen, cut = values[6:]
        new.first = (first[0], first[1], tuple(first[2]))
        new.pages, new.referrers, new.products = map(_small, (pages, referrers, products))
        new.entry, new.exit, new.user = map(_mark, (entry, exit_, user))
        new.queries = tuple((mark[0], mark[1], mark[2]) for mark in queries)
        new.revenue = revenue
        new.seen = seen if len(seen) <= _SMALL_SEEN else set(_digests(seen))
        new.truncated = cut
        return new


_SMALL = 16
"""Distinct values up to which a tuple is smaller and faster than a set."""
_SMALL_SEEN = 1024
"""Bytes of digests up to which searching them is faster than a set."""


def _digests(seen: "bytes | set[bytes]") -> Iterable[bytes]:
    if isinstance(seen, set):
        return seen
    return [seen[at : at + 8] for at in range(0, len(seen), 8)]


def _small(values: list[str]) -> tuple[str, ...] | set[str]:
    return set(values) if len(values) > _SMALL else tuple(values)


def _mark(value: list[Any] | None) -> Mark | None:
    return None if value is None else (value[0], value[1], value[2])


def _time_and_id(mark: Mark) -> tuple[int, str]:
    return mark[:2]


def _pick(choose: Any, one: Mark | None, other: Mark | None) -> Mark | None:
    if one is None or other is None:
        return one or other
    picked: Mark = choose(one, other)
    return picked


def revenue_of(event: Any, spec: SessionsSpec) -> int:
    """The event's revenue in ten-thousandths: ``revenue``, or price x quantity of a purchase."""
    revenue = event.revenue
    if not isinstance(revenue, float | int):
        if event.event_type not in spec.purchase_types or not isinstance(event.price, float | int):
            return 0
        quantity = event.quantity if isinstance(event.quantity, int) else 1
        revenue = event.price * quantity
    return round(revenue * CENTS) if abs(revenue) < 1e14 else 0
