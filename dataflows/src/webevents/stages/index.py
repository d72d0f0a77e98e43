"""The index stage: events, session records, analytics and failed events in, Elasticsearch
documents out; and, from one of its workers, how the pipeline's stages stand."""

from collections.abc import Callable
from typing import Any

import structlog
from msgspec import structs

from webevents.connectors.elasticsearch import BulkHandle, BulkWriter, connect
from webevents.events.event import InvalidEvent
from webevents.events.ledger import Counts
from webevents.logic.changes.events import ChangeDocuments
from webevents.logic.documents import (
    AnalyticsDocuments,
    Document,
    EventDocuments,
    SessionDocuments,
)
from webevents.logic.failed_documents import FailedDocuments
from webevents.stages.chunk import Chunk, Flush, Outcome, Processor, StageStatus
from webevents.stages.failing import as_invalid, failed
from webevents.stages.samples import StageSamples
from webevents.stages.settings import StageSettings

log = structlog.get_logger()


class _Submission:
    """A chunk's documents on their way."""

    def __init__(self, chunk: Chunk, positions: list[int], handle: BulkHandle) -> None:
        self.chunk = chunk
        self.positions = positions
        """Positions in the chunk of the documents, in order."""
        self.handle = handle

    def done(self) -> bool:
        """Whether Elasticsearch has answered for all of them."""
        return self.handle.done()


class IndexProcessor(Processor):
    """Writes each event, each session, each document of analytics and each failed event; the same
    one however often it comes.

    :param writer: delivers the documents; closed with the processor.
    :param samples: tells how the stages stand, while this worker has the first partition of all.
    """

    def __init__(
        self, settings: StageSettings, writer: BulkWriter, samples: StageSamples | None = None
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._samples = samples
        self._sampled: BulkHandle | None = None
        self._first = (settings.topics[0], 0)
        self._builders, self._build_event = _builders(settings)
        self._failed = FailedDocuments(settings.failed_prefix) if settings.failed_prefix else None
        self._shadows = settings.shadow.indices if settings.shadow else None

    def process(self, chunk: Chunk) -> Outcome:
        """Hand a chunk's documents over; the outcome is pending until they are answered for."""
        build = self._builders.get(chunk.topic, self._build_event)
        of_failed = self._failed if chunk.topic == self._settings.failed_topic else None
        outcome = Outcome(Counts(received=len(chunk.offsets)))
        documents: list[Document] = []
        positions: list[int] = []
        for position, value in enumerate(chunk.values):
            if value is None:
                outcome.counts.drop("tombstone")
                continue
            try:
                document = (
                    of_failed.build(value, chunk.partition, chunk.offsets[position])
                    if of_failed
                    else build(value)
                )
            except Exception as error:
                self._fail(outcome, chunk, position, error)
                continue
            if self._shadows is not None:
                shadow = self._shadows.get(document.index)
                if shadow is None:
                    outcome.counts.drop("other_day")
                    continue
                document = structs.replace(document, index=shadow)
            documents.append(document)
            positions.append(position)
        outcome.pending = _Submission(chunk, positions, self._writer.submit(documents))
        return outcome

    def settle(self, outcome: Outcome) -> None:
        """Count what was taken; what was refused for good becomes failed events."""
        submission = outcome.pending
        assert isinstance(submission, _Submission)
        result = submission.handle.result(0)
        outcome.counts.delivered += result.accepted
        for refused in result.failed:
            error = InvalidEvent("rejected", f"{refused.type}: {refused.reason}")
            self._fail(outcome, submission.chunk, submission.positions[refused.position], error)

    def _fail(self, outcome: Outcome, chunk: Chunk, position: int, error: Exception) -> None:
        if chunk.topic == self._settings.failed_topic:
            # It is among the failed events already, where it stays; it would come again for ever.
            outcome.counts.drop("rejected")
            why = as_invalid(error)
            place = f"{chunk.topic}/{chunk.partition}@{chunk.offsets[position]}"
            log.warning("failed event not indexed", place=place, why=f"{why.reason}: {why.detail}")
            return
        outcome.counts.failed += 1
        outcome.records.append(failed(self._settings, chunk, position, error))

    def assigned(self, topic: str, partition: int, note: dict[str, int]) -> None:
        """Tell how the stages stand, with the first partition of all."""
        if self._samples and (topic, partition) == self._first:
            self._samples.resume()

    def revoked(self, topic: str, partition: int) -> None:
        """Leave that to the partition's next owner."""
        if self._samples and (topic, partition) == self._first:
            self._samples.pause()

    def flush(self, topic: str, partition: int) -> Flush:
        """Send the samples that were taken; in an outage they wait, so that no request of theirs
        is under way beside another one."""
        if (
            self._samples
            and (topic, partition) == self._first
            and (self._sampled is None or self._sampled.done())
            and (taken := self._samples.take())
        ):
            self._sampled = self._writer.submit(taken)
        return Flush()

    def status(self) -> StageStatus:
        """Whether Elasticsearch takes documents, and how many were sent again."""
        outage = self._writer.outage
        return StageStatus(
            outage_since=outage.since if outage else None, repeated=self._writer.repeated
        )

    def close(self) -> None:
        """Give up what is under way; it is read again."""
        if self._samples:
            self._samples.close()
        self._writer.close()


Build = Callable[[bytes], Document]


def _builders(settings: StageSettings) -> tuple[dict[str | None, Build], Build]:
    """What makes the documents of some topics, and what makes those of all others: events."""
    assert settings.index
    chosen = settings.index.events.fields
    events = EventDocuments(
        settings.index.events.prefix,
        settings.index.unknown_fields,
        {name: how.field or name for name, how in chosen.items()} if chosen else None,
    )
    by_topic: dict[str | None, Build] = {
        settings.sessions_topic: SessionDocuments(settings.index.sessions.prefix).build,
        settings.analytics_topic: AnalyticsDocuments(settings.index.analytics.prefix).build,
    }
    if settings.debezium:
        changes = ChangeDocuments(settings.table_indices, settings.debezium.on_delete, events)
        return by_topic, changes.build
    return by_topic, events.build


def documents_of(settings: StageSettings) -> Callable[[str, bytes], Document]:
    """The function from a message's topic and value to the document that the stage makes of it.

    It raises :class:`webevents.events.event.InvalidEvent` where there is none.
    """
    by_topic, event = _builders(settings)
    return lambda topic, value: by_topic.get(topic, event)(value)


def make_index(settings: StageSettings, kafka: dict[str, Any]) -> IndexProcessor:
    """Make the processor with its connection.

    :param kafka: librdkafka settings to reach the cluster.
    :raises UserError: when a secret cannot be read.
    """
    assert settings.index
    assert settings.elasticsearch
    bulk = settings.index.bulk
    client = connect(settings.elasticsearch)
    writer = BulkWriter(
        client,
        max_in_flight=bulk.in_flight,
        max_bytes=bulk.max_bytes,
        max_documents=bulk.max_documents,
        compression=settings.elasticsearch.compression,
    )
    samples = StageSamples(settings, kafka, client) if settings.samples_prefix else None
    return IndexProcessor(settings, writer, samples)
