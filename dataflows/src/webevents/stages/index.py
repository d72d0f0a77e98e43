"""The index stage: events, session records and analytics in, Elasticsearch documents out."""

from collections.abc import Callable

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
from webevents.stages.chunk import Chunk, Outcome, Processor, StageStatus
from webevents.stages.failing import failed
from webevents.stages.settings import StageSettings


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
    """Writes each event, each session and each document of analytics; the same one however often
    it comes.

    :param writer: delivers the documents; closed with the processor.
    """

    def __init__(self, settings: StageSettings, writer: BulkWriter) -> None:
        self._settings = settings
        self._writer = writer
        self._builders, self._build_event = _builders(settings)
        self._shadows = settings.shadow.indices if settings.shadow else None

    def process(self, chunk: Chunk) -> Outcome:
        """Hand a chunk's documents over; the outcome is pending until they are answered for."""
        build = self._builders.get(chunk.topic, self._build_event)
        outcome = Outcome(Counts(received=len(chunk.offsets)))
        documents: list[Document] = []
        positions: list[int] = []
        for position, value in enumerate(chunk.values):
            if value is None:
                outcome.counts.drop("tombstone")
                continue
            try:
                document = build(value)
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
        outcome.counts.failed += 1
        outcome.records.append(failed(self._settings, chunk, position, error))

    def status(self) -> StageStatus:
        """Whether Elasticsearch takes documents, and how many were sent again."""
        outage = self._writer.outage
        return StageStatus(
            outage_since=outage.since if outage else None, repeated=self._writer.repeated
        )

    def close(self) -> None:
        """Give up what is under way; it is read again."""
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


def make_index(settings: StageSettings) -> IndexProcessor:
    """Make the processor with its connection.

    :raises UserError: when a secret cannot be read.
    """
    assert settings.index
    assert settings.elasticsearch
    bulk = settings.index.bulk
    writer = BulkWriter(
        connect(settings.elasticsearch),
        max_in_flight=bulk.in_flight,
        max_bytes=bulk.max_bytes,
        max_documents=bulk.max_documents,
        compression=settings.elasticsearch.compression,
    )
    return IndexProcessor(settings, writer)
