"""Measuring a process from outside: CPU seconds and memory of its whole tree."""

import argparse
import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import KafkaException

SAMPLE_S = 0.1


class Watched:
    """A process with its descendants, sampled every 0.1 s.

    CPU of descendants that have ended is what the last sample saw of them.
    """

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        self.process = subprocess.Popen(command, **options)
        self._root = psutil.Process(self.process.pid)
        self._cpu: dict[tuple[int, float], float] = {}
        self.rss = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        rss = 0
        try:
            tree = [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return
        for one in tree:
            try:
                with one.oneshot():
                    times = one.cpu_times()
                    self._cpu[(one.pid, one.create_time())] = times.user + times.system
                    rss += one.memory_info().rss
            except psutil.Error:
                continue
        self.rss = max(self.rss, rss)

    def cpu(self) -> float:
        """CPU seconds so far."""
        self._sample()
        return sum(self._cpu.values())

    def stop(self) -> None:
        """End it and all that it started."""
        self._ended.set()
        self._thread.join()
        try:
            tree = [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            tree = []
        for one in tree:
            if one.is_running():
                one.terminate()
        for one in psutil.wait_procs(tree, 10)[1]:
            one.kill()
        self.process.wait(10)


@dataclass(frozen=True, slots=True)
class Spread:
    """Some measured figures."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        if not self.values:
            return "–"
        low, high = min(self.values), max(self.values)
        return f"{_short(low)} / **{_short(self.median)}** / {_short(high)}"

    @property
    def median(self) -> float:
        """Their median."""
        return statistics.median(self.values)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def wait_until(what: str, condition: Any, seconds: float = 120) -> Any:
    """Wait until something holds; returns what it gave.

    :raises TimeoutError: when it does not come about.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)
    return found


@contextmanager
def watching(name: str, command: Sequence[str], **options: Any) -> Iterator[Watched]:
    """Run a command while the block runs; where that fails, the command's last words are told.

    :raises AssertionError: where the block does, or waits in vain.
    """
    with tempfile.TemporaryFile() as log:
        watched = Watched(command, stdout=log, stderr=log, cwd=tempfile.gettempdir(), **options)
        try:
            yield watched
        except (TimeoutError, AssertionError) as error:
            log.seek(0)
            text = log.read().decode(errors="replace")[-3000:]
            raise AssertionError(f"{name}: {error}\n{text}") from None
        finally:
            watched.stop()


def in_the_middle(watched: Watched, done: Callable[[], int], number: int) -> dict[str, float]:
    """CPU and rate of a process between the first and the last tenth of its work.

    :param done: how much it has done; may raise ``KafkaException`` while topics are new.
    """
    marks = []
    for mark in (number // 10, number * 9 // 10):

        def reached(mark: int = mark) -> int:
            assert watched.process.poll() is None, "it has ended"
            with suppress(KafkaException):
                return count if (count := done()) >= mark else 0
            return 0

        count = wait_until(f"{mark} messages", reached, 900)
        marks.append((time.monotonic(), watched.cpu(), count))
    first, last = marks
    events = last[2] - first[2]
    assert events and last[0] > first[0], "it took all at once: this needs more events"
    return {
        "cpu_s_per_million": (last[1] - first[1]) / events * 1e6,
        "events_per_s": events / (last[0] - first[0]),
    }


def interleaved(
    cases: Mapping[str, Callable[[], dict[str, float]]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Measure cases in turn, again and again; the values of each figure of each case."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in cases}
    for turn in range(rounds):
        for name, measure in cases.items():
            figures = measure()
            for figure, value in figures.items():
                found[name].setdefault(figure, []).append(value)
            told = "  ".join(f"{figure} {value:,.1f}" for figure, value in figures.items())
            print(f"round {turn + 1}/{rounds}  {name:26} {told}", flush=True)
    return found


def arguments(about: str | None, **numbers: float) -> argparse.ArgumentParser:
    """The options of a measurement: numbers with their usual values, and where a report goes."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0] if about else None)
    for name, usual in numbers.items():
        parser.add_argument(f"--{name}", type=type(usual), default=usual)
    parser.add_argument("--report", type=Path, help="figures and table as JSON")
    return parser


def publish(table: str, figures: Any, report: Path | None) -> None:
    """Print a table, and write it with its figures where a report was asked for."""
    print(table)
    if report:
        report.write_text(json.dumps({"table": table, "figures": figures}, indent=1))
