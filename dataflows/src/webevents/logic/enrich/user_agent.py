"""Reading the User-Agent header: browser, operating system, device, bot.

Browser, system and device come from ua-parser with its compiled regular expressions (Apache-2.0);
how the device's type follows from them is ours.
"""

import re
from typing import Any, NamedTuple

from ua_parser import Parser
from ua_parser.regex import Resolver
from ua_parser_builtins.matchers import MATCHERS

from webevents.logic.enrich.bots import Bot, Bots
from webevents.logic.enrich.cache import Cache
from webevents.logic.enrich.group import Carried

INPUTS = ("browser_user_agent",)
OUTPUTS = (
    "browser_name",
    "browser_version",
    "os_name",
    "os_version",
    "device_type",
    "device_is_mobile",
    "device_brand",
    "device_model",
    "is_bot",
    "bot_name",
    "bot_reason",
)

MAX_LENGTH = 1024
"""Characters of a user agent that are read; no browser's is as long."""
CACHE_SIZE = 10_000

BROWSER_NAMES = {
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Edge Mobile": "Edge",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "IE": "Internet Explorer",
    "IE Mobile": "Internet Explorer",
    "Mobile Safari": "Safari",
    "Opera Mobile": "Opera",
}
"""ua-parser tells a browser's mobile edition by its name; here ``device_type`` does."""
OS_NAMES = {"Mac OS X": "macOS"}

_TABLET = re.compile(r"ipad|tablet|kindle|silk/|playbook|nexus (?:7|9|10)\b", re.IGNORECASE)
_TV = re.compile(
    r"smart-?tv|appletv|apple tv|googletv|google tv|android tv|hbbtv|netcast|web0s|bravia|roku"
    r"|crkey|\btv safari|viera|\baft[a-z]",
    re.IGNORECASE,
)
_CONSOLE = re.compile(r"playstation|xbox|nintendo", re.IGNORECASE)
_MOBILE = re.compile(
    r"iphone|ipod|mobi|dalvik|windows phone|blackberry|bb10|opera mini|kaios|symbian", re.IGNORECASE
)
_DESKTOP = re.compile(r"windows nt|macintosh|x11|linux|cros |bsd", re.IGNORECASE)
_NO_MODELS = frozenset(("Smartphone", "Feature Phone", "Tablet", "Desktop"))
_LETTERS = re.compile(r"[^a-z0-9]+")
_SAME_NAMES = {"ie": "internetexplorer", "macosx": "macos", "osx": "macos"}


class Agent(NamedTuple):
    """What a user agent says."""

    browser: str | None
    browser_version: str | None
    os: str | None
    os_version: str | None
    device_type: str | None
    """desktop, mobile, tablet, tv, console; None where it cannot be told."""
    brand: str | None
    model: str | None
    bot: Bot | None


class UserAgents:
    """Computes the fields of :data:`OUTPUTS`; remembers the user agents that it has read."""

    def __init__(self) -> None:
        matchers: Any = MATCHERS  # typed as lists of subclasses, which mypy holds apart
        self._parser = Parser(Resolver(matchers))
        self._bots = Bots()
        self._agents: Cache[str, Agent] = Cache(self._read, CACHE_SIZE)

    def agent(self, user_agent: str) -> Agent:
        """What a user agent says; never raises."""
        return self._agents[user_agent[:MAX_LENGTH]]

    def compute(self, carried: Carried) -> dict[str, Any]:
        """The fields of one event; see :data:`webevents.logic.enrich.group.Compute`.

        Versions are added only where the event's own browser or system is the one of the user
        agent, and brand and model only where its own device is: sources contradict themselves.
        """
        text = carried.get("browser_user_agent")
        if text is None:
            if not carried.is_blank("browser_user_agent"):
                return {}  # not a browser's event, or the source keeps no user agents
            text = ""
        agent = self.agent(text)
        fields: dict[str, Any] = {"browser_name": agent.browser, "os_name": agent.os}
        if _agree(carried.choose("browser_name", agent.browser), agent.browser):
            fields["browser_version"] = agent.browser_version
        if _agree(carried.choose("os_name", agent.os), agent.os):
            fields["os_version"] = agent.os_version
        fields["is_bot"] = agent.bot is not None
        is_bot = carried.choose("is_bot", fields["is_bot"])
        if is_bot and agent.bot:
            fields["bot_name"], fields["bot_reason"] = agent.bot
        fields["device_type"] = "bot" if is_bot else agent.device_type
        if agent.device_type:
            mobile = agent.device_type in ("mobile", "tablet")
            fields["device_is_mobile"] = mobile
            if carried.choose("device_is_mobile", mobile) == mobile and not agent.bot:
                fields["device_brand"], fields["device_model"] = agent.brand, agent.model
        return fields

    def _read(self, text: str) -> Agent:
        result = self._parser.parse(text)
        browser, system, device = result.user_agent, result.os, result.device
        name = browser.family if browser else None
        os_name = system.family if system else None
        brand = device.brand if device else None
        if brand and brand.startswith("Generic"):
            brand = None
        return Agent(
            browser=BROWSER_NAMES.get(name, name) if name else None,
            browser_version=_version(browser),
            os=OS_NAMES.get(os_name, os_name) if os_name else None,
            os_version=_version(system),
            device_type=_device_type(text),
            brand=brand,
            model=device.model if device and device.model not in _NO_MODELS else None,
            bot=self._bots.recognise(text),
        )


def _version(part: Any) -> str | None:
    if part is None:
        return None
    numbers = (part.major, part.minor, part.patch, part.patch_minor)
    return ".".join(number for number in numbers if number) or None


def _device_type(text: str) -> str | None:
    if _TV.search(text):
        return "tv"
    if _CONSOLE.search(text):
        return "console"
    if _TABLET.search(text):
        return "tablet"
    if _MOBILE.search(text):
        return "mobile"
    if "Android" in text:
        return "tablet"  # Android's browsers say "Mobile" on telephones only
    return "desktop" if _DESKTOP.search(text) else None


def _agree(name: str | None, parsed: str | None) -> bool:
    """Whether a carried name means what was parsed: ``Chrome`` and ``Chrome Mobile WebView``."""
    if not name or not parsed:
        return False
    one, other = _plain(name), _plain(parsed)
    return bool(one) and (one.startswith(other) or other.startswith(one))


def _plain(name: str) -> str:
    letters = _LETTERS.sub("", name.lower())
    return _SAME_NAMES.get(letters, letters)
