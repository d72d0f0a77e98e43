"""Reading, committing and rebalancing: a stage as one consumer and one transactional producer.

The loop that every stage shares. Results, failed events and offsets (with the ledger in their
metadata) are one Kafka transaction, so between topics each event counts exactly once. Work at
another system is settled in the order of the offsets before these are committed, so there it counts
at least once, and the destination's own means (ids, versions) make that once.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from webevents.events.ledger import PartitionLedger
from webevents.stages.bounded import Hung, bounded, ending_after
from webevents.stages.chunk import Chunk, Outcome, Processor, Record
from webevents.stages.observer import Look, TaskObserver
from webevents.stages.waits import WaitClock
from webevents.stop import Stop

log = structlog.get_logger()

IDLE_WAIT_S = 0.1
"""How long a read waits for messages; also bounds how late a commit or a stop is noticed."""
PAUSE_AFTER_S = 2.0
"""How long reading may stand still before the consumer is told to pause; shorter stalls only wait,
because a pause throws away what was fetched ahead."""
REVOKE_WAIT_S = 20.0
"""How long work under way may take to settle before a partition is given up without it."""
LOOK_EVERY_S = 2.0
"""How often the observer is told how the task stands."""
ASK_EVERY_S = 10.0
"""How often a paused task asks the brokers for the ends of its partitions."""
ASK_TIMEOUT_S = 1.0
TRANSACTION_TIMEOUT_S = 30
CALL_TIMEOUT_S = 10.0
"""How long one attempt to commit may take."""
HANG_S = 15.0
"""When an attempt is taken to hang: librdkafka 2.16 may wait for a group coordinator without regard
to the timeout (its issues 5456 and 5511)."""
LEAVE_S = 5.0
"""How long a group's rebalance may go on before its consumer is closed nevertheless."""
LAST_COMMIT_S = 15.0
"""How long a stop waits for partitions and brokers, where the last commit publishes; with one more
attempt (:data:`CALL_TIMEOUT_S`) this is within the 30 s that runtimes give a process to end."""
DOUBT_S = 5.0
"""How long a start far behind the end is doubted before the first commit: for a moment after it has
started, a broker may tell offsets from the middle of what it is still loading. Seen with Kafka 4.4
that was killed on a busy machine: half of what was committed, and none of it; right 5 s later."""
DOUBT_LAG = 1_000
"""Messages of a partition."""
MAX_MESSAGE_BYTES = 10_485_760
"""The topics' own limit (see the plan): an event of spec.events.maxBytes with what enriching adds,
or a session with all its lists full."""
MAX_VALUE_BYTES = MAX_MESSAGE_BYTES - 65_536
"""The largest value that surely fits beside its key and what Kafka adds."""


class TaskLost(Exception):
    """The task must start anew from what is committed; nothing is lost by it."""


class TaskHung(TaskLost):
    """A call into the client library does not return: only the process's end gets rid of it."""


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """How a stage reads and commits."""

    stage: str
    group: str
    """Consumer group and, with the instance, transactional id."""
    instance: str
    """Tells this worker from the others of its group; the same after a restart."""
    topics: Sequence[str]
    commit_interval_s: float
    chunk_size: int
    max_pending: int = 10_000
    """Messages that may be under way at the destination."""
    publishes_at_stop: bool = False
    """Whether readers miss something until the last commit before a stop has succeeded."""


Rebalanced = Callable[[Consumer, list[TopicPartition]], None]


class StreamTask:
    """One worker of a stage; all calls come from one thread.

    :param kafka: librdkafka settings to reach the cluster.
    :param stop: asked often; once set, the task commits what it has and ends.
    :param observer: told what happens, for metrics.
    """

    def __init__(
        self,
        settings: TaskSettings,
        processor: Processor,
        kafka: dict[str, Any],
        stop: Stop,
        observer: TaskObserver | None = None,
    ) -> None:
        self._settings = settings
        self._observer = observer or TaskObserver()
        self._next_look = 0.0 if observer else float("inf")
        self._asked = 0.0
        self._processor = processor
        self._stop = stop
        self._in_flow = 0
        self._unsettled: deque[tuple[Chunk, Outcome]] = deque()
        self._ledgers: dict[tuple[str, int], PartitionLedger] = {}
        self._waits: dict[tuple[str, int], WaitClock] = {}
        self._positions: dict[tuple[str, int], int] = {}
        self._started: dict[tuple[str, int], int] = {}
        """What was told to be committed of new partitions, until it is told once more."""
        self._doubted_since = 0.0
        self._touched: set[tuple[str, int]] = set()
        self._ended: list[tuple[str, int]] = []
        self._in_transaction = False
        self._last_commit = time.monotonic()
        self._stalled_since: float | None = None
        self._paused = False
        self._closed = False
        self._hung = False
        self._joined = False
        self._raised: Exception | None = None
        """What a rebalance came to; told by the next read."""
        self.failure: Exception | None = None
        """Why the dataflow ended before it was told to."""
        self._producer = Producer(producer_config(settings, kafka))
        self._producer.init_transactions(self._patience())
        self._consumer = Consumer(consumer_config(settings, kafka))
        self._consumer.subscribe(
            list(settings.topics),
            on_assign=self._kept(self._on_assign),
            on_revoke=self._kept(self._on_revoke),
            on_lost=self._kept(self._on_lost),
        )

    # What the dataflow calls.

    def read(self) -> list[Chunk]:
        """Settle, commit where it is time, and read the next chunks.

        :raises StopIteration: when the task was told to stop and has committed.
        :raises TaskLost: when another worker owns the partitions, or a transaction failed.
        """
        if self._in_flow:
            return []
        self._settle()
        self._tell_ends()
        if self._stop() and self._finish():
            raise StopIteration
        now = time.monotonic()
        if now - self._last_commit >= self._settings.commit_interval_s:
            self._commit()
        self._observer.alive()
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY_S
            self._observer.looked(Look(self._ends(now), self._processor.status()))
        chunks = self._poll()
        self._in_flow = len(chunks)
        return chunks

    def take(self, chunk: Chunk, outcome: Outcome) -> None:
        """Take a processed chunk: write its records, or keep it until its destination answers."""
        self._in_flow -= 1
        if outcome.pending is None:
            self._account(chunk, outcome)
        else:
            self._unsettled.append((chunk, outcome))

    def close(self) -> None:
        """Leave the group and let go of everything; what is not committed is not kept."""
        # From here on nothing may be committed: the ledgers count what an abort takes back.
        self._closed = True
        self._processor.close()
        if self._in_transaction and not self._hung:
            self._in_transaction = False
            try:
                self._producer.abort_transaction(5)
            except KafkaException as error:
                log.warning("abort failed", error=error.args[0].str())
        with ending_after(HANG_S):
            self._leave()
        # Ended here and now: the cycle that the callbacks make is collected late, and until then it
        # would live on beside its successor, with the same name and an open transaction.
        del self._producer

    def _leave(self) -> None:
        """Close the consumer, once no rebalance is under way: one that the close overtakes may wait
        for ever for an answer of what has ended already (librdkafka's issue 4041)."""
        began = time.monotonic()
        with suppress(KafkaException, RuntimeError):
            if self.failure is not None:
                self._consumer.unsubscribe()
                self._consumer.consume(self._settings.chunk_size, IDLE_WAIT_S)
                while self._consumer.assignment() and time.monotonic() - began < LEAVE_S:
                    self._consumer.consume(self._settings.chunk_size, IDLE_WAIT_S)
        self._consumer.close()

    # Reading.

    def _poll(self) -> list[Chunk]:
        under_way = sum(len(chunk.offsets) for chunk, _ in self._unsettled)
        full = under_way >= self._settings.max_pending
        if full and not self._stalled():
            time.sleep(0.005)
            return []
        if not full and self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False
        if not full:
            self._stalled_since = None
        wait = 0.01 if self._unsettled else min(IDLE_WAIT_S, self._settings.commit_interval_s)
        try:
            messages = self._consumer.consume(self._settings.chunk_size, wait)
        except KafkaException as error:
            raise TaskLost(error.args[0].str()) from error
        if self._raised is not None:
            raise self._raised
        return self._chunks(messages)

    def _stalled(self) -> bool:
        """Whether the destination has kept us waiting so long that the consumer must pause."""
        now = time.monotonic()
        if self._stalled_since is None:
            self._stalled_since = now
        if now - self._stalled_since < PAUSE_AFTER_S:
            return False
        if not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True
        return True

    def _chunks(self, messages: list[Message]) -> list[Chunk]:
        by_partition: dict[tuple[str, int], list[Message]] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_error(message, error)
                continue
            source = (message.topic(), message.partition())
            batch = by_partition.get(source)
            if batch is None:
                by_partition[source] = [message]
            else:
                batch.append(message)
        chunks = []
        now = time.monotonic()
        for (topic, partition), batch in by_partition.items():
            chunks.append(
                Chunk(
                    topic,
                    partition,
                    [message.offset() for message in batch],
                    [message.key() for message in batch],
                    [message.value() for message in batch],
                    [message.timestamp()[1] for message in batch],
                    now,
                )
            )
        return chunks

    def _on_error(self, message: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            # Behind the last message may stand a transaction's marker: the end of the partition
            # is committed too, so that the lag of an idle stage is exactly 0 to every tool.
            source = (message.topic(), message.partition())
            self._positions[source] = message.offset()
            self._ended.append(source)
        elif error.fatal():
            raise TaskLost(error.str())
        else:
            log.warning("reading", error=error.str())

    def _tell_ends(self) -> None:
        """Tell the processor of ends, behind the chunks that were read before them."""
        for source in self._ended:
            if source in self._ledgers:
                self._processor.reached_end(*source)
        self._ended.clear()

    def _ends(self, now: float) -> dict[tuple[str, int], int]:
        """The ends of the partitions as the last fetch has told them, without asking the brokers.

        A paused consumer fetches nothing: then they are asked, which holds nobody up.
        """
        if self._paused and now - self._asked < ASK_EVERY_S:
            return {}
        self._asked = now
        ends = {}
        for source in self._ledgers:
            try:
                found = self._consumer.get_watermark_offsets(
                    TopicPartition(*source), timeout=ASK_TIMEOUT_S, cached=not self._paused
                )
            except KafkaException:
                break  # the brokers are busy or away; the next look may tell
            if found and found[1] >= 0:
                ends[source] = found[1]
        return ends

    # Settling and committing.

    def _settle(self) -> None:
        while self._unsettled:
            chunk, outcome = self._unsettled[0]
            pending = outcome.pending
            if pending is not None and not pending.done():
                return
            self._processor.settle(outcome)
            self._unsettled.popleft()
            self._account(chunk, outcome)

    def _account(self, chunk: Chunk, outcome: Outcome) -> None:
        self._produce(outcome.records)
        source = (chunk.topic, chunk.partition)
        ledger = self._ledgers[source]
        ledger.counts.add(outcome.counts)
        ledger.emitted += outcome.emitted
        ledger.next = chunk.offsets[-1] + 1
        self._waits[source].add(chunk.timestamps)
        self._touched.add(source)
        self._observer.processed(chunk, outcome)

    def _produce(self, records: Sequence[Record]) -> None:
        if not records:
            return
        self._begin()
        produce = self._producer.produce
        for topic, key, value, partition in records:
            while True:
                try:
                    produce(topic, value, key, partition)
                    break
                except BufferError:
                    self._producer.poll(0.05)
        self._producer.poll(0)

    def _begin(self) -> None:
        if not self._in_transaction:
            self._producer.begin_transaction()
            self._in_transaction = True

    def _commit(self, *, at_once: bool = False) -> None:
        """Commit what is settled; a failure of the transaction restarts the task.

        :param at_once: also where it was begun at a place that is still doubted.
        """
        self._last_commit = began = time.monotonic()
        if self._in_flow or not (at_once or self._is_believed()):
            return
        self._check_start()
        offsets = []
        now_ms = time.time_ns() // 1_000_000
        unsettled = {(chunk.topic, chunk.partition) for chunk, _ in self._unsettled}
        for source, ledger in self._ledgers.items():
            flush = self._processor.flush(*source)
            self._produce(flush.records)
            ledger.emitted += flush.emitted
            end = self._positions.get(source, 0)
            if end > ledger.next and source not in unsettled:
                ledger.next = end
                self._touched.add(source)
            if source in self._touched or flush.note != ledger.note or flush.records:
                ledger.note = flush.note
                ledger.waits = self._waits[source].commit(now_ms, began)
                ledger.worker = self._settings.instance
                offsets.append(TopicPartition(*source, ledger.next, ledger.encode()))
        if not offsets:
            return
        self._begin()
        metadata = self._consumer.consumer_group_metadata()
        self._retried(
            lambda: self._producer.send_offsets_to_transaction(offsets, metadata, CALL_TIMEOUT_S)
        )
        self._retried(lambda: self._producer.commit_transaction(CALL_TIMEOUT_S))
        self._in_transaction = False
        self._touched.clear()
        self._observer.committed(self._ledgers, time.monotonic() - began)

    def _is_believed(self) -> bool:
        """Whether new partitions began near their end, or a while ago."""
        if not self._started or time.monotonic() - self._doubted_since >= DOUBT_S:
            return True
        ends = self._ends(time.monotonic())
        return all(
            ends.get(source, 0) - max(start, 0) <= DOUBT_LAG
            for source, start in self._started.items()
        )

    def _check_start(self) -> None:
        """Hold what is committed of new partitions against what was told when they came.

        :raises TaskLost: when it was something else.
        """
        if not self._started:
            return
        parts = [TopicPartition(*source) for source in self._started]
        for known in self._consumer.committed(parts, CALL_TIMEOUT_S):
            start = self._started[known.topic, known.partition]
            if known.error or known.offset != start:
                raise TaskLost(
                    f"{known.topic}/{known.partition} was read from {start}, and {known.offset} is "
                    "committed: the brokers had not loaded it yet"
                )
        self._started.clear()

    def _retried(self, act: Callable[[], None]) -> None:
        """Do what may be repeated while the brokers are away; give up when told to stop, at once
        or, where this publishes, after a while."""
        while True:
            try:
                bounded(act, HANG_S)
                return
            except Hung:
                # The transaction is left to the brokers, who end it when this worker's next
                # producer begins, or when its time is over.
                self._hung = True
                raise TaskHung("a commit hangs") from None
            except KafkaException as error:
                problem = error.args[0]
                patience = LAST_COMMIT_S if self._settings.publishes_at_stop else 0.0
                if not problem.retriable() or self._stop.seconds > patience:
                    raise TaskLost(problem.str()) from error
                log.warning("commit waits", error=problem.str())
                self._observer.alive()

    def _finish(self) -> bool:
        """Commit for good; True when nothing is left under way or it does not come to an end."""
        self._settle()
        if self._unsettled and self._stop.seconds <= STOP_WAIT_S:
            return False
        if not self._joined and self._settings.publishes_at_stop:
            # What is to be published is in partitions that the group has not given us yet.
            if self._stop.seconds > LAST_COMMIT_S:
                raise TaskLost("the group gave it no partitions in time")
            return False
        self._give_up({(chunk.topic, chunk.partition) for chunk, _ in self._unsettled})
        self._processor.stopping()
        self._commit(at_once=True)
        return True

    def _give_up(self, sources: set[tuple[str, int]]) -> None:
        """Leave what is under way of these partitions to be read again."""
        self._unsettled = deque(
            (chunk, outcome)
            for chunk, outcome in self._unsettled
            if (chunk.topic, chunk.partition) not in sources
        )
        for source in sources:
            # The end of the partition lies behind what is given up.
            self._positions.pop(source, None)

    def _patience(self) -> float:
        """Seconds to wait for brokers that are asked once and must answer."""
        if self._stop():
            return max(1.0, LAST_COMMIT_S - self._stop.seconds)
        return TRANSACTION_TIMEOUT_S * 2

    # Rebalancing: the callbacks run inside the consumer's consume().

    def _kept(self, callback: Rebalanced) -> Rebalanced:
        """Keep what a callback raises until consume() has returned, which would mangle it."""

        def called(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            try:
                callback(consumer, partitions)
            except Exception as error:
                log.warning("rebalancing", error=str(error))
                self._raised = self._raised or error

        return called

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._raised is not None:
            # It starts anew. The committed offsets cannot be had before its own transaction ends.
            return
        self._joined = True
        if not partitions:
            self._observer.joined()
            return
        for known in consumer.committed(partitions, self._patience()):
            if known.error:
                raise TaskLost(known.error.str())
            source = (known.topic, known.partition)
            self._started[source] = known.offset
            start = max(known.offset, 0)
            ledger = PartitionLedger.decode(known.metadata, start)
            self._ledgers[source] = ledger
            self._waits[source] = WaitClock()
            self._positions.pop(source, None)
            began = time.monotonic()
            self._processor.assigned(*source, ledger.note)
            self._observer.assigned(*source, ledger, time.monotonic() - began)
        self._doubted_since = time.monotonic()
        self._observer.joined()
        log.info("assigned", partitions=[f"{p.topic}/{p.partition}" for p in partitions])

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {(p.topic, p.partition) for p in partitions}
        if not self._closed:
            self._commit_before_leaving(gone)
        for source in gone:
            self._ledgers.pop(source, None)
            self._waits.pop(source, None)
            self._positions.pop(source, None)
            self._started.pop(source, None)
            self._touched.discard(source)
            self._processor.revoked(*source)
            self._observer.revoked(*source)
        log.info("revoked", partitions=[f"{topic}/{number}" for topic, number in gone])

    def _commit_before_leaving(self, gone: set[tuple[str, int]]) -> None:
        deadline = time.monotonic() + REVOKE_WAIT_S
        while self._unsettled and time.monotonic() < deadline and not self._stop():
            self._settle()
            time.sleep(0.01)
        self._give_up({(chunk.topic, chunk.partition) for chunk, _ in self._unsettled} & gone)
        for source in gone & self._ledgers.keys():
            self._processor.leaving(*source)
        self._commit(at_once=True)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        raise TaskLost("the partitions were given to another worker")


STOP_WAIT_S = 2.0
"""How long a stop waits for a destination; what it has not confirmed is read again later."""


def consumer_config(settings: TaskSettings, kafka: dict[str, Any]) -> dict[str, Any]:
    """Settings of a stage's consumer."""
    return kafka | {
        "group.id": settings.group,
        # A restart within the session timeout takes its partitions up again at once.
        "group.instance.id": f"{settings.group}-{settings.instance}",
        "client.id": f"{settings.group}-{settings.instance}",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 20_000,
        "heartbeat.interval.ms": 1_000,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 100,
        "fetch.message.max.bytes": 1_048_576,
        "queued.max.messages.kbytes": 16_384,
        "topic.metadata.refresh.interval.ms": 30_000,
    }


def producer_config(settings: TaskSettings, kafka: dict[str, Any]) -> dict[str, Any]:
    """Settings of a stage's producer."""
    return kafka | {
        "transactional.id": f"{settings.group}-{settings.instance}",
        "client.id": f"{settings.group}-{settings.instance}",
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_S * 1000,
        # The Java client's way, so that a key lands in the same partition whoever writes it.
        "partitioner": "murmur2_random",
        "linger.ms": 20,
        "compression.type": "lz4",
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 65_536,
    }
