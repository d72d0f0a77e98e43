"""From a row to an event: renamed, converted, completed, keyed and encoded."""

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Any

import msgspec
import xxhash

from webevents.errors import UserError
from webevents.events.key import SEPARATOR
from webevents.sources.replay.convert import CONVERTERS, Convert, known_type
from webevents.sources.replay.rows import Row
from webevents.sources.replay.settings import ColumnMapping, ValueType

encode = msgspec.json.Encoder(decimal_format="number").encode
"""Encode an event."""


class RowError(Exception):
    """A row that cannot become an event; the text names columns, never values."""


def require_columns(
    what: str, names: Sequence[str], columns: Sequence[str] | None, file: str
) -> None:
    """Refuse the names of columns that the file does not have.

    :param columns: the file's; None where rows have their own.
    :raises UserError: naming the first that is missing, and those that are there.
    """
    if columns is None:
        return
    for name in names:
        if name not in columns:
            raise UserError(f"{what}: {file} has no column {name}; it has {', '.join(columns)}")


def compile_mapping(
    mapping: ColumnMapping,
    columns: Sequence[str] | None,
    file: str,
    known: Callable[[str], ValueType | None] = known_type,
) -> Callable[[Row], Row]:
    """Make the function from a row to an event; it may change the row.

    :param columns: the file's; None where rows have their own (NDJSON), whose values then keep
        their types unless the mapping says otherwise.
    :param known: the type that a field has where the mapping does not say.
    :raises UserError: when the mapping and the columns do not go together.
    """
    require_columns("rename", list(mapping.rename), columns, file)
    require_columns("types", list(mapping.types), columns, file)
    require_columns("drop", mapping.drop, columns, file)
    rename, drop, constants = dict(mapping.rename), mapping.drop, dict(mapping.constants)
    types = {rename.get(name, name): kind for name, kind in mapping.types.items()}
    if columns is not None:
        fields = [rename.get(name, name) for name in columns if name not in drop]
        for field in fields:
            if fields.count(field) > 1:
                raise UserError(
                    f"rename: {file} has a column {field} already; drop or rename that one"
                )
        types = {f: kind for f in fields if (kind := known(f)) is not None} | types
    converters = [(field, CONVERTERS[kind], kind) for field, kind in types.items()]

    def apply(row: Row) -> Row:
        for name in drop:
            row.pop(name, None)
        event = row
        if rename:
            event = {rename.get(name, name): value for name, value in row.items()}
            if len(event) < len(row):
                raise RowError("two columns become the same field")
        _convert(event, converters)
        if constants:
            event.update(constants)
        return event

    return apply


def _convert(event: Row, converters: Sequence[tuple[str, Convert, ValueType]]) -> None:
    for field, convert, kind in converters:
        value = event.get(field)
        if value is None or (kind is ValueType.STRING and type(value) is str):
            continue
        try:
            event[field] = convert(value)
        except (ValueError, TypeError, OverflowError):
            raise RowError(f"{field} is not of type {kind}") from None


def compile_id(
    template: str, columns: Sequence[str] | None, file: str
) -> Callable[[Row, int, bytes | None], str]:
    """Make the function that gives a row its event_id.

    The hash is of the row's number, its columns and its values, so that one file gives the same
    identifiers each time, under any name and packed or not, and equal rows differ.

    :param template: text with ``{hash}``, ``{row}`` and ``{column}`` of any column.
    :returns: a function of the row, its number from 1, and its bytes where it has any.
    :raises UserError: when the template cannot be read, or names a column that is not there.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UserError(f"the template of event_id cannot be read: {error}") from None
    names = [name for _, name, _, _ in parts if name is not None]
    if not names:
        raise UserError("the template of event_id gives all rows the same; add {hash} or {row}")
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise UserError("the template of event_id takes names in braces only: {hash}, {row}")
    require_columns(
        "event_id", [name for name in names if name not in ("hash", "row")], columns, file
    )

    def digest(row: Row, number: int, raw: bytes | None) -> str:
        content = encode(row) if raw is None else raw
        return xxhash.xxh3_128_hexdigest(b"%d\0%b" % (number, content))

    if template == "{hash}":
        return digest

    def make(row: Row, number: int, raw: bytes | None) -> str:
        text = ""
        for literal, name, _, _ in parts:
            text += literal
            if name == "hash":
                text += digest(row, number, raw)
            elif name == "row":
                text += str(number)
            elif name is not None:
                value = row.get(name)
                if value is None or value == "":
                    raise RowError(f"{name} is empty, which event_id is made of")
                text += str(value)
        return text

    return make


def compile_key(fields: Sequence[str]) -> Callable[[Mapping[str, Any]], bytes | None]:
    """Make the function that reads an event's key, as :func:`webevents.events.key.key_reader`.

    :param fields: the fields whose values, joined with ``|``, are the key; an absent one counts
        as empty.
    :returns: a function of the event; None where no field has a value.
    """
    if not fields:
        return lambda event: None

    def text(value: Any) -> str:
        return "" if value is None else str(value)

    if len(fields) == 1:
        (field,) = fields
        return lambda event: text(event.get(field)).encode() or None

    def read(event: Mapping[str, Any]) -> bytes | None:
        values = [text(event.get(field)) for field in fields]
        return SEPARATOR.join(values).encode() if any(values) else None

    return read
