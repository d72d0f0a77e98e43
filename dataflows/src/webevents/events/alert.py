"""Alerts as records of the alerts topic: one for each change of an alert."""

import hashlib
from typing import Literal

import msgspec

from webevents.events.times import format_time

Status = Literal["firing", "resolved"]


class Alert(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One alert as it is now; the newest record of an ``alert_id`` counts."""

    alert_id: str
    """The same through all of an alert's life and after any restart; receivers tell by it what
    they know already."""
    pipeline: str
    rule: str
    """no_events, failed_share, failed_events, lag, revenue_drop or anomaly."""
    series: str
    """What it is about: a series, or the stage that lags."""
    severity: str
    status: Status
    started_at: str
    """The beginning of the first minute beyond the limit; event time."""
    summary: str
    """One sentence for people; holds no values of events."""
    value: float
    """What was measured, when the alert began or ended."""
    limit: float | None = None
    """What the value was held against."""
    expected: float | None = None
    """What is usual, for rules that compare."""
    resolved_at: str | None = None
    """The end of the last minute beyond the limit."""


def alert_id(pipeline: str, rule: str, series: str, started_us: int) -> str:
    """The alert's identifier: a hash of what it is about and when it began."""
    text = f"{pipeline}\x00{rule}\x00{series}\x00{format_time(started_us)}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


encode_alert = msgspec.json.Encoder().encode
decode_alert = msgspec.json.Decoder(Alert).decode
"""Read one message of the alerts topic."""
