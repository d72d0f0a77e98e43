"""Sessions, and the places and devices that they come from."""

from webevents.kibana.dashboards import parts as p
from webevents.kibana.model import (
    Between,
    Dashboard,
    Filters,
    Is,
    Layer,
    Lens,
    Map,
    Metric,
    Quotient,
    Records,
    Row,
    Share,
    Terms,
)


def _minutes(low: float | None, high: float | None) -> Between:
    return Between("session_duration_minutes", low, high)


SESSIONS = Dashboard(
    "sessions",
    "Sessions",
    "How long sessions are, where they begin and end, and what they bring.",
    (
        Row(
            7,
            (
                p.number("Sessions", p.SESSIONS, p.SESSION_COUNT),
                p.number("Open now", p.SESSIONS, p.SESSION_COUNT, where=Is("open", ("true",))),
                p.number(
                    "Median length",
                    p.SESSIONS,
                    Metric("Minutes", "median", "session_duration_minutes", decimals=1),
                ),
                p.number("Bounce rate", p.SESSIONS, p.BOUNCE_RATE),
                p.number(
                    "Events per session",
                    p.SESSIONS,
                    Metric("Events", "average", "total_events", decimals=1),
                ),
                p.number("Revenue per session", p.SESSIONS, p.REVENUE_PER_SESSION),
            ),
        ),
        Row(
            13,
            (
                Lens(
                    "Length in minutes",
                    "bar",
                    (
                        Layer(
                            p.SESSIONS,
                            (p.SESSION_COUNT,),
                            (
                                Filters(
                                    "Minutes",
                                    (
                                        ("under 1", _minutes(None, 1)),
                                        ("1–3", _minutes(1, 3)),
                                        ("3–10", _minutes(3, 10)),
                                        ("10–30", _minutes(10, 30)),
                                        ("30–60", _minutes(30, 60)),
                                        ("over 60", _minutes(60, None)),
                                    ),
                                ),
                            ),
                        ),
                    ),
                ),
                p.over_time("Bounce rate over time", p.SESSIONS, p.BOUNCE_RATE, shape="line"),
                p.over_time("Revenue over time", p.SESSIONS, p.REVENUE, shape="bar"),
            ),
        ),
        Row(
            14,
            (
                p.ranking(
                    "Entry pages",
                    p.SESSIONS,
                    Terms("entry_page", "Page", 15),
                    *(p.SESSION_COUNT, p.BOUNCE_RATE, p.LENGTH, p.REVENUE),
                ),
                p.ranking(
                    "Exit pages",
                    p.SESSIONS,
                    Terms("exit_page", "Page", 15),
                    *(p.SESSION_COUNT, p.LENGTH),
                ),
            ),
        ),
        Row(
            16,
            (
                Records(
                    "Newest sessions",
                    p.SESSIONS,
                    (
                        *("session_key", "session_duration_minutes", "total_events", "page_views"),
                        *("entry_page", "exit_page", "channel", "total_revenue", "open"),
                    ),
                ),
            ),
        ),
    ),
    p.CONTROLS,
)

GEOGRAPHY = Dashboard(
    "geography",
    "Geography",
    "Where visitors are.",
    (
        Row(
            20,
            (
                Map("Events by place", p.EVENTS, "geo_location", 32),
                p.ranking(
                    "Countries",
                    p.EVENTS,
                    Terms("geo_country", "Country", 300),
                    *(p.EVENT_COUNT, Share("Share", p.EVENT_COUNT)),
                ),
            ),
        ),
        Row(
            14,
            (
                p.ranking(
                    "Sessions by country",
                    p.SESSIONS,
                    Terms("geo_country", "Country", 25),
                    *(p.SESSION_COUNT, p.VISITORS, p.BOUNCE_RATE, p.REVENUE),
                ),
                p.bars("Regions", p.EVENTS, Terms("geo_region_name", "Region", 15), p.EVENT_COUNT),
                p.bars("Cities", p.EVENTS, Terms("geo_city", "City", 15), p.EVENT_COUNT),
            ),
        ),
        Row(
            12,
            (
                p.bars("Time zones", p.EVENTS, Terms("geo_timezone", "Time zone"), p.EVENT_COUNT),
                p.donut(
                    "Languages", p.EVENTS, Terms("browser_language", "Language"), p.EVENT_COUNT
                ),
                p.donut(
                    "Where the place is from",
                    p.EVENTS,
                    Terms("geo_source", "Source"),
                    p.EVENT_COUNT,
                ),
            ),
        ),
    ),
    p.CONTROLS,
)

TECHNOLOGY = Dashboard(
    "technology",
    "Technology",
    "Browsers, systems, devices, and bots.",
    (
        Row(
            13,
            (
                p.donut("Devices", p.SESSIONS, Terms("device_type", "Device"), p.SESSION_COUNT),
                p.donut("Browsers", p.SESSIONS, Terms("browser_name", "Browser"), p.SESSION_COUNT),
                p.donut("Systems", p.SESSIONS, Terms("os_name", "System"), p.SESSION_COUNT),
            ),
        ),
        Row(
            14,
            (
                Lens(
                    "Browser versions",
                    "table",
                    (
                        Layer(
                            p.EVENTS,
                            (p.EVENT_COUNT,),
                            (
                                Terms("browser_name", "Browser", 10),
                                Terms("browser_version", "Version", 5),
                            ),
                        ),
                    ),
                ),
                p.ranking(
                    "Browsers in figures",
                    p.SESSIONS,
                    Terms("browser_name", "Browser", 15),
                    *(p.SESSION_COUNT, p.BOUNCE_RATE, p.LENGTH, p.REVENUE),
                ),
                p.bars("Makers", p.EVENTS, Terms("device_brand", "Maker"), p.EVENT_COUNT),
                p.bars("Viewports", p.EVENTS, Terms("viewport_size", "Viewport"), p.EVENT_COUNT),
            ),
        ),
        Row(
            12,
            (
                p.number(
                    "Events of bots",
                    p.EVENTS,
                    Quotient(
                        "Share of events",
                        Metric("Bots", where=Is("is_bot", ("true",))),
                        p.EVENT_COUNT,
                    ),
                ),
                p.ranking("Bots", p.EVENTS, Terms("bot_name", "Bot", 20), p.EVENT_COUNT),
                p.ranking("Why bots", p.EVENTS, Terms("bot_reason", "Reason", 20), p.EVENT_COUNT),
                p.over_time(
                    "People and bots", p.EVENTS, p.EVENT_COUNT, Terms("is_bot", "Bot"), shape="bars"
                ),
            ),
        ),
    ),
    p.CONTROLS,
)
