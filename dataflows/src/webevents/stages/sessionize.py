"""The sessionize stage: enriched events in, session records out, open sessions kept in Kafka."""

import time

from webevents.events.event import InvalidEvent
from webevents.events.ledger import Counts
from webevents.events.times import to_us
from webevents.logic.clock import is_ahead
from webevents.logic.sessions.record import entry_reader
from webevents.logic.sessions.tracker import PartitionSessions
from webevents.stages.chunk import Chunk, Flush, Outcome, Processor, Record, StageStatus
from webevents.stages.failing import failed
from webevents.stages.settings import StageSettings
from webevents.stages.state import StatePartition, StateReader


class _Partition:
    """One partition's sessions and the times at which something was last done for them."""

    def __init__(self, sessions: PartitionSessions, state: StatePartition) -> None:
        self.sessions = sessions
        self.state = state
        self.last_event = self.last_published = self.last_idle = time.monotonic()
        self.forgotten: dict[bytes, None] = {}
        """Visitors that the analyze stage is to forget too, since the last commit."""


class SessionizeProcessor(Processor):
    """Keeps the sessions of the assigned partitions.

    :param state: reads the state topic when a partition is assigned.
    """

    def __init__(self, settings: StageSettings, state: StateReader) -> None:
        assert settings.output_topic
        assert settings.state_topic
        self._settings = settings
        self._spec = settings.sessions
        self._state = state
        self._output, self._state_topic = settings.output_topic, settings.state_topic
        self._read = entry_reader(self._spec, settings.analytics)
        self._partitions: dict[int, _Partition] = {}
        self._max_ahead_us = to_us(settings.events.max_ahead)
        self._publish_every = self._spec.publish_open_every.total_seconds()
        self._idle_timeout = self._spec.idle_timeout.total_seconds()

    def assigned(self, topic: str, partition: int, note: dict[str, int]) -> None:
        """Read the partition's open sessions back."""
        sessions = PartitionSessions(
            self._settings.pipeline, self._spec, note, self._settings.analytics
        )
        kept = StatePartition(self._state, self._state_topic, partition, note)
        for state in kept.read():
            sessions.restore(state)
        self._partitions[partition] = _Partition(sessions, kept)

    def revoked(self, topic: str, partition: int) -> None:
        """Forget the partition's sessions; its next owner reads them back."""
        self._partitions.pop(partition, None)

    def process(self, chunk: Chunk) -> Outcome:
        """Add the events of a chunk to their sessions."""
        counts = Counts(received=len(chunk.offsets))
        records: list[Record] = []
        partition = self._partitions[chunk.partition]
        add, read = partition.sessions.add, self._read
        for position, value in enumerate(chunk.values):
            record_ms = chunk.timestamps[position]
            try:
                if value is None:
                    # The erasure of a visitor: see docs/erasure.md.
                    if sought := chunk.keys[position]:
                        partition.sessions.forget(sought.decode("utf-8", "replace"), record_ms)
                        if self._settings.analytics:
                            partition.forgotten[sought] = None
                    counts.drop("tombstone")
                    continue
                key, entry = read(value)
                if is_ahead(entry.time_us, record_ms, self._max_ahead_us):
                    raise InvalidEvent("timestamp_in_future", "event_timestamp is ahead")
            except Exception as error:
                counts.failed += 1
                records.append(failed(self._settings, chunk, position, error))
                continue
            reason = "no_session_key" if key is None else add(key, entry, record_ms)
            if reason is None:
                counts.delivered += 1
            else:
                counts.drop(reason)
        partition.last_event = time.monotonic()
        return Outcome(counts, records)

    def flush(self, topic: str, partition: int) -> Flush:
        """Session records and changed state since the last commit."""
        known = self._partitions[partition]
        sessions = known.sessions
        now = time.monotonic()
        idle = now - known.last_event
        if idle >= self._idle_timeout and now - known.last_idle >= 1:
            known.last_idle = now
            sessions.idle(round(idle * 1e6))
        publish_open = now - known.last_published >= self._publish_every
        if publish_open:
            known.last_published = now
        made = sessions.commit(publish_open=publish_open)
        records = [Record(self._output, key, value) for key, value in made.sessions]
        records += [Record(self._output, key, None) for key in known.forgotten]
        emitted = len(records)
        known.forgotten.clear()
        records += known.state.records(made.state)
        return Flush(records, emitted, known.state.note(sessions.note()))

    def status(self) -> StageStatus:
        """How many sessions are in memory."""
        return StageStatus(open_sessions=sum(p.sessions.size for p in self._partitions.values()))

    def leaving(self, topic: str, partition: int) -> None:
        """Have the last commit of a partition publish its open sessions too."""
        self._partitions[partition].last_published = float("-inf")

    def stopping(self) -> None:
        """Have the last commit publish open sessions too, whatever the interval."""
        for partition in self._partitions.values():
            partition.last_published = float("-inf")
