"""Rows of a person in PostgreSQL: in the tables of the store stage and of the loader."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from webevents.events.times import parse_time
from webevents.logic.rows.tables import (
    RETRACTED_SESSIONS,
    SESSION_EVENTS_AGGREGATED_IP,
    SESSION_METRICS,
    TABLES,
)
from webevents.logic.sessions.record import session_id
from webevents.operations.erase.person import Person
from webevents.operations.erase.report import Place
from webevents.spec.pipeline import WebEventPipeline

_STARTS = {
    SESSION_METRICS.name: "first_event_timestamp",
    SESSION_EVENTS_AGGREGATED_IP.name: "start_session",
}
IDS = 5_000


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    name: str
    kind: str
    """sessions, processed, events or scrolls."""

    @property
    def sql(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


class Rows:
    """The tables that a pipeline writes.

    :param connection: each statement commits by itself.
    """

    def __init__(self, pipeline: WebEventPipeline, connection: Connection[TupleRow]) -> None:
        self._pipeline = pipeline
        self._connection = connection
        spec = pipeline.spec
        made = []
        if spec.store.enabled:
            for name in spec.store.tables:
                table = TABLES[name]
                kind = "sessions" if table.name in _STARTS else "processed"
                made.append(_Table(spec.store.schema_name, table.name, kind))
        if spec.loader.enabled:
            made += [
                _Table(spec.loader.schema_name, spec.loader.events_table, "events"),
                _Table(spec.loader.schema_name, spec.loader.scroll_table, "scrolls"),
            ]
        self._tables = [table for table in made if self._is_there(table)]

    def _is_there(self, table: _Table) -> bool:
        query = "SELECT to_regclass(%s) IS NOT NULL"
        name = table.sql.as_string(self._connection)
        row = self._connection.execute(query, (name,)).fetchone()
        return bool(row and row[0])

    def learn(self, person: Person) -> None:
        """Find the person's sessions among the rows: a session's id is a hash of its key and
        start, so that it can be told although no column holds the key."""
        for table in self._tables:
            if table.kind != "sessions" or not person.keys:
                continue
            start = sql.Identifier(_STARTS[table.name])
            query = sql.SQL(
                "SELECT session_id, {start} FROM {table} WHERE pipeline = %s OR pipeline IS NULL"
            ).format(start=start, table=table.sql)
            with self._connection.transaction(), self._connection.cursor("sessions") as cursor:
                cursor.itersize = 10_000
                cursor.execute(query, (self._pipeline.name,))
                for found, moment in cursor:
                    if moment is None:
                        continue
                    us = parse_time(moment.replace(tzinfo=UTC).isoformat())
                    if any(session_id(self._pipeline.name, k, us) == found for k in person.keys):
                        person.session_ids.add(found)

    def places(self, person: Person) -> list[Place]:
        """How many rows each table has."""
        made = []
        for table in self._tables:
            found = 0
            for where, values in self._conditions(table, person):
                query = sql.SQL("SELECT count(*) FROM {} WHERE ").format(table.sql) + where
                row = self._connection.execute(query, values).fetchone()
                found += int(row[0]) if row else 0
            note = ""
            if table.kind == "scrolls":
                note = "sums by URL: the last visitor's user_id is taken out"
            made.append(
                Place("postgres", f"{table.schema}.{table.name}", found, 0, found, "", note)
            )
        return made

    def erase(self, person: Person) -> dict[str, int]:
        """Delete the rows; how many of each table.

        The sessions' ids are kept in ``retracted_sessions`` for its usual time, so that an older
        record does not bring one back.
        """
        erased: dict[str, int] = {}
        for table in self._tables:
            count = 0
            with self._connection.transaction():
                for where, values in self._conditions(table, person):
                    count += self._delete(table, where, values)
            erased[f"{table.schema}.{table.name}"] = count
        return erased

    def _delete(self, table: _Table, where: sql.Composable, values: Any) -> int:
        if table.kind == "scrolls":
            update = sql.SQL("UPDATE {} SET user_id = NULL WHERE ").format(table.sql) + where
            return self._connection.execute(update, values).rowcount
        query = sql.SQL("DELETE FROM {} WHERE ").format(table.sql) + where
        if table.kind != "sessions":
            return self._connection.execute(query, values).rowcount
        gone = self._connection.execute(
            query + sql.SQL(" RETURNING session_id, version"), values
        ).fetchall()
        remember = sql.SQL(
            "INSERT INTO {} AS r (session_id, version) VALUES (%s, %s) ON CONFLICT (session_id) "
            "DO UPDATE SET version = greatest(r.version, excluded.version), retracted_at = now()"
        ).format(sql.Identifier(table.schema, RETRACTED_SESSIONS.name))
        with self._connection.cursor() as cursor:
            cursor.executemany(remember, gone)
        return len(gone)

    def _conditions(self, table: _Table, person: Person) -> Iterator[tuple[sql.Composable, Any]]:
        """Conditions that no row meets twice, with their values."""
        users = sorted({value for name, value in person.pairs if name == "user_id"})
        known: sql.Composable = sql.SQL("FALSE")
        if table.kind == "processed":
            yield from self._of_ids("event_id", person.document_ids(), known)
        elif table.kind == "sessions":
            if table.name == SESSION_METRICS.name:
                yield sql.SQL("user_id = ANY(%s)"), (users,)
                known = sql.SQL("user_id = ANY({})").format(sql.Literal(users))
            yield from self._of_ids("session_id", sorted(person.session_ids), known)
        else:
            # The loader writes what the sources sent.
            raw = sorted({value for name, value in person.given if name == "user_id"})
            yield sql.SQL("user_id = ANY(%s)"), (raw,)
            if table.kind == "events":
                known = sql.SQL("user_id = ANY({})").format(sql.Literal(raw))
                yield from self._of_ids("event_id", sorted(person.event_ids), known)

    @staticmethod
    def _of_ids(
        column: str, ids: list[str], known: sql.Composable
    ) -> Iterator[tuple[sql.Composable, Any]]:
        for start in range(0, len(ids), IDS):
            where = sql.SQL("{} = ANY(%s) AND ({}) IS NOT TRUE").format(
                sql.Identifier(column), known
            )
            yield where, (ids[start : start + IDS],)
