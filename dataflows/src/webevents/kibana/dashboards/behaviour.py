"""What visitors do: their paths, how far they get, whether they come back."""

from webevents.kibana import vega
from webevents.kibana.dashboards import parts as p
from webevents.kibana.model import (
    Between,
    Dashboard,
    Exists,
    Filters,
    Layer,
    Lens,
    Metric,
    Quotient,
    Row,
    Terms,
    Time,
    Vega,
)
from webevents.kibana.sankey import sankey

JOURNEYS = Dashboard(
    "journeys",
    "User journeys",
    "The pages that sessions go through, from the first to the last.",
    (
        Row(22, (Vega("Paths", "transitions", ("step", "from", "to"), sankey),)),
        Row(
            14,
            (
                Lens(
                    "Transitions",
                    "table",
                    (
                        Layer(
                            "transitions",
                            (Metric("Transitions"),),
                            (Terms("from", "From", 15), Terms("to", "To", 10)),
                        ),
                    ),
                ),
                p.ranking(
                    "Entry pages",
                    p.SESSIONS,
                    Terms("entry_page", "Page", 15),
                    *(p.SESSION_COUNT, p.BOUNCE_RATE),
                ),
                p.ranking(
                    "Exit pages", p.SESSIONS, Terms("exit_page", "Page", 15), p.SESSION_COUNT
                ),
            ),
        ),
        Row(
            12,
            (
                Lens(
                    "Pages seen in a session",
                    "bar",
                    (
                        Layer(
                            p.SESSIONS,
                            (p.SESSION_COUNT,),
                            (
                                Filters(
                                    "Pages",
                                    (
                                        ("1", Between("unique_pages_count", None, 2)),
                                        ("2", Between("unique_pages_count", 2, 3)),
                                        ("3–5", Between("unique_pages_count", 3, 6)),
                                        ("6–10", Between("unique_pages_count", 6, 11)),
                                        ("more", Between("unique_pages_count", 11)),
                                    ),
                                ),
                            ),
                        ),
                    ),
                ),
                p.ranking(
                    "Search queries",
                    p.SESSIONS,
                    Terms("search_queries", "Query", 20),
                    p.SESSION_COUNT,
                ),
                p.ranking(
                    "Products seen",
                    p.SESSIONS,
                    Terms("products_viewed", "Product", 20),
                    p.SESSION_COUNT,
                ),
            ),
        ),
    ),
    p.SHARED_CONTROLS,
)

_ATTEMPTS = Metric("Attempts")

FUNNEL = Dashboard(
    "funnel",
    "Conversion funnel",
    "How far visitors get on their way to a purchase, and where they give up.",
    (
        Row(16, (Vega("Funnels", "funnels", ("funnel", "steps_reached"), vega.funnel),)),
        Row(
            13,
            (
                Lens(
                    "Attempts by channel",
                    "table",
                    (
                        Layer(
                            "funnels",
                            (
                                _ATTEMPTS,
                                Metric("Seconds to the last step", "median", "duration_seconds"),
                            ),
                            (
                                Terms("funnel", "Funnel", 20),
                                Terms("channel", "Channel", 20),
                                Terms("step", "Last step", 9),
                            ),
                        ),
                    ),
                ),
                p.over_time(
                    "Attempts by last step", "funnels", _ATTEMPTS, Terms("step", "Last step")
                ),
            ),
        ),
        Row(
            13,
            (
                Lens(
                    "Sessions with …",
                    "bar_horizontal",
                    (
                        Layer(
                            p.SESSIONS,
                            (p.SESSION_COUNT,),
                            (
                                Filters(
                                    "Sessions with",
                                    (
                                        ("1. a page view", Between("page_views", 1)),
                                        ("2. a product", Between("products_viewed_count", 1)),
                                        ("3. a cart", Exists("event_type_counts.add_to_cart")),
                                        ("4. a purchase", Exists("event_type_counts.purchase")),
                                    ),
                                ),
                            ),
                        ),
                    ),
                ),
                Lens(
                    "Conversion rate",
                    "line",
                    (
                        Layer(
                            p.SESSIONS,
                            (
                                Quotient(
                                    "Sessions with a purchase",
                                    Metric("Purchases", where=Exists("event_type_counts.purchase")),
                                    p.SESSION_COUNT,
                                ),
                            ),
                            (Time(),),
                        ),
                    ),
                ),
                p.ranking(
                    "Buying by device",
                    p.SESSIONS,
                    Terms("device_type", "Device"),
                    p.SESSION_COUNT,
                    Quotient(
                        "Conversion rate",
                        Metric("Purchases", where=Exists("event_type_counts.purchase")),
                        p.SESSION_COUNT,
                    ),
                    p.REVENUE,
                ),
            ),
        ),
    ),
    p.SHARED_CONTROLS,
    since="now-7d",
)

_CREDITS = tuple(
    Metric(name, "sum", f"credit_{model}", decimals=1)
    for name, model in (
        ("First touch", "first"),
        ("Last touch", "last"),
        ("Linear", "linear"),
        ("By position", "position"),
    )
)

RETENTION = Dashboard(
    "retention",
    "Retention and attribution",
    "Who comes back, and which visits a conversion is owed to.",
    (
        Row(18, (Vega("Cohorts", "retention", ("cohort", "period"), vega.retention),)),
        Row(
            14,
            (
                p.ranking(
                    "Conversions by channel",
                    "attribution",
                    Terms("channel", "Channel", 30),
                    *_CREDITS,
                ),
                p.ranking(
                    "Revenue by channel",
                    "attribution",
                    Terms("channel", "Channel", 30),
                    Metric("First touch", "sum", "revenue_first", decimals=2),
                    Metric("Last touch", "sum", "revenue_last", decimals=2),
                    Metric("Linear", "sum", "revenue_linear", decimals=2),
                    Metric("By position", "sum", "revenue_position", decimals=2),
                ),
            ),
        ),
        Row(
            12,
            (
                p.number(
                    "Conversions",
                    "attribution",
                    Metric("Conversions", where=Between("touch", 1, 2)),
                ),
                p.number(
                    "Touches of a conversion",
                    "attribution",
                    Metric("Touches", "average", "touches", decimals=2),
                ),
                p.number(
                    "Days before",
                    "attribution",
                    Metric("Days from touch to conversion", "average", "days_before", decimals=1),
                ),
            ),
        ),
    ),
    since="now-90d",
)
