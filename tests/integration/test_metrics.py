"""Metrics of real processes: what is scraped is what the ledger says, and the lag is the real one.

Processes are started through the command line; the numbers come over HTTP, and are compared with
what is committed in Kafka.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from pipelines import Run, Servers, TestPipeline
from prometheus_client.parser import text_string_to_metric_families

from webevents.connectors.kafka import client_config, ensure_topics
from webevents.connectors.kafka_observe import GroupView, Observer
from webevents.plan.make import make_plan
from webevents.plan.model import Workload
from webevents.sources.output import POLL_EVERY, KafkaOutput
from webevents.sources.simulator import run_simulator
from webevents.spec.base import Model
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.generator import GeneratorSpec
from webevents.spec.kafka import KafkaSpec
from webevents.spec.load import parse_pipeline

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

EVENTS = 40_000
GENERATOR = {
    "profile": "journeys",
    "seed": 3,
    "eventsPerSecond": 2.5,
    "time": {"mode": "backdated", "start": "2026-03-01T00:00:00Z"},
    "faults": {"corrupt": 0.01, "duplicates": 0.02, "late": 0.02, "lateBy": "3h"},
}
SPEC: dict[str, Any] = {
    "sessions": {"key": ["user_id"], "idleTimeout": "1h", "publishOpenEvery": "1s"}
}

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """What one endpoint served at a moment."""

    def __init__(self, url: str) -> None:
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
        self.samples = [s for f in text_string_to_metric_families(text) for s in f.samples]

    def by(self, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """The sum of a metric's samples by some of their labels."""
        found: Counter[tuple[str, ...]] = Counter()
        for sample in self.samples:
            if sample.name == name:
                found[tuple(sample.labels[label] for label in labels)] += int(sample.value)
        return found

    def sum(self, name: str) -> int:
        """The sum of a metric's samples."""
        return self.by(name)[()]

    def ledger(self) -> dict[tuple[str, int], tuple[Any, ...]]:
        """Each partition's ledger and lag."""
        where = ("topic", "partition")
        names = ("in", "out", "failed", "records")
        columns = [self.by(f"webevents_ledger_{name}_total", *where) for name in names]
        lags = self.by("webevents_consumer_lag", *where)
        dropped = self.by("webevents_ledger_dropped_total", *where, "reason")
        return {
            (topic, int(number)): (
                *(column[topic, number] for column in columns),
                {key[2]: n for key, n in dropped.items() if key[:2] == (topic, number)},
                lags[topic, number],
            )
            for topic, number in columns[0]
        }


def committed(view: GroupView) -> dict[tuple[str, int], tuple[Any, ...]]:
    """The same as Kafka has it."""
    return {
        source: (
            ledger.counts.received,
            ledger.counts.delivered,
            ledger.counts.failed,
            ledger.emitted,
            ledger.counts.dropped,
            view.lags[source],
        )
        for source, ledger in view.ledgers.items()
    }


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def is_ready(url: str) -> bool:
    return status_of(f"{url}/readyz") == 200


def wait_for(what: Callable[[], Any], timeout: float = 120) -> Any:
    """Ask until the answer is true; an endpoint that is not up yet has none."""
    deadline = time.monotonic() + timeout
    found: Any = None
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, KafkaException):
            if found := what():
                return found
        time.sleep(0.1)
    raise AssertionError(f"not within {timeout} s: {found!r}")


# A whole pipeline.


class Collected:
    """Simulated messages that are kept, to be sent in one burst."""

    def __init__(self, key_fields: Sequence[str]) -> None:
        self.messages: list[tuple[bytes | None, bytes]] = []
        spec = GeneratorSpec.model_validate(GENERATOR)
        run_simulator(spec, self, count=EVENTS, key_fields=key_fields)

    @property
    def count(self) -> int:
        return len(self.messages)

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        self.messages.append((key, value))

    def flush(self, timeout_s: float) -> None: ...

    def close(self) -> None: ...

    def burst(self, config: dict[str, Any], topic: str) -> None:
        """Send all of them as fast as it goes."""
        with KafkaOutput(config, topic) as output:
            for key, value in self.messages:
                output.send(key, value, None)


def endpoints(pipeline: TestPipeline, run: Run) -> dict[str, str]:
    """The addresses of the run's processes, by stage, as Prometheus gets them."""
    path = pipeline.folder / pipeline.name / "prometheus-targets.json"
    text = wait_for(lambda: path.exists() and path.read_text())
    found = {}
    for group in json.loads(text):
        (address,) = group["targets"]
        assert group["labels"]["pipeline"] == pipeline.name
        assert group["labels"]["replica"] == "0"
        assert f"http://{address}/metrics" in run.log.read_text()
        found[group["labels"]["stage"]] = f"http://{address}"
    return found


def test_scraped_counts_and_lags_are_those_of_the_ledger(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    """Through the kill of a worker: its successor goes on counting where it was."""
    raw = TestPipeline(Servers(kafka, elasticsearch), tmp_path, SPEC)
    events = Collected(raw.pipeline.spec.sessions.key)
    observer = Observer(raw.servers.config)
    stages = make_plan(raw.pipeline).stages()
    groups = {stage.name: (stage.group or "", stage.reads) for stage in stages}
    behind: Counter[str] = Counter()
    killed = False

    def settled(urls: Mapping[str, str]) -> dict[str, Scrape] | None:
        nonlocal killed
        scrapes = {stage: Scrape(f"{url}/metrics") for stage, url in urls.items()}
        views = observer.groups(dict(groups.values()))
        for stage, scrape in scrapes.items():
            behind[stage] = max(behind[stage], scrape.sum("webevents_consumer_lag"))
            assert set(scrape.by("webevents_ledger_balanced", "topic").values()) <= {1}
        if not killed and scrapes["sessionize"].sum("webevents_ledger_in_total") > EVENTS / 10:
            run.kill_worker("sessionize")
            killed = True
        if any(view.lag for view in views.values()) or not killed:
            return None
        same = all(scrapes[s].ledger() == committed(views[g]) for s, (g, _) in groups.items())
        return scrapes if same else None

    with raw.running("--metrics") as run:
        urls = endpoints(raw, run)
        assert set(urls) == {"enrich", "sessionize", "index"}
        for url in urls.values():
            assert wait_for(partial(is_ready, url))
            assert status_of(f"{url}/healthz") == 200
        events.burst(raw.servers.config, raw.raw_topic)
        scrapes = wait_for(lambda: settled(urls), 240)
        for url in urls.values():
            assert status_of(f"{url}/readyz") == 200
        run.interrupt()
        report = run.finish()["stages"]
    observer.close()

    assert set(behind) == {"enrich", "sessionize", "index"}
    # A quick stage may have caught up between two looks.
    assert any(behind.values()), "a lag was never seen"
    for stage in ("enrich", "sessionize"):  # the last commit publishes open sessions to index
        scrape = scrapes[stage]
        told = {
            "in": scrape.sum("webevents_ledger_in_total"),
            "out": scrape.sum("webevents_ledger_out_total"),
            "failed": scrape.sum("webevents_ledger_failed_total"),
            "dropped": {
                reason: count
                for (reason,), count in scrape.by(
                    "webevents_ledger_dropped_total", "reason"
                ).items()
            },
            "lag": scrape.sum("webevents_consumer_lag"),
        }
        assert told == {name: report[stage][name] for name in told}
    assert scrapes["enrich"].sum("webevents_ledger_in_total") == EVENTS
    assert scrapes["sessionize"].by("webevents_ledger_dropped_total", "reason")["late",] > 0
    # What the process itself counts; enrich was not killed.
    enrich = scrapes["enrich"]
    reasons = enrich.by("webevents_failed_events_total", "reason")
    assert len(reasons) > 2
    assert sum(reasons.values()) == report["enrich"]["failed"] > 0
    types = enrich.by("webevents_processed_events_total", "type")
    assert len(types) > 3
    assert sum(types.values()) == report["enrich"]["out"]
    assert enrich.sum("webevents_commits_total") > 2
    assert enrich.sum("webevents_processing_duration_seconds_count") >= EVENTS / 1000
    sessionize = scrapes["sessionize"]
    assert sessionize.sum("webevents_open_sessions") > 0
    assert sessionize.sum("webevents_state_restore_duration_seconds_count") == 4
    assert scrapes["index"].by("webevents_destination_outage") == {(): 0}
    assert set(scrapes["index"].by("webevents_ledger_balanced", "topic").values()) == {1}


# Processes by themselves.


class Process:
    """A workload as a process with an endpoint."""

    def __init__(
        self, folder: Path, command: str, settings: Model, instance: str, *options: str
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        path = folder / f"{command}-{instance}.json"
        path.write_text(json.dumps(settings.model_dump(mode="json", by_alias=True)))
        self.log = folder / f"{command}-{instance}.log"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [
                    *(sys.executable, "-m", "webevents", command, "--settings", str(path)),
                    *("--instance", instance, *options),
                ],
                env=os.environ
                | {"WEBEVENTS_METRICS_PORT": str(port), "WEBEVENTS_METRICS_HOST": "127.0.0.1"},
                stderr=log,
            )

    def scrape(self) -> Scrape:
        return Scrape(f"{self.url}/metrics")

    def is_ready(self) -> bool:
        return is_ready(self.url)


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Those that are in the list at the end are stopped."""
    started: list[Process] = []
    yield started
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.wait()


def workload(kafka: str, name: str, partitions: int = 1, **spec: Any) -> Workload:
    """A workload of a pipeline whose topics are made."""
    label = f"t{uuid.uuid4().hex[:8]}"
    topics = {
        which: {"name": f"{label}-{which}", "partitions": partitions}
        for which in ("raw", "enriched", "sessions", "failed")
    }
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": label},
        "spec": {"kafka": {"bootstrapServers": kafka}, "topics": topics, **spec},
    }
    plan = make_plan(parse_pipeline(document, label))
    ensure_topics(AdminClient(config_of(kafka)), plan.topics)
    (found,) = (each for each in plan.workloads if each.name == name)
    return found


def config_of(kafka: str) -> dict[str, Any]:
    return client_config(KafkaSpec(bootstrap_servers=kafka))


def produce(kafka: str, topic: str, count: int) -> None:
    """Send events that are valid."""
    producer = Producer(config_of(kafka) | {"linger.ms": 5})
    for _ in range(count):
        event = {
            "event_id": uuid.uuid4().hex,
            "event_timestamp": "2026-03-01T00:00:00Z",
            "event_type": "view",
            "user_domain_id": "u",
        }
        producer.produce(topic, json.dumps(event))
        producer.poll(0)
    assert producer.flush(60) == 0


def test_an_outage_is_told_and_the_lag_goes_on_growing(
    kafka: str, tmp_path: Path, processes: list[Process]
) -> None:
    """While the destination is away nothing is fetched; the lag is true nevertheless."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and never listens
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        stage = workload(
            kafka,
            "index",
            elasticsearch=ElasticsearchSpec(urls=(nowhere,)).model_dump(
                mode="json", by_alias=True, exclude_none=True
            ),
            index={"bulk": {"inFlight": 1, "maxDocuments": 100}},
        )
        topic = stage.reads[0]
        produce(kafka, topic, 2_000)
        process = Process(tmp_path, "stage", stage.settings, "0")
        processes.append(process)
        assert wait_for(lambda: process.scrape().sum("webevents_consumer_lag") == 2_000)
        assert wait_for(lambda: process.scrape().sum("webevents_destination_outage") == 1)
        assert wait_for(lambda: process.scrape().sum("webevents_destination_outage_seconds") > 3)
        produce(kafka, topic, 500)
        assert wait_for(lambda: process.scrape().sum("webevents_consumer_lag") == 2_500)
        scrape = process.scrape()
        assert scrape.sum("webevents_documents_repeated_total") > 0
        assert scrape.sum("webevents_ledger_in_total") == 0
        assert scrape.sum("webevents_commits_total") == 0
        assert process.is_ready()
        assert status_of(f"{process.url}/healthz") == 200
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(30) == 0
    with pytest.raises(OSError, match="refused"):
        process.scrape()


def test_a_partition_is_shown_by_its_owner_only(
    kafka: str, tmp_path: Path, processes: list[Process]
) -> None:
    """And a worker without one is ready too: nothing is wrong with it."""
    stage = workload(kafka, "enrich", partitions=2, enrich={})
    topic = stage.reads[0]
    produce(kafka, topic, 300)
    where = ("topic", "partition")

    def owned(process: Process) -> list[tuple[str, ...]]:
        return sorted(process.scrape().by("webevents_ledger_in_total", *where))

    first = Process(tmp_path, "stage", stage.settings, "0")
    processes.append(first)
    assert wait_for(lambda: first.scrape().sum("webevents_ledger_in_total") == 300)
    assert owned(first) == [(topic, "0"), (topic, "1")]
    processes += [Process(tmp_path, "stage", stage.settings, number) for number in ("1", "2")]
    for process in processes:
        assert wait_for(process.is_ready)
    everything = [(topic, "0"), (topic, "1")]
    assert wait_for(lambda: sorted(map(owned, processes)) == [[], *([each] for each in everything)])
    produce(kafka, topic, 100)

    def total() -> int:
        return sum(process.scrape().sum("webevents_ledger_in_total") for process in processes)

    assert wait_for(lambda: total() == 400)
    assert all(process.is_ready() for process in processes)


def test_the_generator_shows_what_it_sent(
    kafka: str, tmp_path: Path, processes: list[Process]
) -> None:
    generator = workload(kafka, "generator", generator={"eventsPerSecond": 1})
    live = tmp_path / "live.json"
    live.write_text(json.dumps({"eventsPerSecond": 300}))
    process = Process(tmp_path, "generate", generator.settings, "0", "--live", str(live))
    processes.append(process)
    name = "webevents_generated_events_total"
    assert wait_for(lambda: process.scrape().sum(name) > 100)
    assert process.scrape().sum("webevents_generator_target_events_per_second") == 300
    live.write_text(json.dumps({"eventsPerSecond": 0}))
    assert wait_for(
        lambda: process.scrape().by("webevents_generator_target_events_per_second") == {(): 0}
    )
    observer = Observer(config_of(kafka))

    def uncounted() -> int:
        ends = observer.offsets(generator.writes)
        return sum(ends.values()) - process.scrape().sum(name)

    # A generator that pauses looks at the last acknowledgements when it goes on.
    assert wait_for(lambda: 0 <= uncounted() <= POLL_EVERY)
    observer.close()
    assert process.is_ready()
    assert status_of(f"{process.url}/healthz") == 200


def test_a_port_that_is_taken_ends_the_process_with_a_clear_word(
    kafka: str, tmp_path: Path, processes: list[Process]
) -> None:
    stage = workload(kafka, "enrich", enrich={})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = Process(tmp_path, "stage", stage.settings, "0", "--metrics-port", str(port))
        processes.append(process)
        assert process.popen.wait(60) == 2
    assert f"--metrics-port {port}" in " ".join(process.log.read_text().split())
