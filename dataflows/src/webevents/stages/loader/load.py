"""Loading one object after the other: rows and the note of it in one transaction of PostgreSQL.

A crash between any two steps loses and doubles nothing. What was loaded is known from
``loaded_objects``, which the rows' own transaction writes: as ranges of offsets, so that an object
that is written again, longer or under another name, brings only what is new. An object is removed
after that commit, and only while it is still the one that was read.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

import structlog
from psycopg import Connection
from psycopg.rows import TupleRow

from webevents.connectors.s3 import ObjectStore, StoredObject, StoreError
from webevents.logic.objects import DamagedObject, ObjectName, read_object, root_of
from webevents.spec.s3 import LoaderSpec
from webevents.stages.loader.rows import Unloaded, make_rows
from webevents.stages.loader.statements import Loaded, Statements

log = structlog.get_logger()

LIST_ALL_UP_TO = 10_000
"""Objects that are listed in each round; of a larger archive only the last hours' are, and all of
them now and then."""
LIST_ALL_EVERY_S = 600.0
RECENT = timedelta(hours=3)
_PAGE = 1_000


@dataclass(slots=True)
class Round:
    """What one round did."""

    objects: int = 0
    """Objects that were loaded."""
    records: int = 0
    """Messages in them that were not loaded before."""
    removed: int = 0
    damaged: int = 0
    """Objects that could not be read; they stay where they are."""

    @property
    def idle(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.objects or self.removed)


class Loader:
    """Loads a pipeline's objects.

    :param connection: see :func:`webevents.connectors.postgres.connect`; its tables are there.
    :param on_step: told of each step by name; a test stops the loader there.
    """

    def __init__(
        self,
        pipeline: str,
        prefix: str,
        spec: LoaderSpec,
        store: ObjectStore,
        connection: Connection[TupleRow],
        *,
        statement_timeout_s: float = 60.0,
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._spec = spec
        self._root = root_of(prefix, pipeline)
        self._store = store
        self._connection = connection
        self._statements = Statements(pipeline, spec, statement_timeout_s)
        self._step = on_step or (lambda _name: None)
        self._known: dict[str, str] = {}
        """ETags of objects that are loaded, of those that were listed last."""
        self._listed_all = -LIST_ALL_EVERY_S
        self._many = False
        self._told: set[str] = set()
        self.waiting = 0
        """Objects that were found and are not loaded yet."""

    def round(self, stop: Callable[[], bool] = lambda: False) -> Round:
        """Load what is new.

        :param stop: asked between objects.
        :raises StoreError: when the object store does not do what it is asked.
        :raises psycopg.Error: when PostgreSQL does not.
        """
        done = Round()
        self.waiting = 0
        known: dict[str, str] = {}
        for listed, name, loaded_etag in self._listing():
            if stop():
                known |= self._known
                break
            etag = loaded_etag
            if etag != listed.etag:
                etag = self._load(listed.key, name, done)
                self.waiting -= 1
            if etag is None:
                continue
            if self._spec.delete_objects:
                self._remove(listed.key, etag, done)
            else:
                known[listed.key] = etag
        recent = self._recent() if self._many else ""
        self._known = {key: etag for key, etag in known.items() if key >= recent}
        return done

    def _listing(self) -> Iterator[tuple[StoredObject, ObjectName, str | None]]:
        """The pipeline's objects, each with the ETag that it had when it was loaded."""
        after = f"{self._root}/"
        now = time.monotonic()
        every = not self._many or now - self._listed_all >= LIST_ALL_EVERY_S
        if not every:
            after = self._recent()
        count = 0
        objects = self._store.list(f"{self._root}/", after)
        self._step("listing")
        while page := list(islice(objects, _PAGE)):
            count += len(page)
            new = [each.key for each in page if each.key not in self._known]
            loaded = self._statements.etags(self._connection, new) if new else {}
            found = [
                (each, name, self._known.get(each.key) or loaded.get(each.key))
                for each in page
                if (name := ObjectName.parse(each.key, self._root))  # else it is somebody else's
            ]
            self.waiting += sum(each.etag != etag for each, _, etag in found)
            yield from found
        if every:
            self._listed_all, self._many = now, count > LIST_ALL_UP_TO

    def _recent(self) -> str:
        """What the names of the last hours' objects are behind."""
        return f"{self._root}/{(datetime.now(UTC) - RECENT).strftime('%Y/%m/%d/%H')}"

    def _load(self, key: str, name: ObjectName, done: Round) -> str | None:
        """Load an object.

        :returns: the ETag of what was loaded; None where it is gone or cannot be read.
        """
        try:
            body, etag = self._store.get(key)
        except StoreError as error:
            if error.absent:
                return None
            raise
        self._step("read")
        try:
            with self._connection.transaction():
                done.records += self._write(key, etag, name, body)
        except DamagedObject as error:
            done.damaged += 1
            if key not in self._told:
                self._told.add(key)
                log.error("the object is damaged and stays", key=key, error=str(error))
            return None
        self._step("committed")
        done.objects += 1
        return etag

    def _write(self, key: str, etag: str, name: ObjectName, body: bytes) -> int:
        """Write what is new of an object, in a transaction that is under way.

        :returns: number of messages that are new.
        :raises DamagedObject: when it cannot be read.
        """
        statements, connection = self._statements, self._connection
        statements.begin(connection)
        ranges = statements.ranges(connection, name)
        unloaded = Unloaded(read_object(body, name.format), ranges)
        rows = make_rows(unloaded, self._pipeline, self._spec.scroll_types)
        self._step("transaction")
        statements.insert_events(connection, rows)
        self._step("events")
        statements.add_scrolls(connection, rows)
        self._step("scrolls")
        statements.insert_failures(connection, rows)
        behind = max(unloaded.behind, name.first)
        statements.note(connection, Loaded(key, etag, name, behind), rows)
        self._step("noted")
        if unloaded.skipped:
            log.warning(
                "messages of these offsets are loaded already; of a topic that was made anew, load "
                "into another schema or pipeline",
                key=key,
                messages=unloaded.skipped,
            )
        return rows.records

    def _remove(self, key: str, etag: str, done: Round) -> None:
        """Remove an object whose rows are committed, unless it was written anew meanwhile."""
        now = self._store.etag(key)
        self._step("checked")
        if now == etag:
            self._store.delete([key])
            done.removed += 1
            self._step("removed")
