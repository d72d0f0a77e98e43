"""Writing documents in bulk: several requests under way, repeated until they are answered.

Nothing is ever given up for want of an answer: an outage lasts until it ends, or the writer is
closed. What the destination refuses for good is reported per document.
"""

import gc
import gzip
import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import chain

import structlog
from elastic_transport import TransportError

from webevents.connectors.elasticsearch.actions import bulk_line
from webevents.connectors.elasticsearch.client import SearchClient, transport_of
from webevents.connectors.elasticsearch.responses import (
    REFUSED_REQUESTS,
    RESPONSE_FILTER,
    ItemError,
    error_type,
    read_answer,
)
from webevents.connectors.elasticsearch.submission import BulkHandle, Part, cut, halves, settle
from webevents.connectors.retrying import LOG_EVERY_S, Backoff, Outage
from webevents.logic.documents import Document

log = structlog.get_logger()

_TARGET = f"/_bulk?filter_path={RESPONSE_FILTER}"
_HEADERS = {
    "Elasticsearch": {
        "accept": "application/vnd.elasticsearch+json; compatible-with=9",
        "content-type": "application/vnd.elasticsearch+x-ndjson; compatible-with=9",
    },
    "OpenSearch": {"accept": "application/json", "content-type": "application/x-ndjson"},
}
_COMPRESSION_LEVEL = 1
_JOIN_S = 0.5
_LEAST_BYTES = 10_000


class BulkWriter:
    """Sends documents in bulk requests from threads of its own.

    :param client: made by :func:`webevents.connectors.elasticsearch.connect`.
    :param max_in_flight: requests that are under way at the same time.
    :param max_bytes: size of a request's body before compression; what waits is put together up
        to it, and a larger submission is cut. A single document may be larger.
    :param max_documents: documents in a request.
    :param compression: whether bodies are compressed.
    :param backoff: waiting times between attempts.
    """

    def __init__(
        self,
        client: SearchClient,
        *,
        max_in_flight: int = 2,
        max_bytes: int = 5_000_000,
        max_documents: int = 5_000,
        compression: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        self._transport = transport_of(client)
        self._max_bytes = max_bytes
        self._max_documents = max_documents
        self._headers = dict(_HEADERS[self._transport.product])
        if compression:
            self._headers["content-encoding"] = "gzip"
        self._compression = compression
        self._backoff = backoff or Backoff()
        self._queue: deque[Part] = deque()
        self._changed = threading.Condition()
        self._busy = 0
        self._closed = threading.Event()
        self._troubles: dict[int, Outage] = {}
        self._logged = 0.0
        self.repeated = 0
        """Documents that were sent again, counted each time."""
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"bulk-{number}", daemon=True)
            for number in range(max_in_flight)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, documents: Sequence[Document]) -> BulkHandle:
        """Hand documents over; returns at once, however long the destination takes.

        The caller bounds what is under way: all of it stays in memory until it is answered for.
        Documents of the same identifier may overtake each other; give them versions where the
        order matters.

        :raises RuntimeError: when the writer is closed.
        """
        handle = BulkHandle([bulk_line(document) for document in documents])
        parts = cut(handle, self._max_bytes, self._max_documents)
        with self._changed:
            if self._closed.is_set():
                raise RuntimeError("the bulk writer is closed")
            self._queue.extend(parts)
            self._changed.notify(len(parts))
        return handle

    @property
    def outage(self) -> Outage | None:
        """The longest trouble of a request that waits to be repeated; None where all goes well."""
        return min(list(self._troubles.values()), key=lambda each: each.since, default=None)

    def close(self, *, cancel: bool = True, timeout: float = 30.0) -> None:
        """Stop; returns within about a second where ``cancel`` is true, also in an outage.

        :param cancel: give up what is not answered for: its handles may never become done.
        :param timeout: seconds to wait for the answers where ``cancel`` is false.
        """
        if not cancel:
            with self._changed:
                self._changed.wait_for(lambda: not self._queue and not self._busy, timeout)
        self._closed.set()
        with self._changed:
            self._queue.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads:
            # One that waits for an answer is left behind; it ends with its request or the process.
            thread.join(max(0.0, deadline - time.monotonic()))

    # What the threads do.

    def _run(self, number: int) -> None:
        while parts := self._take():
            self._deliver(parts, number)
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _take(self) -> list[Part]:
        """Wait for parts and take as many as fit into one request; none once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed.is_set())
            if self._closed.is_set():
                return []
            self._busy += 1
            taken = [self._queue.popleft()]
            size, count = taken[0].size, len(taken[0].positions)
            while self._queue:
                size += self._queue[0].size
                count += len(self._queue[0].positions)
                if size > self._max_bytes or count > self._max_documents:
                    break
                taken.append(self._queue.popleft())
            return taken

    def _deliver(self, parts: list[Part], number: int) -> None:
        """Send parts until each document is answered for, or the writer is closed."""
        attempt = 0
        while parts and not self._closed.is_set():
            parts, trouble = self._attempt(parts, number)
            if trouble is None:
                continue
            self._note(number, trouble)
            # The client's errors are cycles that hold the request's body, megabytes each. Workers
            # collect cycles rarely (see stages/worker.py): in an outage these were hundreds of MB.
            gc.collect(1)
            if self._closed.wait(self._backoff.wait(attempt)):
                return
            attempt += 1
            self.repeated += sum(len(part.positions) for part in parts)
        self._troubles.pop(number, None)

    def _attempt(self, parts: list[Part], number: int) -> tuple[list[Part], str | None]:
        """Send parts once.

        :returns: what is to be sent again, and why.
        """
        try:
            status, answer = self._post(b"".join(chain.from_iterable(p.lines() for p in parts)))
        except TransportError as error:
            return parts, f"{type(error).__name__}: {error.message}"[:300]
        except Exception as error:
            # A thread that dies would leave its documents waiting in silence.
            log.exception("bulk request")
            return parts, type(error).__name__
        if status == 200:
            try:
                read = read_answer(answer, sum(len(part.positions) for part in parts))
            except ValueError as error:
                return parts, str(error)
            return settle(parts, read), read.trouble
        kind = error_type(answer)
        if status != 413 and not (status == 400 and kind in REFUSED_REQUESTS):
            return parts, f"status {status} {kind}".rstrip()
        self._split(parts, status, kind or "content_too_long", number)
        return [], None

    def _post(self, body: bytes) -> tuple[int, bytes]:
        if self._compression:
            body = gzip.compress(body, _COMPRESSION_LEVEL)
        return self._transport.post(_TARGET, body, self._headers)

    def _split(self, parts: list[Part], status: int, kind: str, number: int) -> None:
        """Send a refused request's documents in two halves; a single one has failed."""
        both = halves(parts)
        if both is None:
            (part,) = parts
            reason = "too large for a request" if status == 413 else "no request can hold it"
            error = ItemError(part.positions[0], status, kind, reason)
            part.handle.settle(1, [error])
            return
        if status == 413:
            size = sum(part.size for part in parts)
            self._max_bytes = max(_LEAST_BYTES, min(self._max_bytes, size // 2))
        for half in both:
            self._deliver(half, number)

    def _note(self, number: int, error: str) -> None:
        known = self._troubles.get(number)
        now = time.time()
        self._troubles[number] = (
            Outage(known.since, error, known.attempts + 1) if known else Outage(now, error, 1)
        )
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            say = log.error if "status 401" in error or "status 403" in error else log.warning
            say(f"{self._transport.product} takes no documents, trying again", error=error)
