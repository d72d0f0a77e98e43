"""Running whole pipelines in tests, through the command line, on servers that are there."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from confluent_kafka.admin import AdminClient
from elasticsearch.helpers import scan as scan_elasticsearch
from opensearchpy.helpers import scan as scan_opensearch

from webevents.connectors.elasticsearch import connect, refresh
from webevents.connectors.kafka import client_config, ensure_topics
from webevents.connectors.kafka_observe import Observer
from webevents.plan.make import make_plan
from webevents.spec.kafka import KafkaSpec
from webevents.spec.load import parse_pipeline
from webevents.spec.pipeline import WebEventPipeline

T = TypeVar("T")


@dataclass
class Servers:
    """The servers of the test session; without a name the run starts its own."""

    kafka: str = ""
    elasticsearch: str = ""

    @property
    def config(self) -> dict[str, Any]:
        return client_config(KafkaSpec(bootstrap_servers=self.kafka))


@dataclass
class TestPipeline:
    """A pipeline with topics and indices of its own, so that tests do not meet."""

    __test__ = False

    servers: Servers
    folder: Path
    spec: Mapping[str, Any]
    raw: str | None = None
    """A raw topic that is there already; one of its own otherwise."""
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        spec = json.loads(json.dumps(self.spec))
        names = {which: {"name": f"{self.name}-{which}"} for which in _TOPICS}
        if self.raw:
            names["raw"]["name"] = self.raw
        topics = spec.setdefault("topics", {})
        for which, defaults in names.items():
            topics[which] = defaults | topics.get(which, {})
        index = spec.setdefault("index", {})
        for which in ("events", "sessions", "analytics", "failed", "samples"):
            index[which] = index.get(which, {}) | {"prefix": f"{self.name}-{which}"}
        document = {
            "apiVersion": "webevents.dev/v1alpha1",
            "kind": "WebEventPipeline",
            "metadata": {"name": self.name},
            "spec": spec,
        }
        self.pipeline: WebEventPipeline = parse_pipeline(document, self.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / f"{self.name}.yaml"
        self.file.write_text(yaml.safe_dump(document))

    @property
    def raw_topic(self) -> str:
        return self.pipeline.spec.topics.raw.name

    @property
    def data(self) -> Path:
        """The folder of its runs: settings and logs of the workloads, data of own servers."""
        return self.folder / self.name

    def make_topics(self) -> None:
        """Create the topics before the pipeline runs, to feed it."""
        ensure_topics(AdminClient(self.servers.config), make_plan(self.connected()).topics)

    def connected(self) -> WebEventPipeline:
        kafka = KafkaSpec(bootstrap_servers=self.servers.kafka)
        spec = self.pipeline.spec.model_copy(update={"kafka": kafka})
        return self.pipeline.model_copy(update={"spec": spec})

    @contextlib.contextmanager
    def running(self, *options: str) -> Iterator["Run"]:
        """Run ``webevents run`` as a process."""
        report = self.folder / f"{self.name}-report.json"
        report.unlink(missing_ok=True)
        log = self.folder / f"{self.name}.log"
        given = {"--kafka": self.servers.kafka, "--elasticsearch": self.servers.elasticsearch}
        with log.open("ab") as out:
            log_start = out.tell()
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "webevents", "run", "-f", str(self.file)),
                    *(part for option in given.items() if option[1] for part in option),
                    *("--report", str(report), "--data-dir", str(self.data)),
                    *options,
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Run(process, report, log, log_start)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def run(self, *options: str, timeout: float = 500) -> dict[str, Any]:
        """Run until all is processed; the report."""
        with self.running("--until-drained", *options) as run:
            return run.finish(timeout)

    def read_again(self, stage: str) -> int:
        """Let a worker of a stage read its topics from the start; how many messages it read."""
        path = self.data / "workloads" / f"{stage}.json"
        settings = json.loads(path.read_text())
        settings["group"] += "-again"
        path = path.with_name("again.json")
        path.write_text(json.dumps(settings))
        command = [sys.executable, "-m", "webevents", "stage", "--settings", str(path)]
        observer = Observer(self.servers.config)
        worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while True:
                view = observer.groups({settings["group"]: settings["topics"]})[settings["group"]]
                if view.lag == 0 and view.ledgers:
                    assert view.counts().delivered == view.counts().received
                    return view.counts().received
                assert worker.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            worker.terminate()
            worker.wait(30)
            observer.close()

    def documents(self, which: str) -> dict[str, dict[str, Any]]:
        """The documents of the events' or the sessions' indices, by id."""
        urls = {"urls": (self.servers.elasticsearch,)}
        spec = self.pipeline.spec.elasticsearch.model_copy(update=urls)
        client: Any = connect(spec)
        pattern = f"{self.name}-{which}-*"
        refresh(client, pattern)
        scan = scan_opensearch if spec.engine == "opensearch" else scan_elasticsearch
        hits = list(scan(client, index=pattern, size=5000, ignore_unavailable=True))
        found = {hit["_id"]: hit["_source"] for hit in hits}
        assert len(found) == len(hits), "an id stands in two indices"
        client.close()
        return found


_TOPICS = ("raw", "enriched", "sessions", "failed", "alerts", "analytics")


@dataclass
class Run:
    """A ``webevents run`` under way."""

    process: subprocess.Popen[bytes]
    report: Path
    log: Path
    log_start: int = 0
    """Where in the log this run begins."""

    def finish(self, timeout: float = 500) -> dict[str, Any]:
        """Wait for the end and read the report."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running: {self.log.read_text()[-3000:]}") from None
        assert code == 0, self.log.read_text()[-5000:]
        report: dict[str, Any] = json.loads(self.report.read_text())
        assert report["balanced"], report
        return report

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def processes(self, mark: str) -> list[int]:
        """Ids of the run's processes whose command line holds a text."""
        return [
            pid
            for pid, command in children(self.process.pid)
            if any(mark in part for part in command)
        ]

    def workers(self, name: str) -> list[int]:
        """Process ids of a workload's copies."""
        return self.processes(f"/{name}.json")

    def kill(self, mark: str, timeout: float = 180) -> int:
        """SIGKILL one of the processes with a text in their command line, as soon as there is one.

        :returns: the id that it had; it is gone, so that the next kill meets its successor.
        """
        pid = self.wait_for(lambda: self.processes(mark), f"no process of {mark}", timeout)[0]
        os.kill(pid, signal.SIGKILL)
        while pid in self.processes(mark):
            time.sleep(0.01)
        return pid

    def kill_worker(self, name: str, timeout: float = 180) -> None:
        """SIGKILL one copy of a workload as soon as there is one."""
        self.kill(f"/{name}.json", timeout)

    def wait_for(self, look: Callable[[], T], otherwise: str, timeout: float = 180) -> T:
        """Wait until something is seen while the run goes on; what it was."""
        deadline = time.monotonic() + timeout
        while not (seen := look()):
            assert self.process.poll() is None, f"it ended: {self.log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"{otherwise}: {self.log.read_text()[-3000:]}"
            time.sleep(0.05)
        return seen

    def said(self) -> str:
        """What it has said so far; earlier runs of the pipeline are in the log too."""
        return self.log.read_bytes()[self.log_start :].decode()

    def wait_for_line(self, line: str, timeout: float = 240) -> None:
        """Wait until the run has said something."""
        self.wait_for(lambda: line in self.said(), f"not said: {line}", timeout)


def children(pid: int) -> list[tuple[int, Sequence[str]]]:
    """The child processes with their command lines (Linux)."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
            if parent == pid:
                command = (entry / "cmdline").read_text().rstrip("\0").split("\0")
                found.append((int(entry.name), command))
    return found


def by_field(documents: Mapping[str, Mapping[str, Any]], name: str) -> Counter[str]:
    """Number of documents by the value of a field."""
    return Counter(str(document.get(name)) for document in documents.values())
