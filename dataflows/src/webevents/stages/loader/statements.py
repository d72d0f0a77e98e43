"""The loader's statements; each belongs into one transaction with the note of the object."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Connection, sql
from psycopg.rows import TupleRow

from webevents.connectors.postgres.statements import LOCK, SETTINGS, lock_key
from webevents.logic.objects import ObjectName
from webevents.spec.s3 import LoaderSpec
from webevents.stages.loader.rows import Rows
from webevents.stages.loader.tables import LOAD_FAILURES, LOADED_OBJECTS


@dataclass(frozen=True, slots=True)
class Loaded:
    """An object that is loaded."""

    key: str
    etag: str
    name: ObjectName
    behind: int
    """The offset behind its last message."""


class Statements:
    """Reads and writes the loader's tables.

    :param statement_timeout_s: how long one statement may take.
    """

    def __init__(self, pipeline: str, spec: LoaderSpec, statement_timeout_s: float) -> None:
        self._pipeline = pipeline
        self._lock = lock_key(f"loader {spec.schema_name} {pipeline}")
        self._settings = {
            "statement_ms": str(round(statement_timeout_s * 1000)),
            "lock_ms": str(round(statement_timeout_s * 500)),
        }
        names = {
            "events": sql.Identifier(spec.schema_name, spec.events_table),
            "scrolls": sql.Identifier(spec.schema_name, spec.scroll_table),
            "objects": sql.Identifier(spec.schema_name, LOADED_OBJECTS.name),
            "failures": sql.Identifier(spec.schema_name, LOAD_FAILURES.name),
        }
        self._etags = sql.SQL("SELECT key, etag FROM {objects} WHERE key = ANY(%s)").format(**names)
        self._ranges = sql.SQL(
            "SELECT first_offset, next_offset FROM {objects} "
            "WHERE topic = %s AND partition = %s AND next_offset > %s AND pipeline = %s"
        ).format(**names)
        self._stages = [
            sql.SQL(text)
            for text in (
                "CREATE TEMPORARY TABLE IF NOT EXISTS webevents_load_events (record text, "
                "user_id text, event_type text, url text, timestamp timestamp, event_id text) "
                "ON COMMIT DELETE ROWS",
                "CREATE TEMPORARY TABLE IF NOT EXISTS webevents_load_scrolls (url text, "
                "scroll_count bigint, user_id text, timestamp timestamp) ON COMMIT DELETE ROWS",
                "CREATE TEMPORARY TABLE IF NOT EXISTS webevents_load_failures (record text, "
                "reason text, detail text) ON COMMIT DELETE ROWS",
            )
        ]
        self._insert_events = sql.SQL(
            "INSERT INTO {events} (record, user_id, event_type, url, timestamp, event_id) "
            "SELECT record, user_id, event_type, url, timestamp, event_id "
            "FROM webevents_load_events ON CONFLICT (record) DO NOTHING"
        ).format(**names)
        self._add_scrolls = sql.SQL(
            "INSERT INTO {scrolls} AS t (url, scroll_count, user_id, timestamp) "
            "SELECT url, scroll_count, user_id, timestamp FROM webevents_load_scrolls "
            "ORDER BY url ON CONFLICT (url) DO UPDATE SET "
            "scroll_count = t.scroll_count + excluded.scroll_count, "
            "user_id = CASE WHEN excluded.timestamp >= t.timestamp OR t.timestamp IS NULL "
            "THEN excluded.user_id ELSE t.user_id END, "
            "timestamp = greatest(t.timestamp, excluded.timestamp)"
        ).format(**names)
        self._insert_failures = sql.SQL(
            "INSERT INTO {failures} (record, reason, detail) SELECT record, reason, detail "
            "FROM webevents_load_failures ON CONFLICT (record) DO NOTHING"
        ).format(**names)
        self._note = sql.SQL(
            "INSERT INTO {objects} AS t (key, etag, pipeline, topic, partition, first_offset, "
            "next_offset, records, events, scrolls, failed, tombstones) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (key) DO UPDATE "
            "SET etag = excluded.etag, "
            "next_offset = greatest(t.next_offset, excluded.next_offset), "
            "records = t.records + excluded.records, events = t.events + excluded.events, "
            "scrolls = t.scrolls + excluded.scrolls, failed = t.failed + excluded.failed, "
            "tombstones = t.tombstones + excluded.tombstones, loaded_at = now()"
        ).format(**names)

    def etags(self, connection: Connection[TupleRow], keys: Sequence[str]) -> dict[str, str]:
        """The ETags of those objects that are loaded."""
        return dict(connection.execute(self._etags, (list(keys),)).fetchall())

    def begin(self, connection: Connection[TupleRow]) -> None:
        """Begin a transaction: of several loaders, such as one that was replaced and does not know
        yet, only one at a time loads."""
        connection.execute(SETTINGS, self._settings)
        connection.execute(LOCK, ([self._lock],))
        for stage in self._stages:
            connection.execute(stage)

    def ranges(self, connection: Connection[TupleRow], name: ObjectName) -> list[tuple[int, int]]:
        """What is loaded already of the partition's offsets from ``name.first`` on."""
        asked = (name.topic, name.partition, name.first, self._pipeline)
        return [(first, next_) for first, next_ in connection.execute(self._ranges, asked)]

    def insert_events(self, connection: Connection[TupleRow], rows: Rows) -> None:
        """Write single events."""
        if rows.events:
            self._copy(connection, "webevents_load_events", rows.events)
            connection.execute(self._insert_events)

    def add_scrolls(self, connection: Connection[TupleRow], rows: Rows) -> None:
        """Add scrolls to their URLs."""
        if rows.scrolls:
            self._copy(connection, "webevents_load_scrolls", rows.scroll_lines())
            connection.execute(self._add_scrolls)

    def insert_failures(self, connection: Connection[TupleRow], rows: Rows) -> None:
        """Write down what could not be loaded."""
        if rows.failures:
            self._copy(connection, "webevents_load_failures", rows.failures)
            connection.execute(self._insert_failures)

    def note(self, connection: Connection[TupleRow], loaded: Loaded, rows: Rows) -> None:
        """Write down that the object is loaded."""
        name = loaded.name
        values = (
            *(loaded.key, loaded.etag, self._pipeline, name.topic, name.partition),
            *(name.first, loaded.behind, rows.records, len(rows.events), rows.scroll_count),
            *(len(rows.failures), rows.tombstones),
        )
        connection.execute(self._note, values)

    @staticmethod
    def _copy(connection: Connection[TupleRow], table: str, lines: Sequence[bytes]) -> None:
        with (
            connection.cursor() as cursor,
            cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy,
        ):
            for line in lines:
                copy.write(line)
