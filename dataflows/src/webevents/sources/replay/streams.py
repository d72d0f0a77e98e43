"""Bytes of a file or of standard input, unpacked where they are gzipped, and how far one got."""

import gzip
import io
import os
import select
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from webevents.errors import UserError
from webevents.sources.replay.settings import STDIN, Format

BUFFER = 1 << 17
LOOK_EVERY_S = 0.2
GZIP_MAGIC = b"\x1f\x8b"
_BY_SUFFIX = {
    ".csv": Format.CSV,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".parquet": Format.PARQUET,
}


def format_of(path: str) -> Format:
    """The format by the file's name: .csv, .ndjson, .jsonl, .parquet, each also with .gz.

    :raises UserError: when the name does not tell.
    """
    if path == STDIN:
        raise UserError("standard input has no name that tells its format; name it (csv or ndjson)")
    name = Path(path).name.lower().removesuffix(".gz")
    found = _BY_SUFFIX.get(Path(name).suffix)
    if found is None:
        raise UserError(
            f"the name of {path} does not tell its format; name it (csv, ndjson or parquet)"
        )
    return found


class _Counted(io.RawIOBase):
    """A stream that counts what was read from it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._read_into = getattr(stream, "readinto1", stream.readinto)
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        size: int | None = self._read_into(buffer)
        self.count += size or 0
        return size


class PatientStdin(io.RawIOBase):
    """Standard input that ends when the process is asked to stop, also while nothing comes.

    :param stop: asked every :data:`LOOK_EVERY_S` seconds.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        descriptor = sys.stdin.fileno()
        while not select.select([descriptor], [], [], LOOK_EVERY_S)[0]:
            if self._stop():
                return 0
        return os.readv(descriptor, [buffer])


class ByteStream:
    """The unpacked bytes of a source.

    Whether it is gzipped is seen from its first bytes; a name that ends in .gz promises it.

    :param path: the file, or ``-``.
    :param stdin: what to read for ``-``; standard input when absent.
    :raises UserError: when the file cannot be opened, or is not gzipped though its name says so.
    """

    def __init__(self, path: str, stdin: BinaryIO | None = None) -> None:
        self.name = "standard input" if path == STDIN else path
        self.total: int | None = None
        self._opened: Any = None
        try:
            if path == STDIN:
                raw: Any = sys.stdin.buffer if stdin is None else stdin
            else:
                raw = self._opened = Path(path).open("rb", buffering=0)  # noqa: SIM115
                self.total = Path(path).stat().st_size
            self._counted = _Counted(raw)
            packed = io.BufferedReader(self._counted, BUFFER)
            first = packed.peek(2)[:2]
        except OSError as error:
            self.close()
            raise UserError(f"cannot read {self.name}: {error.strerror or error}") from None
        self.file: io.BufferedReader[Any] = packed
        self.gzipped = first == GZIP_MAGIC
        if self.gzipped:
            unpacked: Any = gzip.GzipFile(fileobj=packed, mode="rb")
            self.file = io.BufferedReader(unpacked, BUFFER)
        elif first and path.lower().endswith(".gz"):
            self.close()
            raise UserError(f"{path} is not gzipped; take .gz off its name")

    @property
    def count(self) -> int:
        """Bytes read so far, packed as they are."""
        return self._counted.count

    def close(self) -> None:
        """Close the file; standard input is left open."""
        if self._opened is not None:
            self._opened.close()


class ReadError(UserError):
    """A file cannot be read on; names the row reached."""


READ_ERRORS = (OSError, EOFError, zlib.error)
"""What reading and unpacking can raise."""


def read_error(error: BaseException, name: str, position: int) -> ReadError:
    """One clear sentence for one of :data:`READ_ERRORS`.

    :param name: the file's.
    :param position: rows read before.
    """
    if isinstance(error, EOFError):
        return ReadError(
            f"{name} is cut off after row {position:,}: its gzip has no end; fetch it again"
        )
    if isinstance(error, zlib.error | gzip.BadGzipFile):
        return ReadError(f"{name} is damaged after row {position:,}: {error}")
    reason = error.strerror if isinstance(error, OSError) else None
    return ReadError(f"cannot read {name} after row {position:,}: {reason or error}")
