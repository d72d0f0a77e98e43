"""Where a visit comes from: page, campaign, referrer, source category, channel."""

from typing import Any, NamedTuple

from webevents.logic.enrich.cache import Cache
from webevents.logic.enrich.channel import CLICK_ID_NAMES, channel_of
from webevents.logic.enrich.group import Carried
from webevents.logic.enrich.referrer import Referrers
from webevents.logic.enrich.source_category import SourceCategories
from webevents.logic.enrich.urls import Url, query_values, split_url

CAMPAIGN = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
INPUTS = ("page_url", "referer_url", "host")
OUTPUTS = (
    *CAMPAIGN,
    "page_host",
    "page_url_path",
    "referer_host",
    "referer_url_scheme",
    "referer_url_port",
    "referer_medium",
    "referer_name",
    "referer_term",
    "source_category",
    "channel",
)
_WANTED = frozenset((*CAMPAIGN, *CLICK_ID_NAMES))
_URLS = 10_000


class _Page(NamedTuple):
    url: Url
    parameters: dict[str, str]


def _page(text: str) -> _Page:
    url = split_url(text)
    return _Page(url, query_values(url.query, _WANTED))


class TrafficSource:
    """Computes the fields of :data:`OUTPUTS`.

    :param referrers: the known referring hosts.
    :param categories: the configured categories of sources.
    """

    def __init__(self, referrers: Referrers, categories: SourceCategories) -> None:
        self._referrers = referrers
        self._categories = categories
        self._pages: Cache[str, _Page] = Cache(_page, _URLS)
        self._urls: Cache[str, Url] = Cache(split_url, _URLS)

    def compute(self, carried: Carried) -> dict[str, Any]:
        """The fields of one event; see :data:`webevents.logic.enrich.group.Compute`."""
        page = self._pages[carried.get("page_url") or ""]
        refer = self._urls[carried.get("referer_url") or ""]
        own_host = page.url.host or split_url(carried.get("host") or "").host
        referrer = self._referrers.of_url(refer, own_host)
        fields: dict[str, Any] = {
            "page_host": page.url.host,
            "page_url_path": page.url.path or ("/" if page.url.host else ""),
            "referer_host": refer.host,
            "referer_url_scheme": refer.scheme if refer.host else "",
            "referer_url_port": refer.port,
            "referer_medium": referrer.medium,
            "referer_name": referrer.name,
            "referer_term": referrer.term,
        }
        for name in CAMPAIGN:
            fields[name] = page.parameters.get(name)
        final = {name: carried.choose(name, fields[name]) for name in CAMPAIGN}
        fields["source_category"] = self._categories.category(final["utm_source"])
        medium = referrer.medium
        if not refer.host:
            # Without a URL to judge by, the medium that the source of the event saw is believed.
            medium = str(carried.get("referer_medium") or medium).strip().lower()
        fields["channel"] = channel_of(
            self._referrers,
            source=final["utm_source"],
            medium=final["utm_medium"],
            campaign=final["utm_campaign"],
            click_ids=page.parameters,
            referrer_medium=medium,
        )
        return fields
