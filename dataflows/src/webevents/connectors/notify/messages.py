"""What each kind of receiver is sent, in the shape that its documentation asks for.

Slack: incoming webhooks (docs.slack.dev, "Sending messages using incoming webhooks", Block Kit).
PagerDuty: Events API v2 (developer.pagerduty.com, "Send an alert event").
Alertmanager: api/v2/openapi.yaml of its sources, ``postAlerts``.
"""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from webevents.connectors.kafka import read_secret
from webevents.events.alert import Alert
from webevents.events.times import format_time, parse_time
from webevents.spec.alerts import AlertmanagerReceiver, Receiver

Kind = Literal["firing", "reminder", "resolved"]

STALE_AFTER = 10
"""Alertmanager takes an alert for resolved that was not told again for so many intervals."""
_SUMMARY_LIMIT = 1024
"""Characters of a summary at PagerDuty."""
_EMOJI = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell a receiver."""

    alert: Alert
    kind: Kind
    number: int = 0
    """Which reminder it is."""

    @property
    def key(self) -> str:
        """The same for every attempt, also after a restart."""
        suffix = f"-{self.number}" if self.kind == "reminder" else ""
        return f"{self.alert.alert_id}-{self.kind}{suffix}"


@dataclass(frozen=True, slots=True)
class Request:
    """A POST of JSON."""

    url: str
    """May hold a secret: never for logs."""
    body: bytes
    headers: dict[str, str]


def request_for(receiver: Receiver, notice: Notice, now_us: int) -> Request:
    """Make the request that tells a receiver; secrets are read anew, for they are rotated.

    :param now_us: the wall clock, in microseconds since the epoch.
    :raises webevents.errors.UserError: when a secret cannot be read.
    """
    alert = notice.alert
    if hook := receiver.webhook:
        url = hook.url or read_secret("webhook's URL", hook.url_file, hook.url_env)
        body = {"version": "1", "kind": notice.kind, "key": notice.key, "alert": alert}
        return _request(url, body, _bearer(hook) | {"Idempotency-Key": notice.key})
    if slack := receiver.slack:
        url = read_secret("URL of Slack's webhook", slack.url_file, slack.url_env)
        return _request(url, slack_body(notice))
    if duty := receiver.pagerduty:
        key = read_secret("PagerDuty routing key", duty.routing_key_file, duty.routing_key_env)
        return _request(duty.url, {"routing_key": key, **pagerduty_body(notice)})
    manager = receiver.alertmanager
    assert manager
    url = f"{manager.url.rstrip('/')}/api/v2/alerts"
    return _request(url, [alertmanager_body(alert, manager, now_us)], _bearer(manager))


def _request(url: str, body: Any, headers: dict[str, str] | None = None) -> Request:
    return Request(url, _encode(body), {"Content-Type": "application/json"} | (headers or {}))


def _bearer(where: Any) -> dict[str, str]:
    if where.token_file is None and where.token_env is None:
        return {}
    token = read_secret("receiver's token", where.token_file, where.token_env)
    return {"Authorization": f"Bearer {token}"}


def slack_body(notice: Notice) -> dict[str, Any]:
    """A message of blocks, with the text that notifications show."""
    alert = notice.alert
    word = {"firing": alert.severity, "reminder": "still firing", "resolved": "resolved"}
    sign = "✅" if notice.kind == "resolved" else _EMOJI[alert.severity]
    title = f"{alert.pipeline}: {alert.rule} ({word[notice.kind]})"
    times = f"since {alert.started_at[:16]}Z"
    if alert.resolved_at:
        times = f"{alert.started_at[:16]}Z to {alert.resolved_at[:16]}Z"
    return {
        "text": _escaped(f"{sign} {title}: {alert.summary}"),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": f"{sign} {title}"[:150]}},
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": _escaped(alert.summary)[:3000]},
            },
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": _escaped(f"{alert.series} | {times} | {alert.alert_id[:8]}"),
                    }
                ],
            },
        ],
    }


def _escaped(text: str) -> str:
    """The three characters that Slack's mrkdwn gives a meaning beyond formatting."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def pagerduty_body(notice: Notice) -> dict[str, Any]:
    """An event of the Events API v2 but for its routing key."""
    alert = notice.alert
    if notice.kind == "resolved":
        return {"event_action": "resolve", "dedup_key": alert.alert_id}
    details = {"value": alert.value, "limit": alert.limit, "expected": alert.expected}
    return {
        "event_action": "trigger",
        "dedup_key": alert.alert_id,
        "client": "webevents",
        "payload": {
            "summary": f"{alert.pipeline}: {alert.summary}"[:_SUMMARY_LIMIT],
            "source": alert.pipeline,
            "severity": alert.severity,
            "timestamp": alert.started_at,
            "component": alert.series,
            "group": alert.pipeline,
            "class": alert.rule,
            "custom_details": {name: value for name, value in details.items() if value is not None},
        },
    }


def alertmanager_body(alert: Alert, manager: AlertmanagerReceiver, now_us: int) -> dict[str, Any]:
    """A ``postableAlert``; its labels are the same through all of the alert's life."""
    every_us = round(manager.resend_every.total_seconds() * 1e6)
    ends_us = now_us + STALE_AFTER * every_us
    if alert.resolved_at:
        ends_us = max(parse_time(alert.resolved_at), parse_time(alert.started_at) + 1)
    labels = {
        "alertname": f"Webevents_{alert.rule}",
        "pipeline": alert.pipeline,
        "rule": alert.rule,
        "series": alert.series,
        "severity": alert.severity,
    }
    return {
        "labels": manager.labels | labels,
        "annotations": {"summary": alert.summary, "alert_id": alert.alert_id},
        "startsAt": alert.started_at,
        "endsAt": format_time(ends_us),
    }
