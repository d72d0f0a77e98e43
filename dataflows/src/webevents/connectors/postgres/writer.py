"""Writing rows in batches: one transaction and one UPSERT per table, repeated until it commits.

Nothing is ever given up for want of an answer: an outage lasts until it ends, or the writer is
closed. What PostgreSQL refuses because of a row is narrowed down to that row and reported.

A batch may be written twice: when the answer to its commit was lost, after a crash, or by a worker
that has lost its partitions without knowing yet. Rows have keys and versions, so that the second
time changes nothing; and writers of the same source wait for each other, so that one that is behind
sees what the other has retracted.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence

import psycopg
import structlog
from psycopg import Connection
from psycopg.rows import TupleRow

from webevents.connectors.postgres.client import connect
from webevents.connectors.postgres.errors import (
    describe,
    describe_row_error,
    is_refusal,
    is_row_error,
)
from webevents.connectors.postgres.schema import ensure_tables
from webevents.connectors.postgres.statements import (
    LOCK,
    SETTINGS,
    TableStatements,
    gather,
    lock_key,
    remember_retracted,
)
from webevents.connectors.postgres.submission import Item, Part, RowError, StoreHandle, cut, halves
from webevents.connectors.retrying import LOG_EVERY_S, Backoff, Outage
from webevents.errors import UserError
from webevents.logic.rows.tables import Table
from webevents.spec.postgres import PostgresSpec

log = structlog.get_logger()

_JOIN_S = 0.5


class PostgresWriter:
    """Writes rows from a thread of its own.

    :param spec: how to reach the database.
    :param tables: those that rows are written to; made or moved forward at each connection.
    :param schema: where they are.
    :param views: whether the views of the named queries are made too.
    :param max_rows: items in a transaction; what waits is put together up to it.
    :param max_bytes: bytes of the rows in a transaction; a single item may be larger.
    :param name: how the server's own lists call the connection.
    :param backoff: waiting times between attempts.
    """

    def __init__(
        self,
        spec: PostgresSpec,
        tables: Sequence[Table],
        *,
        schema: str = "public",
        views: bool = True,
        max_rows: int = 10_000,
        max_bytes: int = 16_000_000,
        name: str = "webevents",
        backoff: Backoff | None = None,
    ) -> None:
        self._spec = spec
        self._tables = list(tables)
        self._schema = schema
        self._views = views
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._name = name
        self._backoff = backoff or Backoff()
        self._statements = {table.name: TableStatements(table, schema) for table in tables}
        self._remember_retracted = remember_retracted(schema)
        self._settings = {
            "statement_ms": str(round(spec.statement_timeout.total_seconds() * 1000)),
            "lock_ms": str(round(spec.statement_timeout.total_seconds() * 500)),
        }
        self._connection: Connection[TupleRow] | None = None
        self._queue: deque[Part] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._closed = threading.Event()
        self._logged = 0.0
        self.outage: Outage | None = None
        """The trouble of the batch that waits to be repeated; None where all goes well."""
        self.repeated = 0
        """Items that were sent again, counted each time."""
        self._thread = threading.Thread(target=self._run, name="postgres", daemon=True)
        self._thread.start()

    def submit(self, items: Sequence[Item], source: str | None = None) -> StoreHandle:
        """Hand the rows of messages over; returns at once, however long the database takes.

        The caller bounds what is under way: all of it stays in memory until it is answered for.
        Submissions are written in their order.

        :param source: where they come from, such as a partition: of several writers, in any
            process, only one at a time writes rows of the same source. Needed where rows can be
            retracted.
        :raises RuntimeError: when the writer is closed.
        """
        handle = StoreHandle(len(items))
        lock = None if source is None else lock_key(source)
        parts = cut(handle, items, lock, self._max_rows, self._max_bytes)
        with self._changed:
            if self._closed.is_set():
                raise RuntimeError("the writer is closed")
            self._queue.extend(parts)
            self._changed.notify_all()
        return handle

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
        # One that waits for an answer is left behind; it ends with its statement or the process.
        self._thread.join(_JOIN_S)

    # What the thread does.

    def _run(self) -> None:
        while parts := self._take():
            self._deliver(parts)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        self._disconnect()

    def _take(self) -> list[Part]:
        """Wait for parts and take as many as fit into one transaction; none once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed.is_set())
            if self._closed.is_set():
                return []
            self._busy = True
            taken = [self._queue.popleft()]
            size, count = taken[0].size, len(taken[0].items)
            while self._queue:
                size += self._queue[0].size
                count += len(self._queue[0].items)
                if size > self._max_bytes or count > self._max_rows:
                    break
                taken.append(self._queue.popleft())
            return taken

    def _deliver(self, parts: list[Part]) -> None:
        """Write parts until each item is answered for, or the writer is closed."""
        attempt = 0
        while not self._closed.is_set():
            connected = False
            try:
                connection = self._connected()
                connected = True
                self._write(connection, parts)
            except Exception as error:
                if connected and is_row_error(error):
                    assert isinstance(error, psycopg.Error)
                    self._narrow(parts, error)
                    return
                # Whatever it was, a new connection finds the server that takes writes now.
                self._disconnect()
                self._note(error)
            else:
                self.outage = None
                for part in parts:
                    part.handle.settle(len(part.items))
                return
            if self._closed.wait(self._backoff.wait(attempt)):
                return
            attempt += 1
            self.repeated += sum(len(part.items) for part in parts)

    def _narrow(self, parts: list[Part], error: psycopg.Error) -> None:
        """Write what was refused in two halves; a single item has failed."""
        self.outage = None
        if sum(len(part.items) for part in parts) > 1:
            for half in halves(parts):
                self._deliver(half)
            return
        (part,) = parts
        part.handle.settle(1, [RowError(part.first, describe_row_error(error))])

    def _write(self, connection: Connection[TupleRow], parts: list[Part]) -> None:
        """Write parts in one transaction."""
        batches = gather(item for part in parts for item in part.items)
        if not batches:
            return
        locks = sorted({part.lock for part in parts if part.lock is not None})
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(SETTINGS, self._settings)
            if locks:
                cursor.execute(LOCK, (locks,))
            if retracted := {pair for batch in batches.values() for pair in batch.retracted}:
                keys, versions = zip(*sorted(retracted), strict=True)
                remember, forget = self._remember_retracted
                cursor.execute(remember, (list(keys), list(versions)))
                cursor.execute(forget)
            for name, statements in self._statements.items():
                batch = batches.get(name)
                if batch is None:
                    continue
                if batch.retracted:
                    keys, versions = zip(*sorted(batch.retracted), strict=True)
                    cursor.execute(statements.delete, (list(keys), list(versions)))
                if batch.lines:
                    cursor.execute(statements.stage)
                    with cursor.copy(statements.copy) as copy:
                        copy.write(b"".join(batch.lines))
                    cursor.execute(statements.upsert)

    def _connected(self) -> Connection[TupleRow]:
        if self._connection is None:
            connection = connect(self._spec, self._name)
            try:
                made = ensure_tables(connection, self._tables, self._schema, views=self._views)
            except BaseException:
                connection.close()
                raise
            for line in made:
                log.info("tables", made=line)
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _note(self, error: Exception) -> None:
        if isinstance(error, psycopg.Error):
            said = describe(error)
        else:
            said = str(error) if isinstance(error, UserError) else type(error).__name__
        known, now = self.outage, time.time()
        self.outage = (
            Outage(known.since, said, known.attempts + 1) if known else Outage(now, said, 1)
        )
        if not isinstance(error, psycopg.Error | UserError):
            # A fault of our own: a thread that dies would leave its rows waiting in silence.
            log.error("writing rows", exc_info=error)
        elif now - self._logged >= LOG_EVERY_S:
            self._logged = now
            say = log.error if is_refusal(error) else log.warning
            say("PostgreSQL takes no rows, trying again", error=said)
