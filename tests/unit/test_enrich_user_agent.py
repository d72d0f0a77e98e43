"""User agents: browsers, systems, devices, and bots."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.logic.enrich.bots import DISTRUSTED, REASONS, Bots
from webevents.logic.enrich.group import Carried
from webevents.logic.enrich.user_agent import OUTPUTS, UserAgents

AGENTS = UserAgents()
BOTS = Bots()

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {WEBKIT}"
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK}"
SAFARI_IPHONE = f"{IPHONE} Version/17.5 Mobile/15E148 Safari/604.1"
CHROME = f"{WINDOWS} Chrome/126.0.0.0 Safari/537.36"

PEOPLE = [
    (CHROME, "Chrome", "126.0.0.0", "Windows", "desktop", None),
    (f"{CHROME} Edg/126.0.0.0", "Edge", "126.0.0.0", "Windows", "desktop", None),
    (f"{CHROME} OPR/110.0.0.0", "Opera", "110.0.0", "Windows", "desktop", None),
    (
        "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
        "Internet Explorer",
        "11.0",
        "Windows",
        "desktop",
        None,
    ),
    (
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/17.5 Safari/605.1.15",
        "Safari",
        "17.5",
        "macOS",
        "desktop",
        "Apple",
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        "Firefox",
        "127.0",
        "Linux",
        "desktop",
        None,
    ),
    (
        f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {BLINK} Chrome/126.0.0.0 Safari/537.36",
        "Chrome",
        "126.0.0.0",
        "Chrome OS",
        "desktop",
        None,
    ),
    (SAFARI_IPHONE, "Safari", "17.5", "iOS", "mobile", "Apple"),
    (
        f"{IPHONE} CriOS/126.0.6478.108 Mobile/15E148 Safari/604.1",
        "Chrome",
        "126.0.6478.108",
        "iOS",
        "mobile",
        "Apple",
    ),
    (
        f"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) {WEBKIT} Version/16.6 Mobile/15E148 "
        "Safari/604.1",
        "Safari",
        "16.6",
        "iOS",
        "tablet",
        "Apple",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 14; SM-S918B) {BLINK} Chrome/126.0.0.0 Mobile Safari/537.36",
        "Chrome",
        "126.0.0.0",
        "Android",
        "mobile",
        "Samsung",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-X906C) {BLINK} Chrome/126.0.0.0 Safari/537.36",
        "Chrome",
        "126.0.0.0",
        "Android",
        "tablet",
        "Samsung",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S928B) {BLINK} SamsungBrowser/25.0 "
        "Chrome/121.0.0.0 Mobile Safari/537.36",
        "Samsung Internet",
        "25.0",
        "Android",
        "mobile",
        "Samsung",
    ),
    (
        "Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5",
        "Firefox",
        "48.0",
        "KaiOS",
        "mobile",
        "Nokia",
    ),
    (
        "Mozilla/5.0 (SMART-TV; LINUX; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Version/7.0 TV Safari/537.36",
        "Safari",
        "7.0",
        "Tizen",
        "tv",
        "Samsung",
    ),
    (
        f"Mozilla/5.0 (PlayStation; PlayStation 5/2.26) {WEBKIT} Version/13.0 Safari/605.1.15",
        "Safari",
        "13.0",
        None,
        "console",
        "Sony",
    ),
    # Browsers within apps, and a telephone with "bot" in its name.
    (
        f"{IPHONE} Mobile/15E148 Instagram 336.0.5.25 (iPhone13,2; iOS 17_5)",
        "Instagram",
        "336.0.5",
        "iOS",
        "mobile",
        "Apple",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-A536B Build/TP1A; wv) {BLINK} Version/4.0 "
        "Chrome/126.0.6478.122 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/470.0.0.0;]",
        "Facebook",
        "470.0.0",
        "Android",
        "mobile",
        "Samsung",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 12; CUBOT X50) {BLINK} Chrome/126.0.0.0 Mobile Safari/537.36",
        "Chrome",
        "126.0.0.0",
        "Android",
        "mobile",
        "Cubot",
    ),
]


@pytest.mark.parametrize(("text", "browser", "version", "system", "device", "brand"), PEOPLE)
def test_people(
    text: str, browser: str, version: str, system: str | None, device: str, brand: str | None
) -> None:
    agent = AGENTS.agent(text)
    assert agent.bot is None
    assert (agent.browser, agent.browser_version) == (browser, version)
    assert (agent.os, agent.device_type, agent.brand) == (system, device, brand)


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("", None, "empty_user_agent"),
        ("  ", None, "empty_user_agent"),
        ("-", None, "no_product"),
        ("unknown", None, "no_product"),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Googlebot",
            "known_crawler",
        ),
        (
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "bingbot",
            "known_crawler",
        ),
        (f"Mozilla/5.0 {BLINK}; compatible; GPTBot/1.2", "GPTBot", "known_crawler"),
        ("Mozilla/5.0 (compatible; ClaudeBot/1.0)", "ClaudeBot", "known_crawler"),
        ("Mozilla/5.0 (compatible; PerplexityBot/1.0)", "PerplexityBot", "known_crawler"),
        ("facebookexternalhit/1.1", "facebookexternalhit", "known_crawler"),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0)", "AhrefsBot", "known_crawler"),
        ("curl/8.5.0", "curl", "http_library"),
        ("Wget/1.21", "Wget", "http_library"),
        ("python-requests/2.32.3", "python-requests", "http_library"),
        ("Go-http-client/2.0", "Go-http-client", "http_library"),
        ("okhttp/4.12.0", "okhttp", "http_library"),
        ("Java/17.0.2", "Java", "http_library"),
        ("Dart/3.4 (dart:io)", "Dart", "http_library"),
        ("PostmanRuntime/7.39.0", "PostmanRuntime", "http_library"),
        (
            f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} HeadlessChrome/126.0.0.0 Safari/537.36",
            "HeadlessChrome",
            "headless_browser",
        ),
        (f"{CHROME} Cypress/13.6", "Cypress", "headless_browser"),
        ("AcmeBot/1.0 (+https://acme.example/bot)", "AcmeBot", "self_declared"),
        ("my-crawler/2.0", "my-crawler", "self_declared"),
        ("Mozilla/5.0 (compatible; Foo Spider; +https://foo.example)", "Spider", "self_declared"),
    ],
)
def test_bots(text: str, name: str | None, reason: str) -> None:
    assert reason in REASONS
    assert BOTS.recognise(text) == (name, reason)


def test_the_list_still_has_the_patterns_that_are_left_out() -> None:
    import crawleruseragents

    patterns = {entry["pattern"] for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA}
    assert patterns >= DISTRUSTED


def fields(**carried: Any) -> dict[str, Any]:
    found = AGENTS.compute(Carried(carried))
    assert found.keys() <= set(OUTPUTS)
    return {name: value for name, value in found.items() if value is not None}


def test_the_fields_of_a_telephone() -> None:
    assert fields(browser_user_agent=SAFARI_IPHONE) == {
        "browser_name": "Safari",
        "browser_version": "17.5",
        "os_name": "iOS",
        "os_version": "17.5",
        "device_type": "mobile",
        "device_is_mobile": True,
        "device_brand": "Apple",
        "device_model": "iPhone",
        "is_bot": False,
    }


def test_a_version_needs_the_browser_that_the_event_names() -> None:
    agreeing = fields(browser_user_agent=SAFARI_IPHONE, browser_name="safari", os_name="iOS")
    assert (agreeing["browser_version"], agreeing["os_version"]) == ("17.5", "17.5")
    other = fields(
        browser_user_agent=SAFARI_IPHONE,
        browser_name="Opera",
        os_name="Windows",
        device_is_mobile=False,
    )
    assert not {"browser_version", "os_version", "device_brand", "device_model"} & other.keys()


def test_names_of_other_sources_agree() -> None:
    trident = "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko"
    assert fields(browser_user_agent=trident, browser_name="InternetExplorer")["browser_version"]
    mac = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/17 Safari/605"
    assert fields(browser_user_agent=mac, os_name="Mac OS X")["os_version"] == "10.15.7"


def test_a_bot_is_classified() -> None:
    found = fields(browser_user_agent="curl/8.5.0")
    assert (found["is_bot"], found["bot_name"], found["bot_reason"], found["device_type"]) == (
        True,
        "curl",
        "http_library",
        "bot",
    )


def test_what_the_event_says_about_bots_holds() -> None:
    assert (
        not {"bot_name", "bot_reason"}
        & fields(browser_user_agent="curl/8.5.0", is_bot=False).keys()
    )
    person = fields(browser_user_agent=CHROME, is_bot=True)
    assert person["device_type"] == "bot"
    assert "bot_reason" not in person


def test_no_user_agent_is_not_an_empty_one() -> None:
    assert fields() == fields(browser_user_agent=None) == {}
    assert fields(browser_user_agent=" ")["bot_reason"] == "empty_user_agent"


@given(st.text(max_size=3000))
def test_reading_never_raises(text: str) -> None:
    fields(browser_user_agent=text)
