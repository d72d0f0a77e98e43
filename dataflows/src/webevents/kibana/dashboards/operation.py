"""How the pipeline does, as far as its documents tell.

Lag, latency and failed events of each stage are metrics (``docs/metrics.md``): no document has
them.
"""

from webevents.kibana import vega
from webevents.kibana.dashboards import parts as p
from webevents.kibana.model import (
    Between,
    Dashboard,
    Exists,
    Is,
    Layer,
    Lens,
    Metric,
    Quotient,
    Row,
    Terms,
    Time,
    Vega,
)

_NEWEST = Metric("Newest event", "max", "event_timestamp")

PERFORMANCE = Dashboard(
    "performance",
    "Performance of the pipeline",
    "Throughput, how far the newest document is behind, and what had to be corrected.",
    (
        Row(
            7,
            (
                Vega("Age of the newest event", p.EVENTS, (), vega.newest),
                p.number("Newest event", p.EVENTS, _NEWEST),
                p.number(
                    "Newest event of a session",
                    p.SESSIONS,
                    Metric("Newest event", "max", "last_event_timestamp"),
                ),
                p.number("Open sessions", p.SESSIONS, p.SESSION_COUNT, where=Is("open", ("true",))),
            ),
        ),
        Row(
            13,
            (
                Lens(
                    "Throughput: events per minute",
                    "bar",
                    (Layer(p.EVENTS, (p.EVENT_COUNT,), (Time("1m"),)),),
                    width=32,
                ),
                p.over_time("Sessions begun", p.SESSIONS, p.SESSION_COUNT, shape="bar"),
            ),
        ),
        Row(
            12,
            (
                p.number(
                    "Clocks put right",
                    p.EVENTS,
                    p.EVENT_COUNT,
                    where=Exists("event_timestamp_original"),
                ),
                p.number(
                    "Sessions cut short",
                    p.SESSIONS,
                    p.SESSION_COUNT,
                    where=Is("truncated", ("true",)),
                ),
                p.number(
                    "Versions of a session",
                    p.SESSIONS,
                    Metric("Versions on average", "average", "version", decimals=1),
                    Metric("at most", "max", "version"),
                ),
                p.number(
                    "Sessions of one event",
                    p.SESSIONS,
                    Quotient(
                        "Share",
                        Metric("One event", where=Between("total_events", None, 2)),
                        p.SESSION_COUNT,
                    ),
                ),
                p.donut("Trackers", p.EVENTS, Terms("tracker", "Tracker"), p.EVENT_COUNT),
            ),
        ),
    ),
    since="now-1h",
    refresh_s=5,
)
