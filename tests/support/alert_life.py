"""Alerts for tests."""

from typing import Any

from webevents.events.alert import Alert, alert_id


def alert(**more: Any) -> Alert:
    """A firing alert."""
    fields: dict[str, Any] = {
        "alert_id": alert_id("shop", "no_events", "events", 0),
        "pipeline": "shop",
        "rule": "no_events",
        "series": "events",
        "severity": "critical",
        "status": "firing",
        "started_at": "2026-03-02T10:00:00.000000Z",
        "summary": "No events for 10 minutes.",
        "value": 10.0,
        "limit": 10.0,
    }
    return Alert(**(fields | more))


def resolved(**more: Any) -> Alert:
    """The same when it is over."""
    return alert(status="resolved", resolved_at="2026-03-02T10:20:00.000000Z", **more)
