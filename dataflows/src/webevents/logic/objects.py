"""Archived objects: their names, and the messages in them, byte for byte.

An object holds consecutive messages of one partition. Its name tells the first one's offset and
hour, so that whoever makes it again, makes it under the same name; its bytes depend on the messages
alone. The format is explained in ``docs/archive.md``.
"""

import base64
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol, Self

import msgspec
import zstandard

HOUR_MS = 3_600_000
Format = Literal["ndjson", "parquet"]
SUFFIXES: dict[Format, str] = {"ndjson": "ndjson.zst", "parquet": "parquet"}
CONTENT_TYPES: dict[Format, str] = {
    "ndjson": "application/zstd",
    "parquet": "application/vnd.apache.parquet",
}
_BLOCK_BYTES = 262_144
"""What is compressed at a time; fixed, so that the bytes do not depend on how messages arrived."""
_GROUP_BYTES = 8_388_608
"""Bytes of messages in a row group of Parquet."""
_LATEST_MS = 253_402_300_799_999
"""The year 9999 ends; what claims to be later counts as this."""


class ArchivedRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """One message as it stood in its partition."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """The record's own time in milliseconds since the epoch."""
    key: str | None = None
    key_base64: str | None = None
    value: str | None = None
    value_base64: str | None = None
    """Key and value as text, or in base64 where they are not UTF-8; neither where there is none."""

    def key_bytes(self) -> bytes | None:
        """The key's original bytes."""
        return _original(self.key, self.key_base64)

    def value_bytes(self) -> bytes | None:
        """The value's original bytes; None of a tombstone."""
        return _original(self.value, self.value_base64)


def _original(text: str | None, encoded: str | None) -> bytes | None:
    if encoded is not None:
        return base64.b64decode(encoded)
    return None if text is None else text.encode()


class ObjectName(msgspec.Struct, frozen=True, order=True):
    """What an object's name says."""

    topic: str
    partition: int
    first: int
    """Offset of the first message."""
    hour_ms: int
    """The hour of the first message's time, in milliseconds since the epoch."""
    format: Format

    def path(self, root: str) -> str:
        """The object's key: ``ROOT/YYYY/MM/dd/HH/TOPIC-PARTITION-OFFSET.SUFFIX``.

        The offset has 20 digits, so that names of one hour and partition sort by it.
        """
        hour = datetime.fromtimestamp(self.hour_ms / 1000, UTC).strftime("%Y/%m/%d/%H")
        stem = f"{self.topic}-{self.partition}-{self.first:020}"
        return f"{root}/{hour}/{stem}.{SUFFIXES[self.format]}"

    @classmethod
    def parse(cls, path: str, root: str) -> Self | None:
        """Read an object's key; None where it is not one that :meth:`path` makes."""
        if not path.startswith(f"{root}/"):
            return None
        match = _NAME.fullmatch(path, len(root) + 1)
        if match is None:
            return None
        year, month, day, hour, topic, partition, first, suffix = match.groups()
        try:
            moment = datetime(int(year), int(month), int(day), int(hour), tzinfo=UTC)
        except ValueError:
            return None
        format_ = next(name for name, value in SUFFIXES.items() if value == suffix)
        hour_ms = round(moment.timestamp() * 1000)
        return cls(topic, int(partition), int(first), hour_ms, format_)


_NAME = re.compile(
    r"(\d{4})/(\d\d)/(\d\d)/(\d\d)/([A-Za-z0-9._-]+)-(\d+)-(\d{20})\.(ndjson\.zst|parquet)"
)


def root_of(prefix: str, pipeline: str) -> str:
    """What the names of a pipeline's objects begin with."""
    return f"{prefix}/{pipeline}"


def hour_of(timestamp_ms: int) -> int:
    """The beginning of a time's hour in UTC; times that are not known count as 1970."""
    return min(max(timestamp_ms, 0), _LATEST_MS) // HOUR_MS * HOUR_MS


class ObjectBuilder(Protocol):
    """Collects the messages of one object."""

    size: int
    """Bytes of keys and values so far."""

    def add(self, record: ArchivedRecord, key: bytes | None, value: bytes | None) -> None:
        """Add a message.

        :param record: with key and value left open.
        """
        ...

    def finish(self) -> bytes:
        """The whole object; nothing can be added any more."""
        ...


def make_builder(format_: Format, level: int) -> ObjectBuilder:
    """Make an empty object.

    :param level: Zstandard's compression level.
    """
    return NdjsonBuilder(level) if format_ == "ndjson" else ParquetBuilder(level)


class NdjsonBuilder:
    """A JSON object a line, compressed as one Zstandard frame."""

    def __init__(self, level: int) -> None:
        compressor = zstandard.ZstdCompressor(level, write_checksum=True)
        self._compressor = compressor.compressobj()
        self._done = bytearray()
        self._lines: list[bytes] = []
        self._waiting = 0
        self.size = 0

    def add(self, record: ArchivedRecord, key: bytes | None, value: bytes | None) -> None:
        """See :meth:`ObjectBuilder.add`."""
        if key is not None:
            try:
                record.key = key.decode()
            except UnicodeDecodeError:
                record.key_base64 = base64.b64encode(key).decode()
            self.size += len(key)
        if value is not None:
            try:
                record.value = value.decode()
            except UnicodeDecodeError:
                record.value_base64 = base64.b64encode(value).decode()
            self.size += len(value)
        line = _encode(record)
        self._lines.append(line)
        self._waiting += len(line) + 1
        if self._waiting >= _BLOCK_BYTES:
            self._compress()

    def _compress(self) -> None:
        self._lines.append(b"")
        self._done += self._compressor.compress(b"\n".join(self._lines))
        self._lines = []
        self._waiting = 0

    def finish(self) -> bytes:
        """See :meth:`ObjectBuilder.finish`."""
        if self._lines:
            self._compress()
        return bytes(self._done + self._compressor.flush())


_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(ArchivedRecord).decode


class ParquetBuilder:
    """A Parquet file with the columns topic, partition, offset, timestamp, key and value."""

    def __init__(self, level: int) -> None:
        self._sink = io.BytesIO()
        self._writer = _parquet().ParquetWriter(
            self._sink, _schema(), compression="zstd", compression_level=level
        )
        self._columns: tuple[list[Any], ...] = ([], [], [], [], [], [])
        self._waiting = 0
        self.size = 0

    def add(self, record: ArchivedRecord, key: bytes | None, value: bytes | None) -> None:
        """See :meth:`ObjectBuilder.add`."""
        row = (record.topic, record.partition, record.offset, record.timestamp, key, value)
        for column, item in zip(self._columns, row, strict=True):
            column.append(item)
        size = len(key or b"") + len(value or b"")
        self.size += size
        self._waiting += size + 100
        if self._waiting >= _GROUP_BYTES:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa

        schema = _schema()
        arrays = [
            pa.array(column, kind) for column, kind in zip(self._columns, schema.types, strict=True)
        ]
        # A row group each, so that where they end depends on the messages alone.
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=2**26)
        for column in self._columns:
            column.clear()
        self._waiting = 0

    def finish(self) -> bytes:
        """See :meth:`ObjectBuilder.finish`."""
        if self._columns[0]:
            self._write()
        self._writer.close()
        return self._sink.getvalue()


def _parquet() -> Any:
    """Imported late: it takes half a second and is needed for this format alone."""
    import pyarrow.parquet

    return pyarrow.parquet


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("topic", pa.string(), nullable=False),
            pa.field("partition", pa.int32(), nullable=False),
            pa.field("offset", pa.int64(), nullable=False),
            pa.field("timestamp", pa.timestamp("ms", "UTC"), nullable=False),
            pa.field("key", pa.binary()),
            pa.field("value", pa.binary()),
        ]
    )


class Replayed(NamedTuple):
    """A message read back from an object."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class DamagedObject(Exception):
    """An object that is no archive object, or is not whole."""


def read_object(body: bytes, format_: Format) -> Iterator[Replayed]:
    """Read an object's messages in order.

    :raises DamagedObject: when it cannot be read to its end.
    """
    try:
        yield from (_read_ndjson if format_ == "ndjson" else _read_parquet)(body)
    except (zstandard.ZstdError, msgspec.DecodeError, ValueError, OSError, KeyError) as error:
        # Neither the text of an error nor a log may hold a value of an event.
        raise DamagedObject(type(error).__name__) from None


def _read_ndjson(body: bytes) -> Iterator[Replayed]:
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    rest = b""
    for start in range(0, len(body), _BLOCK_BYTES):
        lines = (rest + decompressor.decompress(body[start : start + _BLOCK_BYTES])).split(b"\n")
        rest = lines.pop()
        for line in lines:
            record = _decode_line(line)
            yield Replayed(
                record.topic,
                record.partition,
                record.offset,
                record.timestamp,
                record.key_bytes(),
                record.value_bytes(),
            )
    if not decompressor.eof or rest:
        raise ValueError("cut short")


def _read_parquet(body: bytes) -> Iterator[Replayed]:
    import pyarrow as pa

    with _parquet().ParquetFile(io.BytesIO(body)) as file:
        for batch in file.iter_batches(batch_size=8192):
            columns = [
                batch.column(batch.schema.get_field_index(name))
                for name in ("topic", "partition", "offset", "timestamp", "key", "value")
            ]
            columns[3] = columns[3].cast(pa.int64())
            for row in zip(*(column.to_pylist() for column in columns), strict=True):
                yield Replayed(*row)
