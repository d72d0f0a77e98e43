"""spec.alerts: what is watched, when it is an alert, and who is told."""

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from webevents.spec.base import Duration, Model

Severity = Literal["critical", "error", "warning", "info"]
"""The four of PagerDuty's Events API v2, which the other receivers take too."""
SeriesName = Literal["events", "failed", "orders", "revenue"]
Fraction = Annotated[float, Field(gt=0, le=1)]

MAX_WINDOW = timedelta(hours=6)
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]


class Rule(Model):
    """What every rule has."""

    enabled: bool = True
    """Whether the rule holds."""
    severity: Severity = "warning"
    """How urgent its alerts are."""


def _whole_minutes(window: timedelta) -> timedelta:
    if not timedelta(0) < window <= MAX_WINDOW or window % timedelta(minutes=1):
        raise ValueError("a window is whole minutes, 1m to 6h")
    return window


Window = Annotated[Duration, AfterValidator(_whole_minutes)]


class WindowRule(Rule):
    """A rule over the last while."""

    window: Window = timedelta(minutes=10)
    """Whole minutes, at most 6 hours."""


class NoEventsRule(Rule):
    """Nothing comes any more."""

    severity: Severity = "critical"
    """How urgent its alerts are."""
    after: Duration = timedelta(minutes=10)
    """How long nothing has come; whole minutes."""

    @model_validator(mode="after")
    def _minutes(self) -> Self:
        if self.after < timedelta(minutes=1) or self.after % timedelta(minutes=1):
            raise ValueError("after must be whole minutes, at least 1m")
        return self


class FailedShareRule(WindowRule):
    """A share of the events cannot be processed."""

    above: Fraction = 0.05
    """Failed events of all events of the window."""
    min_failed: int = Field(default=10, ge=1)
    """Fewer failed events are no alert, whatever their share."""


class FailedEventsRule(WindowRule):
    """Many events cannot be processed, whatever their share."""

    enabled: bool = False
    """Whether the rule holds."""
    above: int = Field(default=1000, ge=0)
    """Failed events of the window."""


class LagRule(Rule):
    """A stage is behind."""

    above: int = Field(default=10_000, ge=0)
    """Messages that a stage has still to process."""
    lasting: Duration = timedelta(minutes=10)
    """How long it has been so."""


_HOUR = timedelta(hours=1)
_SHORT_AND_LONG = (timedelta(minutes=15), _HOUR)
_OF_FEW = (_HOUR, 3 * _HOUR)
"""Windows of what happens rarely."""


class SeasonalRule(Rule):
    """A series is far from what is usual for the hour of the week."""

    windows: Annotated[tuple[Window, ...], Field(min_length=1)] = _SHORT_AND_LONG
    """The last whiles that are compared; one beyond the limit is enough. A short one is quick, a
    long one finds less in fewer events. Each divides an hour, or is whole hours, up to 6."""
    direction: Literal["drop", "surge", "both"] = "both"
    """What is an alert: less than usual, more, or both."""
    sensitivity: float = Field(default=6.0, ge=2, le=100)
    """How many robust standard deviations away from the usual is an alert; less finds more, and
    more that is nothing."""
    min_deviation: float = Field(default=0.3, gt=0, le=10)
    """Less than this share away from the usual is no alert, however sure it is."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if len(set(self.windows)) < len(self.windows):
            raise ValueError("windows names one twice")
        for window in self.windows:
            if window % _HOUR and _HOUR % window:
                raise ValueError(
                    "each of windows must divide an hour (15m), or be whole hours (3h)"
                )
        return self


class RevenueDropRule(SeasonalRule):
    """The revenue falls."""

    severity: Severity = "critical"
    """How urgent its alerts are."""
    windows: Annotated[tuple[Window, ...], Field(min_length=1)] = _OF_FEW
    """The last whiles that are compared; one beyond the limit is enough."""
    direction: Literal["drop"] = "drop"
    """Less than usual."""
    sensitivity: float = Field(default=5.0, ge=2, le=100)
    """How many robust standard deviations below the usual is an alert."""
    min_deviation: float = Field(default=0.5, gt=0, le=1)
    """Less than this share below the usual is no alert, however sure it is."""


class AnomalyRule(SeasonalRule):
    """One series that is compared with what is usual."""

    series: SeriesName
    """events, failed events, orders (sessions.purchaseTypes) or revenue."""


def _anomalies() -> tuple[AnomalyRule, ...]:
    orders = AnomalyRule(series="orders", windows=_OF_FEW, direction="drop", min_deviation=0.5)
    return (AnomalyRule(series="events"), orders)


class AlertRules(Model):
    """When something is an alert."""

    no_events: NoEventsRule = NoEventsRule()
    """Nothing comes any more."""
    failed_share: FailedShareRule = FailedShareRule()
    """A share of the events cannot be processed."""
    failed_events: FailedEventsRule = FailedEventsRule()
    """Many events cannot be processed."""
    lag: LagRule = LagRule()
    """A stage is behind."""
    revenue_drop: RevenueDropRule = RevenueDropRule()
    """The revenue falls."""
    anomalies: tuple[AnomalyRule, ...] = _anomalies()
    """Series that are compared with what is usual for the hour of the week."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [rule.series for rule in self.anomalies]
        if len(set(names)) < len(names):
            raise ValueError("anomalies names a series twice: one rule for each")
        return self


class Throttle(Model):
    """At most so many messages within a while; resolutions of what was told are never held back."""

    max: int = Field(default=20, ge=1)
    """How many."""
    per: Duration = timedelta(hours=1)
    """Within how long."""


class WebhookReceiver(Model):
    """A POST of JSON to a URL of your own."""

    url: HttpUrl | None = None
    """Where to send it, where the URL is no secret."""
    url_file: str | None = None
    """File that holds the URL, where it is a secret."""
    url_env: str | None = None
    """Environment variable that holds the URL."""
    token_file: str | None = None
    """File with a token that is sent as Authorization: Bearer."""
    token_env: str | None = None
    """Environment variable that holds the token."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.url, self.url_file, self.url_env)) != 1:
            raise ValueError("set exactly one of url, urlFile and urlEnv")
        if self.token_file is not None and self.token_env is not None:
            raise ValueError("set tokenFile or tokenEnv, not both")
        return self


class SlackReceiver(Model):
    """A Slack incoming webhook; its URL is a secret."""

    url_file: str | None = None
    """File that holds the URL."""
    url_env: str | None = None
    """Environment variable that holds the URL."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.url_file is None) == (self.url_env is None):
            raise ValueError("set exactly one of urlFile and urlEnv")
        return self


class PagerDutyReceiver(Model):
    """A service of PagerDuty, by its Events API v2."""

    routing_key_file: str | None = None
    """File that holds the integration key."""
    routing_key_env: str | None = None
    """Environment variable that holds the integration key."""
    url: HttpUrl = "https://events.pagerduty.com/v2/enqueue"
    """Another for accounts in the EU service region."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.routing_key_file is None) == (self.routing_key_env is None):
            raise ValueError("set exactly one of routingKeyFile and routingKeyEnv")
        return self


class AlertmanagerReceiver(Model):
    """A Prometheus Alertmanager, by its API v2; name each replica as a receiver of its own."""

    url: HttpUrl
    """Where it is, without /api/v2."""
    token_file: str | None = None
    """File with a token that is sent as Authorization: Bearer."""
    token_env: str | None = None
    """Environment variable that holds the token."""
    resend_every: Duration = timedelta(minutes=1)
    """How often a firing alert is told again, lest Alertmanager takes it for resolved."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels that are added to each alert."""

    @model_validator(mode="after")
    def _label_names(self) -> Self:
        for name in self.labels:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
                raise ValueError(f"labels.{name}: a label is letters, digits and _, no digit first")
        return self


class Receiver(Model):
    """Who is told; exactly one kind."""

    webhook: WebhookReceiver | None = None
    """A URL of your own."""
    slack: SlackReceiver | None = None
    """A channel of Slack."""
    pagerduty: PagerDutyReceiver | None = None
    """A service of PagerDuty."""
    alertmanager: AlertmanagerReceiver | None = None
    """A Prometheus Alertmanager."""
    severities: tuple[Severity, ...] = ("critical", "error", "warning", "info")
    """What it is told of."""
    repeat_every: Duration | None = timedelta(hours=4)
    """How often it is reminded of an alert that goes on; never when absent. Not for Alertmanager,
    which reminds by itself."""
    throttle: Throttle | None = Throttle()
    """Not for Alertmanager, which groups by itself."""
    timeout: Duration = timedelta(seconds=10)
    """How long one attempt may take to connect, and to answer."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = (self.webhook, self.slack, self.pagerduty, self.alertmanager)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("set exactly one of webhook, slack, pagerduty and alertmanager")
        if self.repeat_every is not None and self.repeat_every < timedelta(minutes=1):
            raise ValueError("repeatEvery must be at least 1m")
        return self


class AlertsSpec(Model):
    """What is watched, when it is an alert, and who is told."""

    enabled: bool = False
    """Whether the stage detect runs."""
    rules: AlertRules = AlertRules()
    """When something is an alert."""
    delay: Duration = timedelta(minutes=1)
    """How long after its end a minute is judged, so that its events have come."""
    max_age: Duration = timedelta(hours=1)
    """Minutes longer ago are learned from but raise nothing: a replay or a backlog is no alert."""
    past: bool = False
    """Whether minutes of any age raise alerts, for scoring and for replays."""
    raise_after: int = Field(default=3, ge=1, le=60)
    """Minutes in a row that must be beyond the limit."""
    resolve_after: int = Field(default=5, ge=1, le=1440)
    """Minutes in a row that must be well again."""
    weeks: int = Field(default=6, ge=3, le=26)
    """How many weeks of each hour of the week are remembered."""
    receivers: dict[str, Receiver] = Field(default_factory=dict)
    """Who is told, by a name of yours; alerts are in the topic without any."""

    @model_validator(mode="after")
    def _receiver_names(self) -> Self:
        for name in self.receivers:
            if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
                raise ValueError(f"receivers.{name}: a name is small letters, digits and -")
        return self
