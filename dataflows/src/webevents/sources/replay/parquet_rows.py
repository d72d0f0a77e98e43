"""Rows of Parquet, read batch by batch."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from webevents.errors import UserError
from webevents.sources.replay.rows import Row, Unreadable
from webevents.sources.replay.settings import STDIN, ReplaySettings
from webevents.sources.replay.streams import (
    BUFFER,
    READ_ERRORS,
    ByteStream,
    ReadError,
    read_error,
)

BATCH = 4096
"""Rows that are held at once, beside the pages of one row group."""


class ParquetSource:
    """The rows of a Parquet file; see :class:`webevents.sources.replay.rows.RowSource`.

    Nulls and NaN are absent from a row. A gzipped file is unpacked into a temporary one, because
    Parquet is read from its end.

    :raises UserError: when the file cannot be opened or is not Parquet.
    """

    def __init__(self, settings: ReplaySettings) -> None:
        if settings.path == STDIN:
            raise UserError("Parquet is read from its end: give a file, not standard input")
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise UserError(
                "reading Parquet needs pyarrow: pip install 'webevents[replay]'"
            ) from None
        self._arrow = pyarrow
        self._stream = ByteStream(settings.path)
        self._name = self._stream.name
        self.line: int | None = None
        self.raw: bytes | None = None
        self.bytes_total = self._stream.total
        self._unpacked: BinaryIO | None = None
        self._file: Any = None
        try:
            source: Any = settings.path
            if self._stream.gzipped:
                self._unpacked = source = tempfile.TemporaryFile()  # noqa: SIM115
                shutil.copyfileobj(self._stream.file, source, BUFFER)
            self._file = parquet.ParquetFile(source)
            self.columns: tuple[str, ...] | None = tuple(self._file.schema_arrow.names)
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:  # of a column's name
            self.close()
            raise UserError(
                f"{self._name} is not Parquet, or is cut off: {_first_line(error)}"
            ) from None
        except READ_ERRORS as error:
            self.close()
            raise read_error(error, self._name, 0) from None
        if len(set(self.columns)) < len(self.columns):
            self.close()
            raise UserError(f"{self._name} has two columns of the same name; rename one")
        self.total: int | None = self._file.metadata.num_rows
        self._position = 0
        self._gaps = False
        """Whether a cell had no value in Python."""

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far, by the share of its rows."""
        return int((self.bytes_total or 0) * self._position / (self.total or 1))

    def __iter__(self) -> Iterator[Row | Unreadable]:
        names = self.columns or ()
        try:
            for batch in self._file.iter_batches(BATCH):
                columns = [self._values(column) for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    self._position += 1
                    if self._gaps and (gap := _gap(names, cells)):
                        yield Unreadable(f"{gap} is out of range, or a text that is not UTF-8")
                        continue
                    # NaN is the one value that differs from itself.
                    yield {
                        name: cell
                        for name, cell in zip(names, cells, strict=True)
                        if cell is not None and cell == cell
                    }
        except (self._arrow.ArrowException, *READ_ERRORS) as error:
            raise ReadError(
                f"{self._name} is damaged after row {self._position:,}: {_first_line(error)}"
            ) from None

    def _values(self, column: Any) -> list[Any]:
        """A column as Python values; nanoseconds are cut, as ``datetime`` does not have them."""
        arrow, kind = self._arrow, column.type
        if arrow.types.is_timestamp(kind) and kind.unit == "ns":
            column = column.cast(arrow.timestamp("us", kind.tz), safe=False)
        elif arrow.types.is_time64(kind) and kind.unit == "ns":
            column = column.cast(arrow.time64("us"), safe=False)
        elif arrow.types.is_duration(kind) and kind.unit == "ns":
            column = column.cast(arrow.duration("us"), safe=False)
        try:
            values: list[Any] = column.to_pylist()
        except arrow.ArrowException:
            raise
        except (ValueError, OverflowError):
            self._gaps = True
            values = [_value(cell, arrow.ArrowException) for cell in column]
        return values

    def close(self) -> None:
        """Close the file, and remove the temporary one."""
        self._stream.close()
        if self._file is not None:
            self._file.close()
        if self._unpacked is not None:
            self._unpacked.close()


_NO_VALUE = object()
"""In place of a cell that Python has no value for."""


def _value(cell: Any, damaged: type[Exception]) -> Any:
    try:
        return cell.as_py()
    except damaged:
        raise
    except (ValueError, OverflowError):
        return _NO_VALUE


def _gap(names: Sequence[str], cells: Sequence[Any]) -> str | None:
    """The first column whose cell has no value, if any."""
    return next((n for n, cell in zip(names, cells, strict=True) if cell is _NO_VALUE), None)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
