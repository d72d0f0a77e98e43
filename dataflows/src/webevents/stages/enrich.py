"""The enrich stage: raw events in, checked and enriched events out."""

from collections import Counter
from typing import Any

from webevents.events.event import EventDecoder, InvalidEvent, event_time_us
from webevents.events.key import key_reader
from webevents.events.ledger import Counts
from webevents.events.times import to_us
from webevents.logic.clock import clamp, is_ahead
from webevents.logic.enrich.enricher import Enricher
from webevents.stages.chunk import Chunk, Outcome, Processor, Record
from webevents.stages.failing import failed
from webevents.stages.settings import StageSettings
from webevents.stages.task import MAX_VALUE_BYTES


class EnrichProcessor(Processor):
    """Checks each event, adds what can be known about it, and gives it the session key.

    :param enricher: made from ``settings.enrich``.
    """

    def __init__(self, settings: StageSettings, enricher: Enricher) -> None:
        assert settings.output_topic
        assert settings.enrich
        self._settings = settings
        self._enricher = enricher
        self._topic = settings.output_topic
        key_fields = settings.sessions.key
        self._decode = EventDecoder(extra=key_fields).decode
        self._key_of = key_reader(key_fields)
        # Where enriching changes a field of the key, the key is that of the result, so that a
        # hashed identifier does not appear in clear as the key.
        self._rekey = self._enricher.changes(key_fields)
        self._max_bytes = settings.events.max_bytes
        self._max_ahead_us = to_us(settings.events.max_ahead)
        self._clamp = settings.events.on_future == "clamp"

    def process(self, chunk: Chunk) -> Outcome:
        """Enrich the events of a chunk; what cannot be used becomes a failed event."""
        counts = Counts(received=len(chunk.offsets))
        records: list[Record] = []
        types: list[str] = []
        topic = self._topic
        for position, value in enumerate(chunk.values):
            if value is None:
                counts.drop("tombstone")
                continue
            try:
                key, enriched, event_type = self._one(value, chunk.timestamps[position])
            except Exception as error:
                counts.failed += 1
                records.append(failed(self._settings, chunk, position, error))
            else:
                records.append(Record(topic, key, enriched))
                types.append(event_type)
        counts.delivered = len(records) - counts.failed
        return Outcome(counts, records, emitted=counts.delivered, types=Counter(types))

    def _one(self, value: bytes, record_ms: int) -> tuple[str | None, bytes, str]:
        if len(value) > self._max_bytes:
            raise InvalidEvent("too_large", f"{len(value)} bytes; spec.events.maxBytes is less")
        event: Any = self._decode(value)
        if is_ahead(event_time_us(event), record_ms, self._max_ahead_us):
            if not self._clamp:
                raise InvalidEvent("timestamp_in_future", "event_timestamp is ahead of the record")
            value = clamp(value, record_ms)
            event = self._decode(value)
        enriched = self._enricher.enrich(value, event)
        key = self._key_of(self._decode(enriched) if self._rekey else event)
        if len(enriched) > MAX_VALUE_BYTES:
            raise InvalidEvent(
                "too_large", f"{len(enriched)} bytes when enriched; a message takes no more"
            )
        return key, enriched, event.event_type


def make_enrich(settings: StageSettings) -> EnrichProcessor:
    """Make the processor with what it reads from files.

    :raises UserError: when the hash key or the geo database cannot be read.
    """
    assert settings.enrich
    return EnrichProcessor(settings, Enricher(settings.enrich))
