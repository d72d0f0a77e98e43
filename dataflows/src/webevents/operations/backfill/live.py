"""What the running pipeline writes while a backfill goes on, taken over into the new indices."""

from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from webevents.connectors.elasticsearch import BulkWriter
from webevents.connectors.kafka_observe import Observer, Partition
from webevents.errors import UserError
from webevents.events.event import InvalidEvent
from webevents.logic.documents import Document
from webevents.operations.backfill.state import State
from webevents.plan.make import make_plan
from webevents.spec.pipeline import WebEventPipeline
from webevents.stages.index import documents_of
from webevents.stages.settings import StageSettings

SUBMIT = 2_000
STALL_S = 60.0


class Live:
    """Follows the pipeline's own index stage.

    What that stage has written since a moment is what lies in its topics from its offsets at that
    moment on. These messages are written once more, into the new indices: by the same identifiers
    and versions, so that nothing doubles.
    """

    def __init__(
        self, pipeline: WebEventPipeline, kafka: dict[str, Any], observer: Observer
    ) -> None:
        (index,) = (w for w in make_plan(pipeline).stages() if w.name == "index")
        assert isinstance(index.settings, StageSettings)
        self._settings = index.settings
        # Failed events have indices of their own, which are not made anew.
        own = index.settings
        self._topics = [topic for topic in own.topics if topic != own.failed_topic]
        self._kafka = kafka
        self._observer = observer

    def places(self) -> dict[str, int]:
        """How far the stage is, by topic/partition."""
        settings = self._settings
        view = self._observer.groups({settings.group: self._topics})[settings.group]
        firsts = self._observer.offsets(self._topics, first=True)
        return {
            f"{topic}/{number}": view.ledgers[topic, number].next
            if (topic, number) in view.ledgers
            else first
            for (topic, number), first in firsts.items()
        }

    def take_over(self, state: State, writer: BulkWriter, targets: dict[str, str]) -> int:
        """Write what the stage may have written since ``state.live``, and note the new place.

        :param targets: where documents of a daily index go; others are left out.
        :returns: the documents written.
        :raises UserError: when one is refused.
        """
        reached = self._observer.offsets(self._topics)
        starts = {
            source: state.live[name]
            for source, end in reached.items()
            if (name := f"{source[0]}/{source[1]}") in state.live and state.live[name] < end
        }
        # The next time begins where the stage stands, if that is not the end: it has yet to write
        # what is between.
        ends = {f"{topic}/{number}": end for (topic, number), end in reached.items()}
        places = {name: min(place, ends.get(name, 0)) for name, place in self.places().items()}
        build = documents_of(self._settings)
        written = 0
        batch: list[Document] = []
        for topic, value in self._read(starts, {s: reached[s] for s in starts}):
            try:
                document = build(topic, value)
            except InvalidEvent:
                continue
            target = targets.get(document.index)
            if target is None:
                continue
            batch.append(Document(target, document.id, document.body, document.version))
            if len(batch) == SUBMIT:
                written += _write(writer, batch)
                batch = []
        written += _write(writer, batch)
        state.live = {name: max(place, state.live.get(name, 0)) for name, place in places.items()}
        return written

    def _read(self, starts: dict[Partition, int], ends: dict[Partition, int]) -> Any:
        if not starts:
            return
        consumer = Consumer(
            self._kafka
            | {"group.id": "webevents-observer", "enable.auto.commit": False, "log_level": 0}
            | {"auto.offset.reset": "earliest", "enable.partition.eof": True}
            | {"isolation.level": "read_committed"}
        )
        open_ends = dict(ends)
        try:
            consumer.assign([TopicPartition(*source, offset) for source, offset in starts.items()])
            while open_ends:
                messages = consumer.consume(1000, STALL_S)
                if not messages:
                    raise UserError("the running pipeline's topics cannot be read to their end")
                for message in messages:
                    if message.error() is None:
                        if message.value() is not None:
                            yield message.topic(), message.value()
                    elif message.error().name() != "_PARTITION_EOF":
                        raise KafkaException(message.error())
                    elif message.offset() >= open_ends.get(
                        (message.topic(), message.partition()), 0
                    ):
                        open_ends.pop((message.topic(), message.partition()), None)
        finally:
            consumer.close()


def _write(writer: BulkWriter, documents: list[Document]) -> int:
    # What is refused here, the running stage keeps among its failed events.
    return writer.submit(documents).result().accepted
