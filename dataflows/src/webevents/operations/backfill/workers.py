"""The stages of a backfill as processes, until they have read all."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from confluent_kafka import KafkaException

from webevents import parent_guard
from webevents.connectors.kafka_observe import Observer, Partition
from webevents.errors import UserError
from webevents.stages.settings import StageSettings

LOOK_EVERY_S = 0.5
STOP_S = 60.0
RESTARTS = 5
"""Times that a stage which ended by a fault is started again."""


def _guard() -> list[str]:
    """What has a stage end when this process is killed (Linux)."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", parent_guard.__file__, str(os.getpid())]


class Workers:
    """One worker of each stage; all are stopped at the end of the block."""

    def __init__(self, stages: Sequence[StageSettings], observer: Observer) -> None:
        self._stages: dict[str, StageSettings] = {stage.stage: stage for stage in stages}
        self._observer = observer
        self._folder = tempfile.TemporaryDirectory(prefix="webevents-backfill-")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, IO[bytes]] = {}
        self._restarts = 0

    def __enter__(self) -> Self:
        for name in self._stages:
            self._start(name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            process.terminate()
        for name in list(self._processes):
            self.stop(name)
        for log in self._logs.values():
            log.close()
        self._folder.cleanup()

    def _start(self, name: str) -> None:
        folder = Path(self._folder.name)
        path = folder / f"{name}.json"
        path.write_text(self._stages[name].model_dump_json(by_alias=True, exclude_none=True))
        log = self._logs.setdefault(name, (folder / f"{name}.log").open("ab"))
        self._processes[name] = subprocess.Popen(
            [*_guard(), sys.executable, "-m", "webevents", "stage", "--settings", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def stop(self, name: str) -> None:
        """Have a stage commit what it has, and end."""
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def drain(
        self, name: str, ends: Mapping[Partition, int], say: Callable[[str, int], None]
    ) -> None:
        """Wait until a stage has committed all before these offsets.

        :param say: receives the stage's name and the messages still to be read, again and again.
        :raises UserError: when a stage cannot run.
        """
        stage = self._stages[name]
        while True:
            left = self._left(stage, ends)
            if left is not None:
                say(name, left)
                # One that has just ended is started again: it may have something to publish.
                if left == 0 and self._processes[name].poll() is None:
                    return
            self._look()
            time.sleep(LOOK_EVERY_S)

    def _left(self, stage: StageSettings, ends: Mapping[Partition, int]) -> int | None:
        """Messages before the ends that are not committed; None where that is not known now."""
        topics = sorted({topic for topic, _ in ends})
        try:
            view = self._observer.groups({stage.group: topics})[stage.group]
        except KafkaException:
            return None
        left = 0
        for source, end in ends.items():
            ledger = view.ledgers.get(source)
            if ledger is not None:
                left += max(end - ledger.next, 0)
            elif view.lags.get(source, 0):
                left += end
        return left

    def _look(self) -> None:
        for name, process in list(self._processes.items()):
            if process.poll() is None:
                continue
            self._restarts += 1
            if self._restarts > RESTARTS:
                log = Path(self._folder.name, f"{name}.log").read_bytes()[-2000:]
                line = log.decode("utf-8", "replace").strip().rpartition("\n")[2]
                raise UserError(f"the stage {name} cannot run (code {process.returncode}): {line}")
            self._start(name)
