"""Have a stage read its topics again, from the start or from a moment on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from webevents.connectors.kafka import client_config
from webevents.connectors.kafka_observe import Observer, Partition
from webevents.errors import UserError
from webevents.events.ledger import Counts, PartitionLedger
from webevents.plan.make import make_plan
from webevents.spec.pipeline import WebEventPipeline


@dataclass(frozen=True, slots=True)
class Move:
    """A partition, and where its stage reads on."""

    partition: Partition
    before: int | None
    """None where nothing was committed."""
    after: int
    again: int
    """Messages that the stage has read already and reads again."""


def rewind(
    pipeline: WebEventPipeline, stage: str, since_ms: int | None, *, apply: bool
) -> Sequence[Move]:
    """Set a stage's committed offsets back (or forth).

    What it makes again has the same ids, so that nothing is doubled at the destinations. Its counts
    go on: what it had counted before the new offsets is dropped as ``before_rewind``, because how
    much of that was delivered and how much failed is not known any more.

    :param since_ms: the first message's time in Kafka, in milliseconds since the epoch; None for
        the start of what Kafka still has.
    :param apply: whether to do it, or only to tell what would be done.
    :raises UserError: where the pipeline has no such stage, or a worker of it still runs.
    :raises KafkaException: when the brokers do not answer.
    """
    known = {each.name: each for each in make_plan(pipeline).stages()}
    if stage not in known:
        raise UserError(f"there is no stage {stage!r}: this pipeline has {', '.join(known)}")
    group, topics = known[stage].group or stage, known[stage].reads
    kafka = client_config(pipeline.spec.kafka)
    observer = Observer(kafka)
    try:
        ledgers = observer.groups({group: topics})[group].ledgers
        targets = observer.offsets(topics, first=since_ms is None, since_ms=since_ms)
        again = Counter[Partition]()
        for topic in topics:
            for message in observer.messages(topic, since_ms=since_ms):
                source = (topic, message.partition())
                if source in ledgers and targets[source] <= message.offset() < ledgers[source].next:
                    again[source] += 1
    finally:
        observer.close()
    if apply and targets:
        offsets = [
            TopicPartition(*source, at, _set_back(ledgers.get(source), at, again[source]).encode())
            for source, at in sorted(targets.items())
        ]
        _commit(kafka, group, stage, offsets)
    return [
        Move(source, ledgers[source].next if source in ledgers else None, at, again[source])
        for source, at in sorted(targets.items())
    ]


def _set_back(ledger: PartitionLedger | None, at: int, again: int) -> PartitionLedger:
    """The ledger at another offset: what the stage keeps for itself is of no use there."""
    if ledger is None:
        return PartitionLedger(at, at)
    before = max(ledger.counts.received - again, 0)
    counts = Counts(before)
    if before:
        counts.drop("before_rewind", before)
    return PartitionLedger(min(ledger.first, at), at, counts, ledger.emitted)


def _commit(
    kafka: dict[str, object], group: str, stage: str, offsets: list[TopicPartition]
) -> None:
    """Commit as a consumer outside of the group, which brokers accept only while it is empty."""
    consumer = Consumer(kafka | {"group.id": group, "enable.auto.commit": False, "log_level": 0})
    try:
        done = consumer.commit(offsets=offsets, asynchronous=False)
        errors = [each.error for each in done or () if each.error]
        if errors:
            raise KafkaException(errors[0])
    except KafkaException as error:
        if error.args[0].code() in (
            KafkaError.UNKNOWN_MEMBER_ID,
            KafkaError.ILLEGAL_GENERATION,
            KafkaError.REBALANCE_IN_PROGRESS,
        ):
            raise UserError(
                f"{stage} still runs: stop it first (spec.stages.{stage}.replicas: 0, or Ctrl-C) "
                "and wait 20 s until Kafka has noticed"
            ) from None
        raise
    finally:
        consumer.close()
