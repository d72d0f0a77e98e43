"""Where sources put events: Kafka, a file or standard output."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from confluent_kafka import KafkaException, Producer

from webevents.errors import UserError

POLL_EVERY = 128
"""Messages between two looks at delivery reports; Python is entered once for all of them."""
POLL_SECONDS = 0.1
"""The longest time between two looks, for slow sources."""
BUFFER_WAIT_S = 0.05

PRODUCER_DEFAULTS: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    "linger.ms": 20,
    # The Java clients' partitioner: a key is in the same partition whoever wrote it.
    "partitioner": "murmur2_random",
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 262_144,
}
"""librdkafka settings of :class:`KafkaOutput` unless the caller's config says otherwise."""


class DeliveryError(UserError):
    """A message could not be delivered; nothing after it is sent."""


class Output(Protocol):
    """A destination of messages."""

    @property
    def count(self) -> int:
        """Messages that the destination has acknowledged."""

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        """Hand over one message; it counts once it is acknowledged.

        :param key: decides the partition; None spreads messages evenly.
        :param timestamp_ms: the record's time in milliseconds since the epoch; None for now.
        :raises DeliveryError: when this or an earlier message cannot be delivered.
        """

    def flush(self, timeout_s: float) -> None:
        """Wait until everything sent is acknowledged.

        :raises DeliveryError: when a message failed or is not acknowledged in time.
        """

    def close(self) -> None:
        """Flush and release the destination; calling it again does nothing."""


class FileOutput:
    """Writes one value a line (NDJSON); keys and times are left out.

    Bytes are written as they are, also invalid ones, but a line break within a value becomes a
    space, so that a line stays a message.

    :param target: a path, which is overwritten, or an open binary stream, which is left open.
    :raises UserError: when the file cannot be made.
    """

    def __init__(self, target: str | Path | BinaryIO) -> None:
        self._count = 0
        self._pending = 0
        self._owned = isinstance(target, str | Path)
        self._name = str(target) if isinstance(target, str | Path) else "the stream"
        self._closed = False
        try:
            self._file: Any = (
                Path(target).open("wb", buffering=1 << 20)  # noqa: SIM115 - closed in close()
                if isinstance(target, str | Path)
                else target
            )
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror}") from None

    @property
    def count(self) -> int:
        """Messages that the operating system has taken."""
        return self._count

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        """Write one line; see :meth:`Output.send`."""
        if b"\n" in value or b"\r" in value:
            value = value.replace(b"\r", b" ").replace(b"\n", b" ")
        try:
            self._file.write(value + b"\n")
        except BrokenPipeError:
            raise  # the reader of a pipe, such as head, has seen enough
        except OSError as error:
            raise self._failed(error) from error
        self._pending += 1

    def flush(self, timeout_s: float = 0.0) -> None:
        """Hand what is buffered to the operating system."""
        try:
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failed(error) from error
        self._count += self._pending
        self._pending = 0

    def close(self) -> None:
        """Flush, and close the file if it was opened here."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
        finally:
            if self._owned:
                self._file.close()

    def _failed(self, error: OSError) -> DeliveryError:
        return DeliveryError(f"cannot write to {self._name}: {error.strerror or error}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StdoutOutput(FileOutput):
    """Writes one value a line to standard output, and at once when a person is looking."""

    def __init__(self) -> None:
        super().__init__(sys.stdout.buffer)
        self._name = "standard output"
        self._live = sys.stdout.isatty()

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        """Write one line; see :meth:`Output.send`."""
        super().send(key, value, timestamp_ms)
        if self._live:
            self.flush()


class KafkaOutput:
    """Produces to a Kafka topic, idempotently; the first undelivered message ends it.

    Messages are delivered at least once and in order within their partition. A source that
    starts again after an error may send again what it had sent: events carry their ``event_id``.

    :param config: librdkafka settings to reach and log in to the cluster, such as
        :func:`webevents.connectors.kafka.client_config` gives; they win over
        :data:`PRODUCER_DEFAULTS`.
    :param topic: the topic, which exists.
    :param producer: makes the producer from its settings; for tests.
    """

    def __init__(
        self,
        config: dict[str, Any],
        topic: str,
        *,
        producer: Callable[[dict[str, Any]], Any] = Producer,
    ) -> None:
        self._topic = topic
        self._count = 0
        self._error: str | None = None
        self._closed = False
        self._unpolled = 0
        self._polled_at = time.monotonic()
        try:
            self._producer = producer(PRODUCER_DEFAULTS | config)
        except KafkaException as error:
            raise UserError(f"cannot use these Kafka settings: {_text(error.args[0])}") from None

    @property
    def count(self) -> int:
        """Messages that the brokers have acknowledged."""
        return self._count

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        """Queue one message; see :meth:`Output.send`."""
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value,
                    key,
                    on_delivery=self._delivered,
                    timestamp=timestamp_ms or 0,
                )
                break
            except BufferError:
                self._poll(BUFFER_WAIT_S)
            except KafkaException as error:
                raise self._failed(_text(error.args[0])) from None
        self._unpolled += 1
        if self._unpolled >= POLL_EVERY or time.monotonic() - self._polled_at > POLL_SECONDS:
            self._poll(0)

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until the brokers have acknowledged everything; see :meth:`Output.flush`."""
        deadline = time.monotonic() + timeout_s
        # In short waits, so that the first failure ends it.
        while left := self._producer.flush(max(0.0, min(0.5, deadline - time.monotonic()))):
            self._raise()
            if time.monotonic() >= deadline:
                raise self._failed(f"{left} messages were not acknowledged in {timeout_s:g} s")
        self._raise()

    def close(self) -> None:
        """Flush and leave; after an error what is still queued is given up."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._error is None:
                self.flush()
        finally:
            self._producer.purge()  # nothing is left unless something failed
            self._producer.close()

    def _poll(self, timeout_s: float) -> None:
        self._producer.poll(timeout_s)
        self._unpolled = 0
        self._polled_at = time.monotonic()
        self._raise()

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is None:
            self._count += 1
        elif self._error is None:
            self._error = _text(error)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._failed(self._error)

    def _failed(self, reason: str) -> DeliveryError:
        self._error = reason
        return DeliveryError(f"cannot deliver to topic {self._topic}: {reason}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _text(error: Any) -> str:
    """The text of a Kafka error."""
    return str(error.str()) if hasattr(error, "str") else str(error)
