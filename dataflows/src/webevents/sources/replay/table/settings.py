"""Which table a replay fills."""

from dataclasses import dataclass

from webevents.connectors.postgres.target import TableName
from webevents.errors import UserError
from webevents.logic.rows.tables import Column

NAME_BYTES = 63
"""PostgreSQL cuts longer names (its manual, "Identifiers and Key Words")."""


@dataclass(frozen=True, slots=True)
class TableTarget:
    """The table of a replay."""

    table: TableName
    key: tuple[str, ...] = ()
    """Columns by which a row is known: one that is there is changed; without any, rows are
    added."""
    timestamp: str | None = None
    """Column that gets the time at which a row happened."""
    columns: tuple[Column, ...] = ()
    """Those of a table that is made; by the file's values when there are none."""
    primary_key: tuple[str, ...] = ()
    """Of a table that is made from ``columns``."""


def table_name(text: str) -> TableName:
    """Read TABLE or SCHEMA.TABLE.

    :raises UserError: when it is no name.
    """
    schema, dot, name = text.rpartition(".")
    if not dot:
        schema = "public"
    for part in (schema, name):
        check_name(part, f"--table {text}")
    return TableName(schema, name)


def check_name(name: str, what: str) -> None:
    """Refuse what cannot be the name of a table or a column.

    :param what: who uses it, for the error.
    :raises UserError: naming the mend.
    """
    if not name or "\x00" in name:
        raise UserError(f"{what}: write it as TABLE or SCHEMA.TABLE, or as a column's name")
    if len(name.encode(errors="replace")) > NAME_BYTES:
        raise UserError(f"{what}: names have {NAME_BYTES} bytes at most; choose a shorter one")
