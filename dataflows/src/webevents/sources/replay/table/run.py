"""Replaying a file into a table: each row once, through crashes of this process and the server."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from psycopg import Connection

from webevents.connectors.postgres import explained
from webevents.connectors.postgres.append_statements import Writing
from webevents.connectors.postgres.appender import Appended, Appender, Locked, open_locked
from webevents.connectors.postgres.replays import ReplayRecord, ReplayRecords
from webevents.connectors.postgres.target import find_target, lock_schema, make_schema, make_target
from webevents.errors import UserError
from webevents.events.times import from_us
from webevents.sources.pacing import Pacer, SpeedPacer, Unpaced, never
from webevents.sources.replay.job import Message
from webevents.sources.replay.rows import open_source
from webevents.sources.replay.run import ISSUES_KEPT, Progress, Replay, ReplayResult, RowIssue
from webevents.sources.replay.settings import STDIN, ReplaySettings
from webevents.sources.replay.streams import BUFFER, READ_ERRORS, ByteStream, read_error
from webevents.sources.replay.table.infer import survey
from webevents.sources.replay.table.job import TableJob, define
from webevents.sources.replay.table.settings import TableTarget
from webevents.spec.postgres import PostgresSpec


@dataclass(frozen=True, slots=True)
class TableReplay:
    """What a replay into a table did."""

    result: ReplayResult
    """``sent``: rows that are committed; ``skipped`` and ``issues`` have those that PostgreSQL
    refused too; ``position``: rows of the file that are done with, by the record."""
    changed: int
    """Rows that are new in the table, or differ from what was there."""
    finished: bool
    """Whether the file's end was reached."""
    resumed_at: int
    """Rows that an earlier run had done."""
    done_before: datetime | None
    """When an earlier run had done all that was asked; then nothing was written."""
    made: bool
    """Whether the table was made."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a replay begins, by the record."""

    run: int = 1
    goes_on: bool = False
    """Whether an earlier run is gone on with."""
    rows_done: int = 0
    done_before: datetime | None = None
    """See :class:`TableReplay`."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A replay that may begin."""

    job: TableJob
    place: _Place
    made: bool


def replay_into_table(
    settings: ReplaySettings,
    target: TableTarget,
    spec: PostgresSpec,
    *,
    again: bool = False,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
    pacer: Pacer | None = None,
    clock: Callable[[], float] = time.time,
) -> TableReplay:
    """Write each row of a file into a table, which is made where it is not there.

    Rows that are added go on where the last replay of the same content into the same table was
    stopped, whatever stopped it. Rows with a key are written from the first one on: what is there
    already is not changed.

    :param spec: the database.
    :param again: whether a file that is in the table already is replayed once more.
    :param stop: asked before each row.
    :param progress: see :func:`webevents.sources.replay.replay`.
    :param say: told of an outage of the database and of its end.
    :param pacer: when rows may go; by ``settings.speed`` when absent.
    :param clock: the wall clock in seconds since the epoch.
    :raises UserError: before anything is written, when settings, file and table do not go together,
        the database cannot be reached, or another process replays the same file; later, when the
        database refuses to go on.
    :raises ReplayError: when the file cannot be read to its end.
    """
    if settings.path == STDIN:
        raise UserError("standard input cannot be gone on with: replay a file into the table")
    digest = content_digest(settings.path)
    table, lock = target.table, f"replay {target.table} {digest}"
    records = ReplayRecords(table, digest)
    with ExitStack() as stack:
        source = open_source(settings)
        stack.callback(source.close)
        try:
            with explained(spec):
                connection = open_locked(spec, lock)
        except Locked:
            raise UserError(
                f"{settings.path} is being replayed into {table} by another process: wait for it, "
                "or end it"
            ) from None
        opened = stack.enter_context(ExitStack())
        opened.callback(connection.close)
        with explained(spec):
            ready = _prepare(
                connection, settings, target, source.columns, records, int(clock() * 1e6), again
            )
        piece = _rest(settings, ready.place.rows_done)
        if ready.place.done_before is not None:
            return _nothing_to_do(ready)
        writing = Writing(table, ready.job.types, target.key, records, lock)
        opened.pop_all()  # the appender closes it
        appender = Appender(
            spec, connection, writing, ready.place.run, ready.place.rows_done, say=say, stop=stop
        )
        stack.callback(appender.close)
        if pacer is None:
            speed = settings.speed
            pacer = Unpaced(stop) if speed is None else SpeedPacer(speed, stop=stop)
        result = Replay(
            piece, source, ready.job, _ToAppender(appender), stop, progress, pacer, clock
        ).run()
        end = None if piece.limit is None else piece.skip + piece.limit
        finished = not result.stopped and (end is None or result.position < end)
        finished = appender.settle(result.position, finished=finished) and finished
        return TableReplay(
            result=_with_refusals(result, appender),
            changed=appender.changed,
            finished=finished,
            resumed_at=ready.place.rows_done,
            done_before=None,
            made=ready.made,
        )


def content_digest(path: str) -> str:
    """A digest of what a file holds, packed or not; the same under any name.

    :raises UserError: when the file cannot be read to its end.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise UserError(f"{path} is no file that can be read twice: replay one that is")
    stream = ByteStream(path)
    digest = blake2b(digest_size=16)
    try:
        while block := stream.file.read(BUFFER):
            digest.update(block)
    except READ_ERRORS as error:
        raise read_error(error, stream.name, 0) from None
    finally:
        stream.close()
    return digest.hexdigest()


class _ToAppender:
    """Hands messages to an appender."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender

    def take(self, message: Message, row: int, line: int | None) -> bool:
        return self._appender.put(Appended(message.value, row, line))

    def flush(self) -> None:
        self._appender.flush()


def _prepare(
    connection: Connection[Any],
    settings: ReplaySettings,
    target: TableTarget,
    columns: Sequence[str] | None,
    records: ReplayRecords,
    now_us: int,
    again: bool,
) -> _Ready:
    """Look at the table and the record, and make both where they are not there."""
    types = None
    if columns is None or (not target.columns and find_target(connection, target.table) is None):
        types = survey(settings)
        columns = tuple(types)
    with connection.transaction():
        lock_schema(connection, target.table.schema)
        found = find_target(connection, target.table)
        made = found is None
        if found is None:
            make_schema(connection, target.table.schema)
            if types is None and not target.columns:
                types = survey(settings)  # it was dropped just now
            make_target(connection, target.table, *define(settings, target, types or {}))
            found = find_target(connection, target.table)
            assert found is not None
        records.ensure(connection)
        record = records.latest(connection)
        # A table that was made just now has none of the rows that a record tells of.
        place = _place(record, settings, made=made, again=again, keyed=bool(target.key))
        if record and place.goes_on and not place.done_before:
            settings = _started(settings, record.start)
        job = TableJob(settings, target, columns, found, now_us)
        if not place.goes_on:
            start = None if job.start_us is None else from_us(job.start_us)
            records.begin(connection, place.run, Path(settings.path).name, start)
        return _Ready(job, place, made)


def _place(
    record: ReplayRecord | None, settings: ReplaySettings, *, made: bool, again: bool, keyed: bool
) -> _Place:
    """Where to begin.

    :param record: of the newest replay of the file into the table.
    """
    if record is None:
        return _Place()
    end = None if settings.limit is None else settings.skip + settings.limit
    done = record.finished or (end is not None and record.rows_done >= end)
    if made or (again and done):
        return _Place(record.run + 1)
    if keyed:
        return _Place(record.run)
    return _Place(record.run, True, record.rows_done, record.updated_at if done else None)


def _started(settings: ReplaySettings, start: datetime | None) -> ReplaySettings:
    """The settings with the start that an earlier run had."""
    if settings.start not in (None, start):
        when = "with the rows' own times"
        if start is not None:
            when = f"at {start.astimezone(UTC).isoformat()}"
        raise UserError(
            f"the replay that is to go on began {when}: leave --start out, so that times stay "
            "in one line"
        )
    return settings.model_copy(update={"start": start})


def _rest(settings: ReplaySettings, rows_done: int) -> ReplaySettings:
    """The settings for what is left of a file."""
    skip = max(settings.skip, rows_done)
    limit = None if settings.limit is None else max(0, settings.skip + settings.limit - skip)
    return settings.model_copy(update={"skip": skip, "limit": limit})


def _with_refusals(result: ReplayResult, appender: Appender) -> ReplayResult:
    refused = [RowIssue(each.row, each.at, each.reason) for each in appender.refused]
    issues = sorted((*result.issues, *refused), key=lambda issue: issue.row)
    return replace(
        result,
        sent=appender.written,
        skipped=result.skipped + appender.refused_count,
        position=appender.rows_done,
        issues=tuple(issues[:ISSUES_KEPT]),
    )


def _nothing_to_do(ready: _Ready) -> TableReplay:
    start_us = ready.job.start_us
    result = ReplayResult(
        sent=0,
        skipped=0,
        broken_sent=0,
        position=ready.place.rows_done,
        seconds=0.0,
        issues=(),
        start=None if start_us is None else from_us(start_us),
        ahead_seconds=0.0,
        stopped=False,
    )
    return TableReplay(
        result=result,
        changed=0,
        finished=True,
        resumed_at=ready.place.rows_done,
        done_before=ready.place.done_before,
        made=False,
    )
