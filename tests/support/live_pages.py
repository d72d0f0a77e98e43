"""A live page as a process of its own, on a real Kafka."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from webevents.connectors.kafka import client_config, ensure_topics
from webevents.local.ports import LOOPBACK, free_port
from webevents.plan.make import make_plan
from webevents.spec.kafka import KafkaSpec
from webevents.spec.load import parse_pipeline

PATIENCE_S = 90.0


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """Wait until something is true; what it is then."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)
    return found


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body of a GET; 0 where nobody answers."""
    connection = HTTPConnection(LOOPBACK, port, timeout=15)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()


def stats(port: int) -> dict[str, Any]:
    """The page's figures; empty where there are none yet."""
    status, body = get(port, "/api/stats")
    found: dict[str, Any] = json.loads(body) if status == 200 else {}
    return found


@dataclass
class RunningPage:
    """``webevents live`` with topics of its own.

    :param spec: spec.live, as a file has it.
    """

    kafka: str
    folder: Path
    spec: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = f"l{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        document = {
            "apiVersion": "webevents.dev/v1alpha1",
            "kind": "WebEventPipeline",
            "metadata": {"name": self.name},
            "spec": {
                "kafka": {"bootstrapServers": self.kafka},
                "live": {"enabled": True} | self.spec,
                "alerts": {"enabled": True},
                "topics": {
                    which: {"name": f"{self.name}-{which}"}
                    for which in ("raw", "enriched", "sessions", "failed", "alerts")
                },
            },
        }
        self.pipeline = parse_pipeline(document, self.name)
        self.config = client_config(KafkaSpec(bootstrap_servers=self.kafka))
        self.plan = make_plan(self.pipeline)
        [workload] = [each for each in self.plan.workloads if each.name == "live"]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = self.folder / "live.json"
        self.settings.write_text(
            json.dumps(workload.settings.model_dump(mode="json", by_alias=True))
        )
        self.log = self.folder / "live.log"

    def make_topics(self) -> None:
        """Create the pipeline's topics."""
        ensure_topics(AdminClient(self.config), self.plan.topics)

    def send(self, which: str, values: Sequence[Any]) -> None:
        """Write values, JSON or bytes, to one of the topics."""
        producer = Producer(self.config | {"linger.ms": 5})
        for value in values:
            producer.produce(
                f"{self.name}-{which}",
                value if isinstance(value, bytes) else json.dumps(value).encode(),
            )
        assert producer.flush(60) == 0

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "webevents", "live", "--settings", str(self.settings)),
                    *("--port", str(self.port), *options),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: self._answers())

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return get(self.port, "/healthz")[0] == 200

    def stats(self) -> dict[str, Any]:
        """The figures."""
        return stats(self.port)

    def wait_for(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until the figures are so; the figures."""
        found: dict[str, Any] = wait_for(
            lambda: (seen := self.stats()) and (seen if condition(seen) else None)
        )
        return found

    def wait_for_ready(self) -> None:
        """Wait until Kafka has answered it."""
        wait_for(lambda: get(self.port, "/readyz")[0] == 200)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 60) -> int:
        """SIGTERM, and its exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def usage(self) -> tuple[float, float]:
        """CPU seconds and megabytes of memory that it has used."""
        assert self.process
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        cpu = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return cpu, pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def live_page(
    kafka: str, folder: Path, spec: dict[str, Any] | None = None, *options: str, topics: bool = True
) -> Iterator[RunningPage]:
    """Run a live page while the block runs.

    :param topics: whether the topics are made first.
    """
    running = RunningPage(kafka, folder, spec or {})
    if topics:
        running.make_topics()
    running.start(*options)
    try:
        yield running
    finally:
        if running.process and running.process.poll() is None:
            running.kill()
