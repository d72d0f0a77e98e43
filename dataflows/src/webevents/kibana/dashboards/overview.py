"""Overview, the stream as it comes, and where visitors come from."""

from webevents.kibana import vega
from webevents.kibana.dashboards import parts as p
from webevents.kibana.model import (
    Dashboard,
    Is,
    Layer,
    Lens,
    Metric,
    Not,
    Records,
    Row,
    Terms,
    Vega,
)

OVERVIEW = Dashboard(
    "overview",
    "Overview",
    "How many events, visitors and sessions there are, what they do and what they spend.",
    (
        Row(
            7,
            (
                p.number("Events", p.EVENTS, p.EVENT_COUNT),
                p.number("Sessions", p.SESSIONS, p.SESSION_COUNT),
                p.number("Visitors", p.SESSIONS, p.VISITORS),
                p.number("Page views", p.SESSIONS, p.PAGE_VIEWS),
                p.number("Bounce rate", p.SESSIONS, p.BOUNCE_RATE),
                p.number("Revenue", p.SESSIONS, p.REVENUE),
            ),
        ),
        Row(
            13,
            (
                p.over_time("Events by type", p.EVENTS, p.EVENT_COUNT, Terms("event_type", "Type")),
                p.over_time(
                    "Sessions by channel", p.SESSIONS, p.SESSION_COUNT, Terms("channel", "Channel")
                ),
            ),
        ),
        Row(
            14,
            (
                p.ranking("Top pages", p.EVENTS, Terms("page_url_path", "Page"), p.EVENT_COUNT),
                p.donut("Channels", p.SESSIONS, Terms("channel", "Channel"), p.SESSION_COUNT),
                p.donut("Devices", p.SESSIONS, Terms("device_type", "Device"), p.SESSION_COUNT),
                p.bars("Countries", p.SESSIONS, Terms("geo_country", "Country"), p.SESSION_COUNT),
            ),
        ),
    ),
    p.CONTROLS,
)

STREAM = Dashboard(
    "stream",
    "Real-time event stream",
    "The last quarter of an hour, event by event.",
    (
        Row(
            7,
            (
                p.number("Events in this time", p.EVENTS, p.EVENT_COUNT),
                p.number(
                    "Users in this time",
                    p.EVENTS,
                    Metric("Users", "unique_count", "user_id"),
                ),
                p.number(
                    "Browsers in this time",
                    p.EVENTS,
                    Metric("Browsers", "unique_count", "user_domain_id"),
                ),
                p.number(
                    "Pages in this time",
                    p.EVENTS,
                    Metric("Pages", "unique_count", "page_url"),
                ),
                Vega("Age of the newest event", p.EVENTS, (), vega.newest),
            ),
        ),
        Row(
            12,
            (
                p.over_time(
                    "Stream of events",
                    p.EVENTS,
                    p.EVENT_COUNT,
                    Terms("event_type", "Type"),
                    shape="bars",
                ),
                p.donut("Event types", p.EVENTS, Terms("event_type", "Type"), p.EVENT_COUNT),
                p.donut("Devices now", p.EVENTS, Terms("device_type", "Device"), p.EVENT_COUNT),
            ),
        ),
        Row(
            20,
            (
                Records(
                    "Event log",
                    p.EVENTS,
                    (
                        *("event_type", "user_id", "user_domain_id", "page_url", "referer_url"),
                        *("channel", "device_type", "geo_country", "revenue", "is_bot"),
                    ),
                    36,
                ),
                p.ranking("Pages now", p.EVENTS, Terms("page_url", "Page", 20), p.EVENT_COUNT),
            ),
        ),
    ),
    since="now-15m",
    refresh_s=5,
)

_FROM_OUTSIDE = Not(Is("referer_medium", ("internal",)))

ACQUISITION = Dashboard(
    "acquisition",
    "Acquisition",
    "Where sessions come from, and what each source is worth.",
    (
        Row(
            13,
            (
                p.over_time(
                    "Sessions by channel", p.SESSIONS, p.SESSION_COUNT, Terms("channel", "Channel")
                ),
                p.donut(
                    "Source categories",
                    p.SESSIONS,
                    Terms("source_category", "Source category"),
                    p.SESSION_COUNT,
                ),
            ),
        ),
        Row(
            14,
            (
                p.ranking(
                    "Channels",
                    p.SESSIONS,
                    Terms("channel", "Channel", 30),
                    *(p.SESSION_COUNT, p.VISITORS, p.BOUNCE_RATE, p.REVENUE),
                    p.REVENUE_PER_SESSION,
                ),
                p.ranking(
                    "Source categories in figures",
                    p.SESSIONS,
                    Terms("source_category", "Source category", 20),
                    *(p.SESSION_COUNT, p.VISITORS, p.BOUNCE_RATE, p.REVENUE),
                ),
            ),
        ),
        Row(
            15,
            (
                p.ranking(
                    "Referring hosts",
                    p.EVENTS,
                    Terms("referer_host", "Host", 20),
                    p.EVENT_COUNT,
                    where=_FROM_OUTSIDE,
                ),
                p.ranking(
                    "Referring services",
                    p.EVENTS,
                    Terms("referer_name", "Service", 20),
                    p.EVENT_COUNT,
                    where=_FROM_OUTSIDE,
                ),
                Lens(
                    "Campaigns",
                    "table",
                    (
                        Layer(
                            p.SESSIONS,
                            (p.SESSION_COUNT, p.BOUNCE_RATE, p.REVENUE),
                            (
                                Terms("utm_campaign", "Campaign", 20),
                                Terms("utm_source", "Source", 5),
                                Terms("utm_medium", "Medium", 5),
                            ),
                        ),
                    ),
                    width=24,
                ),
            ),
        ),
    ),
    p.CONTROLS,
    since="now-7d",
)
