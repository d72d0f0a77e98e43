"""How the pipeline does: throughput, lag and waits of each stage, and what failed."""

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
    Records,
    Row,
    Terms,
    Time,
    Vega,
)

_NEWEST = Metric("Newest event", "max", "event_timestamp")

_FAILED, _SAMPLES = "failed", "samples"
_FAILURES = Metric("Failed events")
_STAGE = Terms("stage", "Stage")
_REASON = Terms("reason", "Reason")

PERFORMANCE = Dashboard(
    "performance",
    "Performance of the pipeline",
    "Throughput, lag and waits of each stage, failed events, and what had to be corrected.",
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
            13,
            (
                p.over_time(
                    "Messages read a second, by stage",
                    _SAMPLES,
                    Metric("Messages a second", "average", "in_per_second", decimals=1),
                    _STAGE,
                    shape="line",
                ),
                p.over_time(
                    "Lag by stage",
                    _SAMPLES,
                    Metric("Messages still to be processed", "max", "lag"),
                    _STAGE,
                    shape="line",
                ),
            ),
        ),
        Row(
            13,
            (
                p.over_time(
                    "Wait of half of the messages, by stage",
                    _SAMPLES,
                    Metric("Milliseconds", "average", "wait_p50_ms"),
                    _STAGE,
                    shape="line",
                ),
                p.over_time(
                    "Wait of 99% of the messages, by stage",
                    _SAMPLES,
                    Metric("Milliseconds", "max", "wait_p99_ms"),
                    _STAGE,
                    shape="line",
                ),
                p.ranking(
                    "Stages",
                    _SAMPLES,
                    _STAGE,
                    Metric("Read", "max", "in"),
                    Metric("Failed", "max", "failed"),
                    Metric("Dropped", "max", "dropped"),
                    Metric("Largest lag", "max", "lag"),
                    Metric("Workers", "max", "workers"),
                ),
            ),
        ),
        Row(
            13,
            (
                p.number("Failed events", _FAILED, _FAILURES),
                p.over_time("Failed events by reason", _FAILED, _FAILURES, _REASON, shape="bars"),
                p.bars("Failed events by stage", _FAILED, _STAGE, _FAILURES),
                Lens(
                    "Reasons by stage",
                    "table",
                    (Layer(_FAILED, (_FAILURES,), (_STAGE, _REASON)),),
                ),
            ),
        ),
        Row(
            14,
            (
                Records(
                    "Newest failed events",
                    _FAILED,
                    ("stage", "reason", "detail", "topic", "partition", "offset", "event_id"),
                ),
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
