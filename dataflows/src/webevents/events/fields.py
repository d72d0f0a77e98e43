"""The one table of the event's fields: their type on topics, in Elasticsearch and in the docs.

Everything that needs to know the event's fields (the decoder, the index template, the reference
page) reads this table. Fields that are not in it pass through every stage untouched.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The type of a field's value."""

    KEYWORD = "keyword"
    """A string that is filtered and counted whole."""
    ID = "id"
    """A keyword that may also be sent as a number."""
    TEXT = "text"
    """A string that is searched by words, and counted whole."""
    DATE = "date"
    """A time: ISO 8601 or ``YYYY-MM-DD HH:MM:SS.ffffff``; UTC where no zone is given."""
    IP = "ip"
    """An IPv4 or IPv6 address."""
    BOOLEAN = "boolean"
    LONG = "long"
    DOUBLE = "double"
    GEO_POINT = "geo_point"
    """A place as ``"latitude,longitude"``."""
    STRINGS = "strings"
    """A list of keywords."""
    COUNTS = "counts"
    """An object of numbers under names that are not known beforehand."""
    STORED = "stored"
    """Anything, which is kept and shown but not searched."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the event."""

    name: str
    kind: Kind
    doc: str
    added: bool = False
    """True where the enrich stage makes it; it may be carried by the event too, and then wins."""


K = Kind

FIELDS: tuple[Field, ...] = (
    # What every source sends.
    Field("event_id", K.KEYWORD, "Identifies the event everywhere; required."),
    Field("event_timestamp", K.DATE, "When the event happened; required."),
    Field("event_type", K.KEYWORD, "What happened: pageview, click, purchase, …; required."),
    Field("page_url", K.KEYWORD, "The page's whole URL."),
    Field("page_url_path", K.KEYWORD, "The path of the page's URL."),
    Field("page_title", K.TEXT, "The page's title."),
    Field("referer_url", K.KEYWORD, "The URL of the page before, as the browser sent it."),
    Field("referer_url_scheme", K.KEYWORD, "Scheme of the referrer's URL."),
    Field("referer_url_port", K.ID, "Port of the referrer's URL."),
    Field("referer_medium", K.KEYWORD, "internal, search, social, email, ai, video, shopping, …"),
    Field("utm_medium", K.KEYWORD, "Campaign medium (utm_medium)."),
    Field("utm_source", K.KEYWORD, "Campaign source (utm_source)."),
    Field("utm_content", K.KEYWORD, "Campaign content (utm_content)."),
    Field("utm_campaign", K.KEYWORD, "Campaign name (utm_campaign)."),
    Field("utm_term", K.KEYWORD, "Campaign search term (utm_term)."),
    Field("click_id", K.ID, "Identifier of the advertisement click."),
    Field("geo_latitude", K.ID, "Latitude in degrees, as text."),
    Field("geo_longitude", K.ID, "Longitude in degrees, as text."),
    Field("geo_country", K.KEYWORD, "Country, ISO 3166-1 alpha-2."),
    Field("geo_timezone", K.KEYWORD, "IANA time zone of the place."),
    Field("geo_region_name", K.KEYWORD, "Region or state."),
    Field("ip_address", K.IP, "The visitor's address."),
    Field("browser_name", K.KEYWORD, "Browser family."),
    Field("browser_user_agent", K.KEYWORD, "The User-Agent header."),
    Field("browser_language", K.KEYWORD, "Preferred language of the browser."),
    Field("os", K.KEYWORD, "Operating system with its version."),
    Field("os_name", K.KEYWORD, "Operating system family."),
    Field("os_timezone", K.KEYWORD, "Time zone of the visitor's system."),
    Field("device_type", K.KEYWORD, "desktop, mobile, tablet or bot."),
    Field("device_is_mobile", K.BOOLEAN, "Whether the device is a phone or a tablet."),
    Field("user_custom_id", K.ID, "The visitor's own identifier; an e-mail address."),
    Field("user_domain_id", K.ID, "First-party cookie identifier of the visitor."),
    Field("user_id", K.ID, "Identifier of the signed-in user."),
    Field("session_id", K.ID, "The session's identifier as the source counts it."),
    Field("host", K.KEYWORD, "Host name of the site."),
    Field("site", K.KEYWORD, "The site or app by whose write key the collector took the event."),
    Field("tracker", K.KEYWORD, "The tracker that sent it to the collector, with its version."),
    Field("collected_at", K.KEYWORD, "When the collector received the event, in UTC."),
    # Commerce and interaction (the journeys profile).
    Field("product_id", K.ID, "The product that the event is about."),
    Field("product_category", K.KEYWORD, "Category of the product."),
    Field("price", K.DOUBLE, "Price of one piece."),
    Field("quantity", K.LONG, "Number of pieces."),
    Field("revenue", K.DOUBLE, "Revenue of a purchase."),
    Field("currency", K.KEYWORD, "Currency of price and revenue, ISO 4217."),
    Field("order_id", K.ID, "The order that a purchase made."),
    Field("search_query", K.TEXT, "What was searched for."),
    Field("element_id", K.KEYWORD, "The element that was clicked or hovered."),
    Field("scroll_depth", K.LONG, "How far the page was scrolled, in percent."),
    Field("viewport_size", K.KEYWORD, "Viewport as WIDTHxHEIGHT in pixels."),
    # What the enrich stage adds.
    Field("source_category", K.KEYWORD, "utm_source by the configured mapping.", added=True),
    Field("channel", K.KEYWORD, "Default channel grouping.", added=True),
    Field("user_email_domain", K.KEYWORD, "Domain of the e-mail in user_custom_id.", added=True),
    Field("page_host", K.KEYWORD, "Host name in page_url.", added=True),
    Field("referer_host", K.KEYWORD, "Host name in referer_url.", added=True),
    Field("referer_name", K.KEYWORD, "The referring service, such as Google.", added=True),
    Field("referer_term", K.KEYWORD, "Search term in the referrer's URL.", added=True),
    Field("browser_version", K.KEYWORD, "Browser version.", added=True),
    Field("os_version", K.KEYWORD, "Operating system version.", added=True),
    Field("device_brand", K.KEYWORD, "Maker of the device.", added=True),
    Field("device_model", K.KEYWORD, "Model of the device.", added=True),
    Field("is_bot", K.BOOLEAN, "Whether the user agent is a bot's; never dropped.", added=True),
    Field("bot_name", K.KEYWORD, "The bot's name.", added=True),
    Field("bot_reason", K.KEYWORD, "Why the event is taken for a bot's.", added=True),
    Field("geo_city", K.KEYWORD, "City.", added=True),
    Field("geo_location", K.GEO_POINT, "Place as latitude,longitude.", added=True),
    Field(
        "geo_source",
        K.KEYWORD,
        "event, database, registry, private, loopback, reserved, invalid or unknown.",
        added=True,
    ),
    Field(
        "event_timestamp_original",
        K.KEYWORD,
        "The time that the event carried, where a wrong clock was clamped or corrected.",
        added=True,
    ),
)

BY_NAME: dict[str, Field] = {field.name: field for field in FIELDS}
