"""A run's own servers: what ends is started again, what was lost with it is told."""

import threading
import time
from typing import Any

import pytest

from webevents.errors import UserError
from webevents.local import keeper as keeper_module
from webevents.local.keeper import ServerKeeper


class Server:
    """Stands for a server; what a real one does is in tests/local/test_own_servers.py."""

    port = 5

    def __init__(self, name: str, *, durable: bool = True, faults: int = 0) -> None:
        self.name = name
        self.durable = durable
        self.faults = faults
        self.alive = True
        self.done: list[str] = []
        self.hold = threading.Event()
        self.hold.set()

    def kill(self) -> None:
        self.done.append("kill")

    def start(self) -> None:
        self.hold.wait(30)
        self.done.append("start")
        if self.faults:
            self.faults -= 1
            raise UserError("the disk is full: free some space\nmore")
        self.alive = True

    def stop(self) -> None:
        self.hold.set()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "PAUSE_S", 0.01)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_runs_is_left_alone_and_what_ended_is_started_until_it_runs() -> None:
    well, dead = Server("Kafka"), Server("PostgreSQL", faults=2)
    keeper = ServerKeeper([well, dead])  # type: ignore[list-item]
    said: list[str] = []
    dead.alive = False
    keeper.keep_alive(said.append)
    wait_for(lambda: dead.alive)
    assert dead.done == ["kill", "start", "start", "start"]
    assert well.done == []
    assert said[:2] == [
        "PostgreSQL ended; starting it again",
        "PostgreSQL: the disk is full: free some space",
    ]
    wait_for(lambda: "PostgreSQL is ready again on port 5" in said[-1])
    assert keeper.lost == []
    keeper.close()


def test_nobody_waits_for_a_start_and_none_is_made_twice() -> None:
    dead = Server("Kafka")
    dead.alive = False
    dead.hold.clear()
    keeper = ServerKeeper([dead])  # type: ignore[list-item]
    for _ in range(3):
        keeper.keep_alive(lambda line: None)
    assert dead.done == ["kill"]
    keeper.close()
    assert dead.done == ["kill", "start"]


def test_data_that_went_with_a_server_is_told() -> None:
    dead = Server("S3", durable=False)
    dead.alive = False
    keeper = ServerKeeper([dead])  # type: ignore[list-item]
    keeper.keep_alive(lambda line: None)
    wait_for(lambda: dead.alive)
    keeper.close()
    [line] = keeper.lost
    assert "S3 ended, and with it what it kept in memory" in line
