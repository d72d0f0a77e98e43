"""Appending rows to a table from a thread of its own, each exactly once.

A transaction holds a batch of rows and the record of how far the replay is (see
:mod:`webevents.connectors.postgres.replays`). One whose answer was lost is tried again, and the
record tells whether it was committed. An outage lasts until it ends. What PostgreSQL refuses
because of a row is narrowed down to that row.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from webevents.connectors.postgres.append_statements import Writing, append_statements
from webevents.connectors.postgres.client import connect
from webevents.connectors.postgres.errors import (
    describe,
    describe_row_error,
    is_outage,
    is_row_error,
)
from webevents.connectors.postgres.replays import Overtaken
from webevents.connectors.postgres.statements import SETTINGS, lock_key
from webevents.connectors.retrying import LOG_EVERY_S, Backoff
from webevents.errors import UserError
from webevents.spec.postgres import PostgresSpec

BATCH_ROWS = 5_000
BATCH_BYTES = 4_000_000
"""What a transaction holds at most; a single row may be larger."""
PENDING = 4
"""How many batches wait at most."""
LINGER_S = 0.1
"""How long a row waits for others to share its transaction."""
LOCKED_S = 5.0
"""How long the connection of a replay that was killed may take to end."""
STOP_S = 10.0
"""How long rows that are under way may still take when it is to stop."""
REFUSED_KEPT = 100
_LOOK_EVERY_S = 0.2
_IN_USE = "55"
"""Class of the error codes of a table that somebody else has locked for long."""

NAME = "webevents replay"
"""How the server's own lists call the connection."""


class Appended(NamedTuple):
    """A row on its way."""

    line: bytes
    """A line of COPY in text format, with its line break."""
    row: int
    """Its number in the file, from 1."""
    at: int | None
    """The line of the file in which it begins."""


class Refused(NamedTuple):
    """A row that PostgreSQL refused for good."""

    row: int
    at: int | None
    reason: str
    """The error's code and name and the column; never a value."""


class Locked(Exception):
    """Another connection replays the same file into the same table."""


class _Part(NamedTuple):
    """What is written in one transaction."""

    rows: Sequence[Appended]
    done: int
    """Rows of the file that are done with after it."""
    finished: bool = False


def open_locked(spec: PostgresSpec, lock: str, wait_s: float = LOCKED_S) -> Connection[TupleRow]:
    """Open a connection that holds a lock as long as it lasts.

    :param wait_s: how long to wait for another connection to give it up.
    :raises Locked: when it does not.
    :raises psycopg.Error: when there is no connection.
    """
    connection = connect(spec, NAME)
    try:
        # The server notices within half a minute that a client is gone, and gives its lock up.
        connection.execute(
            "SELECT set_config('tcp_keepalives_' || name, value, false) FROM (VALUES "
            "('idle', '10'), ('interval', '5'), ('count', '3')) AS settings (name, value)"
        )
        deadline = time.monotonic() + wait_s
        while True:
            row = connection.execute(
                "SELECT pg_try_advisory_lock(%s)", (lock_key(lock),)
            ).fetchone()
            if row and row[0]:
                return connection
            if time.monotonic() >= deadline:
                raise Locked
            time.sleep(_LOOK_EVERY_S)
    except BaseException:
        connection.close()
        raise


class Appender:
    """Writes rows in their order from a thread of its own.

    :param connection: opened by :func:`open_locked`; closed at the end.
    :param run: of the record that moves on with the rows.
    :param rows_done: where that record is.
    :param say: told of an outage and its end.
    :param stop: asked while nothing can be taken over.
    :param backoff: waiting times between attempts.
    """

    def __init__(
        self,
        spec: PostgresSpec,
        connection: Connection[TupleRow],
        writing: Writing,
        run: int,
        rows_done: int,
        *,
        say: Callable[[str], None],
        stop: Callable[[], bool],
        backoff: Backoff | None = None,
    ) -> None:
        self._spec = spec
        self._connection: Connection[TupleRow] | None = connection
        self._writing = writing
        self._run = run
        self._say = say
        self._stop = stop
        self._backoff = backoff or Backoff(cap_s=5.0)
        self._copy, self._stage, self._upsert = append_statements(writing)
        milliseconds = spec.statement_timeout.total_seconds() * 1000
        self._settings = {
            "statement_ms": str(round(milliseconds)),
            "lock_ms": str(round(milliseconds / 2)),
        }
        self._changed = threading.Condition()
        self._queue: deque[Appended] = deque()
        self._bytes = 0
        self._since = 0.0
        """When the first row of the queue came, or those before it went."""
        self._end: _Part | None = None
        self._hurry = False
        self._busy = False
        self._closed = threading.Event()
        self._error: Exception | None = None
        self._down_since: float | None = None
        self._said = 0.0
        self.rows_done = rows_done
        """Where the record is."""
        self.written = 0
        """Rows that are committed."""
        self.changed = 0
        """Those of them that were new or different."""
        self.refused_count = 0
        """Rows that were refused for good."""
        self.refused: list[Refused] = []
        """The first of them."""
        self._thread = threading.Thread(target=self._work, name="postgres", daemon=True)
        self._thread.start()

    def put(self, row: Appended) -> bool:
        """Take a row over; waits while too many are under way.

        :returns: False where it is to stop meanwhile; the row is not taken then.
        :raises UserError: when rows cannot be written any more.
        """
        with self._changed:
            while self._full():
                self._raise()
                if self._stop():
                    return False
                self._changed.wait(_LOOK_EVERY_S)
            self._raise()
            if not self._queue:
                self._since = time.monotonic()
                self._changed.notify_all()
            self._queue.append(row)
            self._bytes += len(row.line)
            if len(self._queue) == BATCH_ROWS or self._bytes >= BATCH_BYTES:
                self._changed.notify_all()
        return True

    def flush(self) -> bool:
        """Wait until every row is committed or refused.

        :returns: False where it is to stop, and PostgreSQL does not answer.
        :raises UserError: when rows cannot be written any more.
        """
        stopped_at = None
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._queue or self._end or self._busy:
                self._raise()
                if self._stop():
                    stopped_at = stopped_at or time.monotonic()
                    if self._down_since is not None or time.monotonic() - stopped_at > STOP_S:
                        return False
                self._changed.wait(_LOOK_EVERY_S)
            self._hurry = False
            self._raise()
        return True

    def settle(self, rows_done: int, *, finished: bool) -> bool:
        """Put down how far the replay is, after all rows; see :meth:`flush`."""
        with self._changed:
            self._end = _Part((), rows_done, finished)
        return self.flush()

    def close(self) -> None:
        """Stop; what is not committed is given up."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(_LOOK_EVERY_S * 5)

    def _full(self) -> bool:
        return len(self._queue) >= PENDING * BATCH_ROWS or self._bytes >= PENDING * BATCH_BYTES

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    # What the thread does.

    def _work(self) -> None:
        try:
            while part := self._take():
                self._deliver(part)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
        except Exception as error:
            with self._changed:
                self._error = self._explained(error)
                self._changed.notify_all()
        finally:
            self._disconnect()

    def _take(self) -> _Part | None:
        """Wait for rows and take as many as fit into a transaction; none once closed."""
        with self._changed:
            while not self._closed.is_set():
                if not self._queue:
                    if self._end is not None:
                        part, self._end = self._end, None
                        self._busy = True
                        return part
                    self._changed.wait()
                    continue
                due = self._since + LINGER_S - time.monotonic()
                if due <= 0 or self._hurry or self._bytes >= BATCH_BYTES:
                    return self._cut()
                if len(self._queue) >= BATCH_ROWS:
                    return self._cut()
                self._changed.wait(due)
        return None

    def _cut(self) -> _Part:
        rows: list[Appended] = []
        size = 0
        while self._queue and len(rows) < BATCH_ROWS:
            size += len(self._queue[0].line)
            if rows and size > BATCH_BYTES:
                break
            row = self._queue.popleft()
            self._bytes -= len(row.line)
            rows.append(row)
        self._since = time.monotonic()
        self._busy = True
        self._changed.notify_all()
        return _Part(rows, rows[-1].row)

    def _deliver(self, whole: _Part) -> None:
        """Write a part until each row is committed or refused, or the appender is closed."""
        parts, attempt = [whole], 0
        while parts and not self._closed.is_set():
            part = parts[-1]
            try:
                self._write(self._connected(), part)
            except Locked:
                self._note("the connection before still holds the replay")
            except psycopg.Error as error:
                if part.rows and is_row_error(error):
                    parts.pop()
                    if len(part.rows) > 1:
                        middle = len(part.rows) // 2
                        for rows in (part.rows[middle:], part.rows[:middle]):
                            parts.append(_Part(rows, rows[-1].row))
                    else:
                        self._refuse(part.rows[0], describe_row_error(error))
                    continue
                self._disconnect()
                if not (is_outage(error) or (error.sqlstate or "").startswith(_IN_USE)):
                    raise
                self._note(describe(error))
            else:
                parts.pop()
                attempt = 0
                self._note_end()
                continue
            self._closed.wait(self._backoff.wait(attempt))
            attempt += 1

    def _write(self, connection: Connection[TupleRow], part: _Part) -> None:
        """Write a part in one transaction, and move the record on."""
        changed = len(part.rows)
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(SETTINGS, self._settings)
            moved = self._writing.records.advance(
                connection, self._run, self.rows_done, part.done, finished=part.finished
            )
            if moved and part.rows:
                if self._writing.key:
                    cursor.execute(self._stage)
                    lines = [b"%d\t%b" % (row.row, row.line) for row in part.rows]
                else:
                    lines = [row.line for row in part.rows]
                with cursor.copy(self._copy) as copy:
                    copy.write(b"".join(lines))
                if self._writing.key:
                    changed = cursor.execute(self._upsert).rowcount
        self.rows_done = part.done
        self.written += len(part.rows)
        self.changed += changed

    def _refuse(self, row: Appended, reason: str) -> None:
        self.refused_count += 1
        if len(self.refused) < REFUSED_KEPT:
            self.refused.append(Refused(row.row, row.at, reason))

    def _connected(self) -> Connection[TupleRow]:
        if self._connection is None:
            self._connection = open_locked(self._spec, self._writing.lock, 0)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _note(self, what: str) -> None:
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
            self._said = now
            self._say(f"PostgreSQL takes no rows, trying again ({what})")
        elif now - self._said >= LOG_EVERY_S:
            self._said = now
            self._say(f"PostgreSQL takes no rows for {now - self._down_since:.0f} s ({what})")

    def _note_end(self) -> None:
        if self._down_since is not None:
            self._say(
                f"PostgreSQL takes rows again, after {time.monotonic() - self._down_since:.1f} s"
            )
            self._down_since = None

    def _explained(self, error: Exception) -> Exception:
        """The error for the one who hands rows over."""
        table = self._writing.table
        if isinstance(error, Overtaken):
            return UserError(
                f"the record of this replay into {table} is not where it was left: another replay "
                "of the file went on with it, or the server lost its last transactions; start "
                "again to go on from the record"
            )
        if isinstance(error, psycopg.Error):
            return UserError(
                f"PostgreSQL at {self._spec.address} takes no more rows into {table}: "
                f"{describe(error)}"
            )
        return error
