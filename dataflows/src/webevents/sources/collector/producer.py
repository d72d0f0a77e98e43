"""Kafka as the collector sees it: messages go out together, and a request waits for all of its own.

librdkafka batches across requests. Its delivery reports come in a thread, which hands them over to
the event loop once a round, not once a message.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from webevents.errors import UserError
from webevents.sources.collector.spool import Message
from webevents.sources.output import PRODUCER_DEFAULTS

log = structlog.get_logger()

POLL_S = 0.2
PROBE_S = 5.0
"""How often the brokers are asked whether they are there, while they are."""
PROBE_AWAY_S = 0.5
"""How often they are asked while they are not."""
PROBE_TIMEOUT_S = 5.0
LINGER_MS = 5


class Undelivered(Exception):
    """Kafka has not acknowledged a message; it may have it or not."""


class QueueFull(Exception):
    """Too much waits for Kafka already; nothing was sent."""


class _Waiting:
    """The messages of one request until all are acknowledged."""

    __slots__ = ("done", "error", "future", "left", "size")

    def __init__(
        self, count: int, size: int, future: asyncio.Future[None], done: "deque[_Waiting]"
    ) -> None:
        self.left = count
        self.size = size
        self.future = future
        self.done = done
        self.error: str | None = None

    def delivered(self, error: KafkaError | None, _message: object) -> None:
        """Count a delivery report; called in the thread that polls, and only there."""
        if error is not None:
            self.error = error.str()
        self.left -= 1
        if not self.left:
            self.done.append(self)


class KafkaProducer:
    """Produces idempotently with acks=all; for the event loop that is running.

    :param config: librdkafka settings to reach the cluster.
    :param topic: a topic whose metadata tell whether the brokers are there.
    :param timeout_s: how long a message may wait for its acknowledgement.
    :param max_bytes: bytes that may wait.
    :param max_message_bytes: the largest message.
    :param on_change: called with whether the brokers are there, when that changes.
    :raises UserError: when the settings cannot be used.
    """

    def __init__(
        self,
        config: dict[str, Any],
        topic: str,
        *,
        timeout_s: float,
        max_bytes: int,
        max_message_bytes: int,
        on_change: Callable[[bool], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._topic = topic
        self._max_bytes = max_bytes
        self._on_change = on_change
        self._done: deque[_Waiting] = deque()
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self.up: bool | None = None
        """Whether the brokers are there; None until that is known."""
        self.fatal: str | None = None
        self.in_flight = 0
        self.in_flight_bytes = 0
        self._idle = asyncio.Event()
        self._idle.set()
        timeout_ms = round(timeout_s * 1000)
        settings = PRODUCER_DEFAULTS | {
            "linger.ms": LINGER_MS,
            "message.timeout.ms": timeout_ms,
            "request.timeout.ms": timeout_ms,
            "message.max.bytes": max_message_bytes,
            # Our own bound holds first: a request is taken whole or not at all.
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 2 * max_bytes // 1024 + 2 * max_message_bytes // 1024,
            "error_cb": self._on_error,
        }
        try:
            self._producer = Producer(settings | config)
        except KafkaException as error:
            raise UserError(f"cannot use these Kafka settings: {error.args[0].str()}") from None
        self._threads = [
            threading.Thread(target=self._poll, name="kafka-reports", daemon=True),
            threading.Thread(target=self._probe, name="kafka-probe", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    async def send(self, messages: Sequence[Message]) -> None:
        """Send messages and wait until all are acknowledged.

        :raises QueueFull: when too much waits; nothing was sent.
        :raises Undelivered: when one was not acknowledged in time.
        """
        size = sum(len(message.value) for message in messages)
        if self.in_flight_bytes and self.in_flight_bytes + size > self._max_bytes:
            raise QueueFull
        waiting = _Waiting(len(messages), size, self._loop.create_future(), self._done)
        produce, delivered = self._producer.produce, waiting.delivered
        try:
            for topic, key, value, timestamp_ms in messages:
                produce(topic, value, key, on_delivery=delivered, timestamp=timestamp_ms)
        except BufferError:
            raise QueueFull from None  # what was sent before is sent again with the same ids
        except KafkaException as error:
            self._change(False, error.args[0].str())
            raise Undelivered(error.args[0].str()) from None
        self.in_flight += 1
        self.in_flight_bytes += size
        self._idle.clear()
        await waiting.future

    async def idle(self) -> None:
        """Wait until nothing waits for an acknowledgement any more."""
        await self._idle.wait()

    def give_up(self) -> None:
        """Have everything that waits end as undelivered, soon."""
        self._producer.purge()

    async def close(self) -> None:
        """Release the producer; what still waits is given up."""
        self._stopped.set()
        self._wake.set()
        self.give_up()
        for thread in self._threads:
            await asyncio.to_thread(thread.join, 2 * POLL_S)
        # A probe that still waits for brokers that are away goes with the process.
        if not any(thread.is_alive() for thread in self._threads):
            self._producer.close()

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self._producer.poll(POLL_S)
            if self._done:
                self._call(self._settle)

    def _settle(self) -> None:
        """Let the requests go whose messages are acknowledged, or are not."""
        failed = None
        while self._done:
            waiting = self._done.popleft()
            self.in_flight -= 1
            self.in_flight_bytes -= waiting.size
            failed = failed or waiting.error
            if waiting.future.done():
                continue  # nobody waits any more
            if waiting.error is None:
                waiting.future.set_result(None)
            else:
                waiting.future.set_exception(Undelivered(waiting.error))
        if not self.in_flight:
            self._idle.set()
        if failed is not None:
            self._change(False, failed)

    def _probe(self) -> None:
        """Ask for metadata, now and then: also so that an idle collector knows."""
        while not self._stopped.is_set():
            try:
                found = self._producer.list_topics(self._topic, timeout=PROBE_TIMEOUT_S)
                error = found.topics[self._topic].error
                problem = error.str() if error is not None else None
            except KafkaException as failure:
                problem = failure.args[0].str()
            if self._stopped.is_set():
                return
            self._call(self._change, problem is None, problem)
            self._wake.wait(PROBE_S if problem is None else PROBE_AWAY_S)
            self._wake.clear()

    def _change(self, up: bool, why: str | None) -> None:
        if up == self.up:
            return
        self.up = up
        if up:
            log.info("Kafka is there", topic=self._topic)
        else:
            log.error("Kafka is away", problem=why)
            # What waits behind the message that failed would fail too, only later.
            self.give_up()
            self._wake.set()
        self._on_change(up)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.fatal = error.str()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)
