"""What the enrich stage adds to events, what it removes, and what it makes unrecognisable."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from webevents.spec.base import Model

REQUIRED_FIELDS = ("event_id", "event_timestamp", "event_type")
"""Fields that every stage needs: they are neither dropped nor hashed."""

NOT_TEXT_FIELDS = (
    "device_is_mobile",
    "event_timestamp",
    "geo_location",
    "ip_address",
    "is_bot",
    "price",
    "quantity",
    "revenue",
    "scroll_depth",
)
"""Known fields whose type in the destinations is not text, so that a hash would be refused there;
a unit test holds the list against the table of fields."""

ENRICHED_FIELDS = (
    "source_category",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "page_host",
    "page_url_path",
    "referer_host",
    "referer_url_scheme",
    "referer_url_port",
    "referer_medium",
    "referer_name",
    "referer_term",
    "user_email_domain",
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
    "geo_country",
    "geo_region_name",
    "geo_city",
    "geo_timezone",
    "geo_location",
    "geo_source",
)
"""Fields that the enrich stage can make, where the event does not carry them."""

EVERYTHING = "*"
"""In ``overwrite``: every field that the enrich stage can make."""

Medium = Literal["internal", "search", "social", "email", "ai", "video", "shopping", "referral"]
"""What kind of place a referrer is."""

_HOST = re.compile(r"(?!-)[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_FieldName = Annotated[str, Field(min_length=1, max_length=200)]


class ReferrerSpec(Model):
    """What a referring host is."""

    medium: Medium
    """Kind of place; ``internal`` makes visits from there no new attribution."""
    name: str | None = None
    """Name of the service, as it appears in ``referer_name``; none when absent."""


class UserAgentSpec(Model):
    """Reading the User-Agent header: browser, system, device, bot."""

    enabled: bool = True
    """Whether the user agent is read."""


class GeoSpec(Model):
    """Finding the place of an IP address, offline."""

    enabled: bool = True
    """Whether places are looked up."""
    databases: tuple[str, ...] = ()
    """Paths of MMDB files (DB-IP or MaxMind, city or country); the first that knows the address
    answers. Addresses that none knows get their country from the built-in registry data."""


class PrivacySpec(Model):
    """What is made unrecognisable after everything else was read."""

    mask_ip: Literal["none", "lastOctet", "lastTwoOctets"] = "none"
    """How much of ``ip_address`` is set to zero, after its place was found: ``lastOctet`` keeps
    24 bits of IPv4 and 48 of IPv6, ``lastTwoOctets`` 16 and 32. What is no address is removed."""
    hash_fields: tuple[_FieldName, ...] = ()
    """Fields whose values are replaced by their keyed hash (HMAC-SHA-256, hexadecimal)."""
    hash_key_file: str | None = None
    """Path of a file that holds the hash's key, at least 16 bytes."""
    hash_key_env: str | None = None
    """Name of an environment variable that holds the hash's key, at least 16 bytes."""

    @field_validator("hash_fields")
    @classmethod
    def _can_be_hashed(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        for name in fields:
            if name in REQUIRED_FIELDS:
                raise ValueError(f"{name} cannot be hashed: every stage needs it; take it out")
            if name == "ip_address":
                raise ValueError(
                    "ip_address cannot be hashed: destinations hold it as an address; set maskIp, "
                    "or name it in dropFields"
                )
            if name in NOT_TEXT_FIELDS:
                raise ValueError(f"{name} cannot be hashed: it is not text; use dropFields")
        return fields

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        keys = [key for key in (self.hash_key_file, self.hash_key_env) if key is not None]
        if len(keys) > 1:
            raise ValueError("set only one of hashKeyFile and hashKeyEnv")
        if self.hash_fields and not keys:
            raise ValueError("hashFields needs a key: set hashKeyFile or hashKeyEnv")
        return self


class EnrichSpec(Model):
    """What the enrich stage does to an event."""

    source_categories: dict[str, tuple[str, ...]] = Field(
        default={
            "search_engine": ("google", "bing"),
            "social_media": ("facebook", "instagram"),
            "email_marketing": ("mailchimp",),
        }
    )
    """Values of ``utm_source`` by category, without regard to case; any other value, and none,
    is ``other/unknown``."""
    drop_fields: Annotated[tuple[_FieldName, ...], Field(max_length=200)] = ()
    """Fields that are removed after everything was read."""
    overwrite: tuple[str, ...] = ()
    """Fields that are computed although the event carries them; ``*`` for all. A carried value
    stays where nothing can be computed."""
    referrers: dict[str, ReferrerSpec] = Field(default={})
    """Further referring hosts, each with its subdomains; they go before the built-in table.
    Name the hosts of your own site family here with the medium ``internal``."""
    user_agent: UserAgentSpec = UserAgentSpec()
    """Reading the User-Agent header."""
    geo: GeoSpec = GeoSpec()
    """Finding the place of an IP address."""
    privacy: PrivacySpec = PrivacySpec()
    """What is made unrecognisable."""

    @field_validator("source_categories")
    @classmethod
    def _one_category_each(
        cls, categories: dict[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        owner: dict[str, str] = {}
        for category, sources in categories.items():
            for source in sources:
                other = owner.setdefault(source.strip().lower(), category)
                if other != category:
                    raise ValueError(f"{source} is in two categories: {other} and {category}")
        return categories

    @field_validator("drop_fields")
    @classmethod
    def _can_be_dropped(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        for name in fields:
            if name in REQUIRED_FIELDS:
                raise ValueError(f"{name} cannot be dropped: every stage needs it; take it out")
        return fields

    @field_validator("overwrite")
    @classmethod
    def _can_be_computed(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        for name in fields:
            if name not in ENRICHED_FIELDS and name != EVERYTHING:
                raise ValueError(
                    f"{name} is not a field that enrichment can make; those are "
                    f"{', '.join(ENRICHED_FIELDS)}, or {EVERYTHING} for all"
                )
        return fields

    @field_validator("referrers")
    @classmethod
    def _are_hosts(cls, referrers: dict[str, ReferrerSpec]) -> dict[str, ReferrerSpec]:
        for host in referrers:
            if not _HOST.fullmatch(host):
                raise ValueError(
                    f"{host} is not a host name: write it in lower case, without scheme, port "
                    "and path, such as shop.example.com"
                )
        return referrers
