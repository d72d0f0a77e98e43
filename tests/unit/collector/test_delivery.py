"""Delivery and the spool: what is safe, in which order, and what happens while Kafka is away.

The producer is a fake here, because its faults are to come at chosen moments; tests/integration has
the same with a real broker that is stopped.
"""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from webevents.errors import UserError
from webevents.sources.collector.delivery import Delivery
from webevents.sources.collector.producer import QueueFull, Undelivered
from webevents.sources.collector.refusal import Refused
from webevents.sources.collector.spool import FILE, Message, Spool, SpoolFull


def message(number: int, size: int = 3) -> Message:
    return Message("raw", b"k", f"{number}".encode().rjust(size, b"0"), number)


def numbers(messages: Sequence[Message]) -> list[int]:
    return [m.timestamp_ms for m in messages]


class FakeKafka:
    """Acknowledges while it is up; the requests under way fail when it goes away."""

    fatal = None

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self.on_change = on_change
        self.up: bool | None = None
        self.log: list[Message] = []
        self.hold = False
        self.held: list[tuple[Sequence[Message], asyncio.Future[None]]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self.in_flight = 0
        self.full = False

    def change(self, up: bool) -> None:
        self.up = up
        if not up:
            for _, future in self.held:
                future.set_exception(Undelivered("gone"))
            self.held.clear()
            self.in_flight = 0
            self._idle.set()
        self.on_change(up)

    async def send(self, messages: Sequence[Message]) -> None:
        if self.full:
            raise QueueFull
        if self.hold:
            future = asyncio.get_running_loop().create_future()
            self.held.append((messages, future))
            self._idle.clear()
            self.in_flight += 1
            await future
        self.log += messages

    async def idle(self) -> None:
        await self._idle.wait()

    def give_up(self) -> None: ...

    async def close(self) -> None: ...


def run(
    scenario: Callable[[Delivery, FakeKafka], Any], spool: Spool | None = None
) -> tuple[Delivery, FakeKafka]:
    async def main() -> tuple[Delivery, FakeKafka]:
        delivery = Delivery(FakeKafka, spool)  # type: ignore[arg-type]
        kafka: FakeKafka = delivery.kafka  # type: ignore[assignment]
        await asyncio.wait_for(scenario(delivery, kafka), 20)
        await delivery.close()
        return delivery, kafka

    return asyncio.run(main())


def refused(error: BaseException) -> str:
    assert isinstance(error, Refused)
    return error.reason


def test_without_a_spool_requests_are_refused_while_kafka_is_away() -> None:
    async def scenario(delivery: Delivery, kafka: FakeKafka) -> None:
        assert delivery.unready()
        kafka.change(False)
        with pytest.raises(Refused, match="does not answer"):
            await delivery.deliver([message(0)])
        kafka.change(True)
        assert delivery.unready() is None
        assert await delivery.deliver([message(1)]) == "delivered"
        kafka.hold = True
        waiting = asyncio.create_task(delivery.deliver([message(2)]))
        await asyncio.sleep(0)
        kafka.change(False)
        assert refused((await asyncio.gather(waiting, return_exceptions=True))[0]) == "kafka_away"
        assert delivery.unready()

    _, kafka = run(scenario)
    assert numbers(kafka.log) == [1]


def test_a_full_queue_is_said_and_does_not_spool(tmp_path: Path) -> None:
    async def scenario(delivery: Delivery, kafka: FakeKafka) -> None:
        kafka.change(True)
        kafka.full = True
        with pytest.raises(Refused) as caught:
            await delivery.deliver([message(1)])
        assert caught.value.reason == "queue_full"
        assert caught.value.retry_after

    delivery, _ = run(scenario, Spool(tmp_path, 1_000_000))
    assert delivery.spooled == (0, 0)


def test_the_order_is_kept_through_an_outage(tmp_path: Path) -> None:
    async def scenario(delivery: Delivery, kafka: FakeKafka) -> None:
        kafka.change(True)
        kafka.hold = True
        tasks = [asyncio.create_task(delivery.deliver([message(n)])) for n in range(5)]
        await asyncio.sleep(0)
        kafka.change(False)
        # These come before the failures of the others have been dealt with.
        tasks += [asyncio.create_task(delivery.deliver([message(n)])) for n in range(5, 10)]
        assert set(await asyncio.gather(*tasks)) == {"spooled"}
        assert delivery.unready() is None, "there is room on disk"
        kafka.hold = False
        kafka.change(True)
        while delivery.spooled[0]:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert await delivery.deliver([message(10)]) == "delivered"

    _, kafka = run(scenario, Spool(tmp_path, 1_000_000))
    assert numbers(kafka.log) == list(range(11))


def test_what_comes_while_the_spool_drains_comes_after_it(tmp_path: Path) -> None:
    async def scenario(delivery: Delivery, kafka: FakeKafka) -> None:
        kafka.change(False)
        await delivery.deliver([message(n) for n in range(5000)])
        kafka.change(True)
        late = [asyncio.create_task(delivery.deliver([message(5000 + n)])) for n in range(50)]
        for task in late:
            await task
            await asyncio.sleep(0)
        while delivery.spooled[0]:
            await asyncio.sleep(0.005)

    _, kafka = run(scenario, Spool(tmp_path, 1_000_000))
    assert numbers(kafka.log) == list(range(5050))


def test_a_stream_that_never_pauses_lets_the_spool_become_empty(tmp_path: Path) -> None:
    async def scenario(delivery: Delivery, kafka: FakeKafka) -> None:
        kafka.change(False)
        await delivery.deliver([message(-1)])
        how = []

        async def send(first: int) -> None:
            for n in range(first, first + 1_000):
                how.append(await delivery.deliver([message(n)]))

        kafka.change(True)
        await asyncio.gather(*(send(10_000 * each) for each in range(4)))
        assert how[-1] == "delivered"
        assert how.count("spooled") < 100

    _, kafka = run(scenario, Spool(tmp_path, 1_000_000))
    assert len(kafka.log) == 4_001


def test_a_drain_that_fails_goes_on_when_kafka_is_back(tmp_path: Path) -> None:
    async def scenario(delivery: Delivery, kafka: FakeKafka) -> None:
        kafka.change(False)
        await delivery.deliver([message(n) for n in range(10)])
        kafka.hold = True
        kafka.change(True)
        while not kafka.held:
            await asyncio.sleep(0.005)
        late = asyncio.create_task(delivery.deliver([message(10)]))
        await asyncio.sleep(0.01)
        kafka.change(False)
        assert await late == "spooled"
        kafka.hold = False
        kafka.change(True)
        while delivery.spooled[0]:
            await asyncio.sleep(0.005)

    _, kafka = run(scenario, Spool(tmp_path, 1_000_000))
    assert numbers(kafka.log) == list(range(11))


def test_what_was_spooled_before_a_stop_is_sent_first_after_it(tmp_path: Path) -> None:
    async def before(delivery: Delivery, kafka: FakeKafka) -> None:
        kafka.change(False)
        await delivery.deliver([message(n) for n in range(3)])

    async def after(delivery: Delivery, kafka: FakeKafka) -> None:
        assert delivery.spooled[0] == 3
        kafka.change(True)
        assert await delivery.deliver([message(3)]) == "spooled"
        while delivery.spooled[0]:
            await asyncio.sleep(0.005)

    run(before, Spool(tmp_path, 1_000_000))
    _, kafka = run(after, Spool(tmp_path, 1_000_000))
    assert numbers(kafka.log) == [0, 1, 2, 3]


def test_a_full_spool_refuses_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    async def scenario(delivery: Delivery, kafka: FakeKafka) -> None:
        kafka.change(False)
        await delivery.deliver([message(1, 600_000)])
        with pytest.raises(Refused) as caught:
            await delivery.deliver([message(2, 600_000)])
        assert (caught.value.reason, caught.value.status) == ("spool_full", 503)
        kafka.change(True)
        while delivery.spooled[0]:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert await delivery.deliver([message(3, 600_000)]) == "delivered"

    _, kafka = run(scenario, Spool(tmp_path, 1_000_000))
    assert numbers(kafka.log) == [1, 3]


def test_a_disk_that_fails_refuses_and_hangs_nobody(tmp_path: Path, monkeypatch: Any) -> None:
    spool = Spool(tmp_path, 1_000_000)

    async def scenario(delivery: Delivery, kafka: FakeKafka) -> None:
        kafka.change(False)
        monkeypatch.setattr(spool, "append", lambda messages: 1 / 0)
        with pytest.raises(Refused) as caught:
            await delivery.deliver([message(1)])
        assert caught.value.reason == "internal_error"
        monkeypatch.undo()
        assert await delivery.deliver([message(2)]) == "spooled"

    run(scenario, spool)


def test_before_kafka_has_answered_the_first_time_it_is_tried() -> None:
    async def scenario(delivery: Delivery, kafka: FakeKafka) -> None:
        assert delivery.unready()
        assert await delivery.deliver([message(1)]) == "delivered"

    run(scenario)


# --- the spool itself ---


def test_a_spool_is_a_queue(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1_000)
    messages = [Message("raw", None, b"1", 5), Message("failed", b"\xff", b"\x00", 6)]
    spool.append(messages)
    rows = spool.head(10)
    assert [found for _, found in rows] == messages
    assert (spool.count, spool.bytes) == (2, 3)
    assert len(spool.head(1)) == 1
    assert len(spool.head(10, limit_bytes=1)) == 1
    spool.remove(rows[0][0])
    assert [found for _, found in spool.head(10)] == messages[1:]
    assert (spool.count, spool.bytes) == (1, 2)
    spool.close()
    again = Spool(tmp_path, 1_000)
    assert (again.count, again.bytes) == (1, 2)
    again.close()


def test_what_does_not_fit_is_not_added_at_all(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10)
    with pytest.raises(SpoolFull):
        spool.append([message(1), message(2), message(3)])
    assert (spool.count, spool.head(9)) == (0, [])
    spool.close()


def test_the_file_shrinks_when_it_is_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100_000_000)
    spool.append([message(n, 10_000) for n in range(500)])
    spool.remove(spool.head(1000)[-1][0])
    spool.close()
    assert (tmp_path / FILE).stat().st_size < 100_000


def test_two_collectors_cannot_share_a_spool(tmp_path: Path, monkeypatch: Any) -> None:
    first = Spool(tmp_path, 1_000)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from webevents.sources.collector.spool import Spool\nSpool(Path(sys.argv[1]), 1)"
    )
    second = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True)
    assert b"a folder of its own" in second.stderr
    first.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"spec\.collector\.spool\.path"):
        Spool(tmp_path / "file" / "spool", 1_000)


def test_a_damaged_spool_is_said_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all, but long enough to look like one" * 100)
    with pytest.raises(UserError, match="move it away"):
        Spool(tmp_path, 1_000)
    assert (tmp_path / FILE).read_bytes().startswith(b"no database")


def test_a_spool_survives_being_killed_at_any_point(tmp_path: Path) -> None:
    """What was said to be on disk is there, whole and in its order, after SIGKILL."""
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from webevents.sources.collector.spool import Message, Spool
        spool = Spool(Path(sys.argv[1]), 10**9)
        n = int(sys.argv[2])
        while True:
            spool.append([Message("raw", None, b"x", n + i) for i in range(7)])
            n += 7
            print(n, flush=True)
    """)
    said = 0
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(said)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        for _ in range(20):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        spool = Spool(tmp_path, 10**9)
        found = numbers([m for _, m in spool.head(10**6, 10**9)])
        spool.close()
        assert found == list(range(len(found)))
        assert len(found) % 7 == 0
        assert len(found) >= (int(rest[-1]) if rest else said + 140)
        said = len(found)
