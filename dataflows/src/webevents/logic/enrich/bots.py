"""Telling bots from people by their user agent. Bots are named, never dropped.

The list of crawlers is the package crawler-user-agents (MIT licence). Our own rules find what no
list names: tools that say what they are, HTTP libraries, and browsers without a screen.
"""

import re
from typing import NamedTuple

import crawleruseragents

from webevents.logic.enrich.cache import Cache

REASONS: dict[str, str] = {
    "empty_user_agent": "The event carries a user agent without text.",
    "known_crawler": "The user agent is in the list of crawlers.",
    "http_library": "A program's HTTP library made the request.",
    "headless_browser": "A browser that is driven by a program.",
    "self_declared": "The user agent calls itself a bot, crawler, spider or scraper.",
    "no_product": "The user agent is too short or names no product with a version.",
}
"""Values of ``bot_reason``."""

DISTRUSTED = frozenset(
    (
        # Matches people: browsers within apps, and words that occur in names of telephones.
        "MetaIAB Facebook",
        "Sonic",
        "Viber",
        "Fluid",
        "Trove",
        "speedy",
        "Blackboard",
        "linko",
        "008\\/",
        "Code\\/1\\.",
        "mail\\.ru",
    )
)
"""Patterns of the list that match the browsers of people, and are left out."""

_TAG_REASONS = {"http-library": "http_library", "browser-automation": "headless_browser"}
_CHUNK = 50
_NAME_LENGTH = 60
_VERSION = re.compile(r"[/ ]v?[0-9][\w.]*$")
_OWN = (
    (
        "headless_browser",
        re.compile(
            r"headless\w*|phantomjs|slimerjs|electron-fetch|puppeteer|playwright|selenium"
            r"|webdriver|cypress",
            re.IGNORECASE,
        ),
    ),
    (
        "self_declared",
        # The telephones of Cubot are no bots.
        re.compile(r"\b(?!cubot)[\w-]{0,40}(?:bot|crawler|spider|scraper)\b", re.IGNORECASE),
    ),
    (
        "http_library",
        re.compile(
            r"^(?:curl|wget|libcurl|libwww|lwp|ruby|faraday|java|php|guzzle\w*|dart|perl"
            r"|restsharp|postman\w*|insomnia|httpie|python|undici|node|deno|bun|reqwest|ureq"
            r"|hyper|resty|apache-httpclient|winhttp|powershell)(?![a-z])[^ ]*",
            re.IGNORECASE,
        ),
    ),
)
_PRODUCT = re.compile(r"[a-z][\w.-]*/[0-9v]|mozilla|opera", re.IGNORECASE)


class Bot(NamedTuple):
    """Why a user agent is taken for a bot's."""

    name: str | None
    reason: str
    """One of :data:`REASONS`."""


class _Pattern(NamedTuple):
    regex: re.Pattern[str]
    reason: str


class Bots:
    """Recognises bots; builds its patterns once, in about a tenth of a second."""

    def __init__(self) -> None:
        entries = [
            entry
            for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA
            if entry["pattern"] not in DISTRUSTED
        ]
        self._chunks = [
            re.compile("|".join(f"(?:{entry['pattern']})" for entry in entries[at : at + _CHUNK]))
            for at in range(0, len(entries), _CHUNK)
        ]
        self._entries = entries
        self._patterns: Cache[int, _Pattern] = Cache(self._compile, len(entries))

    def recognise(self, user_agent: str) -> Bot | None:
        """The bot that a user agent belongs to, or None for a person's browser or app."""
        if not user_agent.strip():
            return Bot(None, "empty_user_agent")
        for number, chunk in enumerate(self._chunks):
            if chunk.search(user_agent):
                return self._listed(user_agent, number * _CHUNK)
        for reason, regex in _OWN:
            match = regex.search(user_agent)
            if match:
                return Bot(_name(match[0]), reason)
        if not _PRODUCT.search(user_agent):
            return Bot(None, "no_product")
        return None

    def _listed(self, user_agent: str, first: int) -> Bot:
        for number in range(first, min(first + _CHUNK, len(self._entries))):
            pattern = self._patterns[number]
            match = pattern.regex.search(user_agent)
            if match:
                return Bot(_name(match[0]), pattern.reason)
        return Bot(None, "known_crawler")  # pragma: no cover - a chunk matches by one of its parts

    def _compile(self, number: int) -> _Pattern:
        entry = self._entries[number]
        reasons = (_TAG_REASONS.get(tag) for tag in entry.get("tags", ()))
        reason = next((reason for reason in reasons if reason), "known_crawler")
        return _Pattern(re.compile(entry["pattern"]), reason)


def _name(text: str) -> str | None:
    text = _VERSION.sub("", text.strip(" /;,()+"))
    return text.strip(" /;,()+")[:_NAME_LENGTH] or None
