"""spec.postgres and spec.store: where PostgreSQL is, how to log in, which tables are written."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from webevents.spec.base import Duration, Model

_HOSTS = r"^[A-Za-z0-9._:-]+(,[A-Za-z0-9._:-]+)*$"


class PostgresTls(Model):
    """TLS to PostgreSQL; files are PEM and are read at every new connection."""

    mode: Literal["verify-full", "verify-ca", "require"] = "verify-full"
    """verify-full: certificate and host name are checked; verify-ca: only the certificate;
    require: encrypted, but to anyone."""
    ca_file: str | None = None
    """Certificate authority that signed the server's certificate; the system's when absent."""
    cert_file: str | None = None
    """Client certificate; goes with keyFile."""
    key_file: str | None = None
    """Key of the client certificate; only its owner may be able to read it."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile go together: set both, or neither")
        if self.mode == "verify-ca" and self.ca_file is None:
            raise ValueError("mode verify-ca needs caFile; the system's own need verify-full")
        return self


class PostgresSpec(Model):
    """The PostgreSQL database; the password comes from a file or the environment, never from
    here."""

    host: str | None = Field(default=None, pattern=_HOSTS, max_length=1000)
    """Host name or address; several after commas are tried for the one that can be written to,
    as after a failover. The runtime's own PostgreSQL when absent."""
    port: int = Field(default=5432, ge=1, le=65535)
    """TCP port, the same on every host."""
    database: str = Field(default="webevents", min_length=1, max_length=63)
    """Name of the database; it must exist."""
    username: str = Field(default="webevents", min_length=1, max_length=63)
    """User that logs in."""
    password_file: str | None = None
    """File that holds the password; read again at every new connection."""
    password_env: str | None = None
    """Environment variable that holds the password."""
    tls: PostgresTls | None = None
    """TLS to the server; none when absent."""
    connect_timeout: Duration = timedelta(seconds=10)
    """How long opening a connection may take."""
    statement_timeout: Duration = timedelta(seconds=60)
    """How long one statement may take before it is cancelled and the batch is tried again."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.password_file is not None and self.password_env is not None:
            raise ValueError("set only one of passwordFile and passwordEnv")
        for name, span in (
            ("connectTimeout", self.connect_timeout),
            ("statementTimeout", self.statement_timeout),
        ):
            if span < timedelta(seconds=1):
                raise ValueError(f"{name} must be at least 1s")
        return self

    @property
    def address(self) -> str:
        """Host, port and database for people."""
        return f"{self.host}:{self.port}/{self.database}"


StoreTable = Literal["sessionMetrics", "processedEvents", "sessionEventsAggregatedIp"]
"""What the store stage can write; the tables' own names are in snake_case."""

SESSION_TABLES: tuple[StoreTable, ...] = ("sessionMetrics", "sessionEventsAggregatedIp")
"""Those whose rows are sessions."""


class StoreBatchSpec(Model):
    """How rows are sent; a batch is one transaction."""

    max_rows: int = Field(default=10_000, ge=1, le=1_000_000)
    """Messages whose rows make up a batch."""
    max_bytes: int = Field(default=16_000_000, ge=100_000, le=500_000_000)
    """Size of a batch's rows in bytes."""


class StoreSpec(Model):
    """What is written to PostgreSQL."""

    enabled: bool = False
    """Whether tables are written in PostgreSQL."""
    schema_name: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", max_length=63)] = "public"
    """Schema of the tables and views; made when it is not there."""
    tables: tuple[StoreTable, ...] = ("sessionMetrics",)
    """sessionMetrics: a row for each session; sessionEventsAggregatedIp: a row for each session
    with its address and host; processedEvents: a row for each event."""
    views: bool = True
    """Whether a view is made of each query that `webevents query` lists for these tables."""
    batch: StoreBatchSpec = StoreBatchSpec()
    """How rows are sent."""

    @field_validator("tables")
    @classmethod
    def _some_tables(cls, tables: tuple[StoreTable, ...]) -> tuple[StoreTable, ...]:
        if not tables or len(set(tables)) < len(tables):
            raise ValueError("needs at least one table, each once")
        return tables

    @property
    def of_sessions(self) -> bool:
        """Whether a table holds sessions."""
        return any(table in SESSION_TABLES for table in self.tables)

    @property
    def of_events(self) -> bool:
        """Whether a table holds events."""
        return any(table not in SESSION_TABLES for table in self.tables)
