"""From failed events to the documents that tell of them."""

import msgspec

from webevents.events.event import InvalidEvent
from webevents.events.failed import FailedEvent, decode_failed
from webevents.logic.documents import DailyIndex, Document

MAX_EVENT_ID = 512
"""Characters of an event's identifier that are kept: it may be anything, also very long."""

_encode = msgspec.json.Encoder().encode


class _Identified(msgspec.Struct):
    event_id: str


_decode_id = msgspec.json.Decoder(_Identified).decode


class FailedDocuments:
    """Builds the documents of failed events, without what the failed message held.

    :param prefix: what the indices' names begin with.
    """

    def __init__(self, prefix: str) -> None:
        self._index = DailyIndex(prefix)

    def build(self, raw: bytes, partition: int, offset: int) -> Document:
        """Make the document of one failed event; the same one however often it comes.

        :param raw: the message's value.
        :param partition: the message's own, in the topic of failed events; so is the offset.
        :raises webevents.events.event.InvalidEvent: when it is no failed event.
        """
        try:
            failed = decode_failed(raw)
        except msgspec.ValidationError as error:
            raise InvalidEvent("wrong_type", str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidEvent("invalid_json", "not one JSON object in UTF-8") from None
        index = self._index.of(failed.failed_at)
        if index is None:
            raise InvalidEvent("invalid_timestamp", "failed_at is not a time")
        event_id = _event_id(failed)
        told = {
            "failed_at": failed.failed_at,
            "pipeline": failed.pipeline,
            "stage": failed.stage,
            "reason": failed.reason,
            "detail": failed.detail,
            "topic": failed.topic,
            "partition": failed.partition,
            "offset": failed.offset,
            "size": failed.size,
            **({"event_id": event_id} if event_id else {}),
        }
        # With the time, because a topic that was made anew begins at offset 0 again.
        return Document(index, f"{partition}@{offset} {failed.failed_at[:40]}", _encode(told))


def _event_id(failed: FailedEvent) -> str | None:
    """The identifier of the event that failed, where it can be read at all."""
    try:
        return _decode_id(failed.original()).event_id[:MAX_EVENT_ID] or None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
