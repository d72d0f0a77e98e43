"""The loop that all stages share, on a real broker: exactly once, through kills and rebalances."""

import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from webevents.connectors.kafka import Topic, client_config, ensure_topics
from webevents.connectors.kafka_observe import GroupView, Observer
from webevents.spec.kafka import KafkaSpec

WORKER = Path(__file__).parents[1] / "support" / "copy_worker.py"
PARTITIONS = 4


class Lab:
    """Two topics, a group, and workers between them."""

    def __init__(self, bootstrap: str) -> None:
        name = uuid.uuid4().hex[:8]
        self.bootstrap = bootstrap
        self.group, self.source, self.output = f"g-{name}", f"in-{name}", f"out-{name}"
        self.config = client_config(KafkaSpec(bootstrap_servers=bootstrap))
        self.observer = Observer(self.config)
        self.workers: list[subprocess.Popen[bytes]] = []
        topics = [Topic(self.source, PARTITIONS), Topic(self.output, PARTITIONS)]
        assert len(ensure_topics(AdminClient(self.config), topics)) == 2
        assert ensure_topics(AdminClient(self.config), topics) == []

    def produce(self, first: int, last: int) -> None:
        producer = Producer(self.config | {"linger.ms": 5})
        for number in range(first, last):
            producer.produce(self.source, str(number), str(number % 97))
            producer.poll(0)
        assert producer.flush(30) == 0

    def start(self, instance: str, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, WORKER, self.bootstrap, self.group, instance]
        worker = subprocess.Popen(
            [*command, self.source, self.output, *more], stderr=subprocess.PIPE if more else None
        )
        self.workers.append(worker)
        return worker

    def view(self) -> GroupView:
        while True:
            try:
                return self.observer.groups({self.group: [self.source]})[self.group]
            except KafkaException:
                time.sleep(0.2)

    def wait_until_read(self, count: int, timeout: float = 60) -> GroupView:
        deadline = time.monotonic() + timeout
        while True:
            view = self.view()
            if view.counts().received >= count and view.lag == 0:
                return view
            assert time.monotonic() < deadline, (view.lag, view.counts())
            time.sleep(0.1)

    def owned(self) -> list[int]:
        """How many partitions each member of the group owns."""
        admin = AdminClient(self.config)
        group = admin.describe_consumer_groups([self.group])[self.group].result(10)
        return [len(member.assignment.topic_partitions) for member in group.members]

    def copied(self) -> Counter[int]:
        return Counter(int(m.value()) for m in self.observer.messages(self.output))

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        self.observer.close()


@pytest.fixture
def lab(kafka: str) -> Iterator[Lab]:
    lab = Lab(kafka)
    yield lab
    lab.close()


@pytest.mark.integration
def test_every_message_is_copied_once_and_counted(lab: Lab) -> None:
    lab.produce(0, 20_000)
    worker = lab.start("0")
    view = lab.wait_until_read(20_000)
    assert view.counts().balanced
    assert (view.counts().received, view.emitted) == (20_000, 20_000)
    assert {ledger.first for ledger in view.ledgers.values()} == {0}
    assert lab.copied() == Counter(range(20_000))
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert time.monotonic() - began < 5


@pytest.mark.integration
def test_kills_lose_and_double_nothing(lab: Lab) -> None:
    for round_ in range(5):
        worker = lab.start("0")
        lab.produce(round_ * 20_000, (round_ + 1) * 20_000)
        # Killed at any moment: while starting, reading, producing or committing.
        deadline = time.monotonic() + 20
        while lab.view().counts().received < round_ * 20_000 + 1_000:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        worker.kill()
        worker.wait()
    lab.start("0")
    view = lab.wait_until_read(100_000)
    assert view.counts().balanced
    assert (view.counts().received, view.emitted) == (100_000, 100_000)
    assert lab.copied() == Counter(range(100_000))


@pytest.mark.integration
def test_rebalances_lose_and_double_nothing(lab: Lab) -> None:
    first = lab.start("0")
    lab.produce(0, 5_000)
    lab.wait_until_read(5_000)
    second = lab.start("1")
    written = 5_000
    # Under load until both workers own partitions, and a little longer.
    deadline = time.monotonic() + 120
    while sorted(lab.owned()) != [2, 2]:
        assert time.monotonic() < deadline, lab.owned()
        if written < 40_000:
            lab.produce(written, written + 200)
            written += 200
        time.sleep(0.1)
    lab.produce(written, 45_000)
    lab.wait_until_read(45_000)
    first.send_signal(signal.SIGTERM)
    assert first.wait(15) == 0
    lab.produce(45_000, 50_000)
    view = lab.wait_until_read(50_000)
    assert second.poll() is None
    assert (view.counts().received, view.emitted) == (50_000, 50_000)
    assert lab.copied() == Counter(range(50_000))


@pytest.mark.integration
@pytest.mark.parametrize("loading_s", [0, 3])
def test_offsets_that_the_brokers_have_not_loaded_yet_double_nothing(
    lab: Lab, loading_s: int
) -> None:
    lab.produce(0, 20_000)
    worker = lab.start("0")
    lab.wait_until_read(20_000)
    worker.kill()
    worker.wait()
    # It starts where nothing seems to be committed, and ends before it commits anything.
    worker = lab.start("0", str(loading_s))
    _, said = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert b"the brokers had not loaded it yet" in said, said.decode()
    assert lab.view().counts().received == 20_000
    lab.produce(20_000, 21_000)
    lab.start("0")
    view = lab.wait_until_read(21_000)
    assert view.counts().balanced
    assert (view.counts().received, view.emitted) == (21_000, 21_000)
    assert lab.copied() == Counter(range(21_000))
