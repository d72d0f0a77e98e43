"""Uploads from threads of their own, repeated until they are done or given up by a stop."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from webevents.connectors.retrying import LOG_EVERY_S, Backoff, Outage
from webevents.connectors.s3.store import ObjectStore, StoreError

log = structlog.get_logger()

_JOIN_S = 0.5


@dataclass(slots=True)
class Upload:
    """One object on its way; made by :meth:`Uploader.submit`."""

    key: str
    body: bytes
    content_type: str
    metadata: Mapping[str, str]
    _done: threading.Event = field(default_factory=threading.Event)

    def done(self) -> bool:
        """Whether the store has the whole object."""
        return self._done.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is done; False when it was not by then.

        :param timeout: seconds; None waits without end.
        """
        return self._done.wait(timeout)


class Uploader:
    """Writes objects, several at the same time, and never gives one up by itself.

    :param store: where they go; closed by whoever made it.
    :param threads: objects that are under way at the same time.
    :param backoff: waiting times between attempts.
    """

    def __init__(
        self, store: ObjectStore, threads: int = 4, backoff: Backoff | None = None
    ) -> None:
        self._store = store
        self._backoff = backoff or Backoff()
        self._queue: deque[Upload] = deque()
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._troubles: dict[int, Outage] = {}
        self._logged = 0.0
        self.repeated = 0
        """Attempts that were made again."""
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"upload-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, key: str, body: bytes, content_type: str, metadata: Mapping[str, str] | None = None
    ) -> Upload:
        """Hand an object over; returns at once, however long the store takes.

        :raises RuntimeError: when the uploader is closed.
        """
        upload = Upload(key, body, content_type, metadata or {})
        with self._changed:
            if self._closed.is_set():
                raise RuntimeError("the uploader is closed")
            self._queue.append(upload)
            self._changed.notify()
        return upload

    @property
    def outage(self) -> Outage | None:
        """The longest trouble of an upload that waits to be repeated; None where all goes well."""
        return min(list(self._troubles.values()), key=lambda each: each.since, default=None)

    def close(self) -> None:
        """Give up what is under way, within about a second also in an outage."""
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
        while (upload := self._take()) is not None:
            self._deliver(upload, number)

    def _take(self) -> Upload | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed.is_set())
            return None if self._closed.is_set() else self._queue.popleft()

    def _deliver(self, upload: Upload, number: int) -> None:
        attempt = 0
        while not self._closed.is_set():
            try:
                self._store.put(upload.key, upload.body, upload.content_type, upload.metadata)
            except StoreError as error:
                self._note(number, str(error), error.needs_a_person)
            except Exception as error:
                # A thread that dies would leave its objects waiting in silence.
                log.exception("upload")
                self._note(number, type(error).__name__, False)
            else:
                self._troubles.pop(number, None)
                upload.body = b""
                upload._done.set()
                return
            if self._closed.wait(self._backoff.wait(attempt)):
                return
            attempt += 1
            self.repeated += 1

    def _note(self, number: int, error: str, needs_a_person: bool) -> None:
        known = self._troubles.get(number)
        now = time.time()
        self._troubles[number] = (
            Outage(known.since, error, known.attempts + 1) if known else Outage(now, error, 1)
        )
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            say = log.error if needs_a_person else log.warning
            say("the object store takes nothing, trying again", error=error)
