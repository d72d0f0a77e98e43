"""What several dashboards share."""

from webevents.kibana.model import (
    Condition,
    Control,
    Figure,
    Is,
    Layer,
    Lens,
    Metric,
    Quotient,
    Shape,
    Terms,
    Time,
)

EVENTS, SESSIONS = "events", "sessions"

EVENT_COUNT = Metric("Events")
SESSION_COUNT = Metric("Sessions")
VISITORS = Metric("Visitors", "unique_count", "session_key")
PAGE_VIEWS = Metric("Page views", "sum", "page_views")
REVENUE = Metric("Revenue", "sum", "total_revenue", decimals=2)
BOUNCE_RATE = Quotient(
    "Bounce rate", Metric("Bounces", where=Is("is_bounce", ("true",))), Metric("Sessions")
)
LENGTH = Metric("Minutes per session", "average", "session_duration_minutes", decimals=1)
REVENUE_PER_SESSION = Quotient(
    "Revenue per session", Metric("Revenue", "sum", "total_revenue"), Metric("Sessions"), False, 2
)

CONTROLS = (
    Control(SESSIONS, "channel", "Channel"),
    Control(SESSIONS, "geo_country", "Country"),
    Control(SESSIONS, "device_type", "Device"),
    Control(SESSIONS, "is_bot", "Bot"),
)
"""Fields that events and sessions have."""

SHARED_CONTROLS = CONTROLS[:3]
"""Those that the documents of the stage analyze have as well."""


def number(title: str, view: str, *figures: Figure, where: Condition | None = None) -> Lens:
    """A figure in large digits."""
    return Lens(title, "number", (Layer(view, figures),), where)


def over_time(
    title: str,
    view: str,
    figure: Figure,
    split: Terms | None = None,
    shape: Shape = "area",
    interval: str = "auto",
) -> Lens:
    """A figure over time, for each value of a field where one is named."""
    by = (split, Time(interval)) if split else (Time(interval),)
    return Lens(title, shape, (Layer(view, (figure,), by),))


def ranking(
    title: str, view: str, terms: Terms, *figures: Figure, where: Condition | None = None
) -> Lens:
    """A table of the most frequent values of a field."""
    return Lens(title, "table", (Layer(view, figures, (terms,)),), where)


def bars(title: str, view: str, terms: Terms, figure: Figure) -> Lens:
    """The most frequent values of a field, as bars."""
    return Lens(title, "bar_horizontal", (Layer(view, (figure,), (terms,)),))


def donut(title: str, view: str, terms: Terms, figure: Figure) -> Lens:
    """The parts of a whole."""
    return Lens(title, "donut", (Layer(view, (figure,), (terms,)),))
