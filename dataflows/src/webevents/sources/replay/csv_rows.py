"""Rows of CSV (RFC 4180): a heading row, quoted cells that may hold line breaks."""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from webevents.errors import UserError
from webevents.sources.replay.rows import Row, Unreadable
from webevents.sources.replay.settings import ReplaySettings
from webevents.sources.replay.streams import READ_ERRORS, ByteStream, ReadError, read_error

MAX_CELL = 1 << 20
"""Characters of the largest cell; more than a message may hold, so a quote is open by mistake."""


class CsvSource:
    """The rows of a CSV file; see :class:`webevents.sources.replay.rows.RowSource`.

    Cells that are empty are absent from a row. Lines that are blank are passed over.

    :raises UserError: when the file cannot be opened or its heading is no good.
    """

    def __init__(self, settings: ReplaySettings, stdin: BinaryIO | None = None) -> None:
        self._stream = ByteStream(settings.path, stdin)
        self.total: int | None = None
        self.line: int | None = 0
        self.raw: bytes | None = None
        self.bytes_total = self._stream.total
        if csv.field_size_limit() < MAX_CELL:
            csv.field_size_limit(MAX_CELL)
        utf8 = settings.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
        text = io.TextIOWrapper(
            self._stream.file,
            # With -sig a byte order mark does not become part of the first name.
            encoding="utf-8-sig" if utf8 else settings.encoding,
            # A byte that is no UTF-8 spoils its own row only: encoding the event refuses it.
            errors="surrogateescape" if utf8 else "strict",
            newline="",
        )
        self._text = text
        self._reader = csv.reader(text, delimiter=settings.delimiter, strict=True)
        try:
            self.columns: tuple[str, ...] | None = settings.columns or self._heading()
        except UserError:
            self.close()
            raise

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far."""
        return self._stream.count

    def _heading(self) -> tuple[str, ...] | None:
        """The names of the columns; None where the file is empty."""
        try:
            cells = next((row for row in self._reader if row), None)
        except (csv.Error, UnicodeError) as error:
            raise UserError(
                f"{self._stream.name} has no heading row that can be read: {error}"
            ) from None
        except READ_ERRORS as error:
            raise read_error(error, self._stream.name, 0) from None
        if cells is None:
            return None
        # Tables written with an index have a first column without a name.
        names = [cell.strip() or f"column_{at}" for at, cell in enumerate(cells, 1)]
        for name in names:
            if names.count(name) > 1:
                raise UserError(
                    f"{self._stream.name} has two columns named {name}; give them names of their "
                    "own"
                )
        return tuple(names)

    def __iter__(self) -> Iterator[Row | Unreadable]:
        if self.columns is None:
            return
        columns, reader = self.columns, self._reader
        width = len(columns)
        position = 0
        while True:
            self.line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                position += 1
                yield Unreadable(self._explained(str(error)))
                continue
            except UnicodeError:
                raise ReadError(
                    f"{self._stream.name} is not {self._text.encoding} after row {position:,}; "
                    "name its encoding"
                ) from None
            except READ_ERRORS as error:
                raise read_error(error, self._stream.name, position) from None
            if not cells:
                continue
            position += 1
            if len(cells) == width:
                yield {name: cell for name, cell in zip(columns, cells, strict=True) if cell}
            else:
                yield Unreadable(f"has {len(cells)} cells, the heading has {width}")

    def _explained(self, text: str) -> str:
        end = self._reader.line_num
        if self.line is not None and end > self.line:
            return f"{text} (a quote is open up to line {end:,})"
        return text

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
