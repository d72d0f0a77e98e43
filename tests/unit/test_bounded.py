"""Calls that never return."""

import subprocess
import sys
import time

import pytest

from webevents.stages.bounded import Hung, bounded

# A sleep that keeps Python's lock, as librdkafka's hang within a callback does: no signal handler
# and no thread of Python's runs meanwhile.
HANGS = """
import ctypes
from webevents.stages.bounded import ending_after
with ending_after({patience}):
    ctypes.PyDLL(None).usleep({sleep_us})
print("went on", flush=True)
"""


def run(patience: float, sleep_us: int) -> tuple[subprocess.CompletedProcess[str], float]:
    program = HANGS.format(patience=patience, sleep_us=sleep_us)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    return done, time.monotonic() - began


def test_a_hang_that_keeps_pythons_lock_ends_the_process() -> None:
    done, took = run(1, 30_000_000)
    assert done.returncode == 1
    assert took < 20
    assert "Timeout" in done.stderr
    assert "line 5" in done.stderr  # where it stood


def test_what_returns_in_time_goes_on() -> None:
    done, _ = run(1, 100_000)
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_a_call_that_is_given_up_and_what_a_call_raises() -> None:
    with pytest.raises(Hung):
        bounded(lambda: time.sleep(5), 0.1)
    with pytest.raises(ZeroDivisionError):
        bounded(lambda: print(1 // 0), 5)
