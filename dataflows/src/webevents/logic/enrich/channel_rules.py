"""The rules of the default channel grouping, as data.

Source: the public help page "Default channel group" of Google Analytics 4 (state of 2026), whose
names and order are kept so that figures can be compared. Where that page relies on lists that are
not published, the table of :mod:`webevents.logic.enrich.services` stands in. Rules marked
``ours`` decide what the page leaves unassigned or cannot see.
"""

import re
from collections.abc import Callable
from typing import NamedTuple


class Traffic(NamedTuple):
    """What the rules look at; texts are in lower case, empty where absent."""

    source: str = ""
    medium: str = ""
    campaign: str = ""
    kind: str = ""
    """What the source is: search, social, video, shopping, email, ai, or empty."""


class Rule(NamedTuple):
    """One rule; the first that holds names the channel."""

    channel: str
    holds: Callable[[Traffic], object]
    says: str
    """The condition in words, for the documentation."""
    ours: bool = False


DIRECT = "Direct"
INTERNAL = "Internal"
UNASSIGNED = "Unassigned"

PAID = re.compile(r".*cp.*|ppc|retargeting|paid.*", re.DOTALL)
"""Media that mean a paid visit (whole text)."""
SHOPPING_CAMPAIGN = re.compile(r"(?:^|[^a-df-z])shop|shopping")
"""Campaigns that mean shopping (anywhere in the text)."""
DISPLAY_MEDIA = frozenset(("display", "banner", "expandable", "interstitial", "cpm"))
SOCIAL_MEDIA = frozenset(
    ("social", "social-network", "social-media", "sm", "social network", "social media")
)
EMAIL_WORDS = frozenset(("email", "e-mail", "e_mail", "e mail"))
REFERRAL_MEDIA = frozenset(("referral", "app", "link"))
AI_MEDIA = frozenset(("ai", "ai-assistant", "ai-assistants", "llm"))
NO_MEDIA = frozenset(("", "(none)", "(not set)"))
DIRECT_SOURCES = frozenset(("direct", "(direct)"))


def _paid(traffic: Traffic) -> object:
    return PAID.fullmatch(traffic.medium)


def _shopping(traffic: Traffic) -> object:
    return traffic.kind == "shopping" or SHOPPING_CAMPAIGN.search(traffic.campaign)


def _push(traffic: Traffic) -> bool:
    medium = traffic.medium
    return (
        medium.endswith("push")
        or "mobile" in medium
        or "notification" in medium
        or traffic.source == "firebase"
    )


RULES: tuple[Rule, ...] = (
    Rule(
        DIRECT,
        lambda t: t.source in DIRECT_SOURCES and t.medium in NO_MEDIA,
        "source is `direct` or `(direct)`, and medium is absent, `(none)` or `(not set)`",
    ),
    Rule(
        "Cross-network",
        lambda t: "cross-network" in t.campaign,
        "campaign contains `cross-network`",
    ),
    Rule(
        "Paid Shopping",
        lambda t: _shopping(t) and _paid(t),
        "source is a shop or campaign names a shop, and medium is paid",
    ),
    Rule(
        "Paid Search",
        lambda t: t.kind == "search" and _paid(t),
        "source is a search engine, and medium is paid",
    ),
    Rule(
        "Paid Social",
        lambda t: t.kind == "social" and _paid(t),
        "source is a social network, and medium is paid",
    ),
    Rule(
        "Paid Video",
        lambda t: t.kind == "video" and _paid(t),
        "source is a video site, and medium is paid",
    ),
    Rule(
        "Display",
        lambda t: t.medium in DISPLAY_MEDIA,
        "medium is `display`, `banner`, `expandable`, `interstitial` or `cpm`",
    ),
    Rule("Paid Other", _paid, "medium is paid"),
    Rule("Organic Shopping", _shopping, "source is a shop or campaign names a shop"),
    Rule(
        "Organic Social",
        lambda t: t.kind == "social" or t.medium in SOCIAL_MEDIA,
        "source is a social network, or medium is `social`, `social-network`, `social-media`, "
        "`sm`, `social network` or `social media`",
    ),
    Rule(
        "Organic Video",
        lambda t: t.kind == "video" or "video" in t.medium,
        "source is a video site, or medium contains `video`",
    ),
    Rule(
        "Organic Search",
        lambda t: t.kind == "search" or t.medium == "organic",
        "source is a search engine, or medium is `organic`",
    ),
    Rule(
        "AI Assistants",
        lambda t: t.kind == "ai" or t.medium in AI_MEDIA,
        "source is an assistant, or medium is `ai-assistant`, `ai-assistants`, `ai` or `llm`",
    ),
    Rule(
        "Referral",
        lambda t: t.medium in REFERRAL_MEDIA,
        "medium is `referral`, `app` or `link`",
    ),
    Rule(
        "Email",
        lambda t: t.medium in EMAIL_WORDS or t.source in EMAIL_WORDS,
        "source or medium is `email`, `e-mail`, `e_mail` or `e mail`",
    ),
    Rule(
        "Affiliates",
        lambda t: t.medium in ("affiliate", "affiliates"),
        "medium is `affiliate` or `affiliates`",
    ),
    Rule("Audio", lambda t: t.medium == "audio", "medium is `audio`"),
    Rule("SMS", lambda t: t.medium == "sms" or t.source == "sms", "source or medium is `sms`"),
    Rule(
        "Mobile Push Notifications",
        _push,
        "medium ends with `push` or contains `mobile` or `notification`, or source is `firebase`",
    ),
    Rule(
        "Email",
        lambda t: t.kind == "email" or t.source == "newsletter" or t.medium == "newsletter",
        "source is a mail service, or source or medium is `newsletter`",
        ours=True,
    ),
)
"""The rules in their order; what none decides is :data:`UNASSIGNED`."""

REFERRER_CHANNELS: dict[str, str] = {
    "none": DIRECT,
    "internal": INTERNAL,
    "search": "Organic Search",
    "social": "Organic Social",
    "video": "Organic Video",
    "shopping": "Organic Shopping",
    "email": "Email",
    "ai": "AI Assistants",
    "referral": "Referral",
}
"""The channel of a visit without campaign, by the referrer's medium."""


class ClickId(NamedTuple):
    """What a click identifier in the page's URL says."""

    parameter: str
    """In lower case; matches without regard to case."""
    source: str
    medium: str


CLICK_IDS: tuple[ClickId, ...] = (
    ClickId("gclid", "google", "cpc"),
    ClickId("gbraid", "google", "cpc"),
    ClickId("wbraid", "google", "cpc"),
    ClickId("dclid", "google", "display"),
    ClickId("msclkid", "bing", "cpc"),
    ClickId("yclid", "yandex", "cpc"),
    ClickId("ttclid", "tiktok", "cpc"),
    ClickId("twclid", "x", "cpc"),
    ClickId("li_fat_id", "linkedin", "cpc"),
    ClickId("sccid", "snapchat", "cpc"),
    ClickId("rdt_cid", "reddit", "cpc"),
    ClickId("irclickid", "impact", "affiliate"),
    ClickId("awc", "awin", "affiliate"),
    ClickId("cjevent", "cj", "affiliate"),
    ClickId("mc_eid", "mailchimp", "email"),
    ClickId("_kx", "klaviyo", "email"),
    ClickId("_hsenc", "hubspot", "email"),
    # Facebook, Instagram, Pinterest and Google Shopping mark unpaid links too.
    ClickId("fbclid", "facebook", "social"),
    ClickId("igshid", "instagram", "social"),
    ClickId("igsh", "instagram", "social"),
    ClickId("epik", "pinterest", "social"),
    ClickId("srsltid", "google shopping", "organic"),
)
"""Click identifiers, the decisive ones first."""
