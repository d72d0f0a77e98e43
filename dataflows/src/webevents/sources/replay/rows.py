"""Reading rows one by one, whatever the format."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from webevents.errors import UserError
from webevents.sources.replay.settings import Format, ReplaySettings
from webevents.sources.replay.streams import format_of

Row = dict[str, Any]
"""A row by column; cells that are empty are absent."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that cannot be read."""

    reason: str
    """What is wrong; names columns, never values."""


class RowSource(Protocol):
    """The rows of a file, in constant memory."""

    columns: tuple[str, ...] | None
    """The columns of every row; None where each row has its own (NDJSON)."""
    total: int | None
    """Number of rows, where it is known beforehand."""
    line: int | None
    """The line in which the row begins that was read last; None where there are no lines."""
    raw: bytes | None
    """That row as it is in the file, where rows are lines of their own (NDJSON)."""
    bytes_total: int | None
    """Size of the file in bytes; None for standard input."""

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far."""

    def __iter__(self) -> Iterator[Row | Unreadable]:
        """The rows.

        :raises UserError: when the file cannot be read on; names the row reached.
        """

    def close(self) -> None:
        """Close the file."""


def open_source(settings: ReplaySettings, stdin: BinaryIO | None = None) -> RowSource:
    """Open the file of a replay.

    :param stdin: what to read for ``-``; standard input when absent.
    :raises UserError: when the file cannot be opened or is not of its format.
    """
    form = settings.format or format_of(settings.path)
    # Each format is loaded on demand: pyarrow is large, and an extra.
    if form is Format.CSV:
        from webevents.sources.replay.csv_rows import CsvSource

        return CsvSource(settings, stdin)
    if settings.columns is not None:
        raise UserError(f"columns names those of CSV without a heading; {form} has its own")
    if form is Format.NDJSON:
        from webevents.sources.replay.ndjson_rows import NdjsonSource

        return NdjsonSource(settings, stdin)
    from webevents.sources.replay.parquet_rows import ParquetSource

    return ParquetSource(settings)


def read_rows(path: str | Path, format: Format | None = None) -> Iterator[Row]:
    """Read the rows of a file, strictly.

    :param path: the file, or ``-`` for standard input.
    :param format: what it holds; by its name when absent.
    :returns: the rows by column, without their empty cells.
    :raises UserError: at the first row that cannot be read.
    """
    source = open_source(ReplaySettings(path=str(path), format=format))
    try:
        for number, row in enumerate(source, 1):
            if isinstance(row, Unreadable):
                place = f"row {number:,}" if source.line is None else f"line {source.line:,}"
                raise UserError(f"{path}, {place}: {row.reason}")
            yield row
    finally:
        source.close()
