"""Looking at a running pipeline through Kafka alone: offsets, lag and the ledgers beside them."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from webevents.events.ledger import Counts, PartitionLedger

TIMEOUT_S = 10.0
COMMITTED_TIMEOUT_S = 2.0
"""A coordinator that just starts never answers the first request; the next one is answered."""

STALL_S = 60.0
"""A topic is not read to its end while a transaction is open in it; none is open for longer."""

_SETTLING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
"""A topic that was just made, or whose leader changes: asking again helps."""

Partition = tuple[str, int]


@dataclass(slots=True)
class GroupView:
    """One consumer group: where it stands and what its ledgers say."""

    group: str
    ledgers: dict[Partition, PartitionLedger] = field(default_factory=dict)
    lags: dict[Partition, int] = field(default_factory=dict)
    moving: set[Partition] = field(default_factory=set)
    """Partitions that were written to while they were looked at: what their writer counts may be
    from before, and what this group counts from after."""

    @property
    def lag(self) -> int:
        """Messages that are not yet processed and committed."""
        return sum(self.lags.values())

    def counts(self, topic: str | None = None) -> Counts:
        """The counts of all partitions, or of one topic's."""
        total = Counts()
        for (name, _), ledger in self.ledgers.items():
            if topic in (None, name):
                total.add(ledger.counts)
        return total

    @property
    def emitted(self) -> int:
        """Records written to the stage's output topic."""
        return sum(ledger.emitted for ledger in self.ledgers.values())


class Observer:
    """Reads offsets and ledgers; never joins a group.

    :param kafka: librdkafka settings to reach the cluster.
    """

    def __init__(self, kafka: dict[str, Any]) -> None:
        # Whoever looks tells what failed; the client's own lines about it would only disturb.
        self._kafka = kafka | {"log_level": 0}
        self._admin = AdminClient(self._kafka)
        self._consumers: dict[str, Consumer] = {}

    def offsets(
        self, topics: Iterable[str], *, first: bool = False, since_ms: int | None = None
    ) -> dict[Partition, int]:
        """The end (or the first) offset of each partition of the topics; absent ones left out.

        :param since_ms: instead, that of the first message since then (milliseconds since the
            epoch), or the end where there is none.
        :raises KafkaException: when the brokers do not answer in time.
        """
        with self._renewing():
            return self._offsets(topics, first=first, since_ms=since_ms)

    @contextmanager
    def _renewing(self) -> Iterator[None]:
        """After an error, ask by new clients the next time: one whose broker had stood still was
        seen to get no answer any more, for half an hour, while others did."""
        try:
            yield
        except KafkaException:
            self.close()
            self._admin = AdminClient(self._kafka)
            raise

    def _offsets(
        self, topics: Iterable[str], *, first: bool = False, since_ms: int | None = None
    ) -> dict[Partition, int]:
        known = self._admin.list_topics(timeout=TIMEOUT_S).topics
        partitions = [
            TopicPartition(topic, number)
            for topic in topics
            if topic in known
            for number in known[topic].partitions
        ]
        if not partitions:
            return {}
        ends: dict[Partition, int] = {}
        spec = OffsetSpec.earliest() if first else OffsetSpec.latest()
        if since_ms is not None:
            ends = self._offsets(topics)
            spec = OffsetSpec.for_timestamp(since_ms)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            wanted = dict.fromkeys(partitions, spec)
            asked = self._admin.list_offsets(wanted, request_timeout=TIMEOUT_S)
            try:
                found = {
                    (partition.topic, partition.partition): future.result().offset
                    for partition, future in asked.items()
                }
                if since_ms is None and min(found.values()) < 0:
                    raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
                return {each: ends[each] if at < 0 else at for each, at in found.items()}
            except KafkaException as error:
                if error.args[0].code() not in _SETTLING or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def groups(self, groups: Mapping[str, Iterable[str]]) -> dict[str, GroupView]:
        """Look at consumer groups.

        :param groups: the topics that each group reads.
        :raises KafkaException: when the brokers do not answer in time.
        """
        with self._renewing():
            return self._groups(groups)

    def _groups(self, groups: Mapping[str, Iterable[str]]) -> dict[str, GroupView]:
        topics = sorted({topic for names in groups.values() for topic in names})
        ends, starts = self._offsets(topics), self._offsets(topics, first=True)
        views = {}
        for group, names in groups.items():
            view = views[group] = GroupView(group)
            sources = [source for source in ends if source[0] in names]
            committed = self._committed(group, sources) if sources else {}
            for source in sources:
                end = ends[source]
                offset, metadata = committed.get(source, (-1, ""))
                start = starts.get(source, 0)
                if offset >= 0:
                    view.ledgers[source] = PartitionLedger.decode(metadata, offset)
                view.lags[source] = max(end - max(offset, start), 0)
        later = self._offsets(topics)
        for view in views.values():
            view.moving = {source for source in view.lags if later.get(source) != ends[source]}
        return views

    def _committed(
        self, group: str, partitions: Iterable[Partition]
    ) -> dict[Partition, tuple[int, str]]:
        """Committed offsets with their metadata, by a consumer that never joins the group.

        Not by the admin client: librdkafka's ListConsumerGroupOffsets crashes the process (a null
        pointer in rd_kafka_cgrp_op) when the group's coordinator is still loading.
        """
        consumer = self._consumers.get(group)
        if consumer is None:
            consumer = self._consumers[group] = Consumer(
                self._kafka
                | {"group.id": group, "enable.auto.commit": False}
                # read_committed would wait for transactions that are under way.
                | {"isolation.level": "read_uncommitted"}
            )
        wanted = [TopicPartition(*source) for source in partitions]
        return {
            (p.topic, p.partition): (p.offset, p.metadata or "")
            for p in consumer.committed(wanted, COMMITTED_TIMEOUT_S)
        }

    def close(self) -> None:
        """Let go of the connections."""
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()

    def messages(self, topic: str, *, since_ms: int | None = None) -> Iterator[Any]:
        """Read a topic from its first message to its present end.

        :param since_ms: leave out what came before, in milliseconds since the epoch.
        :raises KafkaException: when it cannot be read to the end.
        """
        ends = {source: end for source, end in self.offsets([topic]).items() if end > 0}
        if not ends:
            return
        consumer = Consumer(
            self._kafka
            | {
                "group.id": "webevents-observer",  # never joined: partitions are assigned by hand
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        try:
            starts = [TopicPartition(name, number, since_ms or 0) for name, number in ends]
            if since_ms is not None:
                # The end where nothing is so new: then the partition is read to its end at once.
                starts = consumer.offsets_for_times(starts, TIMEOUT_S)
            consumer.assign(starts)
            last = time.monotonic()
            while ends:
                batch = consumer.consume(1000, 0.1)
                if batch:
                    last = time.monotonic()
                elif time.monotonic() - last > STALL_S:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"reading {topic}"))
                for message in batch:
                    source = (message.topic(), message.partition())
                    error = message.error()
                    if error is None:
                        yield message
                    elif error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    # An end before the known one stands before an open transaction: wait for it.
                    if error is not None and message.offset() >= ends.get(source, 0):
                        ends.pop(source, None)
        finally:
            consumer.close()
