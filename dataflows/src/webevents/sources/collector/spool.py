"""The spool: messages that wait on disk, in their order, while the brokers are away.

SQLite keeps them (in the standard library, and safe when the process is killed at any point).
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from webevents.errors import UserError

FILE = "spool.sqlite"
HEAD_BYTES = 8_000_000


class Message(NamedTuple):
    """One Kafka message."""

    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int


class SpoolFull(Exception):
    """There is no more room; nothing of what was to be added is."""


class Spool:
    """A queue on disk; for one thread, and for one process.

    :param folder: made where it is not there.
    :param max_bytes: values and keys that it holds at most.
    :raises UserError: when it cannot be opened, or another process has it.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._path = folder / FILE
        self._max_bytes = max_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot make the spool's folder {folder} ({error.strerror}): set "
                "spec.collector.spool.path to a folder that the collector may write"
            ) from None
        try:
            self._db = sqlite3.connect(
                self._path, timeout=5, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._db.execute("PRAGMA journal_mode = WAL")
            # What is answered with 200 must outlive a power cut.
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, "
                "size INTEGER, timestamp_ms INTEGER, topic TEXT, key BLOB, value BLOB)"
            )
            row = self._db.execute("SELECT count(*), coalesce(sum(size), 0) FROM messages")
            self.count, self.bytes = row.fetchone()
        except sqlite3.OperationalError as error:
            raise UserError(
                f"cannot open the spool {self._path} ({error}): is another collector running on "
                "it? Give each replica a folder of its own that it may write"
            ) from None
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"the spool {self._path} cannot be read ({error}): move it away, and keep it, "
                "because events may be in it that are not in Kafka yet"
            ) from None

    def append(self, messages: Sequence[Message]) -> None:
        """Add messages at the end; when it returns they are on disk.

        :raises SpoolFull: when they do not fit, or the disk is full.
        """
        rows = [(_size(m), m.timestamp_ms, m.topic, m.key, m.value) for m in messages]
        total = sum(row[0] for row in rows)
        if self.bytes + total > self._max_bytes:
            raise SpoolFull
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(
                    "INSERT INTO messages (size, timestamp_ms, topic, key, value) "
                    "VALUES (?, ?, ?, ?, ?)",
                    rows,
                )
                self._db.execute("COMMIT")
            except BaseException:
                self._db.rollback()
                raise
        except sqlite3.OperationalError as error:
            raise SpoolFull from error
        self.count += len(rows)
        self.bytes += total

    def head(self, limit: int, limit_bytes: int = HEAD_BYTES) -> list[tuple[int, Message]]:
        """The oldest messages, with their numbers; at least one where there is one."""
        rows = self._db.execute(
            "SELECT id, topic, key, value, timestamp_ms FROM messages ORDER BY id LIMIT ?", (limit,)
        )
        found: list[tuple[int, Message]] = []
        for number, *message in rows:
            found.append((number, Message(*message)))
            limit_bytes -= _size(found[-1][1])
            if limit_bytes <= 0:
                break
        rows.close()
        return found

    def remove(self, last: int) -> None:
        """Remove the messages up to a number, which are delivered."""
        removed = self._db.execute("DELETE FROM messages WHERE id <= ? RETURNING size", (last,))
        sizes = [row[0] for row in removed.fetchall()]
        self.count -= len(sizes)
        self.bytes -= sum(sizes)
        if not self.count:
            # A script is stepped through to its end; execute would free one page.
            self._db.executescript("PRAGMA incremental_vacuum")

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _size(message: Message) -> int:
    return len(message.value) + len(message.key or b"")
