"""Reading a compacted partition back: the state that a partition's last owner wrote."""

from collections.abc import Iterator
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

log = structlog.get_logger()

TIMEOUT_S = 90.0
"""Longest wait for the last owner's open transaction to end, beyond the transaction's own limit."""


class StateTopic:
    """Reads the newest values of compacted partitions.

    :param kafka: librdkafka settings to reach the cluster.
    :param group: a group that may be looked for; never joined, partitions are assigned by hand.
    """

    def __init__(self, kafka: dict[str, Any], group: str) -> None:
        self._config = kafka | {
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
        }

    def read(self, topic: str, partition: int) -> Iterator[bytes]:
        """The newest committed value of every key that has one.

        Waits until transactions that are still open in the partition have ended, because the
        offset from which its new owner goes on is only as new as they are.

        :raises KafkaException: when the partition cannot be read to its end.
        """
        consumer = Consumer(self._config)
        try:
            end = consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=TIMEOUT_S
            )[1]
            newest: dict[bytes | None, bytes] = {}
            if end > 0:
                consumer.assign([TopicPartition(topic, partition, 0)])
                self._read_to(consumer, end, newest)
            log.info("state read", topic=topic, partition=partition, entries=len(newest))
            yield from newest.values()
        finally:
            consumer.close()

    def is_untouched(self, topic: str, partition: int) -> bool:
        """Whether nothing was ever written to a partition.

        :raises KafkaException: when the brokers do not answer, or there is no such partition.
        """
        consumer = Consumer(self._config)
        try:
            source = TopicPartition(topic, partition)
            return bool(consumer.get_watermark_offsets(source, timeout=TIMEOUT_S)[1] == 0)
        finally:
            consumer.close()

    def _read_to(self, consumer: Consumer, end: int, newest: dict[bytes | None, bytes]) -> None:
        waited = 0
        while True:
            messages = consumer.consume(5000, 0.2)
            waited = 0 if messages else waited + 1
            if waited * 0.2 > TIMEOUT_S:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "reading the state"))
            for message in messages:
                error = message.error()
                if error is None:
                    key, value = message.key(), message.value()
                    if value is None:
                        newest.pop(key, None)
                    else:
                        newest[key] = value
                elif error.code() == KafkaError._PARTITION_EOF:
                    if message.offset() >= end:
                        return
                else:
                    raise KafkaException(error)
