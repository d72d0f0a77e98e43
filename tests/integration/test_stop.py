"""A worker of sessionize that is told to stop publishes what is open, whatever goes on meanwhile.

In each case visitors' events are read and committed, but their sessions are not published yet
(publishOpenEvery is an hour): only the state topic has them. Then the worker is told to stop while
it has no partitions, while another producer has its transactions, or partitions move.
Expected: every session is in the sessions topic, with all its events.
"""

import json
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from pipelines import Servers, TestPipeline

from webevents.connectors.kafka_observe import GroupView, Observer
from webevents.errors import UserError
from webevents.local.process import ServerProcess
from webevents.local.workloads import Replica
from webevents.plan.make import make_plan
from webevents.plan.model import Workload
from webevents.stages import processors, worker
from webevents.stages.chunk import Processor
from webevents.stages.sessionize import SessionizeProcessor
from webevents.stages.settings import StageSettings
from webevents.stages.worker import run_stage
from webevents.stop import Stop

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

VISITORS, EVENTS = 40, 5
PARTITIONS = 4
SPEC: dict[str, Any] = {
    "topics": {"enriched": {"partitions": PARTITIONS}},
    "sessions": {"publishOpenEvery": "1h", "idleTimeout": "1h"},
}


class Lab:
    """The enriched topic of a pipeline with events in it, and its sessionize stage."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self.folder = folder
        pipeline = TestPipeline(Servers(kafka, "http://127.0.0.1:1"), folder, SPEC)
        pipeline.make_topics()
        self.config = pipeline.servers.config
        self.topics = pipeline.pipeline.spec.topics
        plan = make_plan(pipeline.connected())
        (workload,) = (w for w in plan.workloads if w.name == "sessionize")
        self.workload: Workload = replace(workload, replicas=2)
        assert isinstance(self.workload.settings, StageSettings)
        self.settings = self.workload.settings
        self.observer = Observer(self.config)
        self.processes: list[ServerProcess] = []
        self._producer = Producer(self.config | {"partitioner": "murmur2_random"})
        for number in range(VISITORS * EVENTS):
            at = f"2026-03-01T10:00:{number // VISITORS:02}Z"
            self.send(str(number), f"visitor-{number % VISITORS}", at)
        assert self._producer.flush(60) == 0

    def send(self, event_id: str, visitor: str, at: str) -> None:
        """Have an event come, soon."""
        event = {
            "event_id": event_id,
            "event_timestamp": at,
            "event_type": "pageview",
            "user_domain_id": visitor,
        }
        self._producer.produce(self.topics.enriched.name, json.dumps(event), visitor)
        self._producer.poll(0)

    def start(self, number: int = 0) -> ServerProcess:
        """A worker as the local runtime starts it."""
        process = Replica(self.workload, number, self.folder).process
        process.spawn()
        self.processes.append(process)
        return process

    def view(self) -> GroupView:
        while True:
            try:
                group = self.settings.group
                return self.observer.groups({group: self.settings.topics})[group]
            except KafkaException:
                time.sleep(0.2)

    def wait_until_read(self) -> None:
        deadline = time.monotonic() + 120
        while (view := self.view()).counts().received < VISITORS * EVENTS or view.lag:
            assert time.monotonic() < deadline, view
            time.sleep(0.1)

    def sessions(self) -> Counter[str]:
        """Events of each visitor's session, by its newest record."""
        records = [json.loads(m.value()) for m in self.observer.messages(self.topics.sessions.name)]
        records.sort(key=lambda record: record["version"])
        return Counter({record["session_key"]: record["total_events"] for record in records})

    def check(self) -> None:
        """Every session is published, with all its events."""
        assert self.sessions() == {f"visitor-{n}": EVENTS for n in range(VISITORS)}

    def run(self, stop: Stop, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Run a worker in this process while something happens in another thread."""
        thread = threading.Thread(target=meanwhile)
        thread.start()
        try:
            run_stage(self.settings, "0", stop)
        finally:
            stop.ask()
            thread.join()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
        self.observer.close()


@pytest.fixture
def lab(kafka: str, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(kafka, tmp_path)
    yield lab
    lab.close()


@pytest.mark.parametrize("after_s", [0, 2])
def test_a_worker_that_starts_again_after_a_crash_publishes_when_it_is_stopped_at_once(
    lab: Lab, after_s: float
) -> None:
    process = lab.start()
    lab.wait_until_read()
    process.kill()
    assert not lab.sessions(), "there is something to be published"
    process.spawn()
    # While it starts, while it joins its group, or later: what counts is how it ends.
    time.sleep(after_s)
    assert process.stop(grace=120) == 0, process.log_text()
    lab.check()


def test_a_worker_that_is_told_to_stop_while_its_transaction_fails_tries_once_more(
    lab: Lab,
) -> None:
    stop = Stop()

    def fence() -> None:
        lab.wait_until_read()
        assert not lab.sessions()
        name = f"{lab.settings.group}-0"
        Producer(lab.config | {"transactional.id": name}).init_transactions(60)
        stop.ask()

    lab.run(stop, fence)
    lab.check()


def test_what_a_worker_held_is_given_back_before_it_starts_anew(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two states at once would be twice the memory, kept for as long as the worker lives."""
    made: list[weakref.ref[Processor]] = []
    kept: list[bool] = []

    def make_processor(settings: StageSettings, kafka: dict[str, object]) -> Processor:
        kept.extend(each() is not None for each in made)
        processor = processors.make_processor(settings, kafka)
        made.append(weakref.ref(processor))
        return processor

    monkeypatch.setattr(worker, "make_processor", make_processor)
    stop = Stop()

    def fence() -> None:
        lab.wait_until_read()
        name = f"{lab.settings.group}-0"
        Producer(lab.config | {"transactional.id": name}).init_transactions(60)
        lab.send("one-more", "visitor-0", "2026-03-01T10:00:59Z")
        deadline = time.monotonic() + 120
        while len(made) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        stop.ask()

    lab.run(stop, fence)
    assert kept == [False]


def test_a_worker_that_gives_partitions_up_publishes_before(lab: Lab) -> None:
    lab.start(0)
    lab.wait_until_read()
    assert not lab.sessions()
    second = lab.start(1)
    deadline = time.monotonic() + 120
    while '"event": "assigned"' not in second.log_text():
        assert time.monotonic() < deadline, second.log_text()
        time.sleep(0.1)
    # Whoever is killed now, or stopped before it has its partitions, has nothing to publish.
    moved = {n for n in range(PARTITIONS) if f"{lab.topics.enriched.name}/{n}" in second.log_text()}
    assert 0 < len(moved) < PARTITIONS
    ledgers = lab.view().ledgers
    emitted = {n: ledgers[lab.topics.enriched.name, n].emitted for n in range(PARTITIONS)}
    assert {n for n, count in emitted.items() if count} == moved
    assert sum(emitted.values()) == len(lab.sessions())


def test_a_worker_that_cannot_take_partitions_up_starts_anew_and_leaves_no_client_behind(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brokers do not answer in a rebalance, twice; an old producer would live on with its name
    and its transaction."""
    clients: list[int] = []
    taken_up = SessionizeProcessor.assigned

    def assigned(
        self: SessionizeProcessor, topic: str, partition: int, note: dict[str, int]
    ) -> None:
        if len(clients) < 3:
            clients.append(kafka_clients())
        if len(clients) < 3:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        taken_up(self, topic, partition, note)

    monkeypatch.setattr(SessionizeProcessor, "assigned", assigned)
    stop = Stop()

    def stop_when_read() -> None:
        lab.wait_until_read()
        stop.ask()

    lab.run(stop, stop_when_read)
    lab.check()
    assert clients[0] == clients[1] == clients[2]


def kafka_clients() -> int:
    """How many clients of librdkafka this process has."""
    names = (task.read_text() for task in Path("/proc/self/task").glob("*/comm"))
    return sum(name.strip() == "rdk:main" for name in names)


def test_a_worker_whose_last_commit_cannot_be_had_says_so(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LAST_COMMIT_S", 0.0)
    stop = Stop()

    def fence() -> None:
        lab.wait_until_read()
        name = f"{lab.settings.group}-0"
        Producer(lab.config | {"transactional.id": name}).init_transactions(60)
        stop.ask()

    with pytest.raises(UserError, match=r"sessionize ended without its last commit"):
        lab.run(stop, fence)
    assert not lab.sessions()
    # Nothing is lost: the next worker publishes it.
    monkeypatch.undo()
    stop = Stop()
    stop.ask()
    lab.run(stop)
    lab.check()
