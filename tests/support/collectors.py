"""A collector as a process of its own, on a real Kafka."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from webevents.connectors.kafka import client_config, ensure_topics
from webevents.connectors.kafka_observe import Observer
from webevents.events.failed import FailedEvent, decode_failed
from webevents.local.ports import LOOPBACK, free_port
from webevents.plan.make import make_plan
from webevents.spec.kafka import KafkaSpec
from webevents.spec.load import parse_pipeline


@dataclass
class RunningCollector:
    """``webevents collect`` with topics of its own.

    :param spec: spec.collector, as a file has it.
    """

    kafka: str
    folder: Path
    spec: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    """Other parts of the pipeline's spec."""

    def __post_init__(self) -> None:
        self.name = f"c{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.metrics_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        spec = {
            **self.more,
            "kafka": {"bootstrapServers": self.kafka},
            "collector": self.spec,
            "topics": {
                which: {"name": f"{self.name}-{which}"}
                for which in ("raw", "enriched", "sessions", "failed")
            },
        }
        document = {
            "apiVersion": "webevents.dev/v1alpha1",
            "kind": "WebEventPipeline",
            "metadata": {"name": self.name},
            "spec": spec,
        }
        self.pipeline = parse_pipeline(document, self.name)
        plan = make_plan(self.pipeline)
        self.config = client_config(KafkaSpec(bootstrap_servers=self.kafka))
        ensure_topics(AdminClient(self.config), plan.topics)
        [workload] = [each for each in plan.workloads if each.name == "collector"]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = self.folder / "collector.json"
        self.settings.write_text(
            json.dumps(workload.settings.model_dump(mode="json", by_alias=True))
        )
        self.live = self.folder / "collector-live.json"
        self.live.write_text(json.dumps(dict(workload.live)))
        self.log = self.folder / "collector.log"

    @property
    def url(self) -> str:
        scheme = "https" if self.pipeline.spec.collector.tls else "http"  # type: ignore[union-attr]
        return f"{scheme}://{LOOPBACK}:{self.port}"

    def start(self, *, ready: bool = True) -> None:
        """Start it; and wait until it is ready, or at least listens."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "webevents", "collect"),
                    *("--settings", str(self.settings), "--live", str(self.live)),
                    *("--host", LOOPBACK, "--port", str(self.port)),
                    *("--metrics-host", LOOPBACK, "--metrics-port", str(self.metrics_port)),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 60
        path = "/readyz" if ready else "/healthz"
        while self.status(path) != 200:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.05)

    def status(self, path: str) -> int:
        """The status of a GET; 0 where nobody answers."""
        connection = HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM, and its exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def events(self) -> list[dict[str, Any]]:
        """The events on the raw topic."""
        return [json.loads(value) for value in self._values(self.pipeline.spec.topics.raw.name)]

    def failed(self) -> list[FailedEvent]:
        """The failed events."""
        return [
            decode_failed(value) for value in self._values(self.pipeline.spec.topics.failed.name)
        ]

    def _values(self, topic: str) -> list[bytes]:
        observer = Observer(self.config)
        try:
            return [message.value() for message in observer.messages(topic)]
        finally:
            observer.close()

    def metrics(self) -> Counter[str]:
        """Sums of the metrics by their names, and by name and each one label: ``name{a=b}``."""
        from prometheus_client.parser import text_string_to_metric_families as parse

        connection = HTTPConnection(LOOPBACK, self.metrics_port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found: Counter[str] = Counter()
        for family in parse(text):
            for sample in family.samples:
                found[sample.name] += sample.value  # type: ignore[assignment]
                for label, value in sample.labels.items():
                    found[f"{sample.name}{{{label}={value}}}"] += sample.value  # type: ignore[assignment]
        return found

    def rss(self) -> int:
        """Bytes of memory that the process has."""
        assert self.process
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def collector(
    kafka: str, folder: Path, spec: dict[str, Any] | None = None, **more: Any
) -> Iterator[RunningCollector]:
    """Run a collector while the block runs."""
    running = RunningCollector(kafka, folder, spec or {}, more)
    running.start()
    try:
        yield running
    finally:
        if running.process and running.process.poll() is None:
            running.process.kill()
            running.process.wait()
