"""Telling receivers: payloads, order, retries, reminders, throttling, secrets; on real servers."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from alert_life import alert, resolved
from receivers import LocalReceiver, pagerduty_problem, slack_problem

from webevents.connectors.notify import Notice, Report, Sender, request_for
from webevents.connectors.notify.messages import alertmanager_body, pagerduty_body, slack_body
from webevents.connectors.retrying import Backoff
from webevents.errors import UserError
from webevents.events.alert import Alert
from webevents.spec.alerts import AlertmanagerReceiver, Receiver
from webevents.stages.outbox import Outbox

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def hook() -> Iterator[LocalReceiver]:
    receiver = LocalReceiver()
    yield receiver
    receiver.close()


def webhook(hook: LocalReceiver, **more: Any) -> Receiver:
    return Receiver.model_validate({"webhook": {"url": hook.url}, **more})


def run(outbox: Outbox, now_s: float, until: Any, timeout: float = 30) -> None:
    """Let an outbox work, as commits do, until something holds."""
    deadline = time.monotonic() + timeout
    while not until():
        assert time.monotonic() < deadline
        outbox.work(now_s)
        time.sleep(0.01)
    outbox.work(now_s)


# Payloads.


def test_pagerduty_is_sent_what_its_events_api_asks_for() -> None:
    noisy = alert(summary="x" * 5000)
    body = {"routing_key": KEY, **pagerduty_body(Notice(noisy, "firing"))}
    assert pagerduty_problem(body) is None
    assert body["event_action"] == "trigger"
    assert body["dedup_key"] == noisy.alert_id
    assert body["payload"]["custom_details"] == {"value": 10.0, "limit": 10.0}
    over = {"routing_key": KEY, **pagerduty_body(Notice(resolved(), "resolved"))}
    assert over == {"routing_key": KEY, "event_action": "resolve", "dedup_key": noisy.alert_id}
    assert pagerduty_problem(over) is None


def test_slack_is_sent_escaped_text_within_its_limits() -> None:
    body = slack_body(Notice(alert(summary="<!channel> & " + "x" * 4000, series="<x>"), "firing"))
    assert slack_problem(body) is None
    assert "<!channel>" not in str(body)
    assert "&lt;!channel&gt; &amp;" in body["text"]
    over = slack_body(Notice(resolved(), "resolved"))
    assert "resolved" in over["text"]
    assert "2026-03-02T10:00Z to 2026-03-02T10:20Z" in str(over)


def test_alertmanager_is_sent_labels_that_do_not_change() -> None:
    manager = AlertmanagerReceiver(url="http://127.0.0.1:1", labels={"team": "web"})
    now_us = 1_772_445_600_000_000
    firing = alertmanager_body(alert(), manager, now_us)
    over = alertmanager_body(resolved(value=0.0, summary="other"), manager, now_us)
    assert firing["labels"] == over["labels"]
    assert firing["labels"]["team"] == "web"
    assert firing["endsAt"] == "2026-03-02T10:10:00.000000Z"  # 10 times a minute on
    assert (over["startsAt"], over["endsAt"]) == (
        "2026-03-02T10:00:00.000000Z",
        "2026-03-02T10:20:00.000000Z",
    )


def test_a_webhook_is_sent_the_alert_its_key_and_a_token(
    hook: LocalReceiver, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("t0ken\n")
    receiver = Receiver.model_validate({"webhook": {"url": hook.url, "tokenFile": str(token)}})
    request = request_for(receiver, Notice(alert(), "reminder", 2), 0)
    assert request.headers["Authorization"] == "Bearer t0ken"
    assert request.headers["Idempotency-Key"] == f"{alert().alert_id}-reminder-2"
    token.write_text("rotated")
    assert (
        request_for(receiver, Notice(alert(), "firing"), 0)
        .headers["Authorization"]
        .endswith("rotated")
    )
    token.unlink()
    with pytest.raises(UserError, match="receiver's token"):
        request_for(receiver, Notice(alert(), "firing"), 0)


# One receiver.


class Reports(list[Report]):
    def wait(self, count: int = 1, timeout: float = 30) -> list[bool]:
        deadline = time.monotonic() + timeout
        while len(self) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return [report.delivered for report in self]


def send(receiver: Receiver, *notices: Notice) -> tuple[Sender, Reports]:
    reports = Reports()
    sender = Sender("test", receiver, reports.append, Backoff(0.01, 0.05))
    for notice in notices:
        sender.send(notice)
    return sender, reports


def test_failures_that_pass_are_tried_again(hook: LocalReceiver) -> None:
    hook.answers.extend([500, 503, 429, 401, 404, 302, 2.0])
    slow = webhook(hook, timeout="1s")
    sender, reports = send(slow, Notice(alert(), "firing"))
    assert reports.wait() == [True]
    # The seventh was taken, but answered too late: it came twice, with one key.
    time.sleep(1.5)
    assert hook.attempts == 8
    assert sender.attempts_in_vain == 7
    assert {each.headers["Idempotency-Key"] for each in hook.received} == {
        f"{alert().alert_id}-firing"
    }
    sender.close()


def test_what_is_malformed_is_not_tried_again(hook: LocalReceiver) -> None:
    hook.answers.append(400)
    sender, reports = send(webhook(hook), Notice(alert(), "firing"), Notice(alert(), "resolved"))
    assert reports.wait(2) == [False, True]
    assert hook.attempts == 2
    sender.close()


def test_a_receiver_that_asks_for_time_is_given_it(hook: LocalReceiver) -> None:
    hook.answers.append((429, {"Retry-After": "1"}))
    began = time.monotonic()
    sender, reports = send(webhook(hook), Notice(alert(), "firing"))
    assert reports.wait() == [True]
    assert time.monotonic() - began >= 1
    sender.close()


def test_a_receiver_that_is_away_is_told_when_it_is_back() -> None:
    away = LocalReceiver()
    port = away.port
    away.close()
    sender, reports = send(webhook(away), Notice(alert(), "firing"))
    time.sleep(0.5)
    assert not reports and sender.attempts_in_vain > 0
    back = LocalReceiver(port=port)
    assert reports.wait() == [True]
    assert len(back.received) == 1
    sender.close()
    back.close()


def test_no_secret_is_logged(hook: LocalReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SLACK_URL", hook.url)
    hook.answers.extend([500, 400])
    with structlog.testing.capture_logs() as logs:
        slack = Receiver.model_validate({"slack": {"urlEnv": "TEST_SLACK_URL"}})
        sender, reports = send(slack, Notice(alert(), "firing"))
        assert reports.wait() == [False]
        sender.close()
        monkeypatch.setenv("TEST_SLACK_URL", "http://[s3cret")
        sender, reports = send(slack, Notice(alert(), "firing"))
        deadline = time.monotonic() + 10
        while not sender.attempts_in_vain:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        sender.close()
    assert {entry["event"] for entry in logs} == {"alert waits", "alert refused"}
    assert "s3cret" not in str(logs)


# All receivers.


def test_nobody_is_told_before_the_commit(hook: LocalReceiver) -> None:
    outbox = Outbox({"hook": webhook(hook)})
    outbox.stage([alert()])
    outbox.work(0)
    time.sleep(0.3)
    assert hook.attempts == 0
    outbox.committed()
    run(outbox, 0, lambda: hook.received)
    outbox.close()


def test_told_once_reminded_and_told_of_the_end(hook: LocalReceiver) -> None:
    outbox = Outbox({"hook": webhook(hook, repeatEvery="1h")})
    outbox.stage([alert()])
    outbox.committed()
    run(outbox, 0, lambda: len(hook.received) == 1 and not outbox.waiting())
    for now_s in (1, 1000, 3599):
        outbox.work(now_s)
    run(outbox, 3600, lambda: len(hook.received) == 2 and not outbox.waiting())
    outbox.stage([resolved()])
    outbox.committed()
    run(outbox, 3700, lambda: len(hook.received) == 3 and not outbox.waiting())
    outbox.work(90_000)
    time.sleep(0.2)
    assert [each.body["kind"] for each in hook.received] == ["firing", "reminder", "resolved"]
    # Nothing is remembered of what is over.
    assert dict(outbox.changes())[f"notice/{alert().alert_id}"] is None
    outbox.close()


def test_an_alert_that_was_over_before_it_could_be_told_is_told(hook: LocalReceiver) -> None:
    outbox = Outbox({"hook": webhook(hook)})
    outbox.stage([alert()])
    outbox.stage([resolved()])
    outbox.committed()
    run(outbox, 0, lambda: len(hook.received) == 2)
    kinds = [(each.body["kind"], each.body["alert"]["status"]) for each in hook.received]
    assert kinds == [("firing", "firing"), ("resolved", "resolved")]
    outbox.close()


def test_a_restart_tells_only_what_is_not_told(hook: LocalReceiver) -> None:
    receivers = {"hook": webhook(hook)}
    before = Outbox(receivers)
    before.stage([alert()])
    before.committed()
    written = dict(before.changes())
    run(before, 0, lambda: hook.received and not before.waiting())
    after = Outbox(receivers)  # killed before it could write that it was told
    for value in written.values():
        assert value is not None
        after.restore(value)
    run(after, 0, lambda: len(hook.received) == 2)
    assert len({each.headers["Idempotency-Key"] for each in hook.received}) == 1
    run(after, 0, lambda: not after.waiting())
    last = Outbox(receivers)
    for value in dict(after.changes()).values():
        assert value is not None
        last.restore(value)
    last.work(1)
    time.sleep(0.3)
    assert len(hook.received) == 2
    for outbox in (before, after, last):
        outbox.close()


def test_a_flood_is_throttled_and_ends_are_not(hook: LocalReceiver) -> None:
    outbox = Outbox({"hook": webhook(hook, throttle={"max": 3, "per": "1h"})})
    alerts = [alert(alert_id=f"{number:032x}", series=f"s{number}") for number in range(6)]
    outbox.stage(alerts)
    outbox.committed()
    run(outbox, 0, lambda: len(hook.received) == 3)
    outbox.work(1)
    time.sleep(0.2)
    assert len(hook.received) == 3
    assert outbox.waiting() == 3
    # One that was told and one that was held back are over; the latter needs no word any more.
    over: list[Alert] = [
        resolved(alert_id=alerts[number].alert_id, series=f"s{number}") for number in (0, 3)
    ]
    outbox.stage(over)
    outbox.committed()
    run(outbox, 2, lambda: len(hook.received) == 4)
    # The others are told when there is room again.
    run(outbox, 3601, lambda: len(hook.received) == 6 and not outbox.waiting())
    told = [(each.body["kind"], each.body["alert"]["series"]) for each in hook.received]
    assert told[3:] == [("resolved", "s0"), ("firing", "s4"), ("firing", "s5")]
    outbox.close()


def test_a_receiver_that_is_away_holds_up_nobody(hook: LocalReceiver) -> None:
    away = LocalReceiver()
    away.close()
    outbox = Outbox({"away": webhook(away), "hook": webhook(hook)})
    outbox.stage([alert()])
    outbox.committed()
    # The outbox takes note of an answer a moment after it was given.
    run(outbox, 0, lambda: hook.received and outbox.waiting() == 1)
    began = time.monotonic()
    outbox.close()
    assert time.monotonic() - began < 5


def test_a_receiver_gets_the_severities_that_it_asked_for(hook: LocalReceiver) -> None:
    outbox = Outbox({"hook": webhook(hook, severities=["critical"])})
    outbox.stage([alert(alert_id="a", severity="warning"), alert(alert_id="b")])
    outbox.committed()
    run(outbox, 0, lambda: hook.received)
    time.sleep(0.2)
    assert [each.body["alert"]["alert_id"] for each in hook.received] == ["b"]
    outbox.close()
