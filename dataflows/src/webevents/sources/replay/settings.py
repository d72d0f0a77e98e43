"""What a replay is asked to do."""

import codecs
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from webevents.errors import UserError
from webevents.spec.base import Model
from webevents.spec.generator import Moment

STDIN = "-"
"""The path that means standard input."""


class Format(StrEnum):
    """What a file holds."""

    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


class ValueType(StrEnum):
    """What a column's values become."""

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    STRING = "string"


class ColumnMapping(Model):
    """How a row becomes an event; every column is named as the file names it."""

    rename: dict[str, str] = Field(default_factory=dict)
    """The event's field for a column: ``event_name: event_type``."""
    constants: dict[str, Any] = Field(default_factory=dict)
    """Fields with a fixed value; they win over a column of the same name."""
    types: dict[str, ValueType] = Field(default_factory=dict)
    """The type of a column's values. Columns of CSV and Parquet that become a field with a type
    of its own (quantity, price, …) are converted without being named here."""
    drop: tuple[str, ...] = ()
    """Columns that do not get into the event."""
    event_id: str | None = None
    """Template of the event_id of a row that has none: ``{hash}`` (of the row and its position),
    ``{row}`` (its number, from 1) and any ``{column}``. When absent it is ``{hash}`` for CSV and
    Parquet, while NDJSON lines stay as they are; empty: none is made."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        targets = list(self.rename.values())
        for target in targets:
            if not target:
                raise ValueError("rename: the name of a field must not be empty")
            if targets.count(target) > 1:
                raise ValueError(f"rename: two columns become {target}; keep one of them")
        for column in self.drop:
            if column in self.rename or column in self.types:
                raise ValueError(f"drop: {column} is renamed or converted too; keep or drop it")
        return self

    @property
    def changes(self) -> bool:
        """Whether it makes anything of a row but what the row is."""
        return bool(self.rename or self.constants or self.types or self.drop or self.event_id)


class ReplaySettings(Model):
    """One replay of one file."""

    path: str
    """The file; ``-`` is standard input."""
    format: Format | None = None
    """What the file holds; by its name when absent."""
    encoding: str = "utf-8"
    """Encoding of CSV."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What separates the cells of CSV."""
    columns: tuple[str, ...] | None = None
    """Names of the columns of CSV without a heading row."""
    mapping: ColumnMapping = ColumnMapping()
    offset_column: str | None = None
    """Column with the seconds since the row before."""
    time_column: str | None = None
    """Column with the time of the row; the one that becomes event_timestamp when absent."""
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    """Unit since 1970-01-01T00:00:00Z of times that are numbers."""
    start: Moment | None = None
    """The event_timestamp at which the file begins; rows that have times of their own are moved
    there. When absent such times stay, and rows with offsets begin now where speed is at most 1,
    and otherwise at 00:00 UTC of yesterday, so that a day's events are not in the future."""
    speed: float | None = Field(default=1.0, gt=0, allow_inf_nan=False)
    """1: at the original gaps; 10: ten times as fast; null: as fast as it goes."""
    key_fields: tuple[str, ...] = ()
    """Fields of the event whose values, joined with ``|``, are the message's key."""
    skip: int = Field(default=0, ge=0)
    """Rows at the beginning that are not sent; they do count for times and made event_ids."""
    limit: int | None = Field(default=None, ge=0)
    """Rows that are read after those; all when absent."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.offset_column is not None and self.time_column is not None:
            raise ValueError("offsetColumn and timeColumn exclude each other; name one")
        if self.columns is not None:
            if not self.columns or not all(self.columns):
                raise ValueError("columns: every column needs a name")
            if len(set(self.columns)) < len(self.columns):
                raise ValueError("columns: two columns have the same name")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError(f"encoding: {self.encoding} is unknown; try utf-8") from None
        return self


def replay_settings(values: dict[str, Any]) -> ReplaySettings:
    """Check settings that a person gave.

    :raises UserError: naming each setting that is wrong, and why.
    """
    try:
        return ReplaySettings.model_validate(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            place = ".".join(map(str, fault["loc"]))
            text = fault["msg"].removeprefix("Value error, ")
            faults.append(f"{place}: {text}" if place else text)
        raise UserError(f"replay: {'; '.join(faults)}") from None
