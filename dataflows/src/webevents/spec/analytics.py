"""spec.analytics: funnels, transitions, retention and attribution."""

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from webevents.spec.base import DURATION_PATTERN, Duration, Model, parse_duration

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9 _.-]*$", max_length=60)]
_Text = Annotated[str, Field(min_length=1, max_length=200)]
AttributionModel = Literal["first", "last", "linear", "position"]

SESSION = "session"
MAX_SPAN = timedelta(days=400)


def _span(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= MAX_SPAN:
        raise ValueError("must be longer than 0s and at most 400d")
    return value


def _within(text: str) -> str:
    if text != SESSION:
        _span(parse_duration(text))
    return text


Span = Annotated[Duration, AfterValidator(_span)]
Within = Annotated[
    str,
    Field(pattern=rf"^session$|{DURATION_PATTERN}", max_length=40),
    AfterValidator(_within),
]


class Match(Model):
    """Which events are meant: all that is set must hold."""

    event_types: Annotated[tuple[_Text, ...], Field(max_length=50)] = ()
    """Event types, one of which it has; any when empty."""
    page: str | None = Field(default=None, min_length=1, max_length=500)
    """The path of its page, in which * stands for any characters and ? for one, such as
    /product/*."""
    fields: Annotated[dict[str, _Text], Field(max_length=10)] = Field(default_factory=dict)
    """Fields by name, each with the value that it has."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.event_types or self.page or self.fields):
            raise ValueError("matches every event: set eventTypes, page or fields")
        for name in self.fields:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"fields.{name}: no name of an event's field; take it out")
        return self


class Step(Match):
    """One step of a funnel."""

    name: Name
    """The step's name."""


class Funnel(Model):
    """Steps that visitors are to take in this order; others may lie between."""

    name: Name
    """The funnel's name."""
    steps: Annotated[tuple[Step, ...], Field(min_length=2, max_length=9)]
    """What is to happen, in this order."""
    within: Within = SESSION
    """Where the later steps count: in the session of the first one (session), or for so long after
    it, in whatever session, such as 7d."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [step.name for step in self.steps]
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name}: two steps have the same name: rename one")
        return self


class Conversion(Match):
    """An event that is owed to the visits before it."""

    name: Name
    """The conversion's name."""


class TransitionsSpec(Model):
    """Which page follows which within a session."""

    enabled: bool = True
    """Whether there are documents of transitions."""
    by: Literal["page", "eventType"] = "page"
    """page: from path to path; eventType: from event type to event type."""
    max_per_session: int = Field(default=20, ge=1, le=100)
    """Transitions of one session that are kept, the first ones."""


class RetentionSpec(Model):
    """Who comes back in the periods after the first visit."""

    enabled: bool = True
    """Whether there are documents of retention."""
    period: Literal["day", "week"] = "week"
    """Periods in UTC; a week begins on Monday."""
    periods: int = Field(default=12, ge=2, le=400)
    """How many periods are looked at, the first one among them. A visitor who stays away for
    longer is new when they come again."""

    @property
    def length(self) -> timedelta:
        """Of one period."""
        return timedelta(days=1 if self.period == "day" else 7)

    @property
    def memory(self) -> timedelta:
        """How long a visitor may stay away and still be known."""
        return self.length * self.periods


class AttributionSpec(Model):
    """Which visits a conversion is owed to."""

    enabled: bool = True
    """Whether there are documents of attribution."""
    conversions: Annotated[tuple[Conversion, ...], Field(min_length=1, max_length=20)] = (
        Conversion(name="purchase", event_types=("purchase", "transaction", "order_completed")),
    )
    """Events that are conversions."""
    models: Annotated[tuple[AttributionModel, ...], Field(min_length=1, max_length=4)] = (
        *("first", "last", "linear", "position"),
    )
    """How credit is shared among the touches: all to the first, all to the last, the same to each,
    or by position (40% to the first, 40% to the last, the rest to those between)."""
    lookback: Span = timedelta(days=30)
    """How long before a conversion a session may have begun to be a touch of it."""
    max_touches: int = Field(default=20, ge=1, le=100)
    """Touches of one conversion that share the credit: the first and the latest ones."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [conversion.name for conversion in self.conversions]
        if len(set(names)) < len(names):
            raise ValueError("conversions: two have the same name: rename one")
        if len(set(self.models)) < len(self.models):
            raise ValueError("models names one twice: take it out")
        return self


def _purchase() -> tuple[Funnel, ...]:
    steps = (
        Step(name="visit", event_types=("pageview", "page_view", "page", "screen", "view")),
        Step(name="cart", event_types=("add_to_cart", "product_added")),
        Step(name="purchase", event_types=("purchase", "transaction", "order_completed")),
    )
    return (Funnel(name="purchase", steps=steps),)


class AnalyticsSpec(Model):
    """Funnels, transitions, retention and attribution, derived from sessions."""

    enabled: bool = False
    """Whether the stage analyze runs."""
    bots: bool = False
    """Whether sessions of bots count."""
    funnels: Annotated[tuple[Funnel, ...], Field(max_length=20)] = _purchase()
    """Steps whose takers are counted."""
    transitions: TransitionsSpec = TransitionsSpec()
    """Which page follows which."""
    retention: RetentionSpec = RetentionSpec()
    """Who comes back."""
    attribution: AttributionSpec = AttributionSpec()
    """Which channels conversions are owed to."""
    max_sessions: int = Field(default=300, ge=10, le=500)
    """Sessions of one visitor that are remembered at a time; more are dropped as visitor_full."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [funnel.name for funnel in self.funnels]
        if len(set(names)) < len(names):
            raise ValueError("funnels: two have the same name: rename one")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of documents that are made, where the stage runs."""
        wanted = {
            "funnels": bool(self.funnels),
            "transitions": self.transitions.enabled,
            "retention": self.retention.enabled,
            "attribution": self.attribution.enabled,
        }
        return tuple(kind for kind, made in wanted.items() if self.enabled and made)

    @property
    def fields(self) -> frozenset[str]:
        """Fields of the event that steps and conversions match by, beside its type and page."""
        matches = [step for funnel in self.funnels for step in funnel.steps]
        return frozenset(
            name for match in (*matches, *self.attribution.conversions) for name in match.fields
        )
