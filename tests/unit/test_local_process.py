"""Child processes: ready, failed, stopped, killed, and never left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from webevents.local.process import ProcessFailedError, ServerProcess

PYTHON = [sys.executable, "-u", "-I", "-S", "-c"]
SLEEP = [*PYTHON, "import time; print('up'); time.sleep(600)"]
STUBBORN = [
    *PYTHON,
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up')\n"
    "time.sleep(600)",
]


def make(tmp_path: Path, command: list[str], **options: object) -> ServerProcess:
    log = tmp_path / "log" / "server.log"

    def is_up() -> bool:
        return "up" in log.read_text()

    options.setdefault("ready", is_up)
    return ServerProcess("Test server", command, log_file=log, **options)  # type: ignore[arg-type]


def exists(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_starts_stops_and_starts_again(tmp_path: Path) -> None:
    temp_dir = tmp_path / "own"
    temp_dir.mkdir()
    process = make(tmp_path, SLEEP, temp_dir=temp_dir)
    assert (process.pid, process.alive, process.returncode) == (None, False, None)
    process.start(timeout=10)
    first = process.pid
    assert first is not None
    assert process.alive
    assert os.getpgid(first) == first != os.getpgid(0)
    assert process.stop() == -signal.SIGTERM
    assert not exists(first)
    assert not temp_dir.exists()
    assert process.stop() == -signal.SIGTERM  # once more does nothing
    process.start(timeout=10)
    assert process.pid != first
    process.stop()


def test_it_fails_early_with_its_last_lines(tmp_path: Path) -> None:
    command = [*PYTHON, "print('port is taken'); raise SystemExit(3)"]
    began = time.monotonic()
    with pytest.raises(ProcessFailedError, match=r"(?s)exit code 3.*port is taken") as caught:
        make(tmp_path, command).start(timeout=60)
    assert caught.value.returncode == 3
    assert time.monotonic() - began < 10


def test_only_the_last_start_speaks_in_the_message(tmp_path: Path) -> None:
    process = make(tmp_path, [*PYTHON, "import os; print(os.getpid()); raise SystemExit(1)"])
    pids = []
    for _ in range(2):
        with pytest.raises(ProcessFailedError) as caught:
            process.start(timeout=10)
        pids.append(str(process.pid))
        assert caught.value.log_tail == pids[-1]
    assert process.log_file.read_text().split() == pids


def test_one_that_never_gets_ready_is_stopped(tmp_path: Path) -> None:
    process = make(tmp_path, SLEEP, ready=lambda: False)
    with pytest.raises(ProcessFailedError, match=r"was not ready after 0\.3 s"):
        process.start(timeout=0.3)
    assert not process.alive


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailedError, match="No such file"):
        make(tmp_path, [str(tmp_path / "absent")]).start(timeout=10)


def test_a_stubborn_one_is_killed_after_the_grace(tmp_path: Path) -> None:
    process = make(tmp_path, STUBBORN).start(timeout=10)
    assert process.stop(grace=0.2) == -signal.SIGKILL
    assert not process.alive


def test_the_stop_signal_can_be_chosen(tmp_path: Path) -> None:
    # What a shell starts in the background ignores SIGINT, and so do its children by inheritance.
    command = [
        *PYTHON,
        "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('up')\ntry: time.sleep(600)\nexcept KeyboardInterrupt: print('bye')",
    ]
    process = make(tmp_path, command, stop_signal=signal.SIGINT).start(timeout=10)
    assert process.stop() == 0
    assert "bye" in process.log_text()


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    process = make(tmp_path, SLEEP)
    thread = threading.Thread(target=process.start, kwargs={"timeout": 10})
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert process.alive
    process.stop()


def test_environment_and_folder_are_its_own(tmp_path: Path) -> None:
    command = [*PYTHON, "import os; print(os.getcwd(), os.environ.get('A'), 'up')"]
    process = make(tmp_path, command, env={"A": "1"}, cwd=tmp_path, ready=None)
    process.start()
    assert process.wait(10) == 0
    assert process.log_text().split() == [str(tmp_path), "1", "up"]


def run_parent_and_kill_it(code: str) -> int:
    """Run a parent that prints its child's id, kill it by SIGKILL, and give the child's id."""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert exists(pid)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    return pid


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_parent_takes_its_child_along(tmp_path: Path) -> None:
    pid = run_parent_and_kill_it(f"""
import time
from pathlib import Path
from webevents.local.process import ServerProcess
process = ServerProcess("child", ["sleep", "600"], log_file=Path({str(tmp_path / "log")!r}))
process.start()
time.sleep(0.5)
print(process.pid, flush=True)
time.sleep(600)
""")
    wait_until(lambda: not exists(pid))


def test_the_watcher_takes_the_child_along_too(tmp_path: Path) -> None:
    """What stands in for Linux's signal elsewhere."""
    pid = run_parent_and_kill_it("""
import subprocess, time
from webevents.local.process import _watch
child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, start_new_session=True)
watcher = _watch(child.pid)
print(child.pid, flush=True)
time.sleep(600)
""")
    wait_until(lambda: not exists(pid))


def test_the_watcher_ends_with_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webevents.local.process.sys.platform", "darwin")
    process = make(tmp_path, SLEEP).start(timeout=10)
    watcher = process._watcher
    assert watcher is not None
    process.stop()
    assert not exists(watcher.pid)


LATE = """
import sys, time
from webevents.stop import Stop
time.sleep(0.5)
stop = Stop()
stop.install()
while not stop():
    time.sleep(0.01)
sys.exit(7)
"""


@pytest.mark.parametrize(("holds", "code"), [(True, 7), (False, -signal.SIGTERM)])
def test_a_stop_that_comes_while_a_process_starts_waits_for_it(
    tmp_path: Path, holds: bool, code: int
) -> None:
    process = make(tmp_path, [sys.executable, "-c", LATE], holds_signals=holds)
    process.spawn()
    assert process.stop(grace=120) == code
