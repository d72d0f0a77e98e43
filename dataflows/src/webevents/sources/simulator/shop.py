"""The profile journeys: visits to a shop, with nine event types on the pages where they belong.

The types come in the proportions of their weights although each needs its page first: a page view
that only leads to another event counts against the page views that the weights ask for, and an
event that does not fit yet (a purchase with an empty cart) is owed until a visit fits it.
"""

from collections.abc import Sequence
from random import Random

from webevents.events.key import SEPARATOR
from webevents.events.times import to_us
from webevents.sources.simulator.catalogue import Catalogue, Kind
from webevents.sources.simulator.chance import Choice, crawler_pause, human_pause
from webevents.sources.simulator.fragments import (
    CRAWL,
    Source,
    check_key,
    members,
    sources,
    value_of,
)
from webevents.sources.simulator.visit import Profile, Visit, crawl_length
from webevents.sources.simulator.visitors import Population, Visitor
from webevents.spec.generator import PAGE_VIEW, GeneratorSpec

KEY_FIELDS = ("user_id", "session_id", "ip_address", "host")
"""Fields that can make up the message key."""


class Script:
    """What visitors do next; shared by all visits, so that the weights hold over all of them.

    :param spec: the simulation.
    """

    def __init__(self, spec: GeneratorSpec, rng: Random) -> None:
        shop = spec.journeys
        self.random = rng.random
        self.bits = rng.getrandbits
        self.max_pages = shop.max_pages
        self.max_length_us = to_us(shop.max_length)
        self.mean_us = to_us(spec.mean_pause)
        kinds = [Kind(name, kind) for name, kind in shop.event_types.items() if kind.weight > 0]
        self._types = Choice((kind, kind.weight) for kind in kinds)
        self.page_view = next(kind for kind in kinds if kind.name == PAGE_VIEW)
        self._owed: dict[Kind, int] = dict.fromkeys(kinds, 0)
        self._owed_in_all = 0
        self._views_ahead = 0

    def view_ahead(self) -> None:
        """A page view took place that the weights did not ask for."""
        self._views_ahead += 1

    def owe(self, kind: Kind) -> None:
        """An event that the weights asked for did not take place."""
        if kind is self.page_view:
            self._views_ahead -= 1
        else:
            self._owed[kind] += 1
            self._owed_in_all += 1

    def draw(self, visit: "ShopVisit") -> Kind:
        """The type of the visit's next event."""
        if self._owed_in_all:
            for kind, owed in self._owed.items():
                if owed and visit.may(kind):
                    self._owed[kind] -= 1
                    self._owed_in_all -= 1
                    return kind
        while True:
            kind = self._types.pick(self.random())
            if kind is self.page_view and self._views_ahead > 0:
                self._views_ahead -= 1
            elif kind is not self.page_view and not visit.meets(kind):
                self.owe(kind)
            else:
                return kind


class ShopVisit(Visit):
    """A person's visit to the shop."""

    __slots__ = ("_cart", "_catalogue", "_extra", "_head", "_intent", "_page", "_pages",
                 "_referrer", "_script", "_signed_in", "_tail")  # fmt: skip

    def __init__(
        self, script: Script, catalogue: Catalogue, visitor: Visitor, key: bytes,
        id_prefix: bytes, source: Source, start_us: int, tail: bytes,
    ) -> None:  # fmt: skip
        super().__init__(visitor, key, id_prefix, source.channel, start_us)
        self._script = script
        self._catalogue = catalogue
        self._tail = tail
        self._page = catalogue.landing(script.random)
        self._referrer = source.referrer
        self._head = script.page_view.head
        self._extra = b""
        self._pages = 1
        self._intent: Kind | None = None
        self._cart: list[int] = []
        self._signed_in = False
        if not visitor.is_bot:
            script.view_ahead()

    def render(self, event_id: bytes, time_text: bytes) -> bytes:
        """See :meth:`Visit.render`."""
        who = self.visitor
        return b"".join(
            (
                b'{"event_id":"', event_id, b'","event_timestamp":"', time_text, self._head,
                self._page.fields, self._referrer, self._extra, self._tail,
                who.geography, who.address, who.browser, who.identity,
            )
        )  # fmt: skip

    def meets(self, kind: Kind) -> bool:
        """Whether what the type needs is there."""
        if kind.needs is None:
            return True
        return bool(self._cart) if kind.needs == "cart" else not self._signed_in

    def may(self, kind: Kind) -> bool:
        """Whether the visit has room for an event of the type, and the page for it."""
        fits = not kind.pages or self._page.kind in kind.pages
        return self.meets(kind) and (fits or self._pages < self._script.max_pages)

    def advance(self, time_us: int) -> int:
        """See :meth:`Visit.advance`."""
        script = self._script
        pause = human_pause(script.mean_us, script.random, script.bits)
        kind, self._intent = self._intent, None
        if time_us + pause - self.start_us > script.max_length_us:
            if kind is not None:
                script.owe(kind)
            return -1
        if kind is None:
            kind = script.draw(self)
            view = kind is script.page_view
            if view or (kind.pages and self._page.kind not in kind.pages):
                if self._pages >= script.max_pages:
                    script.owe(kind)
                    return -1
                if not view:
                    script.view_ahead()
                    self._intent = kind
                self._go(kind)
                kind = script.page_view
        self._head = kind.head
        self._extra = kind.fields + (self._carried(kind) if kind.carries else b"")
        if kind.needs == "signedOut":
            self._signed_in = True
        elif kind.needs == "cart":
            self._cart = []
        return pause

    def _go(self, kind: Kind) -> None:
        page = self._catalogue.next_page(kind.pages, self._script.random, bool(self._cart))
        self._referrer = self._page.referrer
        self._page = page
        self._pages += 1

    def _carried(self, kind: Kind) -> bytes:
        script = self._script
        parts = []
        for group in kind.carries:
            if group == "element":
                parts.append(self._page.element(script.random()))
            elif group == "scroll":
                parts.append(b'"scroll_depth":%d,' % (10 * (1 + int(script.random() * 10))))
            elif group == "search":
                parts.append(self._page.search)
            elif group == "cart":
                quantity = 1 + int(script.random() ** 4 * 4)
                self._cart += [self._page.cents] * quantity
                parts.append(b'"quantity":%d,' % quantity)
            else:
                parts.append(self._order())
        return b"".join(parts)

    def _order(self) -> bytes:
        cents = sum(self._cart)
        return b'"order_id":"order-%s-%d","quantity":%d,"revenue":%d.%02d,%s' % (
            self.id_prefix[:13], self.events, len(self._cart), cents // 100, cents % 100,
            self._catalogue.currency,
        )  # fmt: skip


class ShopCrawl(ShopVisit):
    """A crawler's visit: page views only, fast."""

    __slots__ = ("_left",)

    def crawl(self, count: int) -> None:
        """Set how many pages are crawled."""
        self._left = count

    def advance(self, time_us: int) -> int:
        """See :meth:`Visit.advance`."""
        self._left -= 1
        if self._left <= 0:
            return -1
        self._page = self._catalogue.next_page((), self._script.random, False)
        return crawler_pause(self._script.random)


class Shop(Profile):
    """See the module.

    :param key_fields: what the message key is made of, among :data:`KEY_FIELDS`.
    :param rng: decides what visitors are and do.
    :param ids: gives identifiers, which differ between runs that begin at different times.
    """

    def __init__(
        self, spec: GeneratorSpec, key_fields: Sequence[str], rng: Random, ids: Random
    ) -> None:
        check_key(key_fields, KEY_FIELDS, "journeys")
        self._spec = spec
        self._random = rng.random
        self._ids = ids.getrandbits
        self._key_fields = tuple(key_fields)
        self._people = Population(spec, rng)
        self._script = Script(spec, rng)
        self._catalogues = [Catalogue(spec.journeys, host) for host in spec.hosts]
        self._sources = Choice(sources(spec))
        self._campaigns = Choice(
            (members({"utm_campaign": name}), weight) for name, weight in spec.campaigns.items()
        )

    def visitor(self, number: int) -> Visitor:
        """See :meth:`Profile.visitor`."""
        return self._visitor(b"user-%06d" % number, number, False)

    def crawler(self, number: int) -> Visitor:
        """See :meth:`Profile.crawler`."""
        return self._visitor(b"guest-%012x" % self._ids(48), number, True)

    def _visitor(self, name: bytes, number: int, is_bot: bool) -> Visitor:
        setting = self._people.setting(is_bot)
        address = self._people.address(setting.place, number)
        identity = b'"viewport_size":"%s","user_id":"%s"}' % (
            setting.agent.viewport.encode(), name,
        )  # fmt: skip
        return Visitor(name, address, setting, identity, is_bot)

    def visit(self, visitor: Visitor, id_prefix: bytes, start_us: int) -> ShopVisit:
        """See :meth:`Profile.visit`."""
        catalogues = self._catalogues
        shop = catalogues[int(self._random() * len(catalogues))]
        session = b"sess-%016x" % self._ids(64)
        values = {
            "user_id": visitor.name.decode(),
            "session_id": session.decode(),
            "ip_address": value_of(visitor.address, "ip_address"),
            "host": shop.host,
        }
        key = SEPARATOR.join(values[field] for field in self._key_fields).encode()
        source = CRAWL if visitor.is_bot else self._sources.pick(self._random())
        campaign = self._campaigns.pick(self._random()) if source.campaign else b""
        tail = b'%s%s"host":"%s","session_id":"%s",' % (
            source.utm, campaign, shop.host.encode(), session,
        )  # fmt: skip
        make = ShopCrawl if visitor.is_bot else ShopVisit
        visit = make(self._script, shop, visitor, key, id_prefix, source, start_us, tail)
        if isinstance(visit, ShopCrawl):
            visit.crawl(crawl_length(self._random))
        return visit

    def mean_events(self) -> float:
        """See :meth:`Profile.mean_events`; measured on some visits of a shop of its own."""
        rng = Random("mean")
        shop = Shop(self._spec, ("user_id",), rng, rng)
        visits, events = 300, 0
        for number in range(visits):
            visit = shop.visit(shop.visitor(number), b"0" * 24, 0)
            time_us = pause = 0
            while pause >= 0 and visit.events < self._spec.visits.max_events:
                visit.events += 1
                time_us += pause
                pause = visit.advance(time_us)
            events += visit.events
        return events / visits
