"""Delivery: a request is answered with success only when its events are safe.

Safe is what Kafka has acknowledged, or what lies in the spool on disk. While something lies in the
spool everything goes through it, so that the order is kept.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, TypeVar

import structlog

from webevents.sources.collector.producer import KafkaProducer, QueueFull, Undelivered
from webevents.sources.collector.refusal import Refused
from webevents.sources.collector.spool import Message, Spool, SpoolFull

log = structlog.get_logger()

T = TypeVar("T")
How = Literal["delivered", "spooled"]
RETRY_AFTER_S = 5
DRAIN_AT_A_TIME = 2_000


class Delivery:
    """Delivers messages to Kafka, or to the spool while Kafka is away.

    :param make_producer: makes the producer; it is given what to call when the brokers come or go.
    :param spool: None where requests are refused instead.
    """

    def __init__(
        self,
        make_producer: Callable[[Callable[[bool], None]], KafkaProducer],
        spool: Spool | None = None,
    ) -> None:
        self._spool = spool
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._spooling = spool is not None and spool.count > 0
        self._appends: list[tuple[list[Message], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._drainer: asyncio.Task[None] | None = None
        self._gate: asyncio.Event | None = None
        """Where requests wait for the moment while the last of the spool is sent; otherwise a
        steady stream would never let it become empty."""
        self._reached = False
        self.kafka = make_producer(self._on_change)

    @property
    def spooled(self) -> tuple[int, int]:
        """Messages and bytes in the spool."""
        return (0, 0) if self._spool is None else (self._spool.count, self._spool.bytes)

    def unready(self) -> str | None:
        """Why no events can be taken; None where they can."""
        if self.kafka.up or (self._spool is not None and self._reached):
            return None
        return "the brokers do not answer"

    async def deliver(self, messages: Sequence[Message]) -> How:
        """Make messages safe.

        :returns: where they are.
        :raises Refused: with reason kafka_away, queue_full or spool_full; none or all of them may
            have got through, so they are to be sent again with the same ids.
        """
        while self._must_wait():
            await (self._gate.wait() if self._gate else self.kafka.idle())
        if not self._spooling and self.kafka.up is not False:
            try:
                await self.kafka.send(messages)
                return "delivered"
            except QueueFull:
                raise Refused(
                    "queue_full", "too many events wait for Kafka", retry_after=RETRY_AFTER_S
                ) from None
            except Undelivered as error:
                if self._spool is None:
                    raise _away() from error
        elif self._spool is None:
            raise _away()
        self._spooling = True
        await self._append(list(messages))
        self._start_drain()  # where Kafka has come back meanwhile
        return "spooled"

    def _must_wait(self) -> bool:
        """Whether others' messages have to be dealt with first, to keep the order."""
        if self._gate is not None:
            return True
        return self._spooling and not self._draining and self.kafka.in_flight > 0

    @property
    def _draining(self) -> bool:
        return self._drainer is not None and not self._drainer.done()

    async def close(self) -> None:
        """Leave; requests have all been answered."""
        if self._drainer is not None:
            self._drainer.cancel()
            await asyncio.gather(self._drainer, return_exceptions=True)
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)
        await self.kafka.close()
        if self._spool is not None:
            await self._on_disk(self._spool.close)
        self._disk.shutdown()

    def _on_change(self, up: bool) -> None:
        self._reached = self._reached or up
        if up:
            self._start_drain()
        elif self._spool is not None:
            self._spooling = True

    def _start_drain(self) -> None:
        if self._spooling and self.kafka.up and not self._draining:
            self._drainer = asyncio.get_running_loop().create_task(self._drain())

    async def _append(self, messages: list[Message]) -> None:
        """Write messages to the spool, together with those of other requests."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._appends.append((messages, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())
        await future

    async def _write(self) -> None:
        assert self._spool is not None
        append = self._spool.append
        while self._appends:
            batch, self._appends = self._appends, []
            everything = [message for messages, _ in batch for message in messages]
            refusal: Refused | None = None
            try:
                await self._on_disk(partial(append, everything))
            except SpoolFull:
                refusal = Refused("spool_full", "the spool is full", retry_after=RETRY_AFTER_S)
            except Exception:
                log.exception("cannot write to the spool")
                refusal = Refused("internal_error", "the spool cannot be written")
            for _, future in batch:
                if refusal is None:
                    future.set_result(None)
                else:
                    future.set_exception(refusal)

    async def _drain(self) -> None:
        """Send what is in the spool, oldest first, until it is empty or Kafka is away again."""
        assert self._spool is not None
        log.info("draining the spool", events=self._spool.count)
        sent = 0
        try:
            while self.kafka.up and self._spooling:
                sent += await self._drain_some(self._spool)
        finally:
            if self._gate is not None:
                self._gate.set()
                self._gate = None
        log.info("drained the spool", sent=sent, left=self._spool.count)

    async def _drain_some(self, spool: Spool) -> int:
        """Send the oldest messages; how many. Ends the spooling where there are none."""
        rows = await self._on_disk(partial(spool.head, DRAIN_AT_A_TIME))
        if len(rows) < DRAIN_AT_A_TIME and self._gate is None:
            self._gate = asyncio.Event()
        if not rows:
            if self._appends or (self._writer is not None and not self._writer.done()):
                await asyncio.sleep(0.005)  # those that came before the gate was closed
            else:
                self._spooling = False
            return 0
        try:
            await self.kafka.send([message for _, message in rows])
        except (Undelivered, QueueFull):
            await asyncio.sleep(0.1)
            return 0
        await self._on_disk(partial(spool.remove, rows[-1][0]))
        return len(rows)

    async def _on_disk(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, function)


def _away() -> Refused:
    return Refused("kafka_away", "Kafka does not answer", retry_after=RETRY_AFTER_S)
