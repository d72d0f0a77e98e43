"""What receivers of alerts are told, and when: in order, once, reminded, throttled, remembered.

An alert may be told of only after the transaction that holds it: until then a crash would take it
back. What was told is part of the state, written with the next transaction. A crash in between
tells it again with the same key, by which receivers know it.
"""

import queue
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from webevents.connectors.notify import Kind, Notice, Report, Sender
from webevents.events.alert import Alert
from webevents.spec.alerts import Receiver

STATE_PREFIX = "notice/"


class Told(msgspec.Struct):
    """What one receiver knows of an alert."""

    last: Literal["firing", "resolved", "refused", "held"]
    """held: the throttle kept it back until it was over."""
    at_s: float
    """When it was last told, in seconds since the epoch."""
    reminders: int = 0


class Entry(msgspec.Struct):
    """An alert that somebody is still to be told of."""

    alert: Alert
    told: dict[str, Told] = msgspec.field(default_factory=dict)
    """By receiver."""
    held: set[str] = msgspec.field(default_factory=set)
    """Receivers whose throttle keeps it back now."""


class Throttler:
    """Counts what a receiver was sent within the last while."""

    def __init__(self, receiver: Receiver) -> None:
        self._limit = None if receiver.alertmanager else receiver.throttle
        self._sent: deque[float] = deque()

    def allows(self, now_s: float) -> bool:
        """Whether one more may be sent; it is counted if so."""
        if self._limit is None:
            return True
        per_s = self._limit.per.total_seconds()
        while self._sent and self._sent[0] <= now_s - per_s:
            self._sent.popleft()
        if len(self._sent) >= self._limit.max:
            return False
        self._sent.append(now_s)
        return True


class Outbox:
    """The alerts that are to be told of.

    :param receivers: by name.
    """

    def __init__(self, receivers: Mapping[str, Receiver]) -> None:
        self._receivers = receivers
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._senders = {
            name: Sender(name, receiver, self._reports.put) for name, receiver in receivers.items()
        }
        self._throttlers = {name: Throttler(each) for name, each in receivers.items()}
        self._entries: dict[str, Entry] = {}
        self._staged: list[Alert] = []
        self._under_way: set[tuple[str, str]] = set()
        self._changed: set[str] = set()

    def stage(self, alerts: Sequence[Alert]) -> None:
        """Take alerts that changed and are written now; they are told of once that is committed."""
        for alert in alerts:
            known = self._entries.get(alert.alert_id)
            self._entries[alert.alert_id] = Entry(
                alert, known.told if known else {}, known.held if known else set()
            )
            self._changed.add(alert.alert_id)
        self._staged += alerts

    def committed(self) -> None:
        """What was staged before is committed: it may be told of."""
        self._staged.clear()

    def work(self, now_s: float) -> None:
        """Take the senders' reports, and send what is due.

        :param now_s: the wall clock, in seconds since the epoch.
        """
        while not self._reports.empty():
            self._take(self._reports.get(), now_s)
        staged = {alert.alert_id for alert in self._staged}
        for entry in list(self._entries.values()):
            if entry.alert.alert_id in staged:
                continue
            for name, receiver in self._receivers.items():
                if entry.alert.severity in receiver.severities:
                    self._send_due(entry, name, receiver, now_s)
            self._drop_done(entry)

    def waiting(self) -> int:
        """Notices that are not taken yet."""
        held = sum(len(entry.held) for entry in self._entries.values())
        return len(self._under_way) + held

    def changes(self) -> list[tuple[str, bytes | None]]:
        """State entries that changed since the last call; None where one is to be deleted."""
        made: list[tuple[str, bytes | None]] = []
        for identifier in sorted(self._changed):
            entry = self._entries.get(identifier)
            key = f"{STATE_PREFIX}{identifier}"
            made.append((key, None if entry is None else msgspec.json.encode([key, entry])))
        self._changed.clear()
        return made

    def restore(self, raw: bytes) -> None:
        """Take an entry over that was written before."""
        _, entry = msgspec.json.decode(raw, type=tuple[str, Entry])
        self._entries[entry.alert.alert_id] = entry

    def settle(self, seconds: float) -> None:
        """Wait a little for what is under way, so that a stop need not send it again."""
        deadline = time.monotonic() + seconds
        while self._under_way and time.monotonic() < deadline:
            if self._reports.empty():
                time.sleep(0.02)
            else:
                self._take(self._reports.get(), time.time())

    def close(self) -> None:
        """Stop sending."""
        for sender in self._senders.values():
            sender.close()

    def _send_due(self, entry: Entry, name: str, receiver: Receiver, now_s: float) -> None:
        alert, told = entry.alert, entry.told.get(name)
        if (alert.alert_id, name) in self._under_way:
            return
        if told is None:
            if alert.status == "resolved" and name in entry.held:
                self._note(entry, name, Told("held", now_s))
            else:
                # Also where it is over already: nobody shall miss that it was.
                firing = msgspec.structs.replace(alert, status="firing", resolved_at=None)
                self._send(entry, name, Notice(firing, "firing"), now_s)
        elif told.last == "firing":
            if alert.status == "resolved":
                self._send(entry, name, Notice(alert, "resolved"), now_s)
            elif (every := _repeat(receiver)) is not None and now_s - told.at_s >= every:
                self._send(entry, name, Notice(alert, "reminder", told.reminders + 1), now_s)

    def _send(self, entry: Entry, name: str, notice: Notice, now_s: float) -> None:
        if notice.kind != "resolved" and not self._throttlers[name].allows(now_s):
            if notice.kind == "firing":
                entry.held.add(name)
            return
        entry.held.discard(name)
        self._under_way.add((entry.alert.alert_id, name))
        self._senders[name].send(notice)

    def _take(self, report: Report, now_s: float) -> None:
        identifier, name = report.notice.alert.alert_id, report.receiver
        self._under_way.discard((identifier, name))
        entry = self._entries.get(identifier)
        if entry is None:
            return
        kind: Kind = report.notice.kind
        before = entry.told.get(name)
        if kind == "reminder" and before is not None:
            self._note(entry, name, Told("firing", now_s, before.reminders + 1))
        elif not report.delivered:
            self._note(entry, name, Told("refused", now_s))
        else:
            self._note(entry, name, Told("resolved" if kind == "resolved" else "firing", now_s))
        self._drop_done(entry)

    def _note(self, entry: Entry, name: str, told: Told) -> None:
        entry.told[name] = told
        entry.held.discard(name)
        self._changed.add(entry.alert.alert_id)

    def _drop_done(self, entry: Entry) -> None:
        """Forget an alert that is over when everybody who is to know it does."""
        if entry.alert.status != "resolved":
            return
        wanted = [
            name
            for name, receiver in self._receivers.items()
            if entry.alert.severity in receiver.severities
        ]
        told = (entry.told.get(name) for name in wanted)
        if all(each is not None and each.last != "firing" for each in told):
            self._entries.pop(entry.alert.alert_id, None)
            self._changed.add(entry.alert.alert_id)


def _repeat(receiver: Receiver) -> float | None:
    """Seconds between two notices of an alert that goes on."""
    if receiver.alertmanager:
        return receiver.alertmanager.resend_every.total_seconds()
    return receiver.repeat_every.total_seconds() if receiver.repeat_every else None
