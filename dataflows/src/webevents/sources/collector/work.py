"""The work of one request: from its batch to messages, and what becomes of each event."""

import msgspec

from webevents.events.event import InvalidEvent
from webevents.events.failed import failed_record
from webevents.sources.collector.draft import Batch, Outcome
from webevents.sources.collector.facts import Facts
from webevents.sources.collector.finish import Finisher
from webevents.sources.collector.metrics import STAGE
from webevents.sources.collector.plain import Broken
from webevents.sources.collector.privacy import Handling
from webevents.sources.collector.routes import Route
from webevents.sources.collector.settings import CollectorSettings
from webevents.sources.collector.spool import Message


class Work:
    """Makes the messages of a request.

    :param body: decompressed.
    :param query: the URL's query.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        finisher: Finisher,
        route: Route,
        facts: Facts,
        body: bytes,
        query: str,
    ) -> None:
        self._settings = settings
        self._finisher = finisher
        self._protocol = route.protocol
        self._facts = facts
        self._body = body
        self._query = query
        self.messages: list[Message] = []
        self.outcome = Outcome()
        self.opted_out = 0
        """Events that are left out because their visitors want it."""
        self.uses_cookie = False
        """Whether an event has the identifier of the collector's own cookie."""

    def take(self, batch: Batch) -> None:
        """Take a batch that can be read."""
        if self._facts.handling is Handling.DROP:
            self.opted_out = len(batch.items)
            return
        for index, item in enumerate(batch.items):
            try:
                self._take(item, batch)
            except InvalidEvent as error:
                # The item was taken apart: what came is read again, which happens rarely.
                several = len(batch.items) > 1
                self.fail(index, error, self._original(index) if several else self._whole())

    def take_unreadable(self, error: InvalidEvent) -> None:
        """Take a request of which nothing can be read: one failed event."""
        if self._facts.handling is Handling.DROP:
            self.opted_out = 1
        else:
            self.fail(0, error, self._whole())

    def _take(self, item: object, batch: Batch) -> None:
        if not isinstance(item, dict):
            raise InvalidEvent("invalid_json", "an event is not one JSON object in UTF-8")
        facts, finisher = self._facts, self._finisher
        draft = self._protocol.draft(item, batch)
        handling = finisher.handling(draft.consent, facts)
        if handling is Handling.DROP:
            self.opted_out += 1
            return
        finished = finisher.finish(draft, facts, self._protocol, handling)
        self._add(self._settings.topic, finished.key, finished.value)
        self.outcome.accepted += 1
        self.uses_cookie |= finished.own_visitor

    def fail(self, index: int, error: InvalidEvent, payload: bytes) -> None:
        """Add a failed event; its payload is left out where it may not be kept."""
        self.outcome.failed.append({"index": index, "reason": error.reason, "detail": error.detail})
        if not self._finisher.may_keep_unread(self._facts):
            payload = b""
            error = InvalidEvent(error.reason, f"{error.detail} (payload not kept)")
        record = failed_record(
            error,
            pipeline=self._settings.pipeline,
            stage=STAGE,
            topic=f"http:{self._protocol.name}",
            partition=-1,
            offset=-1,
            key=None,
            value=payload,
            now_us=self._facts.received_us,
        )
        self._add(self._settings.failed_topic, None, record)

    def _add(self, topic: str, key: bytes | None, value: bytes) -> None:
        self.messages.append(Message(topic, key, value, self._facts.received_us // 1000))

    def _whole(self) -> bytes:
        return self._body or self._query.encode("utf-8", "replace")

    def _original(self, index: int) -> bytes:
        item = self._protocol.batch(self._body, self._query).items[index]
        return item.line if isinstance(item, Broken) else msgspec.json.encode(item)
