"""How far replays into tables are: ``webevents_replays``, written in the rows' own transactions."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from webevents.connectors.postgres.target import TableName

NAME = "webevents_replays"
"""Of the table; one in each schema into which is replayed."""

_MAKE = """
CREATE TABLE {} (
  table_name text NOT NULL,
  file_digest text NOT NULL,
  run integer NOT NULL,
  file_name text NOT NULL,
  rows_done bigint NOT NULL DEFAULT 0,
  finished boolean NOT NULL DEFAULT false,
  start timestamptz,
  began_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (table_name, file_digest, run)
)
"""


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """How far one replay of a file into a table is."""

    run: int
    """1 for the first replay of the file into the table, 2 for the second on purpose."""
    rows_done: int
    """Rows of the file that are done with."""
    finished: bool
    """Whether the file's end was reached."""
    start: datetime | None
    """Where event times begin; None where rows have their own."""
    updated_at: datetime


class ReplayRecords:
    """The records of one file's replays into one table.

    :param digest: of the file's content.
    """

    def __init__(self, table: TableName, digest: str) -> None:
        self._records = TableName(table.schema, NAME)
        self._key = {"table": table.name, "digest": digest}

    def ensure(self, connection: Connection[TupleRow]) -> None:
        """Make the table of records where it is not there; others must be locked out."""
        found = connection.execute(
            "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE nspname = %s AND relname = %s",
            self._records,
        )
        if not found.rowcount:
            connection.execute(sql.SQL(_MAKE).format(self._records.sql))

    def latest(self, connection: Connection[TupleRow]) -> ReplayRecord | None:
        """The newest replay's record."""
        row = connection.execute(
            sql.SQL(
                "SELECT run, rows_done, finished, start, updated_at FROM {} "
                "WHERE table_name = %(table)s AND file_digest = %(digest)s "
                "ORDER BY run DESC LIMIT 1"
            ).format(self._records.sql),
            self._key,
        ).fetchone()
        return None if row is None else ReplayRecord(*row)

    def begin(
        self, connection: Connection[TupleRow], run: int, file_name: str, start: datetime | None
    ) -> None:
        """Put down that a replay begins at its first row; one that is there begins anew."""
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (table_name, file_digest, run, file_name, start) "
                "VALUES (%(table)s, %(digest)s, %(run)s, %(file)s, %(start)s) "
                "ON CONFLICT (table_name, file_digest, run) DO UPDATE "
                "SET file_name = excluded.file_name, rows_done = 0, finished = false, "
                "start = excluded.start, began_at = now(), updated_at = now()"
            ).format(self._records.sql),
            {**self._key, "run": run, "file": file_name, "start": start},
        )

    def advance(
        self, connection: Connection[TupleRow], run: int, before: int, done: int, *, finished: bool
    ) -> bool:
        """Move a record on, in the transaction of its rows; it is locked until that ends.

        :param before: where the record must be.
        :returns: False where it is there already: the transaction was committed before, though
            its answer was lost.
        :raises Overtaken: when the record is elsewhere.
        """
        values = {**self._key, "run": run, "before": before, "done": done, "finished": finished}
        moved = connection.execute(
            sql.SQL(
                "UPDATE {} SET rows_done = %(done)s, finished = %(finished)s, updated_at = now() "
                "WHERE table_name = %(table)s AND file_digest = %(digest)s AND run = %(run)s "
                "AND rows_done = %(before)s AND NOT finished"
            ).format(self._records.sql),
            values,
        )
        if moved.rowcount == 1:
            return True
        record = self.latest(connection)
        if record and (record.run, record.rows_done, record.finished) == (run, done, finished):
            return False
        raise Overtaken


class Overtaken(Exception):
    """The record is not where this replay left it."""
