"""The connection to PostgreSQL, and errors that say what to do."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from webevents.connectors.postgres.errors import describe, is_outage
from webevents.errors import UserError
from webevents.spec.postgres import PostgresSpec

_KEEPALIVE: dict[str, Any] = {
    # A host that is gone without a word is noticed within half a minute.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class Unreachable(UserError):
    """PostgreSQL does not answer, or not yet; trying again may help."""


def connect(spec: PostgresSpec, name: str = "webevents") -> Connection[TupleRow]:
    """Open a connection to the server that can be written to; each statement commits by itself.

    The password and certificates are read now, so that rotated ones are used.

    :param spec: with ``host`` filled in.
    :param name: how the server's own lists call the connection.
    :raises UserError: when a secret cannot be read.
    :raises psycopg.OperationalError: when there is no connection.
    """
    if spec.host is None:
        raise UserError("spec.postgres.host is not set: name a PostgreSQL server")
    options: dict[str, Any] = {"sslmode": "prefer"}
    if spec.tls is not None:
        options = {"sslmode": spec.tls.mode}
        if spec.tls.ca_file is not None:
            options["sslrootcert"] = spec.tls.ca_file
        elif spec.tls.mode == "verify-full":
            options["sslrootcert"] = "system"
        if spec.tls.cert_file is not None:
            options |= {"sslcert": spec.tls.cert_file, "sslkey": spec.tls.key_file}
    return psycopg.connect(
        host=spec.host,
        port=spec.port,
        dbname=spec.database,
        user=spec.username,
        password=password_of(spec),
        connect_timeout=round(spec.connect_timeout.total_seconds()),
        application_name=name,
        client_encoding="utf8",
        gssencmode="disable",
        target_session_attrs="read-write",
        autocommit=True,
        # A pooler between us and the server may not keep prepared statements.
        prepare_threshold=None,
        **_KEEPALIVE,
        **options,
    )


def password_of(spec: PostgresSpec) -> str | None:
    """The password, read now; None where none is set.

    :raises UserError: when it cannot be read.
    """
    if spec.password_env is not None:
        value = os.environ.get(spec.password_env)
        if value is None:
            raise UserError(
                f"spec.postgres.passwordEnv: the variable {spec.password_env} is not set in the "
                "environment"
            )
        return value
    if spec.password_file is None:
        return None
    try:
        return Path(spec.password_file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        raise UserError(f"spec.postgres.passwordFile: {spec.password_file}: {why}") from None


@contextmanager
def explained(spec: PostgresSpec) -> Iterator[None]:
    """Turn the client's errors into ones that a person can mend.

    :raises Unreachable: when there is no answer, or one that may change by itself.
    :raises UserError: when PostgreSQL refuses.
    """
    where = spec.address
    try:
        yield
    except psycopg.Error as error:
        text = describe(error)
        if error.sqlstate == "42501":
            raise UserError(
                f"PostgreSQL at {where} does not permit this to the user {spec.username}: grant "
                f"the privileges named in docs/tables.md ({text})"
            ) from None
        if error.sqlstate == "42P01":
            raise UserError(
                f"PostgreSQL at {where} has no such table or view: run the pipeline, which makes "
                f"them ({text})"
            ) from None
        for sign, mend in _CONNECTING:
            if sign in str(error):
                raise UserError(f"PostgreSQL at {where} {mend} ({text})") from None
        if is_outage(error):
            raise Unreachable(
                f"PostgreSQL at {where} does not answer: start it, or correct spec.postgres "
                f"({text})"
            ) from None
        raise UserError(f"PostgreSQL at {where} refuses: {text}") from None


_CONNECTING = (
    # libpq gives no error codes for a connection that does not come about.
    ("authentication failed", "refuses the credentials: correct username and password"),
    ("no password supplied", "wants a password: set passwordFile or passwordEnv"),
    ("no pg_hba.conf entry", "does not let this client in: mend its pg_hba.conf, or set tls"),
    ("certificate verify failed", "has no trusted certificate: set spec.postgres.tls.caFile"),
    ("does not support SSL", "does not speak TLS: remove spec.postgres.tls, or switch ssl on"),
)


def count_rows(
    connection: Connection[TupleRow], schema: str, tables: Sequence[str]
) -> dict[str, int]:
    """Number of rows of each table.

    :raises psycopg.Error: when it cannot be asked.
    """
    counts = {}
    for table in tables:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
        row = connection.execute(query).fetchone()
        counts[table] = int(row[0]) if row else 0
    return counts
