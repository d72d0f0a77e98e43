"""Telling what PostgreSQL's errors mean: an outage that ends, or a row that cannot be stored.

By the SQLSTATE codes of its manual, appendix "PostgreSQL Error Codes".
"""

import re

import psycopg

from webevents.errors import UserError

_ROW_CLASSES = ("22", "23")
"""Data exception, integrity constraint violation."""
_ROW_CODES = {
    # program_limit_exceeded: a row too large for its index; the row itself is too large.
    "54000",
    "54011",
    # statement_too_complex: JSON nested deeper than the server's stack.
    "54001",
}
_REFUSED = {"28000", "28P01", "42501"}
"""invalid authorization, wrong password, insufficient privilege."""
_UNAVAILABLE = ("08", "25", "28", "40", "53", "57", "58", "XX")
"""Connection, transaction state (a read-only standby), credentials, serialization and deadlock,
resources (disk full, too many connections), operator intervention, system and internal errors."""

_column = re.compile(r"column (\w{1,63})").search


def is_row_error(error: Exception) -> bool:
    """Whether a row of the batch is to blame, rather than the server's state."""
    code = getattr(error, "sqlstate", None)
    if not isinstance(error, psycopg.Error) or code is None:
        return False
    return code[:2] in _ROW_CLASSES or code in _ROW_CODES


def is_outage(error: psycopg.Error) -> bool:
    """Whether it may end by itself, or when the server is put right."""
    code = error.sqlstate
    if code is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return code[:2] in _UNAVAILABLE


def is_refusal(error: Exception) -> bool:
    """Whether only a person can end it: credentials or privileges are wrong."""
    if isinstance(error, psycopg.Error):
        return error.sqlstate in _REFUSED or "authentication failed" in str(error)
    return isinstance(error, UserError)


def describe(error: psycopg.Error) -> str:
    """Say what happened in one line, for logs and people; holds no value of a row."""
    if is_row_error(error):
        return describe_row_error(error)
    said = (error.diag.message_primary or str(error)).strip().splitlines() or [""]
    return " ".join(filter(None, (error.sqlstate, type(error).__name__))) + f": {said[0][:300]}"


def describe_row_error(error: psycopg.Error) -> str:
    """Say why a row was refused: code, name and column; PostgreSQL's own text may hold values."""
    diag = error.diag
    found = _column(diag.context or "")
    column = diag.column_name or (found[1] if found else None)
    parts = [f"{error.sqlstate} {type(error).__name__}"]
    parts += [f"table {diag.table_name}"] if diag.table_name else []
    parts += [f"column {column}"] if column else []
    parts += [f"constraint {diag.constraint_name}"] if diag.constraint_name else []
    return ", ".join(parts)
