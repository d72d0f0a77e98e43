"""Where a backfill's events come from: a range of the raw topic, or the archive copied to Kafka."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from webevents.connectors.kafka_observe import Observer
from webevents.errors import UserError
from webevents.events.times import format_time
from webevents.logic.objects import HOUR_MS, DamagedObject, ObjectName, read_object, root_of
from webevents.operations.backfill.layout import Layout, since_ms, until_ms
from webevents.operations.backfill.state import Keeper, State
from webevents.spec.backfill import BackfillSpec
from webevents.spec.pipeline import WebEventPipeline

TIMEOUT_S = 30.0
BATCH = 2_000
"""Messages of one transaction."""


def find_ranges(
    observer: Observer, kafka: dict[str, Any], topic: str, spec: BackfillSpec
) -> dict[str, tuple[int, int]]:
    """The offsets of the raw topic that a backfill reads, by partition.

    :raises UserError: when a partition that is named is not there, or an offset is not kept.
    :raises KafkaException: when the brokers do not answer.
    """
    ends = {number: end for (_, number), end in observer.offsets([topic]).items()}
    firsts = {number: end for (_, number), end in observer.offsets([topic], first=True).items()}
    if not ends:
        raise UserError(f"the topic {topic} is not there")
    source = spec.source
    starts = _at(kafka, topic, firsts, since_ms(spec))
    until = until_ms(spec)
    stops = dict(ends) if until is None else _at(kafka, topic, ends, until)
    for field, given, into in (
        ("startOffsets", source.start_offsets, starts),
        ("endOffsets", source.end_offsets, stops),
    ):
        for name, offset in (given or {}).items():
            if int(name) not in ends:
                raise UserError(f"spec.source.{field}: {topic} has no partition {name}")
            if offset < firsts[int(name)] or offset > ends[int(name)]:
                raise UserError(
                    f"spec.source.{field}: partition {name} of {topic} has the offsets "
                    f"{firsts[int(name)]} to {ends[int(name)]}, not {offset}"
                )
            into[int(name)] = offset
    return {str(n): (starts[n], max(starts[n], stops[n])) for n in sorted(ends)}


def _at(
    kafka: dict[str, Any], topic: str, otherwise: dict[int, int], moment_ms: int
) -> dict[int, int]:
    """The first offset at a time or later, by partition; the end where nothing is so new."""
    admin = AdminClient(kafka | {"log_level": 0})
    asked = admin.list_offsets(
        {TopicPartition(topic, n): OffsetSpec.for_timestamp(moment_ms) for n in otherwise},
        request_timeout=TIMEOUT_S,
    )
    latest = admin.list_offsets(
        {TopicPartition(topic, n): OffsetSpec.latest() for n in otherwise},
        request_timeout=TIMEOUT_S,
    )
    ends = {p.partition: future.result().offset for p, future in latest.items()}
    found = {p.partition: future.result().offset for p, future in asked.items()}
    return {n: ends[n] if offset < 0 else offset for n, offset in found.items()}


def begin_at(kafka: dict[str, Any], group: str, topic: str, starts: dict[int, int]) -> None:
    """Have a group that never read begin at these offsets; one that did goes on where it was."""
    consumer = Consumer(kafka | {"group.id": group, "enable.auto.commit": False, "log_level": 0})
    try:
        wanted = [TopicPartition(topic, number, offset) for number, offset in starts.items()]
        # A coordinator that was just chosen may not answer the first time.
        for attempt in range(10):
            try:
                known = consumer.committed(wanted, TIMEOUT_S)
                break
            except KafkaException:
                if attempt == 9:
                    raise
                time.sleep(0.5)
        fresh = [
            TopicPartition(topic, p.partition, starts[p.partition]) for p in known if p.offset < 0
        ]
        if fresh:
            consumer.commit(offsets=fresh, asynchronous=False)
    finally:
        consumer.close()


def copy_archive(
    pipeline: WebEventPipeline,
    spec: BackfillSpec,
    target: str,
    state: State,
    keeper: Keeper,
    say: Callable[[str], None],
) -> None:
    """Copy the archive's messages to a topic, each object as transactions with the place reached.

    An object that was under way when a copy was killed is copied again; events count once by
    their identifiers.

    :raises UserError: when the store does not answer, or an object is damaged.
    """
    # Only here: its client takes 10 MB of memory, of the operator's too.
    from webevents.connectors.s3 import ObjectStore, StoreError

    root = root_of(pipeline.spec.archive.prefix, pipeline.name)
    store = ObjectStore(pipeline.spec.s3)
    first = since_ms(spec) // HOUR_MS * HOUR_MS
    until = until_ms(spec)
    try:
        for stored in store.list(f"{root}/", state.archived):
            name = ObjectName.parse(stored.key, root)
            if name is None or name.hour_ms < first or (until and name.hour_ms >= until):
                continue
            body, _ = store.get(stored.key)
            batch: list[tuple[str, bytes | None, bytes | None, int]] = []
            for message in read_object(body, name.format):
                batch.append((target, message.key, message.value, max(message.timestamp, 0)))
                if len(batch) == BATCH:
                    keeper.save(state, *batch)
                    state.copied += len(batch)
                    batch = []
            state.copied += len(batch)
            state.archived = stored.key
            keeper.save(state, *batch)
            say(f"copied {state.copied:,} messages of the archive, up to {stored.key}")
    except StoreError as error:
        raise UserError(f"the object store does not do what it is asked: {error}") from None
    except DamagedObject as error:
        raise UserError(
            f"the object {stored.key} is damaged ({error}): restore it, or leave it out with "
            "spec.source.since and until"
        ) from None
    finally:
        store.close()


def close_sessions(
    pipeline: WebEventPipeline, layout: Layout, kafka: dict[str, Any], now_us: int
) -> None:
    """Put the present moment into every partition of enriched events, as an event of its own.

    Sessions that have ended by now are closed by it, as the running pipeline closes them by its
    clock. Neither it nor its session is of a day that is made anew.
    """
    producer = Producer(kafka | {"log_level": 0, "enable.idempotence": True})
    event = {
        "event_id": "backfill-clock",
        "event_timestamp": format_time(now_us),
        "event_type": "backfill-clock",
        **dict.fromkeys(pipeline.spec.sessions.key, "backfill-clock"),
    }
    for partition in range(pipeline.spec.topics.enriched.partitions):
        producer.produce(layout.enriched, msgspec.json.encode(event), partition=partition)
    if producer.flush(TIMEOUT_S):
        raise UserError("the brokers do not take messages")


def not_read(ranges: Iterable[tuple[int, int]]) -> int:
    """Messages of all ranges."""
    return sum(end - start for start, end in ranges)
