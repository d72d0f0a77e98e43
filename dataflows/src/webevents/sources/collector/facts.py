"""What a request tells beside its body: address, browser, visitor, site."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from webevents.sources.collector.addresses import Addresses, peer_address
from webevents.sources.collector.hints import hinted
from webevents.sources.collector.privacy import Handling, Privacy
from webevents.sources.collector.sites import Site
from webevents.sources.collector.visitor import NOBODY, Visitor, Visitors, cookies
from webevents.spec.collector import CollectorSpec

_PAGE = frozenset(("origin", "referer", "sec-fetch-site"))
MAX_AGENT = 2_000
"""Characters of a User-Agent header that are kept; no browser's is as long."""


@dataclass(slots=True)
class Facts:
    """The facts of one request."""

    received_us: int
    site: str | None
    handling: Handling
    """What the headers ask for; an event's own consent may ask for more."""
    prefer_own: bool
    from_browser: bool = False
    """Whether a page sent the request, which browsers say in headers."""
    consent_cookie: str | None = None
    visitor: Visitor = NOBODY
    fields: dict[str, Any] = field(default_factory=dict)
    """Of the visitor's browser; they complete events that came from it."""
    page_url: str | None = None
    """The Referer header: the page that an image or a script stands on."""


class FactReader:
    """Reads the facts."""

    def __init__(self, spec: CollectorSpec, privacy: Privacy) -> None:
        self._addresses = Addresses(spec.proxies)
        self._visitors = Visitors(spec.visitor)
        self._prefer_own = spec.visitor.prefer == "collector"
        self._privacy = privacy
        self._wants_cookies = spec.visitor.mode == "cookie" or bool(privacy.consent_cookie)

    def address(self, peer: str, headers: Mapping[str, str]) -> str | None:
        """The client's address."""
        return self._addresses.client(peer, headers)

    def trusts(self, peer: str) -> bool:
        """Whether a peer is a trusted proxy."""
        address = peer_address(peer)
        return address is not None and self._addresses.trusts(address)

    def read(
        self, address: str | None, headers: Mapping[str, str], site: Site, received_us: int
    ) -> Facts:
        """The facts of a request whose site is known."""
        facts = Facts(received_us, site.name, self._privacy.of_request(headers), self._prefer_own)
        facts.from_browser = not _PAGE.isdisjoint(headers)
        agent = (headers.get("user-agent") or "")[:MAX_AGENT]
        sent = cookies(headers.get("cookie")) if self._wants_cookies else {}
        if self._privacy.consent_cookie:
            facts.consent_cookie = sent.get(self._privacy.consent_cookie)
        if facts.handling is Handling.FULL:
            cookie = sent.get(self._visitors.cookie_name)
            facts.visitor = self._visitors.visitor(cookie, site.name, address, agent, received_us)
        fields = facts.fields
        if address is not None:
            fields["ip_address"] = address
        if agent:
            fields["browser_user_agent"] = agent
        if language := headers.get("accept-language"):
            first = language.partition(",")[0].partition(";")[0].strip()
            if first and first != "*":
                fields["browser_language"] = first[:100]
        fields.update(hinted(headers))
        facts.page_url = headers.get("referer") or None
        return facts
