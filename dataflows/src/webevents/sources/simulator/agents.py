"""What visitors browse with: user agents, and what an analyst reads from them.

Names are the families that ua-parser reads from the text, so that the fields which an event
carries and those which the enrich stage would add agree; a test holds them together.
"""

from typing import NamedTuple


class Agent(NamedTuple):
    """One combination of device, operating system and browser."""

    platform: str
    """Operating system as spec.generator.platforms names it."""
    os_name: str
    os: str
    browser_name: str
    device_type: str
    """desktop, mobile, tablet or bot."""
    viewport: str
    user_agent: str
    weight: float
    """How common it is within its platform."""


_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_WIN = "Windows NT 10.0; Win64; x64"
_MAC = "Macintosh; Intel Mac OS X 10_15_7"
_X11 = "X11; Linux x86_64"
_PHONE = "iPhone; CPU iPhone OS 18_6 like Mac OS X"
_PAD = "iPad; CPU OS 18_6 like Mac OS X"


def _chrome(system: str, version: int, tail: str = "Safari/537.36") -> str:
    return f"Mozilla/5.0 ({system}) {_WEBKIT} Chrome/{version}.0.0.0 {tail}"


def _firefox(system: str, version: int) -> str:
    return f"Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"


def _apple(system: str, browser: str) -> str:
    return f"Mozilla/5.0 ({system}) {_SAFARI} {browser}"


_FULL_HD, _LAPTOP, _RETINA, _TABLET = "1920x953", "1536x730", "1440x789", "820x1106"
_ANDROID_PHONE, _IPHONE = "412x839", "393x659"

AGENTS: tuple[Agent, ...] = (
    *(
        Agent("Windows", "Windows", "Windows 10", browser, "desktop", viewport, text, weight)
        for browser, viewport, text, weight in (
            ("Chrome", _FULL_HD, _chrome(_WIN, 141), 40),
            ("Chrome", _LAPTOP, _chrome(_WIN, 140), 20),
            ("Edge", _FULL_HD, _chrome(_WIN, 141, "Safari/537.36 Edg/141.0.0.0"), 22),
            ("Firefox", _LAPTOP, _firefox(_WIN, 143), 12),
            ("Opera", _FULL_HD, _chrome(_WIN, 139, "Safari/537.36 OPR/123.0.0.0"), 6),
        )
    ),
    *(
        Agent("macOS", "Mac OS X", f"Mac OS X {os}", browser, "desktop", _RETINA, text, weight)
        for os, browser, text, weight in (
            ("10.15.7", "Safari", _apple(_MAC, "Version/18.6 Safari/605.1.15"), 48),
            ("10.15.7", "Chrome", _chrome(_MAC, 141), 40),
            ("10.15", "Firefox", _firefox("Macintosh; Intel Mac OS X 10.15", 143), 8),
            ("10.15.7", "Edge", _chrome(_MAC, 141, "Safari/537.36 Edg/141.0.0.0"), 4),
        )
    ),
    Agent("Linux", "Linux", "Linux", "Chrome", "desktop", _FULL_HD, _chrome(_X11, 141), 55),
    Agent("Linux", "Linux", "Linux", "Firefox", "desktop", _FULL_HD, _firefox(_X11, 143), 45),
    *(
        Agent("Android", "Android", f"Android {version}", browser, device, viewport, text, weight)
        for version, browser, device, viewport, text, weight in (
            ("10", "Chrome Mobile", "mobile", _ANDROID_PHONE,
             _chrome("Linux; Android 10; K", 141, "Mobile Safari/537.36"), 62),
            ("10", "Samsung Internet", "mobile", _ANDROID_PHONE,
             f"Mozilla/5.0 (Linux; Android 10; K) {_WEBKIT} SamsungBrowser/28.0 "
             "Chrome/130.0.0.0 Mobile Safari/537.36", 14),
            ("14", "Firefox Mobile", "mobile", "360x664",
             "Mozilla/5.0 (Android 14; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0", 6),
            ("10", "Edge Mobile", "mobile", _ANDROID_PHONE,
             _chrome("Linux; Android 10; K", 141, "Mobile Safari/537.36 EdgA/141.0.0.0"), 3),
            ("14", "Chrome", "tablet", "800x1137",
             _chrome("Linux; Android 14; SM-X710", 141), 12),
            ("14", "Firefox Mobile", "tablet", "800x1159",
             "Mozilla/5.0 (Android 14; Tablet; rv:143.0) Gecko/143.0 Firefox/143.0", 3),
        )
    ),
    *(
        Agent("iOS", "iOS", "iOS 18.6", browser, device, viewport, text, weight)
        for browser, device, viewport, text, weight in (
            ("Mobile Safari", "mobile", _IPHONE,
             _apple(_PHONE, "Version/18.6 Mobile/15E148 Safari/604.1"), 66),
            ("Chrome Mobile iOS", "mobile", _IPHONE,
             _apple(_PHONE, "CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1"), 15),
            ("Firefox iOS", "mobile", _IPHONE,
             _apple(_PHONE, "FxiOS/143.0 Mobile/15E148 Safari/605.1.15"), 3),
            ("Mobile Safari", "tablet", _TABLET,
             _apple(_PAD, "Version/18.6 Mobile/15E148 Safari/604.1"), 13),
            ("Chrome Mobile iOS", "tablet", _TABLET,
             _apple(_PAD, "CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1"), 3),
        )
    ),
)  # fmt: skip
"""Texts in the reduced form that today's browsers send."""


def _crawler(name: str, text: str, weight: float) -> Agent:
    return Agent("", "Other", "Other", name, "bot", "1024x768", text, weight)


_LIKE_GECKO = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible;"

CRAWLERS: tuple[Agent, ...] = (
    _crawler("Googlebot", "Mozilla/5.0 (compatible; Googlebot/2.1; "
             "+http://www.google.com/bot.html)", 30),
    _crawler("bingbot", "Mozilla/5.0 (compatible; bingbot/2.0; "
             "+http://www.bing.com/bingbot.htm)", 20),
    _crawler("YandexBot", "Mozilla/5.0 (compatible; YandexBot/3.0; "
             "+http://yandex.com/bots)", 5),
    _crawler("AhrefsBot", "Mozilla/5.0 (compatible; AhrefsBot/7.0; "
             "+http://ahrefs.com/robot/)", 15),
    _crawler("GPTBot", f"{_LIKE_GECKO} GPTBot/1.2; +https://openai.com/gptbot)", 15),
    _crawler("ClaudeBot", f"{_LIKE_GECKO} ClaudeBot/1.0; +claudebot@anthropic.com)", 15),
)  # fmt: skip
"""Crawlers as they name themselves; the browser name is the family that ua-parser reads."""
