"""The store stage: events and session records in, rows of PostgreSQL out."""

from webevents.connectors.postgres import PostgresWriter, StoreHandle
from webevents.connectors.postgres.submission import Item
from webevents.events.event import InvalidEvent
from webevents.events.ledger import Counts
from webevents.logic.rows.events import EventRows
from webevents.logic.rows.sessions import SessionRows
from webevents.logic.rows.tables import tables_of
from webevents.stages.chunk import Chunk, Outcome, Processor, StageStatus
from webevents.stages.failing import failed
from webevents.stages.settings import StageSettings


class _Submission:
    """A chunk's rows on their way."""

    def __init__(self, chunk: Chunk, positions: list[int], handle: StoreHandle) -> None:
        self.chunk = chunk
        self.positions = positions
        """Positions in the chunk of the messages, in order."""
        self.handle = handle

    def done(self) -> bool:
        """Whether PostgreSQL has answered for all of them."""
        return self.handle.done()


class StoreProcessor(Processor):
    """Writes the rows of each event and each session; the same ones however often it comes.

    A message whose rows one table cannot hold is stored in none of them.

    :param writer: delivers the rows; closed with the processor.
    """

    def __init__(self, settings: StageSettings, writer: PostgresWriter) -> None:
        assert settings.store
        self._settings = settings
        self._writer = writer
        tables = tables_of(settings.store)
        self._events = EventRows(tables)
        self._sessions = SessionRows(tables)

    def process(self, chunk: Chunk) -> Outcome:
        """Hand a chunk's rows over; the outcome is pending until they are answered for."""
        is_session = chunk.topic == self._settings.sessions_topic
        build = self._sessions.build if is_session else self._events.build
        outcome = Outcome(Counts(received=len(chunk.offsets)))
        items: list[Item] = []
        positions: list[int] = []
        for position, value in enumerate(chunk.values):
            if value is None:
                outcome.counts.drop("tombstone")
                continue
            try:
                items.append(build(value))
                positions.append(position)
            except Exception as error:
                self._fail(outcome, chunk, position, error)
        source = f"{self._settings.pipeline}/{chunk.topic}/{chunk.partition}"
        handle = self._writer.submit(items, source if is_session else None)
        outcome.pending = _Submission(chunk, positions, handle)
        return outcome

    def settle(self, outcome: Outcome) -> None:
        """Count what was taken; what was refused for good becomes failed events."""
        submission = outcome.pending
        assert isinstance(submission, _Submission)
        result = submission.handle.result(0)
        outcome.counts.delivered += result.accepted
        for refused in result.failed:
            error = InvalidEvent("rejected", refused.reason)
            self._fail(outcome, submission.chunk, submission.positions[refused.position], error)

    def _fail(self, outcome: Outcome, chunk: Chunk, position: int, error: Exception) -> None:
        outcome.counts.failed += 1
        outcome.records.append(failed(self._settings, chunk, position, error))

    def status(self) -> StageStatus:
        """Whether PostgreSQL takes rows, and how many messages' were sent again."""
        outage = self._writer.outage
        return StageStatus(
            outage_since=outage.since if outage else None, repeated=self._writer.repeated
        )

    def close(self) -> None:
        """Give up what is under way; it is read again."""
        self._writer.close()


def make_store(settings: StageSettings) -> StoreProcessor:
    """Make the processor with its connection.

    :raises UserError: when no server is named.
    """
    assert settings.store
    assert settings.postgres
    writer = PostgresWriter(
        settings.postgres,
        tables_of(settings.store),
        schema=settings.store.schema_name,
        views=settings.store.views,
        max_rows=settings.store.batch.max_rows,
        max_bytes=settings.store.batch.max_bytes,
        name=settings.group,
    )
    return StoreProcessor(settings, writer)
