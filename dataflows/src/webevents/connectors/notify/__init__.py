"""Telling people of alerts: webhooks, Slack, PagerDuty (Events v2), Alertmanager (API v2)."""

from webevents.connectors.notify.messages import Kind, Notice, Request, request_for
from webevents.connectors.notify.sender import Report, Sender

__all__ = ["Kind", "Notice", "Report", "Request", "Sender", "request_for"]
