"""The analyze stage: session records in, documents of analytics out, visitors kept in Kafka."""

from webevents.events.ledger import Counts
from webevents.logic.analytics.tracker import PartitionVisitors
from webevents.logic.analytics.visits import read_record
from webevents.stages.chunk import Chunk, Flush, Outcome, Processor, Record, StageStatus
from webevents.stages.failing import failed
from webevents.stages.settings import StageSettings
from webevents.stages.state import StatePartition, StateReader


class AnalyzeProcessor(Processor):
    """Keeps the visitors of the assigned partitions.

    :param state: reads the state topic when a partition is assigned.
    """

    def __init__(self, settings: StageSettings, state: StateReader) -> None:
        assert settings.analytics
        assert settings.output_topic
        assert settings.state_topic
        self._settings = settings
        self._spec = settings.analytics
        self._state = state
        self._output, self._state_topic = settings.output_topic, settings.state_topic
        self._partitions: dict[int, tuple[PartitionVisitors, StatePartition]] = {}

    def assigned(self, topic: str, partition: int, note: dict[str, int]) -> None:
        """Read the partition's visitors back."""
        settings = self._settings
        visitors = PartitionVisitors(settings.pipeline, self._spec, settings.sessions, note)
        kept = StatePartition(self._state, self._state_topic, partition, note)
        for state in kept.read():
            visitors.restore(state)
        self._partitions[partition] = visitors, kept

    def revoked(self, topic: str, partition: int) -> None:
        """Forget the partition's visitors; its next owner reads them back."""
        self._partitions.pop(partition, None)

    def process(self, chunk: Chunk) -> Outcome:
        """Add the session records of a chunk to their visitors."""
        counts = Counts(received=len(chunk.offsets))
        records: list[Record] = []
        visitors, _ = self._partitions[chunk.partition]
        add, bots = visitors.add, self._spec.bots
        for position, value in enumerate(chunk.values):
            if value is None:
                # The erasure of a visitor: see docs/erasure.md.
                if sought := chunk.keys[position]:
                    visitors.forget(sought.decode("utf-8", "replace"))
                counts.drop("tombstone")
                continue
            try:
                key, visit, path = read_record(value, bots=bots)
            except Exception as error:
                counts.failed += 1
                records.append(failed(self._settings, chunk, position, error))
                continue
            reason = add(key, visit, path)
            if reason is None:
                counts.delivered += 1
            else:
                counts.drop(reason)
        return Outcome(counts, records)

    def flush(self, topic: str, partition: int) -> Flush:
        """Documents and changed state since the last commit."""
        visitors, kept = self._partitions[partition]
        made = visitors.commit()
        records = [Record(self._output, key, value) for key, value in made.documents]
        records += kept.records(made.state)
        return Flush(records, len(made.documents), kept.note(visitors.note()))

    def status(self) -> StageStatus:
        """How many visitors are remembered."""
        return StageStatus(visitors=sum(each.size for each, _ in self._partitions.values()))
