"""Sending a message to failed events; the same for every stage."""

import time
import traceback

import structlog

from webevents.events.event import InvalidEvent
from webevents.events.failed import failed_record
from webevents.stages.chunk import Chunk, Record
from webevents.stages.settings import StageSettings

log = structlog.get_logger()

MAX_KEY_BYTES = 1_000
"""A failed event is small, whatever the message's key was; the key tells its partition only."""


def as_invalid(error: Exception) -> InvalidEvent:
    """Why an event failed; a fault of our own must not stop the others behind it."""
    if isinstance(error, InvalidEvent):
        return error
    # The place and not the message, which may hold a value of the event.
    place = traceback.extract_tb(error.__traceback__)[-1]
    log.error("event failed", error=type(error).__name__, file=place.filename, line=place.lineno)
    return InvalidEvent("internal_error", type(error).__name__)


def failed(settings: StageSettings, chunk: Chunk, position: int, error: Exception) -> Record:
    """The record that keeps a message of the chunk among the failed events, with the reason."""
    value = failed_record(
        as_invalid(error),
        pipeline=settings.pipeline,
        stage=settings.stage,
        topic=chunk.topic,
        partition=chunk.partition,
        offset=chunk.offsets[position],
        key=chunk.keys[position],
        value=chunk.values[position] or b"",
        now_us=time.time_ns() // 1000,
    )
    key = chunk.keys[position]
    return Record(settings.failed_topic, key and key[:MAX_KEY_BYTES], value)
