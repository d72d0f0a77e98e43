"""spec.generator: simulated visitors, with every figure of the simulation open to change."""

import math
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from webevents.spec.base import Duration, Model
from webevents.spec.incidents import IncidentKind, IncidentSpec

SESSION_END = "session_end"
"""The end of a visit in the site's transitions."""
PAGE_VIEW = "page_view"
"""The event type of the journeys profile that moves from page to page."""

HOURLY_WEIGHTS = (
    *(0.0273, 0.0185, 0.0108, 0.0107, 0.0050, 0.0105, 0.0192, 0.0297),
    *(0.0382, 0.0426, 0.0549, 0.0583, 0.0646, 0.0627, 0.0572, 0.0521),
    *(0.0590, 0.0667, 0.0718, 0.0662, 0.0696, 0.0428, 0.0329, 0.0287),
)
"""Share of a day's visits by hour; the figures of the fake-web-events package 0.2.5."""

TRANSITIONS: dict[str, dict[str, float]] = {
    "home": {"home": 0.45, "product_a": 0.17, "product_b": 0.12, SESSION_END: 0.26},
    "product_a": {"product_a": 0.5, "home": 0.18, "cart": 0.12, SESSION_END: 0.2},
    "product_b": {"product_b": 0.4, "home": 0.22, "cart": 0.14, SESSION_END: 0.24},
    "cart": {"cart": 0.25, "payment": 0.5, "home": 0.15, SESSION_END: 0.1},
    "payment": {"payment": 0.45, "confirmation": 0.4, "cart": 0.1, SESSION_END: 0.05},
    "confirmation": {"confirmation": 0.4, SESSION_END: 0.6},
}
"""The walk over the site; the figures of the fake-web-events package 0.2.5."""

LANDING: dict[str, float] = {"home": 0.60, "product_a": 0.25, "product_b": 0.15}
CAMPAIGNS: dict[str, float] = {"campaign_1": 0.8, "campaign_2": 0.2}
CONTENTS: dict[str, float] = {"ad_1": 0.05, "ad_2": 0.3, "ad_3": 0.2, "ad_4": 0.25, "ad_5": 0.2}
PLATFORMS: dict[str, float] = {
    "Windows": 0.10,
    "macOS": 0.15,
    "Linux": 0.05,
    "Android": 0.30,
    "iOS": 0.40,
}
"""Weights of landing pages, campaigns, advertisements and operating systems; same source."""

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _some_weight(weights: dict[str, float]) -> dict[str, float]:
    if not sum(weights.values()) > 0:
        raise ValueError("needs at least one weight above 0")
    return weights


Weights = Annotated[dict[str, Weight], AfterValidator(_some_weight)]
"""Weights by name; they need not sum to 1."""


def _in_utc(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("a time is written as 2026-01-31T00:00:00Z") from None
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


Moment = Annotated[datetime, BeforeValidator(_in_utc)]
"""A time, ISO 8601; UTC where no zone is given."""


class TimeSpec(Model):
    """The clock of the simulation."""

    mode: Literal["wallClock", "accelerated", "backdated"] = "wallClock"
    """wallClock: events happen now, at eventsPerSecond; accelerated: simulated time runs speed
    times as fast; backdated: a past span is filled without waiting. In the last two the volume
    follows visits.hourlyWeights."""
    start: Moment | None = None
    """Where simulated time begins, 24 hours ago when absent; wallClock begins now in any case."""
    duration: Duration | None = None
    """How much simulated time passes; when absent, backdated fills up to now and the others run
    until they are stopped."""
    speed: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Simulated seconds in one second, for accelerated."""


class CorruptKind(StrEnum):
    """How an event can be corrupt."""

    INVALID_UTF8 = "invalid_utf8"
    BROKEN_JSON = "broken_json"
    NAN = "nan"
    DEEP = "deep"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    BAD_TIMESTAMP = "bad_timestamp"
    CLOCK_AHEAD = "clock_ahead"


class FaultsSpec(Model):
    """Shares of events with a fault; an event has at most one."""

    duplicates: Share = 0.0
    """Sent a second time, with the same event_id."""
    duplicates_by: Duration = timedelta(seconds=10)
    """The longest time between the two."""
    late: Share = 0.0
    """Arrive long after they happened."""
    late_by: Duration = timedelta(minutes=10)
    """The longest delay of a late event; the shortest is half of it."""
    out_of_order: Share = 0.0
    """Overtaken by younger events."""
    out_of_order_by: Duration = timedelta(seconds=5)
    """The longest delay of such an event."""
    corrupt: Share = 0.0
    """Cannot be processed."""
    corrupt_kinds: tuple[CorruptKind, ...] = tuple(CorruptKind)
    """The ways to be corrupt, equally often."""
    bots: Share = 0.0
    """Come from crawlers; independent of the other shares."""
    incidents: tuple[IncidentSpec, ...] = ()
    """What goes wrong for a while; they must not overlap. Their truth is labelled, so that alerts
    can be scored."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        total = self.duplicates + self.late + self.out_of_order + self.corrupt
        if total > 1 + 1e-9:
            raise ValueError(
                f"duplicates + late + outOfOrder + corrupt must not exceed 1 (it is {total:g})"
            )
        if self.corrupt and not self.corrupt_kinds:
            raise ValueError("corruptKinds is empty: name at least one kind, or set corrupt to 0")
        ordered = sorted(self.incidents, key=lambda incident: incident.start)
        for one, other in pairwise(ordered):
            if one.end > other.start:
                raise ValueError(
                    f"incidents: {one.kind} and {other.kind} overlap; let one end before the other"
                )
        if not self.corrupt_kinds and any(i.kind is IncidentKind.ERRORS for i in ordered):
            raise ValueError("corruptKinds is empty: an incident of errors needs at least one")
        return self


class VisitsSpec(Model):
    """When visitors come and how they linger."""

    hourly_weights: tuple[Weight, ...] = HOURLY_WEIGHTS
    """Visits by hour of the day in UTC, 24 weights."""
    mean_pause: Duration | None = None
    """The usual time before the next event: 20s in web-events and 45s in journeys when absent."""
    max_pause: Duration = timedelta(minutes=20)
    """The longest time between two events of one visit; shorter than the gap of sessions."""
    min_break: Duration = timedelta(minutes=40)
    """The shortest time between two visits of one visitor; longer than the gap of sessions."""
    max_events: int = Field(default=500, ge=1, le=100_000)
    """Events after which a visit ends."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(self.hourly_weights) != 24 or not sum(self.hourly_weights) > 0:
            raise ValueError("hourlyWeights needs 24 weights, at least one of them above 0")
        if self.mean_pause is not None and not timedelta(0) < self.mean_pause <= self.max_pause:
            raise ValueError("meanPause must be longer than 0s and must not exceed maxPause")
        if not timedelta(0) < self.max_pause < self.min_break:
            raise ValueError("maxPause must be longer than 0s and shorter than minBreak")
        return self


class SiteSpec(Model):
    """The pages of the web-events profile and the walk over them."""

    pages: dict[str, Weights] = TRANSITIONS
    """For each page the weights of what comes next: a page, or session_end. The page itself
    means that the visitor stays."""
    landing: Weights = LANDING
    """Weights of the pages on which visits begin."""

    @model_validator(mode="after")
    def _walkable(self) -> Self:
        known = {*self.pages, SESSION_END}
        for page, targets in self.pages.items():
            if page == SESSION_END:
                raise ValueError(f"pages: {SESSION_END} is no page but the end of a visit")
            for target in targets:
                if target not in known:
                    raise ValueError(f"pages.{page}: there is no page {target}")
        for page in self.landing:
            if page not in self.pages:
                raise ValueError(f"landing: there is no page {page}")
        ending = {SESSION_END}
        while more := {
            page
            for page, targets in self.pages.items()
            if page not in ending and any(targets.get(end, 0) > 0 for end in ending)
        }:
            ending |= more
        for page in self.pages:
            if page not in ending:
                raise ValueError(f"pages.{page}: no way leads from here to {SESSION_END}")
        return self


class TrafficSource(Model):
    """Where visits come from; everything in it fits together."""

    channel: str
    """The true channel, by the default channel grouping."""
    weight: Weight
    """How many visits come from here, beside the other sources."""
    source: str | None = None
    """utm_source."""
    medium: str | None = None
    """utm_medium."""
    referrer: str | None = Field(default=None, pattern=r"^https?://")
    """URL of the page before; none when absent."""
    referrer_medium: str = "none"
    """referer_medium: search, social, email, ai, referral or none."""
    campaign: bool = False
    """Whether utm_campaign and utm_content are set."""
    click_id: bool = False
    """Whether the visit carries an advertisement's click_id."""


def _traffic() -> tuple[TrafficSource, ...]:
    google, bing = "https://www.google.com/", "https://www.bing.com/"
    facebook, instagram = "https://www.facebook.com/", "https://www.instagram.com/"
    rows: tuple[tuple[str, float, str | None, str | None, str | None, str, bool], ...] = (
        ("Organic Search", 0.20, "google", "organic", google, "search", False),
        ("Paid Search", 0.10, "google", "cpc", google, "search", True),
        ("Organic Search", 0.04, "bing", "organic", bing, "search", False),
        ("Paid Search", 0.02, "bing", "cpc", bing, "search", True),
        ("Organic Social", 0.10, "facebook", "social", facebook, "social", False),
        ("Paid Social", 0.07, "facebook", "cpc", facebook, "social", True),
        ("Organic Social", 0.08, "instagram", "social", instagram, "social", False),
        ("Paid Social", 0.05, "instagram", "cpc", instagram, "social", True),
        ("Email", 0.14, "mailchimp", "email", "https://mail.google.com/", "email", True),
        ("Affiliates", 0.03, "partner", "affiliate", "https://partner.example/", "referral", True),
        ("Direct", 0.12, None, None, None, "none", False),
        ("Referral", 0.03, None, None, "https://blog.example.org/review", "referral", False),
        ("AI Assistants", 0.02, "chatgpt.com", None, "https://chatgpt.com/", "ai", False),
    )
    return tuple(
        TrafficSource(
            channel=channel,
            weight=weight,
            source=source,
            medium=medium,
            referrer=referrer,
            referrer_medium=kind,
            campaign=tagged,
            click_id=tagged and medium == "cpc",
        )
        for channel, weight, source, medium, referrer, kind, tagged in rows
    )


class PageKind(StrEnum):
    """The kinds of pages of the journeys profile's shop."""

    HOME = "home"
    CATEGORY = "category"
    PRODUCT = "product"
    SEARCH = "search"
    CART = "cart"
    CHECKOUT = "checkout"
    ACCOUNT = "account"


class EventType(Model):
    """An event type of the journeys profile."""

    weight: Weight
    """How often, beside the other types."""
    pages: tuple[PageKind, ...] = ()
    """The kinds of pages on which it can happen; all when empty."""
    needs: Literal["cart", "signedOut"] | None = None
    """cart: only with something in the cart, which it empties; signedOut: once a visit."""
    carries: tuple[Literal["element", "scroll", "search", "cart", "order"], ...] = ()
    """Groups of fields: element_id; scroll_depth; search_query (on search pages); quantity (on
    product pages, and the product goes into the cart); order_id, quantity, revenue and currency
    (of what is in the cart). Events on product pages have product_id, product_category and
    price."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Further fields with a fixed value."""


_BROWSING = (PageKind.HOME, PageKind.CATEGORY, PageKind.PRODUCT, PageKind.SEARCH)

EVENT_TYPES: dict[str, EventType] = {
    PAGE_VIEW: EventType(weight=35),
    "click": EventType(weight=20, carries=("element",)),
    "scroll": EventType(weight=15, pages=_BROWSING, carries=("scroll",)),
    "hover": EventType(weight=8, pages=_BROWSING, carries=("element",)),
    "add_to_cart": EventType(weight=6, pages=(PageKind.PRODUCT,), carries=("cart",)),
    "search": EventType(weight=4, pages=(PageKind.SEARCH,), carries=("search",)),
    "login": EventType(weight=2.5, pages=(PageKind.ACCOUNT,), needs="signedOut"),
    "purchase": EventType(weight=0.8, pages=(PageKind.CHECKOUT,), needs="cart", carries=("order",)),
    "share": EventType(weight=1, pages=(PageKind.PRODUCT,)),
}
"""The event types of the journeys profile and their weights."""


def _with_defaults(value: Any) -> Any:
    return {**EVENT_TYPES, **value} if isinstance(value, dict) else value


class JourneysSpec(Model):
    """The shop of the journeys profile."""

    event_types: Annotated[dict[str, EventType], BeforeValidator(_with_defaults)] = EVENT_TYPES
    """Event types by name; these are added to the usual ones or replace them, and weight 0
    switches one off."""
    max_pages: int = Field(default=10, ge=1, le=10_000)
    """Page views after which a visit ends."""
    max_length: Duration = timedelta(minutes=30)
    """Time after which a visit ends."""
    products: int = Field(default=60, ge=1, le=100_000)
    """Number of products."""
    categories: tuple[str, ...] = ("electronics", "fashion", "home", "sports", "books")
    """Product categories."""
    search_queries: tuple[str, ...] = (
        *("wireless headphones", "running shoes", "desk lamp", "winter jacket", "coffee maker"),
        *("yoga mat", "phone case", "travel backpack", "cookbook", "bluetooth speaker"),
    )
    """What visitors search for."""
    currency: str = "USD"
    """Currency of prices and revenue (ISO 4217)."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.event_types[PAGE_VIEW].weight > 0:
            raise ValueError(f"eventTypes.{PAGE_VIEW}: its weight must be above 0")
        if self.event_types[PAGE_VIEW].pages or self.event_types[PAGE_VIEW].needs:
            raise ValueError(f"eventTypes.{PAGE_VIEW}: happens everywhere; leave pages and needs")
        for name, kind in self.event_types.items():
            if "cart" in kind.carries and kind.pages != (PageKind.PRODUCT,):
                raise ValueError(f"eventTypes.{name}: what carries cart has pages: [product]")
            if "order" in kind.carries and kind.needs != "cart":
                raise ValueError(f"eventTypes.{name}: what carries order has needs: cart")
        if not self.categories or not self.search_queries:
            raise ValueError("categories and searchQueries need at least one entry each")
        return self


class GeneratorSpec(Model):
    """Simulated visitors."""

    enabled: bool = True
    """Whether visitors are simulated."""
    profile: Literal["web-events", "journeys"] = "web-events"
    """web-events: page views with 30 fields; journeys: nine event types of a shop."""
    replicas: int = Field(default=1, ge=0, le=1000)
    """Processes that share the rate and the visitors; their visitors differ."""
    events_per_second: float = Field(default=100.0, ge=0, allow_inf_nan=False)
    """Total rate of all replicas; in accelerated and backdated time the mean over a day."""
    sessions_per_day: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Another measure of the volume, which takes the place of eventsPerSecond."""
    seed: int | None = Field(default=None, ge=0)
    """One seed gives the same events, byte for byte, from the same start; random when absent."""
    users: int | None = Field(default=None, ge=1, le=10_000_000)
    """Visitors at the start, 5000 in web-events and 50 in journeys; more join when all of them
    are busy or on a break."""
    hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]+)?$")], ...] = (
        "www.example.com",
    )
    """The sites' host names; a visit is to one of them."""
    addresses: Literal["reserved", "public"] = "reserved"
    """reserved: addresses of the ranges for benchmarks and documentation (RFC 2544, RFC 3849),
    which are nobody's; public: addresses of the visitor's country, so that look-ups find it."""
    time: TimeSpec = TimeSpec()
    """The clock of the simulation."""
    faults: FaultsSpec = FaultsSpec()
    """Shares of events with a fault."""
    visits: VisitsSpec = VisitsSpec()
    """When visitors come and how they linger."""
    site: SiteSpec = SiteSpec()
    """The pages of the web-events profile."""
    journeys: JourneysSpec = JourneysSpec()
    """The shop of the journeys profile."""
    traffic: tuple[TrafficSource, ...] = _traffic()
    """Where visits come from."""
    campaigns: Weights = CAMPAIGNS
    """Weights of utm_campaign."""
    contents: Weights = CONTENTS
    """Weights of utm_content."""
    platforms: Weights = PLATFORMS
    """Weights of operating systems: Windows, macOS, Linux, Android, iOS."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.hosts:
            raise ValueError("hosts needs at least one host name")
        if unknown := sorted(self.platforms.keys() - PLATFORMS.keys()):
            raise ValueError(f"platforms: {unknown[0]} is none of {', '.join(PLATFORMS)}")
        if not math.fsum(source.weight for source in self.traffic) > 0:
            raise ValueError("traffic needs at least one source with a weight above 0")
        if not self.volume and self.time.mode != "wallClock":
            raise ValueError("eventsPerSecond must be above 0 unless time.mode is wallClock")
        if self.profile != "journeys" and any(
            incident.kind is IncidentKind.CONVERSION for incident in self.faults.incidents
        ):
            raise ValueError("faults.incidents: only the profile journeys has orders (conversion)")
        return self

    @property
    def order_types(self) -> tuple[str, ...]:
        """Event types that are orders, in the profile journeys."""
        kinds = self.journeys.event_types if self.profile == "journeys" else {}
        return tuple(name for name, kind in kinds.items() if "order" in kind.carries)

    @property
    def volume(self) -> bool:
        """Whether any visitors are asked for."""
        return self.events_per_second > 0 or self.sessions_per_day is not None

    @property
    def mean_pause(self) -> timedelta:
        """The usual time before a visitor's next event."""
        usual = timedelta(seconds=45 if self.profile == "journeys" else 20)
        return self.visits.mean_pause or min(usual, self.visits.max_pause)

    @property
    def pool(self) -> int:
        """Number of visitors at the start."""
        return self.users or (50 if self.profile == "journeys" else 5000)
