"""What a backfill has done so far, kept in Kafka so that it goes on after a kill at any point."""

from datetime import datetime
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from webevents.connectors.kafka import Topic, ensure_topics
from webevents.connectors.kafka_observe import Observer
from webevents.errors import UserError
from webevents.spec.pipeline import WebEventPipeline

TIMEOUT_S = 30.0


class Comparison(msgspec.Struct, rename="camel"):
    """How a new index differs from the old one, by identifier, every document looked at."""

    old: int = 0
    """Documents of the old index."""
    new: int = 0
    """Documents of the new index."""
    same: int = 0
    """Documents that are equal in both."""
    changed: int = 0
    """Documents that are in both and differ."""
    missing: int = 0
    """Documents that only the old index has."""
    kept: int = 0
    """Of those, the ones that were copied into the new index."""
    extra: int = 0
    """Documents that only the new index has."""
    fields: dict[str, int] = {}
    """Differing documents by field."""
    examples: list[dict[str, Any]] = []
    """Of the first differing documents: id, field, old and new value."""
    missing_ids: list[str] = []
    extra_ids: list[str] = []
    """The first of each."""
    sums: dict[str, tuple[float, float]] = {}
    """Sums over all documents, old and new."""


class IndexState(msgspec.Struct, rename="camel"):
    """One daily index."""

    name: str
    content: str
    shadow: str
    compared: Comparison | None = None
    swapped: bool = False


class State(msgspec.Struct, rename="camel"):
    """One backfill."""

    name: str
    spec: dict[str, Any]
    phase: str = "planned"
    """planned, reading, compared, swapping, done or aborted."""
    started_at: str = ""
    ended_at: str = ""
    stopped: str = ""
    """Why it does not go on, where a person must do something."""
    ranges: dict[str, tuple[int, int]] = {}
    """First offset and the one behind the last, by partition of the raw topic."""
    archived: str = ""
    """The last object that was copied."""
    copied: int = 0
    """Messages that were copied from the archive."""
    live: dict[str, int] = {}
    """How far the running pipeline's documents are taken over, by topic/partition."""
    stages: dict[str, dict[str, Any]] = {}
    """What each stage counted."""
    indices: list[IndexState] = []


ENDED = ("done", "aborted")


def ended_before(state: State, moment: str) -> bool:
    """Whether a backfill had ended at a time (ISO 8601)."""
    if state.phase not in ENDED:
        return False
    return datetime.fromisoformat(state.ended_at) < datetime.fromisoformat(moment)


_decode = msgspec.json.Decoder(State).decode
encode = msgspec.json.Encoder().encode


def topic_of(pipeline: WebEventPipeline) -> str:
    """The compacted topic of a pipeline's backfills."""
    return f"{pipeline.spec.topics.raw.name}-backfills"


def states(pipeline: WebEventPipeline, observer: Observer) -> dict[str, State]:
    """The backfills of a pipeline, by name.

    :raises KafkaException: when they cannot be read.
    """
    newest: dict[str, State] = {}
    for message in observer.messages(topic_of(pipeline)):
        name = (message.key() or b"").decode()
        newest.pop(name, None)
        if message.value():
            newest[name] = _decode(message.value())
    return newest


class Keeper:
    """Writes the state of one backfill; a second one that begins stops the first.

    :param kafka: librdkafka settings to reach the cluster.
    """

    def __init__(self, pipeline: WebEventPipeline, name: str, kafka: dict[str, Any]) -> None:
        copies = pipeline.spec.kafka.replication_factor
        self._topic = topic_of(pipeline)
        topic = Topic(self._topic, 1, {"cleanup.policy": "compact"}, copies)
        ensure_topics(AdminClient(kafka | {"log_level": 0}), [topic])
        transactional = f"{pipeline.name}-backfill-{name}"
        self._producer = Producer(kafka | {"transactional.id": transactional, "log_level": 0})
        self._producer.init_transactions(TIMEOUT_S)

    def save(self, state: State, *more: tuple[str, bytes | None, bytes | None, int]) -> None:
        """Write the state, and messages that belong with it, as one transaction.

        :param more: topic, key, value and time in milliseconds of each message.
        :raises UserError: when the same backfill was started again elsewhere.
        """
        try:
            self._producer.begin_transaction()
            for topic, key, value, at in more:
                self._produce(topic, value, key, at)
            self._produce(self._topic, encode(state), state.name.encode(), 0)
            self._producer.commit_transaction(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED):
                raise UserError(
                    f"the backfill {state.name} was started again elsewhere and goes on there"
                ) from None
            raise

    def _produce(self, topic: str, value: bytes | None, key: bytes | None, at: int) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, timestamp=at)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)

    def close(self) -> None:
        """Let go; what is not committed leaves nothing behind."""
        self._producer.purge()
