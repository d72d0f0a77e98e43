"""Sending failed events through the pipeline again, once each, as they are or mended.

What was sent is remembered in a compacted topic beside the failed events, by the same transaction
that sends it: a replay that is stopped, killed or started again sends nothing twice.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from webevents.connectors.kafka import Topic, ensure_topics
from webevents.connectors.kafka_observe import Observer
from webevents.errors import UserError
from webevents.events.failed import FailedEvent, decode_failed
from webevents.spec.pipeline import WebEventPipeline
from webevents.stages.task import MAX_MESSAGE_BYTES

BATCH = 500
"""Events of one transaction."""
TIMEOUT_S = 30.0
EXAMPLES = 5

Repair = Callable[[Any], Any]
"""Takes an event (a dict; bytes where the message is no JSON object) and returns it mended; None to
leave it out."""


@dataclass(slots=True)
class Replayed:
    """What a replay did, or would do."""

    sent: int = 0
    """Events that went back into the topic that they had come from."""
    sent_before: int = 0
    """Left out: an earlier replay has sent them."""
    left_out: int = 0
    """Left out by the repair."""
    lost: int = 0
    """Cannot be sent: only their beginning was kept, and Kafka no longer has the message."""
    examples: list[tuple[str, bytes]] = field(default_factory=list)
    """Of the first events that are sent: where they failed, and what is sent."""

    def report(self) -> dict[str, int]:
        """The counts under their public names."""
        return {
            "sent": self.sent,
            "sentBefore": self.sent_before,
            "leftOut": self.left_out,
            "lost": self.lost,
        }


def replay_failed(
    pipeline: WebEventPipeline,
    kafka: dict[str, Any],
    wanted: Callable[[FailedEvent], bool],
    repair: Repair | None = None,
    *,
    dry_run: bool = False,
    again: bool = False,
) -> Replayed:
    """Send failed events again, each to the topic and with the key that it had.

    :param kafka: librdkafka settings to reach the cluster.
    :param wanted: which failed events.
    :param repair: what to do to each; None sends them as they were.
    :param dry_run: send nothing, and tell what would be sent.
    :param again: also those that an earlier replay has sent.
    :raises KafkaException: when the brokers do not do what they are asked.
    :raises UserError: when a repair fails, or another replay of the pipeline takes over.
    """
    return _Replay(pipeline, kafka, repair, dry_run=dry_run).run(wanted, again=again)


class _Replay:
    def __init__(
        self,
        pipeline: WebEventPipeline,
        kafka: dict[str, Any],
        repair: Repair | None,
        *,
        dry_run: bool,
    ) -> None:
        self._kafka = kafka
        self._repair = repair
        self._dry_run = dry_run
        self._failed = pipeline.spec.topics.failed.name
        self._done_topic = f"{self._failed}-replayed"
        self._transactional_id = f"{pipeline.name}-failed-replay"
        self._copies = pipeline.spec.kafka.replication_factor
        self._observer = Observer(kafka)
        self._outcome = Replayed()

    def run(self, wanted: Callable[[FailedEvent], bool], *, again: bool) -> Replayed:
        try:
            done = set() if again else self._done()
            chosen = self._chosen(wanted, done)
            if self._dry_run:
                for record in chosen:
                    self._make(record)
                return self._outcome
            config = {"cleanup.policy": "compact"}
            topic = Topic(self._done_topic, 1, config, self._copies)
            ensure_topics(AdminClient(self._kafka | {"log_level": 0}), [topic])
            self._send(chosen)
            return self._outcome
        finally:
            self._observer.close()

    def _done(self) -> set[bytes]:
        """Names of the failed events that were sent."""
        messages = self._observer.messages(self._done_topic)
        return {message.key() for message in messages if message.key()}

    def _chosen(
        self, wanted: Callable[[FailedEvent], bool], done: set[bytes]
    ) -> Iterator[tuple[bytes, FailedEvent]]:
        for message in self._observer.messages(self._failed):
            record = decode_failed(message.value())
            if not wanted(record):
                continue
            name = f"{message.partition()}@{message.offset()}".encode()
            if name in done:
                self._outcome.sent_before += 1
            else:
                yield name, record

    def _make(self, chosen: tuple[bytes, FailedEvent]) -> bytes | None:
        """What is to be sent of a failed event; None for nothing."""
        _, record = chosen
        original = self._original(record) if record.truncated else record.original()
        if original is None:
            self._outcome.lost += 1
            return None
        value = original if self._repair is None else _mended(self._repair, original, record)
        if value is None:
            self._outcome.left_out += 1
            return None
        self._outcome.sent += 1
        if len(self._outcome.examples) < EXAMPLES:
            self._outcome.examples.append((_place(record), value))
        return value

    def _original(self, record: FailedEvent) -> bytes | None:
        """The whole message, where its topic still has it."""
        consumer = Consumer(
            self._kafka
            | {"group.id": "webevents-observer", "enable.auto.commit": False, "log_level": 0}
            | {"auto.offset.reset": "error"}
        )
        try:
            place = TopicPartition(record.topic, record.partition, record.offset)
            consumer.assign([place])
            message = consumer.poll(TIMEOUT_S)
            if message is None or message.error() or message.offset() != record.offset:
                return None
            return bytes(message.value() or b"")
        finally:
            consumer.close()

    def _send(self, chosen: Iterator[tuple[bytes, FailedEvent]]) -> None:
        producer = Producer(
            self._kafka
            | {
                "transactional.id": self._transactional_id,
                "log_level": 0,
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
            }
        )
        try:
            producer.init_transactions(TIMEOUT_S)
            while batch := list(islice(chosen, BATCH)):
                producer.begin_transaction()
                for name, record in batch:
                    value = self._make((name, record))
                    if value is not None:
                        producer.produce(record.topic, value, record.key)
                        producer.produce(self._done_topic, _place(record), name)
                        producer.poll(0)
                producer.commit_transaction(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED):
                raise UserError(
                    "another replay of this pipeline has begun and goes on; nothing is sent twice"
                ) from None
            raise
        finally:
            # A transaction that is not committed leaves nothing behind.
            producer.purge()


def _place(record: FailedEvent) -> str:
    return f"{record.topic}/{record.partition}@{record.offset}"


def _mended(repair: Repair, original: bytes, record: FailedEvent) -> bytes | None:
    try:
        event = json.loads(original)
    except (ValueError, RecursionError):
        event = None
    try:
        made = repair(event if isinstance(event, dict) else original)
        if made is None or isinstance(made, bytes):
            return made
        return msgspec.json.encode(made)
    except Exception as error:
        raise UserError(
            f"the repair failed at {_place(record)}: {type(error).__name__}: {error}"
        ) from error
