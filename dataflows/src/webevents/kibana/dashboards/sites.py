"""Web traffic of a family of sites: events and sessions by host, address and place."""

from webevents.kibana import vega
from webevents.kibana.dashboards import parts as p
from webevents.kibana.model import (
    Dashboard,
    Layer,
    Lens,
    Metric,
    Quotient,
    Row,
    Share,
    Terms,
    Time,
    Vega,
)

_IN_SESSIONS = Metric("Events", "sum", "total_events")
_SHARE = Share("Share", p.EVENT_COUNT)

SITES = Dashboard(
    "sites",
    "Family of sites",
    "Events and sessions of several hosts.",
    (
        Row(
            13,
            (
                Lens(
                    "By host and date",
                    "bars",
                    (Layer(p.EVENTS, (p.EVENT_COUNT,), (Terms("host", "Host", 20), Time("1d"))),),
                ),
                p.ranking(
                    "By country",
                    p.EVENTS,
                    Terms("geo_country", "Country", 300),
                    *(p.EVENT_COUNT, _SHARE),
                ),
                p.ranking(
                    "By state",
                    p.EVENTS,
                    Terms("geo_region_name", "State", 1000),
                    *(p.EVENT_COUNT, _SHARE),
                ),
            ),
        ),
        Row(13, (Vega("By hour", p.EVENTS, (), vega.by_hour),)),
        Row(
            14,
            (
                Lens(
                    "Sessions by IP and host",
                    "table",
                    (
                        Layer(
                            p.SESSIONS,
                            (p.SESSION_COUNT, _IN_SESSIONS),
                            (Terms("ip_address", "IP address", 50), Terms("host", "Host", 20)),
                        ),
                    ),
                ),
                Lens(
                    "Events by host and date",
                    "table",
                    (Layer(p.SESSIONS, (_IN_SESSIONS,), (Terms("host", "Host", 20), Time("1d"))),),
                ),
                p.ranking(
                    "Average events per session and host",
                    p.SESSIONS,
                    Terms("host", "Host", 50),
                    p.SESSION_COUNT,
                    Quotient("Events per session", _IN_SESSIONS, p.SESSION_COUNT, False, 2),
                ),
            ),
        ),
    ),
    since="now-7d",
    refresh_s=5,
)
