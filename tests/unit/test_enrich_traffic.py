"""Source categories, channels, referrers, URLs: tables of cases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.logic.enrich.channel import channel_of
from webevents.logic.enrich.channel_rules import CLICK_IDS, RULES
from webevents.logic.enrich.email_domain import email_domain
from webevents.logic.enrich.referrer import Referrer, Referrers, is_same_site
from webevents.logic.enrich.services import SERVICES
from webevents.logic.enrich.source_category import SourceCategories
from webevents.logic.enrich.urls import Url, query_values, split_url
from webevents.spec.enrich import EnrichSpec, ReferrerSpec

REFERRERS = Referrers()


@pytest.mark.parametrize(
    ("source", "category"),
    [
        ("google", "search_engine"),
        ("bing", "search_engine"),
        ("facebook", "social_media"),
        ("instagram", "social_media"),
        ("mailchimp", "email_marketing"),
        ("Google", "search_engine"),
        (" bing ", "search_engine"),
        ("googles", "other/unknown"),
        ("yahoo", "other/unknown"),
        ("", "other/unknown"),
        (None, "other/unknown"),
    ],
)
def test_source_category(source: str | None, category: str) -> None:
    assert SourceCategories(EnrichSpec().source_categories).category(source) == category


def test_source_categories_are_configuration() -> None:
    categories = SourceCategories({"partners": ("Acme", "foo")})
    assert [categories.category(s) for s in ("acme", "FOO", "google")] == [
        "partners",
        "partners",
        "other/unknown",
    ]


@pytest.mark.parametrize(
    ("identifier", "domain"),
    [
        ("jane@example.com", "example.com"),
        ("Jane@Example.COM", "example.com"),
        ('"a@b"@example.org', "example.org"),
        ("jane@", "n/a"),
        ("jane", "n/a"),
        ("", "n/a"),
        (None, "n/a"),
        (17, "n/a"),
        (1.5, "n/a"),
    ],
)
def test_email_domain(identifier: object, domain: str) -> None:
    assert email_domain(identifier) == domain


@pytest.mark.parametrize(
    ("source", "medium", "campaign", "channel"),
    [
        ("(direct)", "(none)", "", "Direct"),
        ("direct", "(not set)", "", "Direct"),
        ("direct", "", "", "Direct"),
        ("direct", "cpc", "", "Paid Other"),
        ("google", "cpc", "summer cross-network 1", "Cross-network"),
        ("", "", "Cross-Network", "Cross-network"),
        ("amazon", "cpc", "", "Paid Shopping"),
        ("google", "cpc", "summer shopping", "Paid Shopping"),
        ("google", "cpc", "shop-now", "Paid Shopping"),
        ("google", "cpc", "workshop", "Paid Search"),
        ("ebay.de", "ppc", "", "Paid Shopping"),
        ("google", "cpc", "", "Paid Search"),
        ("GOOGLE", "CPC", "", "Paid Search"),
        ("bing", "ppc", "", "Paid Search"),
        ("google.co.uk", "paidsearch", "", "Paid Search"),
        ("duckduckgo", "retargeting", "", "Paid Search"),
        ("yandex", "cpm", "", "Paid Search"),
        ("facebook", "cpc", "", "Paid Social"),
        ("fb", "paid_social", "", "Paid Social"),
        ("ig", "paid", "", "Paid Social"),
        ("m.facebook.com", "cpc", "", "Paid Social"),
        ("tiktok", "cpm", "", "Paid Social"),
        ("linkedin", "paid-social", "", "Paid Social"),
        ("youtube", "cpv-cpc", "", "Paid Video"),
        ("vimeo.com", "cpc", "", "Paid Video"),
        ("adnet", "display", "", "Display"),
        ("google", "display", "", "Display"),
        ("adnet", "banner", "", "Display"),
        ("adnet", "expandable", "", "Display"),
        ("adnet", "interstitial", "", "Display"),
        ("adnet", "cpm", "", "Display"),
        ("adnet", "cpc", "", "Paid Other"),
        ("mailchimp", "cpc", "", "Paid Other"),
        ("", "ppc", "", "Paid Other"),
        ("etsy", "", "", "Organic Shopping"),
        ("adnet", "post", "eshop", "Organic Shopping"),
        ("google shopping", "organic", "", "Organic Shopping"),
        ("facebook", "", "", "Organic Social"),
        ("facebook", "organic", "", "Organic Social"),
        ("google", "social", "", "Organic Social"),
        ("someone", "social-network", "", "Organic Social"),
        ("someone", "social network", "", "Organic Social"),
        ("someone", "sm", "", "Organic Social"),
        ("bluesky", "post", "", "Organic Social"),
        ("bsky", "", "", "Organic Social"),
        ("twitter", "", "", "Organic Social"),
        ("t.co", "referral", "", "Organic Social"),
        ("youtube", "", "", "Organic Video"),
        ("someone", "video-page", "", "Organic Video"),
        ("twitch", "organic", "", "Organic Video"),
        ("google", "organic", "", "Organic Search"),
        ("google", "", "", "Organic Search"),
        ("google", "affiliate", "", "Organic Search"),
        ("mailchimp", "organic", "", "Organic Search"),
        ("someone", "organic", "", "Organic Search"),
        ("ecosia.org", "", "", "Organic Search"),
        ("chatgpt.com", "", "", "AI Assistants"),
        ("chatgpt", "referral", "", "AI Assistants"),
        ("openai", "", "", "AI Assistants"),
        ("perplexity", "", "", "AI Assistants"),
        ("claude.ai", "", "", "AI Assistants"),
        ("gemini.google.com", "", "", "AI Assistants"),
        ("copilot", "", "", "AI Assistants"),
        ("someone", "ai-assistant", "", "AI Assistants"),
        ("partner.example", "referral", "", "Referral"),
        ("someone", "app", "", "Referral"),
        ("someone", "link", "", "Referral"),
        ("someone", "email", "", "Email"),
        ("someone", "e-mail", "", "Email"),
        ("someone", "e_mail", "", "Email"),
        ("e mail", "", "", "Email"),
        ("mailchimp", "email", "", "Email"),
        ("mailchimp", "", "", "Email"),
        ("newsletter", "", "", "Email"),
        ("someone", "newsletter", "", "Email"),
        ("someone", "affiliate", "", "Affiliates"),
        ("someone", "affiliates", "", "Affiliates"),
        ("podcast", "audio", "", "Audio"),
        ("sms", "", "", "SMS"),
        ("someone", "sms", "", "SMS"),
        ("someone", "push", "", "Mobile Push Notifications"),
        ("someone", "web-push", "", "Mobile Push Notifications"),
        ("someone", "mobile-app", "", "Mobile Push Notifications"),
        ("someone", "notification", "", "Mobile Push Notifications"),
        ("firebase", "fcm", "", "Mobile Push Notifications"),
        ("someone", "", "", "Unassigned"),
        ("someone", "qr", "spring", "Unassigned"),
    ],
)
def test_channel_of_a_campaign(source: str, medium: str, campaign: str, channel: str) -> None:
    found = channel_of(
        REFERRERS, source=source, medium=medium, campaign=campaign, referrer_medium="search"
    )
    assert found == channel


def test_every_rule_has_a_case() -> None:
    cases = test_channel_of_a_campaign.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {rule.channel for rule in RULES} <= {case[3] for case in cases}


@pytest.mark.parametrize(
    ("medium", "channel"),
    [
        ("none", "Direct"),
        ("internal", "Internal"),
        ("search", "Organic Search"),
        ("social", "Organic Social"),
        ("video", "Organic Video"),
        ("shopping", "Organic Shopping"),
        ("email", "Email"),
        ("ai", "AI Assistants"),
        ("referral", "Referral"),
        ("of another tracker", "Referral"),
    ],
)
def test_channel_of_a_referrer(medium: str, channel: str) -> None:
    assert channel_of(REFERRERS, referrer_medium=medium) == channel
    assert channel_of(REFERRERS, campaign="spring", referrer_medium=medium) == channel


@pytest.mark.parametrize(
    ("source", "medium", "click", "channel"),
    [
        (None, None, "gclid", "Paid Search"),
        (None, None, "gbraid", "Paid Search"),
        (None, None, "wbraid", "Paid Search"),
        (None, None, "msclkid", "Paid Search"),
        (None, None, "yclid", "Paid Search"),
        (None, None, "dclid", "Display"),
        (None, None, "ttclid", "Paid Social"),
        (None, None, "twclid", "Paid Social"),
        (None, None, "li_fat_id", "Paid Social"),
        (None, None, "sccid", "Paid Social"),
        (None, None, "rdt_cid", "Paid Social"),
        (None, None, "fbclid", "Organic Social"),
        (None, None, "igshid", "Organic Social"),
        (None, None, "igsh", "Organic Social"),
        (None, None, "epik", "Organic Social"),
        (None, None, "srsltid", "Organic Shopping"),
        (None, None, "mc_eid", "Email"),
        (None, None, "_kx", "Email"),
        (None, None, "_hsenc", "Email"),
        (None, None, "irclickid", "Affiliates"),
        (None, None, "awc", "Affiliates"),
        (None, None, "cjevent", "Affiliates"),
        ("google", None, "gclid", "Paid Search"),
        ("google", "organic", "gclid", "Organic Search"),
        ("facebook", None, "gclid", "Organic Social"),
        ("(direct)", "(none)", "gclid", "Paid Search"),
        (None, "email", "gclid", "Email"),
        ("unheard-of", None, "gclid", "Unassigned"),
    ],
)
def test_channel_of_a_click_identifier(
    source: str | None, medium: str | None, click: str, channel: str
) -> None:
    assert click in {known.parameter for known in CLICK_IDS}
    found = channel_of(REFERRERS, source=source, medium=medium, click_ids={click: "1"})
    assert found == channel


def test_the_decisive_click_identifier_holds() -> None:
    both = {"fbclid": "1", "gclid": "2"}
    assert channel_of(REFERRERS, click_ids=both) == "Paid Search"


@pytest.mark.parametrize(
    ("url", "medium", "name", "term"),
    [
        ("https://www.google.com/", "search", "Google", None),
        ("https://www.google.de/search?q=red+shoes&ie=utf", "search", "Google", "red shoes"),
        ("https://google.co.uk/search?Q=caf%C3%A9", "search", "Google", "café"),
        ("https://www.google.com.br", "search", "Google", None),
        ("http://google.co", "search", "Google", None),
        ("https://news.google.com/x", "search", "Google", None),
        ("android-app://com.google.android.googlequicksearchbox/", "search", "Google", None),
        ("https://www.bing.com/search?q=a", "search", "Bing", "a"),
        ("https://search.yahoo.com/search?p=b", "search", "Yahoo", "b"),
        ("https://search.yahoo.co.jp/search?p=c", "search", "Yahoo", "c"),
        ("https://duckduckgo.com/?q=d", "search", "DuckDuckGo", "d"),
        ("https://yandex.ru/search/?text=e", "search", "Yandex", "e"),
        ("https://yandex.com.tr/search/?text=e", "search", "Yandex", "e"),
        ("https://www.baidu.com/s?wd=f", "search", "Baidu", "f"),
        ("https://search.naver.com/search.naver?query=g", "search", "Naver", "g"),
        ("https://search.brave.com/search?q=h", "search", "Brave Search", "h"),
        ("https://www.startpage.com/do/search?query=i", "search", "Startpage", "i"),
        ("https://www.facebook.com/", "social", "Facebook", None),
        ("https://l.facebook.com/l.php?u=x", "social", "Facebook", None),
        ("http://m.facebook.com", "social", "Facebook", None),
        ("www.instagram.com", "social", "Instagram", None),
        ("https://t.co/abc", "social", "X", None),
        ("https://x.com/a/status/1", "social", "X", None),
        ("https://lnkd.in/abc", "social", "LinkedIn", None),
        ("android-app://com.linkedin.android", "social", "LinkedIn", None),
        ("https://old.reddit.com/r/x", "social", "Reddit", None),
        ("https://www.pinterest.co.uk/", "social", "Pinterest", None),
        ("https://bsky.app/profile/x", "social", "Bluesky", None),
        ("https://mastodon.social/@x", "social", "Mastodon", None),
        ("https://fosstodon.org/@x", "social", "Mastodon", None),
        ("https://news.ycombinator.com/item?id=1", "social", "Hacker News", None),
        ("https://www.tiktok.com/", "social", "TikTok", None),
        ("https://www.youtube.com/results?search_query=j", "video", "YouTube", "j"),
        ("https://youtu.be/x", "video", "YouTube", None),
        ("https://vimeo.com/1", "video", "Vimeo", None),
        ("https://www.twitch.tv/x", "video", "Twitch", None),
        ("https://www.amazon.de/s?k=k", "shopping", "Amazon", "k"),
        ("https://shopping.google.com/", "shopping", "Google Shopping", None),
        ("https://www.ebay.co.uk/sch/i.html?_nkw=l", "shopping", "eBay", "l"),
        ("https://mail.google.com/mail/u/0/", "email", "Gmail", None),
        ("android-app://com.google.android.gm/", "email", "Gmail", None),
        ("https://outlook.live.com/mail/", "email", "Outlook", None),
        ("https://mail.yahoo.com/", "email", "Yahoo Mail", None),
        ("www.mailchimp.com", "email", "Mailchimp", None),
        ("https://chatgpt.com/", "ai", "ChatGPT", None),
        ("https://chat.openai.com/c/1", "ai", "ChatGPT", None),
        ("https://www.perplexity.ai/search?q=m", "ai", "Perplexity", "m"),
        ("https://claude.ai/chat/1", "ai", "Claude", None),
        ("https://gemini.google.com/app", "ai", "Gemini", None),
        ("https://copilot.microsoft.com/", "ai", "Copilot", None),
        ("https://chat.mistral.ai/", "ai", "Le Chat", None),
        ("https://chat.deepseek.com/", "ai", "DeepSeek", None),
        ("https://blog.example.org/post", "referral", None, None),
        ("https://google.com.evil.example/", "referral", None, None),
        ("https://notgoogle.com/", "referral", None, None),
        ("https://google.evil/", "referral", None, None),
        ("https://fax.com/", "referral", None, None),
        ("http://192.0.2.7/x", "referral", None, None),
        ("http://[2001:db8::1]:8080/x", "referral", None, None),
        ("http://www.shop.example/cart", "internal", None, None),
        ("https://shop.example:8443/", "internal", None, None),
        ("SHOP.EXAMPLE/cart", "internal", None, None),
        ("https://blog.shop.example/", "internal", None, None),
        ("https://myshop.example/", "referral", None, None),
        ("", "none", None, None),
        ("/home", "none", None, None),
        ("about:blank", "none", None, None),
        ("-", "none", None, None),
    ],
)
def test_referrer(url: str, medium: str, name: str | None, term: str | None) -> None:
    found = REFERRERS.of_url(split_url(url), "www.shop.example")
    assert found == Referrer(medium, name, term)


def test_further_referrers_go_before_the_table_and_the_own_site() -> None:
    referrers = Referrers(
        {
            "pay.example": ReferrerSpec(medium="internal"),
            "google.com": ReferrerSpec(medium="referral", name="Our Google"),
            "search.shop.example": ReferrerSpec(medium="search", name="Ours"),
        }
    )

    def of(url: str) -> Referrer:
        return referrers.of_url(split_url(url), "shop.example")

    assert of("https://secure.pay.example/back") == Referrer("internal")
    assert of("https://mail.google.com/") == Referrer("referral", "Our Google")
    assert of("https://google.de/") == Referrer("search", "Google")
    assert of("https://search.shop.example/") == Referrer("search", "Ours")
    assert of("https://shop.example/") == Referrer("internal")
    assert channel_of(referrers, source="search.shop.example") == "Organic Search"


def test_a_referrer_without_a_known_page_is_not_internal() -> None:
    assert REFERRERS.of_url(split_url("https://a.example"), "").medium == "referral"
    assert not is_same_site("", "")


def test_no_host_and_no_word_means_two_services() -> None:
    hosts = [host for service in SERVICES for host in service.hosts]
    assert len(hosts) == len(set(hosts))
    words: dict[str, str] = {}
    for service in SERVICES:
        for word in (service.name.lower(), *service.aliases):
            assert words.setdefault(word, service.name) == service.name
        assert all(term == term.lower() for term in service.terms)
        assert all(word == word.lower() for word in service.aliases)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://a.example/b?c=d#e", Url("http", "a.example", "80", "/b", "c=d")),
        ("HTTPS://A.Example.:444", Url("https", "a.example", "444", "", "")),
        ("https://user:pw@a.example/", Url("https", "a.example", "443", "/", "")),
        ("//a.example/b", Url("", "a.example", "", "/b", "")),
        ("www.a.example", Url("", "www.a.example", "", "", "")),
        ("www.a.example?x=1", Url("", "www.a.example", "", "", "x=1")),
        ("a.example:8080/x", Url("", "a.example", "8080", "/x", "")),
        ("localhost:8080", Url("", "localhost", "8080", "", "")),
        ("http://[::1]:80/x", Url("http", "::1", "80", "/x", "")),
        ("http://[::1", Url("http", "", "", "", "")),
        ("http:///x", Url("http", "", "", "/x", "")),
        ("http://bücher.example/", Url("http", "bücher.example", "80", "/", "")),
        ("mailto:a@b.example", Url("mailto")),
        ("/home?utm_source=x", Url("", "", "", "/home", "utm_source=x")),
        ("index.html", Url("", "", "", "index.html", "")),
        ("1.5", Url("", "", "", "1.5", "")),
        ("10.0.0.1/x", Url("", "10.0.0.1", "", "/x", "")),
        ("http://a b/", Url("http", "", "", "/", "")),
        ("http://a..b/", Url("http", "", "", "/", "")),
        ("", Url()),
    ],
)
def test_split_url(text: str, parts: Url) -> None:
    assert split_url(text) == parts


def test_query_values() -> None:
    query = "a=&A=1&a=2&b=x+y%20z&c&utm_source=%ff&d=%"
    names = ("a", "b", "c", "utm_source", "d")
    assert query_values(query, names) == {"a": "1", "b": "x y z", "utm_source": "\ufffd", "d": "%"}
    assert query_values("&".join(["z=1"] * 500) + "&a=1", ("a",)) == {}


@given(st.text(), st.text())
def test_urls_and_referrers_never_raise(url: str, page: str) -> None:
    for text in (url, f"http://{url}", f"https://google.com/?{url}"):
        found = REFERRERS.of_url(split_url(text), split_url(page).host)
        assert found.medium in (
            *(service.medium for service in SERVICES),
            "referral",
            "internal",
            "none",
        )
