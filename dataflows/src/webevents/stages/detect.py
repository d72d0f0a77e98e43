"""The detect stage: enriched and failed events in, alerts out.

One worker reads all partitions, because alerts are about all of them together. Counts, what is
usual, open alerts, and what receivers were told are entries of a compacted topic, written in the
same transaction as the alerts and the offsets: a restart goes on where it was.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from webevents.connectors.kafka_state import StateTopic
from webevents.connectors.notify import Notice, request_for
from webevents.events.alert import Alert, encode_alert
from webevents.events.ledger import Counts
from webevents.logic.alerts.detector import Detector
from webevents.logic.alerts.minutes import MINUTE_US
from webevents.logic.alerts.reader import count_reader
from webevents.logic.alerts.stream_clock import StreamClock
from webevents.stages.chunk import Chunk, Flush, Outcome, Processor, Record, StageStatus
from webevents.stages.failing import failed
from webevents.stages.lag_watch import LagWatch
from webevents.stages.outbox import STATE_PREFIX, Outbox
from webevents.stages.settings import StageSettings
from webevents.stages.state import StateReader

STALL_S = 10.0
"""A loop that did not come round for so long was kept waiting, by Kafka as a rule."""
SETTLE_S = 30.0
"""After a start or a stall, how long what waits at the brokers has to come before its absence is
taken for silence."""
STOP_WAIT_S = 2.0
_STREAM = "stream"

_encode = msgspec.json.Encoder().encode
_key_of = msgspec.json.Decoder(tuple[str, msgspec.Raw]).decode


class DetectProcessor(Processor):
    """Raises and resolves alerts, and has receivers told of them.

    :param state: reads the state topic when the first partition is assigned.
    :param lags: looks at the other stages; None where their lag is no matter.
    :param clock: the wall clock in seconds since the epoch.
    """

    def __init__(
        self,
        settings: StageSettings,
        state: StateReader,
        lags: LagWatch | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        assert settings.alerts and settings.output_topic and settings.state_topic
        self._settings = settings
        self._spec = settings.alerts
        self._output, self._state_topic = settings.output_topic, settings.state_topic
        self._state = state
        self._lags = lags
        self._clock = clock
        self._read = count_reader(settings.sessions)
        self._assigned: dict[tuple[str, int], None] = {}
        self._detector = Detector(settings.pipeline, self._spec)
        self._outbox: Outbox | None = None
        self._stream = StreamClock(self._spec.delay, self._spec.max_age)
        self._lag_minute = 0
        self._settled_at = self._last_flush = 0.0

    def assigned(self, topic: str, partition: int, note: dict[str, int]) -> None:
        """Read the state back, with the first partition."""
        if not self._assigned:
            self._restore()
        self._assigned[topic, partition] = None
        if topic != self._settings.failed_topic:
            self._stream.assigned(partition)

    def _restore(self) -> None:
        self._detector = Detector(self._settings.pipeline, self._spec)
        self._stream = StreamClock(self._spec.delay, self._spec.max_age)
        outbox = self._outbox = Outbox(self._spec.receivers)
        for raw in self._state.read(self._state_topic, 0):
            key, value = _key_of(raw)
            if key == _STREAM:
                self._stream.restore(*msgspec.json.decode(value, type=tuple[int, bool]))
            elif key.startswith(STATE_PREFIX):
                outbox.restore(raw)
            else:
                self._detector.restore(raw)
        self._last_flush = time.monotonic()
        self._settled_at = self._last_flush + SETTLE_S

    def revoked(self, topic: str, partition: int) -> None:
        """Give a partition up; with the last one everything else too."""
        self._assigned.pop((topic, partition), None)
        if topic != self._settings.failed_topic:
            self._stream.revoked(partition)
        if not self._assigned and self._outbox:
            self._outbox.close()
            self._outbox = None

    def reached_end(self, topic: str, partition: int) -> None:
        """Know that nothing of a partition waits."""
        if topic != self._settings.failed_topic:
            self._stream.reached_end(partition)

    def process(self, chunk: Chunk) -> Outcome:
        """Count the events of a chunk."""
        if chunk.topic == self._settings.failed_topic:
            return self._process_failed(chunk)
        counts = Counts(received=len(chunk.offsets))
        records: list[Record] = []
        read, add, seen = self._read, self._detector.add_event, self._stream.seen
        for position, value in enumerate(chunk.values):
            try:
                if value is None:
                    counts.drop("tombstone")
                    continue
                time_us, order, revenue = read(value)
            except Exception as error:
                counts.failed += 1
                records.append(failed(self._settings, chunk, position, error))
                continue
            seen(chunk.partition, time_us, chunk.timestamps[position])
            if add(time_us, order=order, revenue=revenue):
                counts.delivered += 1
            else:
                counts.drop("late")
        return Outcome(counts, records)

    def _process_failed(self, chunk: Chunk) -> Outcome:
        """Count failed events; whatever is in them, each is one."""
        counts = Counts(received=len(chunk.offsets))
        for value, record_ms in zip(chunk.values, chunk.timestamps, strict=True):
            if value is None:
                counts.drop("tombstone")
                continue
            time_us = self._stream.time_of_failed(record_ms)
            if time_us is None or self._detector.add_failed(time_us):
                counts.delivered += 1
            else:
                counts.drop("late")
        return Outcome(counts)

    def flush(self, topic: str, partition: int) -> Flush:
        """Judge what is complete; once a commit, with the first of the partitions."""
        outbox = self._outbox
        if (topic, partition) != next(iter(self._assigned), None) or outbox is None:
            return Flush()
        now_s, now = self._clock(), time.monotonic()
        if now - self._last_flush > STALL_S:
            self._settled_at = now + SETTLE_S
        self._last_flush = now
        outbox.committed()  # this is the next commit, so the one before has succeeded
        alerts = self._judge(now_s, settled=now >= self._settled_at)
        outbox.stage(alerts)
        outbox.work(now_s)
        return self._flush(alerts, outbox)

    def _judge(self, now_s: float, *, settled: bool) -> list[Alert]:
        alerts: list[Alert] = []
        now_us = round(now_s * 1e6)
        complete = self._stream.complete(now_us, settled=settled)
        if complete is not None:
            loud_from = (now_us - round(self._spec.max_age.total_seconds() * 1e6)) // MINUTE_US
            last = complete // MINUTE_US - 1
            alerts += self._detector.judge(last, 0 if self._spec.past else loud_from)
        minute = now_us // MINUTE_US
        if self._lags and minute > self._lag_minute and (lag_of := self._lags.take()) is not None:
            self._lag_minute = minute
            alerts += self._detector.judge_lags(lag_of, minute)
        return alerts

    def _flush(self, alerts: list[Alert], outbox: Outbox) -> Flush:
        records = [
            Record(self._output, alert.alert_id, encode_alert(alert), -1) for alert in alerts
        ]
        changes = self._detector.changes() + outbox.changes()
        if stream := self._stream.changed():
            changes.append((_STREAM, _encode([_STREAM, stream])))
        records += [Record(self._state_topic, key, value, 0) for key, value in changes]
        return Flush(records, len(alerts))

    def stopping(self) -> None:
        """Give receivers a moment, so that the last commit knows what they were told."""
        if self._outbox:
            self._outbox.settle(STOP_WAIT_S)

    def status(self) -> StageStatus:
        """How many alerts are open, and how many notices wait."""
        return StageStatus(
            alerts_firing=len(self._detector.open_alerts()),
            notices_waiting=self._outbox.waiting() if self._outbox else 0,
        )

    def close(self) -> None:
        """Stop sending and looking."""
        if self._outbox:
            self._outbox.close()
        if self._lags:
            self._lags.close()


def make_detect(settings: StageSettings, kafka: dict[str, Any]) -> DetectProcessor:
    """Make the processor.

    :raises webevents.errors.UserError: when a receiver's secret cannot be read.
    """
    assert settings.alerts
    sample = Alert(
        alert_id="", pipeline="", rule="", series="", severity="info", status="firing",
        started_at="", summary="", value=0.0,
    )  # fmt: skip
    for receiver in settings.alerts.receivers.values():
        request_for(receiver, Notice(sample, "firing"), 0)
    wanted = settings.alerts.rules.lag.enabled and settings.groups
    lags = LagWatch(kafka, settings.groups) if wanted else None
    return DetectProcessor(settings, StateTopic(kafka, settings.group), lags)
