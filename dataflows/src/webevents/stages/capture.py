"""The capture stage: changes of database rows in, events of the raw topic out."""

from webevents.events.ledger import Counts
from webevents.logic.changes.envelope import ChangeDecoder
from webevents.logic.changes.events import ChangeEvents
from webevents.stages.chunk import Chunk, Outcome, Processor, Record
from webevents.stages.failing import failed
from webevents.stages.settings import StageSettings


class CaptureProcessor(Processor):
    """Turns each change of a row into one event, keyed by primary key.

    Debezium may deliver a change again; its event is then the same, identifier and version too.
    """

    def __init__(self, settings: StageSettings) -> None:
        assert settings.debezium
        assert settings.output_topic
        self._settings = settings
        self._topic = settings.output_topic
        self._decode = ChangeDecoder().decode
        self._make = ChangeEvents(settings.debezium.tables, settings.sessions.key).make

    def process(self, chunk: Chunk) -> Outcome:
        """Make the events of a chunk; what is no change of a row becomes a failed event."""
        counts = Counts(received=len(chunk.offsets))
        records: list[Record] = []
        for position, value in enumerate(chunk.values):
            if value is None:
                # After a delete, for compaction; the delete itself came before.
                counts.drop("tombstone")
                continue
            try:
                change = self._decode(chunk.keys[position], value, chunk.offsets[position])
                key, event = self._make(change)
            except Exception as error:
                counts.failed += 1
                records.append(failed(self._settings, chunk, position, error))
            else:
                records.append(Record(self._topic, key, event))
        counts.delivered = len(records) - counts.failed
        return Outcome(counts, records, emitted=counts.delivered)
