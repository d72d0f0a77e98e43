"""The profile web-events: page views of a small site, with 30 fields each."""

from collections.abc import Sequence
from random import Random
from urllib.parse import quote

from webevents.events.key import SEPARATOR
from webevents.events.times import to_us
from webevents.sources.simulator.chance import Choice, crawler_pause, human_pause
from webevents.sources.simulator.fragments import (
    CRAWL,
    Source,
    check_key,
    members,
    referrer,
    sources,
    value_of,
)
from webevents.sources.simulator.visit import Profile, Visit, crawl_length
from webevents.sources.simulator.visitors import Population, Visitor
from webevents.spec.generator import SESSION_END, GeneratorSpec

KEY_FIELDS = ("user_domain_id", "user_custom_id", "ip_address", "host")
"""Fields that can make up the message key."""


class Page:
    """A page of one site."""

    __slots__ = ("followers", "head", "mean_us", "referrer")

    def __init__(self, host: str, name: str) -> None:
        path = "/" + quote(name)
        url = f"https://{host}{path}"
        page = members({"event_type": "pageview", "page_url": url, "page_url_path": path})
        self.head = b'","' + page[1:]
        self.referrer = referrer(url, "internal")
        self.followers: Choice[Page | None]
        self.mean_us = 0


class Site:
    """The pages of one host and the walk over them."""

    __slots__ = ("host", "landing", "pages")

    def __init__(self, spec: GeneratorSpec, host: str) -> None:
        self.host = host
        pages = {name: Page(host, name) for name in spec.site.pages}
        for name, weights in spec.site.pages.items():
            stay = weights.get(name, 0) / sum(weights.values())
            # Who stays sends nothing: the walk among different pages, and longer on this one.
            pages[name].followers = Choice(
                (None if target == SESSION_END else pages[target], weight)
                for target, weight in weights.items()
                if target != name
            )
            pages[name].mean_us = int(to_us(spec.mean_pause) / (1 - stay))
        self.landing = Choice((pages[name], weight) for name, weight in spec.site.landing.items())
        self.pages = list(pages.values())


class SiteVisit(Visit):
    """A person's walk over the site."""

    __slots__ = ("_bits", "_page", "_random", "_referrer", "_tail")

    def __init__(
        self, rng: Random, visitor: Visitor, key: bytes, id_prefix: bytes, channel: str,
        start_us: int, page: Page, referrer: bytes, tail: bytes,
    ) -> None:  # fmt: skip
        super().__init__(visitor, key, id_prefix, channel, start_us)
        self._random = rng.random
        self._bits = rng.getrandbits
        self._page = page
        self._referrer = referrer
        self._tail = tail

    def render(self, event_id: bytes, time_text: bytes) -> bytes:
        """See :meth:`Visit.render`."""
        who = self.visitor
        return b"".join(
            (
                b'{"event_id":"', event_id, b'","event_timestamp":"', time_text,
                self._page.head, self._referrer, self._tail, who.geography, who.address,
                who.browser, who.identity,
            )
        )  # fmt: skip

    def advance(self, time_us: int) -> int:
        """See :meth:`Visit.advance`."""
        page = self._page
        following = page.followers.pick(self._random())
        if following is None:
            return -1
        self._referrer = page.referrer
        self._page = following
        return human_pause(page.mean_us, self._random, self._bits)


class SiteCrawl(SiteVisit):
    """A crawler's visit: pages in any order, fast, without a referrer."""

    __slots__ = ("_left", "_pages")

    def crawl(self, pages: Sequence[Page], count: int) -> None:
        """Set what is crawled."""
        self._pages = pages
        self._left = count

    def advance(self, time_us: int) -> int:
        """See :meth:`Visit.advance`."""
        self._left -= 1
        if self._left <= 0:
            return -1
        self._page = self._pages[int(self._random() * len(self._pages))]
        return crawler_pause(self._random)


class Website(Profile):
    """See the module.

    :param key_fields: what the message key is made of, among :data:`KEY_FIELDS`.
    :param rng: decides what visitors are and do.
    :param ids: gives identifiers, which differ between runs that begin at different times.
    """

    def __init__(
        self, spec: GeneratorSpec, key_fields: Sequence[str], rng: Random, ids: Random
    ) -> None:
        check_key(key_fields, KEY_FIELDS, "web-events")
        self._rng = rng
        self._random = rng.random
        self._ids = ids.getrandbits
        self._key_fields = tuple(key_fields)
        self._plain_key = self._key_fields == ("user_domain_id",)
        self._people = Population(spec, rng)
        self._sites = [Site(spec, host) for host in spec.hosts]
        self._with_host = len(self._sites) > 1 or "host" in key_fields
        self._sources = Choice(sources(spec))
        self._campaigns = Choice(
            (members({"utm_content": content, "utm_campaign": campaign}), share * weight)
            for content, share in spec.contents.items()
            for campaign, weight in spec.campaigns.items()
        )

    def visitor(self, number: int) -> Visitor:
        """See :meth:`Profile.visitor`."""
        return self._visitor(number, False)

    def crawler(self, number: int) -> Visitor:
        """See :meth:`Profile.crawler`."""
        return self._visitor(number, True)

    def _visitor(self, number: int, is_bot: bool) -> Visitor:
        setting = self._people.setting(is_bot)
        digits = b"%032x" % self._ids(128)
        name = b"%s-%s-4%s-a%s-%s" % (
            digits[:8], digits[8:12], digits[13:16], digits[17:20], digits[20:],
        )  # fmt: skip
        address = self._people.address(setting.place, number)
        email = b"null" if is_bot else b'"%s"' % self._people.email(number).encode()
        identity = b'"user_custom_id":%s,"user_domain_id":"%s"}' % (email, name)
        return Visitor(name, address, setting, identity, is_bot)

    def visit(self, visitor: Visitor, id_prefix: bytes, start_us: int) -> SiteVisit:
        """See :meth:`Profile.visit`."""
        sites = self._sites
        site = sites[int(self._random() * len(sites))] if len(sites) > 1 else sites[0]
        key = visitor.name if self._plain_key else self._key(visitor, site.host)
        if visitor.is_bot:
            page = site.pages[int(self._random() * len(site.pages))]
            crawl = SiteCrawl(
                self._rng, visitor, key, id_prefix, CRAWL.channel, start_us, page, CRAWL.referrer,
                self._tail(CRAWL, site),
            )  # fmt: skip
            crawl.crawl(site.pages, crawl_length(self._random))
            return crawl
        source = self._sources.pick(self._random())
        return SiteVisit(
            self._rng, visitor, key, id_prefix, source.channel, start_us,
            site.landing.pick(self._random()), source.referrer, self._tail(source, site),
        )  # fmt: skip

    def _tail(self, source: Source, site: Site) -> bytes:
        campaign = (
            self._campaigns.pick(self._random())
            if source.campaign
            else b'"utm_content":null,"utm_campaign":null,'
        )
        click = b'"%032x"' % self._ids(128) if source.click_id else b"null"
        host = b'"host":"%s",' % site.host.encode() if self._with_host else b""
        return b'%s%s"click_id":%s,%s' % (source.utm, campaign, click, host)

    def _key(self, visitor: Visitor, host: str) -> bytes:
        values = {
            "user_domain_id": visitor.name.decode(),
            "user_custom_id": value_of(visitor.identity, "user_custom_id"),
            "ip_address": value_of(visitor.address, "ip_address"),
            "host": host,
        }
        return SEPARATOR.join(values[field] for field in self._key_fields).encode()

    def mean_events(self) -> float:
        """See :meth:`Profile.mean_events`; the expected length of the walk."""
        landing = self._sites[0].landing
        reach = dict(zip(landing.items, landing.shares, strict=True))
        total = 0.0
        for _ in range(100_000):
            step = sum(reach.values())
            total += step
            if step < 1e-9:
                break
            following: dict[Page, float] = {}
            for page, share in reach.items():
                steps = page.followers
                for target, chance in zip(steps.items, steps.shares, strict=True):
                    if target is not None:
                        following[target] = following.get(target, 0.0) + share * chance
            reach = following
        return total
