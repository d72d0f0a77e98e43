"""Alerts on a real broker and with real receivers, through kills and outages."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alert_life import alert, resolved
from confluent_kafka import Consumer, Producer, TopicPartition
from pipelines import Servers, TestPipeline
from receivers import LocalReceiver

from webevents.connectors.kafka_observe import Observer
from webevents.events.alert import Alert, decode_alert
from webevents.events.times import format_time, parse_time
from webevents.local.ports import free_port
from webevents.plan.make import make_plan
from webevents.spec.alerts import Receiver
from webevents.stages.outbox import Outbox

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

MINUTE_US = 60_000_000
ROUTING_KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def receivers() -> Iterator[dict[str, LocalReceiver]]:
    made = {kind: LocalReceiver(kind) for kind in ("webhook", "slack", "pagerduty")}
    yield made
    for receiver in made.values():
        receiver.close()


class Lab:
    """A pipeline of which only the detect stage runs, fed with enriched and failed events."""

    def __init__(self, kafka: str, folder: Path, alerts: dict[str, Any]) -> None:
        spec = {"index": {"enabled": False}, "alerts": {"enabled": True, **alerts}}
        self.made = TestPipeline(Servers(kafka, ""), folder, spec)
        self.made.make_topics()
        self.topics = self.made.pipeline.spec.topics
        self.observer = Observer(self.made.servers.config)
        self._producer = Producer(self.made.servers.config | {"linger.ms": 5})
        plan = make_plan(self.made.connected())
        detect = next(workload for workload in plan.workloads if workload.name == "detect")
        self.settings = folder / "detect.json"
        self.settings.write_text(json.dumps(detect.settings.model_dump(mode="json", by_alias=True)))
        self.log = folder / "detect.log"
        self.worker: subprocess.Popen[bytes] | None = None
        self._number = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "webevents", "stage", "--settings", self.settings],
                stderr=log,
                env=os.environ | {"TEST_ROUTING_KEY": ROUTING_KEY},
            )

    def kill(self) -> None:
        assert self.worker
        self.worker.kill()
        self.worker.wait()

    def close(self) -> None:
        if self.worker and self.worker.poll() is None:
            self.kill()
        self.observer.close()

    def event(self, time_us: int, record_us: int | None = None) -> None:
        self._number += 1
        event = {
            "event_id": f"e{self._number}",
            "event_timestamp": format_time(time_us),
            "event_type": "page_view",
        }
        stamp = {} if record_us is None else {"timestamp": record_us // 1000}
        self._producer.produce(
            self.topics.enriched.name, json.dumps(event), str(self._number), **stamp
        )
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def alerts(self) -> list[Alert]:
        messages = self.observer.messages(self.topics.alerts.name)
        return [decode_alert(message.value()) for message in messages]

    def wait_for(self, count: int, timeout: float = 240) -> list[Alert]:
        deadline = time.monotonic() + timeout
        while len(found := self.alerts()) < count:
            assert time.monotonic() < deadline, (found, self.log.read_text()[-3000:])
            time.sleep(0.3)
        return found


def test_kills_lose_and_double_no_alert(kafka: str, tmp_path: Path) -> None:
    """Twenty minutes of each hour are silent; the worker is killed again and again meanwhile."""
    hook = LocalReceiver()
    hook.answers.extend([503] * 3)
    receivers = {"hook": {"webhook": {"url": hook.url}, "throttle": None}}
    alerts = {"past": True, "rules": {"noEvents": {"after": "5m"}}, "receivers": receivers}
    lab = Lab(kafka, tmp_path, alerts)
    hours = 60
    start = (datetime.now(UTC) - timedelta(days=4)).replace(minute=0, second=0, microsecond=0)
    start_us = round(start.timestamp()) * 1_000_000
    kills: list[float] = []
    try:
        for hour in range(hours + 1):
            if hour % 12 == 0:
                if hour:
                    # At any moment: while it reads, judges, commits or tells.
                    lab.wait_for(hour)
                    lab.kill()
                    kills.append(time.time())
                lab.start()
            for minute in range(40):
                lab.event(start_us + (hour * 60 + minute) * MINUTE_US)
            lab.flush()
        found = lab.wait_for(2 * hours)
        expected = {format_time(start_us + (h * 60 + 40) * MINUTE_US) for h in range(hours)}
        told = Counter((each.started_at, each.status) for each in found)
        assert set(told.values()) == {1}
        for status in ("firing", "resolved"):
            assert {began for began, each in told if each == status} == expected
        keys = {f"{each.alert_id}-{each.status}" for each in found}
        deadline = time.monotonic() + 60
        while (got := {each.headers["Idempotency-Key"] for each in hook.received}) != keys:
            assert got <= keys, got - keys
            assert time.monotonic() < deadline, len(keys - got)
            time.sleep(0.2)
        # Told again is only what was told in the last moments before one of the kills.
        first: dict[str, float] = {}
        for each in hook.received:
            key = each.headers["Idempotency-Key"]
            before = first.setdefault(key, each.at)
            assert before == each.at or any(0 <= kill - before < 5 for kill in kills)
        group = f"{lab.made.name}-detect"
        view = lab.observer.groups({group: [lab.topics.enriched.name]})[group]
        assert view.counts().balanced
    finally:
        lab.close()
        hook.close()


def test_live_silence_by_the_wall_clock_on_every_receiver(
    kafka: str, tmp_path: Path, receivers: dict[str, LocalReceiver]
) -> None:
    (tmp_path / "slack").write_text(receivers["slack"].url)
    receivers["slack"].answers.extend([500, 429])
    receivers["pagerduty"].answers.append(503)
    alerts = {
        "delay": "1s",
        "resolveAfter": 1,
        "rules": {"noEvents": {"after": "2m"}},
        "receivers": {
            "hook": {"webhook": {"url": receivers["webhook"].url}},
            "chat": {"slack": {"urlFile": str(tmp_path / "slack")}},
            "duty": {
                "pagerduty": {
                    "routingKeyEnv": "TEST_ROUTING_KEY",
                    "url": receivers["pagerduty"].url,
                }
            },
        },
    }
    lab = Lab(kafka, tmp_path, alerts)
    now_us = time.time_ns() // 1000
    try:
        for minute in range(20, 4, -1):
            for _ in range(8):  # in every partition
                at = now_us - minute * MINUTE_US
                lab.event(at, record_us=at)
        lab.flush()
        lab.start()
        raised = lab.wait_for(1)
        assert [(each.rule, each.status) for each in raised] == [("no_events", "firing")]
        assert abs(parse_time(raised[0].started_at) - (now_us - 4 * MINUTE_US)) <= MINUTE_US
        for receiver in receivers.values():
            receiver.wait_for(1)
        # A restart in the middle: it is known who was told.
        time.sleep(3)
        lab.kill()
        lab.start()
        deadline = time.monotonic() + 300
        while len(lab.alerts()) < 2:
            assert time.monotonic() < deadline, lab.log.read_text()[-3000:]
            for _ in range(8):
                lab.event(time.time_ns() // 1000)
            lab.flush()
            time.sleep(1)
        for receiver in receivers.values():
            receiver.wait_for(2)
            assert receiver.malformed == []
            assert len(receiver.received) == 2
        duty = [each.body for each in receivers["pagerduty"].received]
        assert [each["event_action"] for each in duty] == ["trigger", "resolve"]
        assert {each["dedup_key"] for each in duty} == {raised[0].alert_id}
        log = lab.log.read_text()
        assert "s3cret" not in log and ROUTING_KEY not in log
    finally:
        lab.close()


def test_a_stage_that_is_behind_is_an_alert_until_it_has_caught_up(
    kafka: str, tmp_path: Path
) -> None:
    """The stage enrich does not run, so that what is in its topic waits; then its group moves."""
    rules = {"lag": {"above": 20, "lasting": "1m"}}
    lab = Lab(kafka, tmp_path, {"resolveAfter": 1, "rules": rules})
    raw = lab.topics.raw.name
    try:
        producer = Producer(lab.made.servers.config)
        for number in range(50):
            producer.produce(raw, b"{}", str(number))
        assert producer.flush(30) == 0
        lab.start()
        raised = lab.wait_for(1)
        assert [(each.rule, each.series, each.value) for each in raised] == [("lag", "enrich", 50)]
        ends = lab.observer.offsets([raw])
        group = lab.made.servers.config | {"group.id": f"{lab.made.name}-enrich"}
        consumer = Consumer(group)
        offsets = [TopicPartition(*source, end) for source, end in ends.items()]
        consumer.commit(offsets=offsets, asynchronous=False)
        consumer.close()
        assert [each.status for each in lab.wait_for(2, 300)] == ["firing", "resolved"]
    finally:
        lab.close()


def test_a_simulated_outage_in_a_whole_run(kafka: str, tmp_path: Path) -> None:
    start = (datetime.now(UTC) - timedelta(days=2)).replace(minute=0, second=0, microsecond=0)
    outage = {"kind": "outage", "start": "2h", "duration": "50m"}
    errors = {"kind": "errors", "start": "4h", "duration": "30m", "share": 0.5}
    spec = {
        "generator": {
            "profile": "journeys",
            "eventsPerSecond": 0.6,
            "seed": 4,
            "visits": {"hourlyWeights": [1] * 24},
            "time": {"mode": "backdated", "start": start.isoformat(), "duration": "5h"},
            "faults": {"incidents": [outage, errors], "corrupt": 0.01},
        },
        "sessions": {"key": ["user_id"]},
        "index": {"enabled": False},
        "alerts": {"enabled": True, "past": True, "rules": {"noEvents": {"after": "10m"}}},
    }
    # Nothing is indexed: there is no Elasticsearch at this address.
    made = TestPipeline(Servers(kafka, "http://127.0.0.1:9"), tmp_path, spec)
    report = made.run()
    assert report["stages"]["detect"]["failed"] == 0
    assert report["stages"]["detect"]["lag"] == 0
    observer = Observer(made.servers.config)
    topic = made.pipeline.spec.topics.alerts.name
    found = [decode_alert(message.value()) for message in observer.messages(topic)]
    observer.close()
    silent = [each for each in found if each.rule == "no_events"]
    assert [each.status for each in silent] == ["firing", "resolved"]
    began = parse_time(silent[0].started_at) / 1e6 - start.timestamp()
    assert 2 * 3600 - 120 <= began <= 2 * 3600 + 600


def _alertmanager() -> str:
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        pytest.skip("no Alertmanager here: apt install prometheus-alertmanager")
    return binary


def test_a_real_alertmanager_takes_and_resolves_alerts(tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(_alertmanager(), f"--config.file={config}", "--cluster.listen-address="),
                *(f"--storage.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"),
            ],
            stdout=log,
            stderr=log,
        )
    outbox = Outbox({"am": Receiver.model_validate({"alertmanager": {"url": url}})})

    def shown() -> list[Any]:
        if outbox.waiting():
            return []
        with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
            return list(json.loads(answer.read()))

    began_us = time.time_ns() // 1000 - 5 * MINUTE_US
    began = {"started_at": format_time(began_us)}
    try:
        # Told at once, although it is not up yet.
        outbox.stage([alert(**began)])
        outbox.committed()
        deadline = time.monotonic() + 60
        outbox.work(0)
        while not (now_there := shown()):
            assert time.monotonic() < deadline
            outbox.work(0)
            time.sleep(0.1)
        assert [each["labels"]["alertname"] for each in now_there] == ["Webevents_no_events"]
        assert now_there[0]["status"]["state"] == "active"
        assert now_there[0]["annotations"]["summary"] == "No events for 10 minutes."
        assert parse_time(now_there[0]["startsAt"]) // 1000 == began_us // 1000
        # A reminder is the same alert.
        outbox.work(61)
        time.sleep(0.5)
        outbox.work(61)
        assert len(shown()) == 1
        over = resolved(**began)
        over.resolved_at = format_time(time.time_ns() // 1000 - 1000)
        outbox.stage([over])
        outbox.committed()
        outbox.work(62)
        while outbox.waiting() or shown():
            assert time.monotonic() < deadline
            outbox.work(62)
            time.sleep(0.1)
    finally:
        outbox.close()
        process.terminate()
        process.wait(20)
