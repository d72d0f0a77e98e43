"""The plan's workloads as local processes that are started again when they end."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from webevents.local.ports import LOOPBACK, free_port, port_like
from webevents.local.process import ServerProcess
from webevents.plan.model import Workload

RESTART_LIMIT_S = 10.0
"""Longest pause before a workload that keeps ending is started again."""


class Replica:
    """One copy of a workload.

    :param folder: holds its settings file and its log.
    :param metrics: whether it serves metrics, on a free port.
    """

    def __init__(
        self, workload: Workload, number: int, folder: Path, *, metrics: bool = False
    ) -> None:
        self.workload = workload
        self.number = number
        self.metrics_address = f"{LOOPBACK}:{free_port()}" if metrics else None
        self.port = None if workload.port is None else port_like(workload.port)
        self.restarts = 0
        settings = folder / f"{workload.name}.json"
        if number == 0:
            settings.write_text(
                json.dumps(workload.settings.model_dump(mode="json", by_alias=True), indent=2)
            )
        live = folder / f"{workload.name}-live.json"
        if workload.live and number == 0:
            live.write_text(json.dumps(dict(workload.live)))
        name = workload.name if workload.replicas == 1 else f"{workload.name}-{number}"
        self.process = ServerProcess(
            name,
            [
                *(sys.executable, "-m", "webevents", *workload.command),
                *("--settings", settings, "--instance", str(number)),
                *("--replicas", str(workload.replicas)),
                *(("--live", live) if workload.live else ()),
                *(("--host", LOOPBACK, "--port", str(self.port)) if self.port else ()),
                *self._metrics_options(),
            ],
            log_file=folder / f"{name}.log",
            holds_signals=True,
        )
        self._started = 0.0
        self._failures = 0

    def _metrics_options(self) -> tuple[str, ...]:
        if self.metrics_address is None:
            return ()
        host, _, port = self.metrics_address.partition(":")
        return ("--metrics-host", host, "--metrics-port", port)

    def start(self) -> None:
        """Start the process."""
        self._started = time.monotonic()
        self.process.spawn()

    def keep_alive(self) -> str | None:
        """Start it again where it ended; the pause doubles while it keeps ending.

        :returns: what happened, where something did.
        """
        if self.process.alive or (self.process.returncode == 0 and not self.workload.reads):
            return None  # a source that has sent all it has ends by itself
        now = time.monotonic()
        if now - self._started > 60:
            self._failures = 0
        if now - self._started < min(RESTART_LIMIT_S, 0.2 * 2**self._failures):
            return None
        code = self.process.returncode
        self._failures += 1
        self.restarts += 1
        self.start()
        return f"{self.process.name} ended ({code}) and was started again"


class Workloads:
    """All workloads of a plan.

    :param folder: where settings and logs go.
    :param say: receives a line when a workload had to be started again.
    :param metrics: whether each copy serves metrics, on a free port.
    """

    def __init__(
        self,
        workloads: list[Workload],
        folder: Path,
        say: Callable[[str], None],
        *,
        metrics: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._say = say
        self._replicas = [
            Replica(workload, number, folder, metrics=metrics)
            for workload in workloads
            for number in range(workload.replicas)
        ]
        self._stopped: set[str] = set()

    def start(self, name: str | None = None) -> None:
        """Start everything, or all copies of one workload that was stopped."""
        for replica in self._replicas:
            if name in (None, replica.workload.name):
                replica.start()
        self._stopped.discard(name or "")

    def metrics_urls(self) -> dict[str, str]:
        """Where each copy serves its metrics."""
        return {
            replica.process.name: f"http://{replica.metrics_address}/metrics"
            for replica in self._replicas
            if replica.metrics_address
        }

    def write_targets(self, path: Path, pipeline: str) -> None:
        """Write the copies' addresses for Prometheus (its file_sd format)."""
        targets = [
            {
                "targets": [replica.metrics_address],
                "labels": {
                    "pipeline": pipeline,
                    "stage": replica.workload.name,
                    "replica": str(replica.number),
                },
            }
            for replica in self._replicas
            if replica.metrics_address
        ]
        path.write_text(json.dumps(targets, indent=2) + "\n")

    def addresses(self) -> dict[str, str]:
        """Where copies serve HTTP to the world, as host:port by their names."""
        return {
            replica.process.name: f"{LOOPBACK}:{replica.port}"
            for replica in self._replicas
            if replica.port
        }

    def keep_alive(self) -> None:
        """Start again what ended without being told to."""
        for replica in self._replicas:
            if replica.workload.name not in self._stopped and (line := replica.keep_alive()):
                self._say(line)

    def runs(self, name: str) -> bool:
        """Whether all copies of a workload are there."""
        return all(r.process.alive for r in self._replicas if r.workload.name == name)

    def stop(self, name: str, grace: float = 30) -> bool:
        """Stop all copies of one workload, gracefully; whether each has ended as it should."""
        self._stopped.add(name)
        mine = [replica for replica in self._replicas if replica.workload.name == name]
        for replica in mine:
            replica.process.signal(replica.process.stop_signal)
        codes = [replica.process.stop(grace=grace) for replica in mine]
        return all(code in (0, None) for code in codes)

    def stop_all(self) -> None:
        """Stop whatever still runs."""
        for name in dict.fromkeys(replica.workload.name for replica in self._replicas):
            self.stop(name, grace=5)

    def pids(self, name: str) -> list[int]:
        """The process ids of a workload's copies."""
        return [
            replica.process.pid
            for replica in self._replicas
            if replica.workload.name == name and replica.process.alive and replica.process.pid
        ]

    @property
    def restarts(self) -> int:
        """How often a workload had to be started again."""
        return sum(replica.restarts for replica in self._replicas)
