"""Reading the topics: one consumer for all viewers, which joins no group and commits nothing."""

import contextlib
import time
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from webevents.live.background import Background
from webevents.live.settings import LiveTopics
from webevents.live.state import Message, State

log = structlog.get_logger()

BATCH = 2_000
WAIT_S = 0.1
LOOK_EVERY_S = 5.0
"""How often the feed looks for new topics and partitions."""
CHECK_EVERY_S = 1.0
METADATA_TIMEOUT_S = 5.0
BACKLOG = 50_000
"""Messages of a partition that are read at the start at most."""
TOO_FAR_BEHIND = 50_000
"""Messages that a partition may be behind; then the page goes on with the newest."""
RETRY_S = 2.0

Source = tuple[str, int]


class Feed(Background):
    """Reads the topics into the state, in a thread of its own.

    At the start it goes back by the state's window, so that a page that starts anew shows the same
    figures as the one before.

    :param kafka: librdkafka settings to reach the cluster.
    :param since_ms: how far back each topic is read, in milliseconds; None for all of it.
    """

    def __init__(
        self, kafka: dict[str, Any], pipeline: str, since_ms: dict[str, int | None], state: State
    ) -> None:
        super().__init__("live-feed")
        self._config = kafka | {
            # Never joined: partitions are assigned by hand, and offsets are not committed.
            "group.id": f"{pipeline}-live",
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 16_384,
            "log_level": 0,
        }
        self._since = since_ms
        self._state = state
        self._left: dict[Source, int] = {}
        """Partitions that are read for the first time, and up to where."""
        self._next: dict[Source, int] = {}
        """The offset from which each partition is gone on with."""

    def _run(self) -> None:
        while not self._closed.is_set():
            consumer = Consumer(self._config)
            try:
                self._read(consumer)
            except KafkaException as error:
                log.warning("the feed begins anew", error=error.args[0].str())
                self._closed.wait(RETRY_S)
            finally:
                consumer.close()

    def _read(self, consumer: Consumer) -> None:
        assigned: set[Source] = set()
        next_look = next_check = 0.0
        while not self._closed.is_set():
            now = time.monotonic()
            if now >= next_look:
                assigned |= self._look(consumer, assigned)
                next_look = now + (LOOK_EVERY_S if assigned else WAIT_S)
            if not assigned:
                self._closed.wait(WAIT_S)
                continue
            self._take(consumer.consume(BATCH, WAIT_S))
            if now >= next_check:
                self._keep_up(consumer, assigned)
                next_check = now + CHECK_EVERY_S

    def _look(self, consumer: Consumer, assigned: set[Source]) -> set[Source]:
        """Take over partitions that are new; those."""
        try:
            known = consumer.list_topics(timeout=METADATA_TIMEOUT_S).topics
        except KafkaException as error:
            log.info("brokers not reached", error=error.args[0].str())
            return set()
        found = {
            (topic, number)
            for topic in self._since
            if topic in known and known[topic].error is None
            for number in known[topic].partitions
        }
        new = found - assigned
        starts = [self._start(consumer, source) for source in new]
        if starts:
            consumer.incremental_assign(starts)
        return new

    def _start(self, consumer: Consumer, source: Source) -> TopicPartition:
        """Where to begin with a partition, or to go on after a client that failed."""
        topic, number = source
        if source in self._next:
            return TopicPartition(topic, number, self._next[source])
        low, high = consumer.get_watermark_offsets(
            TopicPartition(topic, number), timeout=METADATA_TIMEOUT_S
        )
        back = self._since[topic]
        offset = low
        if back is not None:
            wanted = TopicPartition(topic, number, time.time_ns() // 1_000_000 - back)
            [at] = consumer.offsets_for_times([wanted], METADATA_TIMEOUT_S)
            offset = at.offset if at.offset >= 0 else high
        offset = max(offset, high - BACKLOG)
        if offset < high:
            self._left[source] = high
        self._next[source] = offset
        return TopicPartition(topic, number, offset)

    def _take(self, batch: list[Any]) -> None:
        old: list[Message] = []
        new: list[Message] = []
        for message in batch:
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF or error.retriable():
                    continue
                if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                    continue  # the client connects again by itself
                raise KafkaException(error)
            source = (message.topic(), message.partition())
            self._next[source] = message.offset() + 1
            taken = Message(*source, message.offset(), message.timestamp()[1], message.value())
            end = self._left.get(source)
            if end is None:
                new.append(taken)
                continue
            if taken.offset < end:
                old.append(taken)
            else:
                new.append(taken)
            if taken.offset >= end - 1:
                del self._left[source]
        if old:
            self._state.take(old, caught_up=False)
        if new:
            self._state.take(new, caught_up=True)

    def _keep_up(self, consumer: Consumer, assigned: set[Source]) -> None:
        """Leave out what is too far behind: what is shown must be what happens now."""
        for source in assigned - self._left.keys():
            _, high = consumer.get_watermark_offsets(TopicPartition(*source), cached=True)
            behind = high - self._next[source]
            if behind > TOO_FAR_BEHIND:
                # It fails while the partition's first fetch is under way: the next check will do.
                with contextlib.suppress(KafkaException):
                    consumer.seek(TopicPartition(*source, high))
                    self._next[source] = high
                    self._state.skip(source[0], behind)


def backlog(topics: LiveTopics, window_ms: int, session_ms: int) -> dict[str, int | None]:
    """How far back each topic is read at the start.

    :param window_ms: the window of most figures.
    :param session_ms: how long a session can stay open without a record.
    """
    since: dict[str, int | None] = dict.fromkeys(
        (topics.raw, topics.enriched, topics.failed), window_ms
    )
    if topics.sessions:
        since[topics.sessions] = session_ms
    if topics.alerts:
        since[topics.alerts] = None  # an alert may be open for long, and there are few
    return since
