"""Running the simulator: outputs, counts, the truth file, stops and changes of the rate."""

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from webevents.errors import UserError
from webevents.events.times import parse_time
from webevents.sources.output import DeliveryError, FileOutput, KafkaOutput, StdoutOutput
from webevents.sources.simulator import read_truth, run_simulator
from webevents.spec.generator import GeneratorSpec


class ListOutput:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes | None, bytes, int | None, float]] = []
        self.flushed = False

    @property
    def count(self) -> int:
        return len(self.messages)

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        self.messages.append((key, value, timestamp_ms, time.time()))

    def flush(self, timeout_s: float) -> None:
        self.flushed = True

    def close(self) -> None:
        self.flush(0)


def spec(**fields: Any) -> GeneratorSpec:
    return GeneratorSpec.model_validate({"seed": 4, **fields})


PAST = {"mode": "backdated", "start": "2026-01-01T00:00:00Z"}


def test_a_file_and_its_truth_are_the_same_twice(tmp_path: Path) -> None:
    faults = {"corrupt": 0.1, "duplicates": 0.1, "outOfOrder": 0.1}
    written = []
    for name in ("a", "b"):
        with FileOutput(tmp_path / name) as output:
            result = run_simulator(
                spec(time=PAST, faults=faults), output, count=2000,
                truth_path=tmp_path / f"{name}.truth",
            )  # fmt: skip
        assert (result.sent, output.count, result.seed) == (2000, 2000, 4)
        written.append((tmp_path / name).read_bytes())
        written.append((tmp_path / f"{name}.truth").read_bytes())
    assert written[0] == written[2] and written[1] == written[3]
    lines, truths = written[0].split(b"\n")[:-1], written[1].split(b"\n")[:-1]
    assert len(lines) == len(truths) == 2000
    for line, text in zip(lines, truths, strict=True):
        truth = read_truth(text)
        if truth.fault != "corrupt":
            assert json.loads(line)["event_id"] == truth.event_id


def happened(value: bytes) -> float:
    """The event's time in seconds since the epoch."""
    return parse_time(json.loads(value)["event_timestamp"]) / 1e6


def test_the_wall_clock_gives_the_rate_and_the_time() -> None:
    output = ListOutput()
    began = time.time()
    result = run_simulator(spec(eventsPerSecond=200), output, seconds=1.0)
    assert 0.9 < time.time() - began < 1.6
    assert result.sent == output.count == pytest.approx(200, abs=40)
    assert output.flushed
    for _, value, timestamp_ms, sent_at in output.messages:
        assert timestamp_ms is not None
        assert abs(timestamp_ms / 1000 - sent_at) < 1.1
        assert json.loads(value)["event_timestamp"][:4] == time.strftime("%Y", time.gmtime(sent_at))


def test_the_rate_changes_while_it_runs(tmp_path: Path) -> None:
    path, output = tmp_path / "rate.json", ListOutput()
    path.write_text('{"eventsPerSecond": 20}')
    changed_at = 0.0

    def stop() -> bool:
        nonlocal changed_at
        if not changed_at and time.time() > began + 0.7:
            path.write_text('{"eventsPerSecond": 2000}')
            changed_at = time.time()
        return time.time() > began + 1.5

    began = time.time()
    run_simulator(spec(eventsPerSecond=500), output, rate_file=path, stop=stop)
    before = sum(sent_at < changed_at for *_, sent_at in output.messages)
    assert before <= 25
    assert len(output.messages) - before > 300


def test_a_slow_rate_stops_quickly() -> None:
    began = time.time()
    run_simulator(spec(eventsPerSecond=0), ListOutput(), stop=lambda: time.time() > began + 0.3)
    assert time.time() - began < 0.8


def test_accelerated_time_runs_faster() -> None:
    output = ListOutput()
    fields = {"mode": "accelerated", "speed": 3600, "start": "2026-01-01T12:00:00Z"}
    run_simulator(spec(time=fields, eventsPerSecond=1), output, seconds=0.8)
    times = [happened(value) for _, value, *_ in output.messages]
    assert max(times) - min(times) == pytest.approx(0.8 * 3600, rel=0.25)


def test_backdated_time_ends_now() -> None:
    output = ListOutput()
    run_simulator(spec(time={"mode": "backdated"}, eventsPerSecond=0.05), output)
    times = [happened(value) for _, value, *_ in output.messages]
    assert 23 * 3600 < time.time() - times[0] <= 24 * 3600 + 5
    assert 0 <= time.time() - times[-1] < 3600
    assert output.count == pytest.approx(4320, rel=0.1)


def test_progress_is_told() -> None:
    told: list[int] = []
    run_simulator(spec(time=PAST), ListOutput(), count=3000, progress=told.append)
    assert told == sorted(told) and told[-1] == 3000


def test_the_standard_output_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(raw)))  # type: ignore[type-var]
    output = StdoutOutput()
    run_simulator(spec(time=PAST), output, count=10)
    assert len(raw.getvalue().splitlines()) == output.count == 10
    output.close()
    assert not sys.stdout.closed


def test_a_line_break_does_not_break_a_line(tmp_path: Path) -> None:
    with FileOutput(tmp_path / "out") as output:
        output.send(None, b'{"a":\n1}', None)
        output.send(None, b"\xff\xfe", None)
    assert (tmp_path / "out").read_bytes() == b'{"a": 1}\n\xff\xfe\n'


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*missing/out"):
        FileOutput(tmp_path / "missing" / "out")


class FakeMessageError:
    def str(self) -> str:
        return "Broker: Message size too large"


class FakeProducer:
    """Delivers at poll; fails the message of a number, and is full now and then."""

    def __init__(self, config: dict[str, Any], fail_at: int | None = None) -> None:
        self.config = config
        self.queue: list[Any] = []
        self.sent: list[tuple[Any, ...]] = []
        self.fail_at = fail_at
        self.purged = self.closed = False

    def produce(
        self, topic: str, value: bytes, key: bytes, on_delivery: Any, timestamp: int
    ) -> None:
        if len(self.queue) >= 50:
            raise BufferError("queue full")
        self.queue.append(on_delivery)
        self.sent.append((topic, key, value, timestamp))

    def poll(self, timeout: float) -> int:
        base = len(self.sent) - len(self.queue)
        for number, report in enumerate(self.queue, base):
            report(FakeMessageError() if number == self.fail_at else None, None)
        self.queue = []
        return 0

    def flush(self, timeout: float) -> int:
        self.poll(timeout)
        return len(self.queue)

    def purge(self) -> None:
        self.purged = True

    def close(self) -> None:
        self.closed = True


def kafka(fail_at: int | None = None) -> tuple[KafkaOutput, FakeProducer]:
    made: list[FakeProducer] = []

    def make(config: dict[str, Any]) -> FakeProducer:
        made.append(FakeProducer(config, fail_at))
        return made[0]

    return KafkaOutput({"bootstrap.servers": "b:9092"}, "raw", producer=make), made[0]


def test_kafka_gets_every_message_with_key_and_time() -> None:
    output, producer = kafka()
    run_simulator(spec(time=PAST), output, count=500)
    assert output.count == len(producer.sent) == 500
    assert producer.config["enable.idempotence"] is True and producer.config["acks"] == "all"
    assert producer.config["partitioner"] == "murmur2_random"
    topic, key, value, timestamp = producer.sent[0]
    event = json.loads(value)
    assert (topic, key) == ("raw", event["user_domain_id"].encode())
    assert timestamp == 0  # the broker's now: records of the past would be deleted


def test_the_first_undelivered_message_ends_it() -> None:
    output, producer = kafka(fail_at=60)
    with pytest.raises(DeliveryError, match="topic raw: Broker: Message size too large"):
        run_simulator(spec(time=PAST), output, count=5000)
    assert len(producer.sent) < 300
    output.close()
    assert producer.purged and producer.closed


def test_a_failure_is_seen_at_the_flush_at_the_latest() -> None:
    output, _ = kafka(fail_at=3)
    for _ in range(5):
        output.send(None, b"{}", None)
    with pytest.raises(DeliveryError):
        output.flush()


def test_wrong_kafka_settings_are_explained() -> None:
    with pytest.raises(UserError, match="cannot use these Kafka settings"):
        KafkaOutput({"no.such.setting": 1}, "raw")
