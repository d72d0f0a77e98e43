"""One replay into a table made ready: settings, file and table become a function of a row."""

from collections.abc import Sequence

from webevents.connectors.postgres.target import TableName, Target
from webevents.errors import UserError
from webevents.events.event import InvalidEvent
from webevents.events.times import from_us
from webevents.logic.rows.tables import Column
from webevents.logic.rows.values import NULL, line
from webevents.sources.replay.job import Message, row_times, start_of
from webevents.sources.replay.mapping import RowError, compile_mapping, require_columns
from webevents.sources.replay.rows import Row
from webevents.sources.replay.settings import ReplaySettings
from webevents.sources.replay.table.cells import cell_of
from webevents.sources.replay.table.infer import type_of
from webevents.sources.replay.table.settings import TableTarget, check_name

_SERIAL = "id"


class TableJob:
    """What a replay into a table does to each row; see :class:`webevents.sources.replay.job.Job`.

    :param columns: the file's.
    :param found: the table as it is.
    :param now_us: the wall clock, in microseconds since the epoch.
    :raises UserError: when settings, file and table do not go together.
    """

    passes_lines_on = False

    def __init__(
        self,
        settings: ReplaySettings,
        target: TableTarget,
        columns: Sequence[str],
        found: Target,
        now_us: int,
    ) -> None:
        self.start_us = start_of(settings, now_us)
        self.times = row_times(settings, columns, self.start_us)
        self._apply = compile_mapping(settings.mapping, columns, settings.path, lambda _: None)
        self._timestamp = target.timestamp
        self._key = target.key
        fields = fields_of(settings, target, columns)
        _check(fields, target, found)
        self._cells = [(name, cell_of(found.columns[name])) for name in fields]
        self.types = {name: found.columns[name].type for name in fields}
        """The types' names of the columns that are written, in the order of a row's fields."""

    def message(self, row: Row, number: int, raw: bytes | None, time_us: int | None) -> Message:
        """Make a row's line of COPY.

        :param time_us: what :attr:`times` said of the row.
        :raises RowError: when a column cannot hold its value.
        """
        values = self._apply(row)
        if self._timestamp is not None and time_us is not None:
            try:
                values[self._timestamp] = from_us(time_us)
            except OverflowError:
                raise RowError("its time is out of range") from None
        for name in self._key:
            if values.get(name) in (None, ""):
                raise RowError(f"{name} is empty, which is the key")
        get = values.get
        try:
            cells = [
                NULL if (value := get(name)) is None else cell(value) for name, cell in self._cells
            ]
            return Message(None, line(cells), time_us)
        except InvalidEvent as error:
            raise RowError(error.detail) from None
        except UnicodeError:
            raise RowError("is not UTF-8") from None


def fields_of(
    settings: ReplaySettings, target: TableTarget, columns: Sequence[str]
) -> dict[str, str | None]:
    """The columns of the table that are written, each with the file's column that it is of."""
    mapping = settings.mapping
    fields: dict[str, str | None] = {
        mapping.rename.get(name, name): name for name in columns if name not in mapping.drop
    }
    fields |= dict.fromkeys(mapping.constants)
    if target.timestamp is not None:
        if settings.offset_column is None and settings.time_column is None:
            raise UserError(
                f"--timestamp {target.timestamp}: no column tells when rows happened; name an "
                "offset column or a time column"
            )
        fields[target.timestamp] = None
    if not fields:
        raise UserError(f"{settings.path} has no columns that could be written to {target.table}")
    return fields


def define(
    settings: ReplaySettings, target: TableTarget, types: dict[str, str]
) -> tuple[tuple[Column, ...], tuple[str, ...], tuple[str, ...]]:
    """The columns of a table that is made, its primary key, and what is unique beside it.

    :param types: PostgreSQL's types of the file's columns; see
        :func:`webevents.sources.replay.table.infer.survey`.
    :raises UserError: when the file's columns do not make a table.
    """
    if target.columns:
        return target.columns, target.primary_key, target.key
    require_columns("drop", settings.mapping.drop, list(types), settings.path)
    fields = fields_of(settings, target, list(types))
    constants = settings.mapping.constants
    made = []
    for name, of in fields.items():
        check_name(name, f"column {name}")
        if name == target.timestamp:
            made.append(Column(name, "timestamp", "DEFAULT now()"))
        else:
            made.append(Column(name, type_of(constants[name]) if of is None else types[of]))
    if target.key:
        require_columns("key", target.key, list(fields), settings.path)
        return tuple(made), target.key, ()
    # Changes are captured by primary key, so there is one.
    if _SERIAL in fields:
        raise UserError(
            f"{settings.path} has a column {_SERIAL}, which rows of a new table get by themselves: "
            f"make it the key with --key {_SERIAL}, or drop or rename it"
        )
    return (Column(_SERIAL, "bigserial"), *made), (_SERIAL,), ()


def _check(fields: dict[str, str | None], target: TableTarget, found: Target) -> None:
    """Refuse a table that cannot hold the rows."""
    table: TableName = target.table
    there = ", ".join(found.columns)
    for name, of in fields.items():
        if name not in found.columns:
            mend = "" if of is None else f", leave it out with --drop {of}, or --rename {of}=COLUMN"
            raise UserError(
                f"the table {table} has no column {name} (it has {there}): add it{mend}"
            )
        if found.columns[name].made:
            raise UserError(f"the column {name} of {table} is generated: leave it out with --drop")
    for column in found.columns.values():
        if column.required and column.name not in fields:
            raise UserError(
                f"the column {column.name} of {table} must have a value, and the rows have none: "
                f"give one with --set {column.name}=VALUE, or a default in the table"
            )
    for name in target.key:
        if name not in fields:
            raise UserError(
                f"--key {name}: the rows have no such column; they have {', '.join(fields)}"
            )
    if target.key and frozenset(target.key) not in found.keys:
        names = ", ".join(target.key)
        raise UserError(
            f"nothing makes {names} unique in {table}: CREATE UNIQUE INDEX ON {table} ({names})"
        )
