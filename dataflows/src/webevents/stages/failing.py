"""Sending a message to failed events; the same for every stage."""

import time

from webevents.events.event import InvalidEvent
from webevents.events.failed import failed_record
from webevents.stages.chunk import Chunk, Record
from webevents.stages.settings import StageSettings


def failed(settings: StageSettings, chunk: Chunk, position: int, error: InvalidEvent) -> Record:
    """The record that keeps a message of the chunk among the failed events, with the reason."""
    value = failed_record(
        error,
        pipeline=settings.pipeline,
        stage=settings.stage,
        topic=chunk.topic,
        partition=chunk.partition,
        offset=chunk.offsets[position],
        key=chunk.keys[position],
        value=chunk.values[position] or b"",
        now_us=time.time_ns() // 1000,
    )
    return Record(settings.failed_topic, chunk.keys[position], value)
