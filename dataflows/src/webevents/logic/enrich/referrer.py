"""What a referrer is: the kind of place, the service's name, the term that was searched for."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from webevents.logic.enrich.services import SERVICES, Service
from webevents.logic.enrich.urls import Url, query_values
from webevents.spec.enrich import ReferrerSpec

_SECOND_LEVELS = frozenset(("ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"))
"""Second-level domains below which countries register names: google.co.uk, yahoo.co.jp."""

_GENERIC = frozenset(("com", "net", "org"))


class Referrer(NamedTuple):
    """What is known about where a visitor came from."""

    medium: str = "none"
    """internal, search, social, email, ai, video, shopping, referral, or none."""
    name: str | None = None
    term: str | None = None


class Referrers:
    """Looks hosts up in the table of services.

    :param extra: hosts that go before the built-in table.
    """

    def __init__(self, extra: Mapping[str, ReferrerSpec] | None = None) -> None:
        self._extra = {
            host: Service(spec.name or "", spec.medium, (host,))
            for host, spec in (extra or {}).items()
        }
        self._by_host = {host: service for service in SERVICES for host in service.hosts}
        self._by_source: dict[str, Service] = {}
        for service in SERVICES:
            for word in source_words(service):
                self._by_source.setdefault(word, service)

    def of_host(self, host: str) -> Service | None:
        """The service that a host belongs to; the most specific entry holds."""
        for suffix in _suffixes(host):
            if suffix in self._extra:
                return self._extra[suffix]
        for suffix in _suffixes(host):
            service = self._by_host.get(suffix) or self._by_host.get(_any_country(suffix))
            if service:
                return service
        return None

    def of_source(self, source: str) -> Service | None:
        """The service that a ``utm_source`` means: its name, an alias, or one of its hosts.

        :param source: in lower case.
        """
        service = self._by_source.get(source) or self._extra.get(source)
        if service is None and "." in source:
            service = self.of_host(source)
        return service

    def of_url(self, url: Url, page_host: str) -> Referrer:
        """What a referrer's URL says.

        A referrer is internal where its host is the page's, or one is a subdomain of the other,
        with or without ``www.``; no list of public suffixes is asked, so that sites under one
        shared domain are strangers. A configured host goes before that.

        :param page_host: host of the page that was visited; empty where unknown.
        """
        if not url.host:
            return Referrer()
        service = self.of_host(url.host)
        configured = service is not None and service.hosts[0] in self._extra
        if not configured and is_same_site(url.host, page_host):
            return Referrer("internal")
        if service is None:
            return Referrer("referral")
        found = query_values(url.query, service.terms) if service.terms else {}
        term = next((found[name] for name in service.terms if name in found), None)
        return Referrer(service.medium, service.name or None, term)


def is_same_site(host: str, other: str) -> bool:
    """Whether two hosts are the same, or one is a subdomain of the other."""
    if not host or not other:
        return False
    host, other = host.removeprefix("www."), other.removeprefix("www.")
    return host == other or host.endswith(f".{other}") or other.endswith(f".{host}")


def source_words(service: Service) -> Iterator[str]:
    """Values of ``utm_source`` that mean a service: ``google``, ``fb``, ``linkedin.com``."""
    yield service.name.lower()
    yield from service.aliases
    yield from service.hosts


def _suffixes(host: str) -> Iterator[str]:
    """The host, its parent domain, and so on."""
    while host:
        yield host
        host = host.partition(".")[2]


def _any_country(host: str) -> str:
    """A host with its top-level domain written as ``*``: ``google.co.uk`` is ``google.*``."""
    name, _, top = host.rpartition(".")
    if len(top) == 2 and top.isalpha():
        rest, _, second = name.rpartition(".")
        return f"{rest}.*" if rest and second in _SECOND_LEVELS else f"{name}.*"
    return f"{name}.*" if top in _GENERIC else host
