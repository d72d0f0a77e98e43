"""Rows of NDJSON (JSON Lines): one JSON object a line."""

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from webevents.sources.replay.rows import Row, Unreadable
from webevents.sources.replay.settings import ReplaySettings
from webevents.sources.replay.streams import READ_ERRORS, ByteStream, ReadError, read_error

MAX_LINE = 16 << 20
"""Bytes of the longest line; a longer one shows that the file is not NDJSON."""
_BOM = b"\xef\xbb\xbf"


class NdjsonSource:
    """The lines of an NDJSON file; see :class:`webevents.sources.replay.rows.RowSource`.

    Lines that are blank are passed over.

    :raises UserError: when the file cannot be opened.
    """

    columns: tuple[str, ...] | None = None

    def __init__(self, settings: ReplaySettings, stdin: BinaryIO | None = None) -> None:
        self._stream = ByteStream(settings.path, stdin)
        self.total: int | None = None
        self.line: int | None = 0
        self.raw: bytes | None = None
        self.bytes_total = self._stream.total

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far."""
        return self._stream.count

    def __iter__(self) -> Iterator[Row | Unreadable]:
        decode = msgspec.json.Decoder(Row).decode
        read_line = self._stream.file.readline
        line = position = 0
        while True:
            try:
                raw = read_line(MAX_LINE)
            except READ_ERRORS as error:
                raise read_error(error, self._stream.name, position) from None
            if not raw:
                return
            line += 1
            if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
                raise ReadError(
                    f"line {line:,} of {self._stream.name} is longer than {MAX_LINE >> 20} MiB: "
                    "NDJSON has one event a line"
                )
            if line == 1:
                raw = raw.removeprefix(_BOM)
            raw = raw.rstrip(b"\r\n")
            if not raw or raw.isspace():
                continue
            position += 1
            self.line, self.raw = line, raw
            try:
                yield decode(raw)
            except msgspec.ValidationError:
                yield Unreadable("is JSON, but not an object")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                yield Unreadable("is not JSON")

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
