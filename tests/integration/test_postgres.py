"""The PostgreSQL server, tables, writer and named queries on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webevents.connectors.postgres import (
    QUERIES,
    PostgresWriter,
    StoreResult,
    Unreachable,
    connect,
    ensure_tables,
    explained,
)
from webevents.connectors.postgres.statements import lock_key
from webevents.connectors.retrying import Backoff
from webevents.errors import UserError
from webevents.local import postgres_server as postgres_module
from webevents.local.postgres_server import EmbeddedPostgres
from webevents.logic.rows.events import EventRows
from webevents.logic.rows.sessions import SessionRows
from webevents.logic.rows.tables import (
    TABLES,
    Row,
)
from webevents.spec.postgres import PostgresSpec, PostgresTls

pytestmark = pytest.mark.integration

ALL = list(TABLES.values())
QUICK = Backoff(base_s=0.05, cap_s=0.2)
Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def connection(postgres: PostgresSpec) -> Iterator[Connection]:
    with connect(postgres) as connection:
        yield connection


@pytest.fixture
def schema() -> str:
    return f"s{uuid.uuid4().hex[:10]}"


@pytest.fixture
def make_writer(postgres: PostgresSpec, schema: str) -> Iterator[Callable[..., PostgresWriter]]:
    made: list[PostgresWriter] = []

    def make(spec: PostgresSpec = postgres, **options: Any) -> PostgresWriter:
        writer = PostgresWriter(spec, ALL, schema=schema, backoff=QUICK, **options)
        made.append(writer)
        return writer

    yield make
    for writer in made:
        writer.close()


def session(key: str, version: int, **changes: Any) -> list[Row]:
    record = {
        "session_id": key,
        "pipeline": "p",
        "version": version,
        "first_event_timestamp": "2026-03-01T12:00:00Z",
        "last_event_timestamp": "2026-03-01T12:10:00Z",
        "total_events": version,
        "ip_address": "203.0.113.9",
        "host": "a.example",
    }
    return SessionRows(ALL).build(json.dumps(record | changes).encode())


def retraction(key: str, version: int) -> list[Row]:
    return session(key, version, retracted=True)


def event(key: str, **changes: Any) -> list[Row]:
    record = {
        "event_id": key,
        "event_type": "pageview",
        "event_timestamp": "2026-03-01 12:00:00.123456",
        "host": "a.example",
    }
    return EventRows(ALL).build(json.dumps(record | changes).encode())


def rows(connection: Connection, schema: str, what: str, table: str) -> list[tuple[Any, ...]]:
    return connection.execute(f'SELECT {what} FROM "{schema}".{table} ORDER BY 1').fetchall()


def write(writer: PostgresWriter, *items: list[Row], source: str = "s") -> StoreResult:
    return writer.submit(items, source).result(30)


# The server.


def test_it_keeps_its_data_and_port_through_stop_and_crash(
    postgres_server: Callable[..., EmbeddedPostgres],
) -> None:
    server = postgres_server()
    port = server.port
    with connect(server.spec) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    for end in (server.stop, server.kill):
        end()
        assert not server.alive
        server.start()
        assert server.port == port
        with connect(server.spec) as connection:
            assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]


def test_it_takes_further_settings_and_refuses_wrong_passwords(
    postgres_server: Callable[..., EmbeddedPostgres], tmp_path: Path
) -> None:
    server = postgres_server(extra={"wal_level": "logical"})
    with connect(server.spec) as connection:
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
    (tmp_path / "wrong").write_text("wrong\n")
    spec = server.spec.model_copy(update={"password_file": str(tmp_path / "wrong")})
    with pytest.raises(UserError, match="refuses the credentials"), explained(spec):
        connect(spec)
    server.stop()
    with pytest.raises(Unreachable, match="does not answer"), explained(server.spec):
        connect(server.spec)


SYSTEMS_OWN = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
"""Where Debian has PostgreSQL."""


@pytest.mark.skipif(not SYSTEMS_OWN, reason="the system has no PostgreSQL, and the wheel no TLS")
def test_certificates_are_checked_and_older_servers_are_written_to(
    postgres_server: Callable[..., EmbeddedPostgres],
    make_writer: Callable[..., PostgresWriter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_module, "_find_programs", lambda: SYSTEMS_OWN[0].parent)
    authority, stranger = trustme.CA(), trustme.CA()
    for name, made in (("ca", authority), ("other", stranger)):
        made.cert_pem.write_to_path(tmp_path / f"{name}.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    (tmp_path / "server.key").chmod(0o600)
    with (tmp_path / "server.pem").open("wb") as chain:
        chain.writelines(pem.bytes() for pem in certificate.cert_chain_pems)
    server = postgres_server(
        extra={
            "ssl": "on",
            "ssl_cert_file": str(tmp_path / "server.pem"),
            "ssl_key_file": str(tmp_path / "server.key"),
        }
    )

    def secured(host: str, ca: str) -> PostgresSpec:
        tls = PostgresTls(ca_file=str(tmp_path / f"{ca}.pem"))
        return server.spec.model_copy(update={"host": host, "tls": tls})

    def speak(host: str, ca: str) -> Any:
        spec = secured(host, ca)
        with explained(spec), connect(spec) as connection:
            row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            return row.fetchone()

    assert speak("127.0.0.1", "ca") == (True,)
    with pytest.raises(UserError, match=r"no trusted certificate: set spec\.postgres\.tls\.caFile"):
        speak("127.0.0.1", "other")
    with pytest.raises(UserError, match=r"does not match host name"):
        speak("localhost", "ca")
    writer = make_writer(secured("127.0.0.1", "ca"))
    assert write(writer, event("e1"), session("a", 1), retraction("a", 2)) == StoreResult(3)


def test_it_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from webevents.local.postgres_server import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])).start()\n"
        "print(server.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pg")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        os.kill(pid, 0)
        process.kill()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "PostgreSQL still runs"
        time.sleep(0.05)


def test_a_folder_is_used_by_one_server_only(
    postgres_server: Callable[..., EmbeddedPostgres],
) -> None:
    first = postgres_server()
    with pytest.raises(UserError, match="another process uses"):
        EmbeddedPostgres(first.data_dir).start()


# The tables.


def test_what_is_there_is_not_made_again(connection: Connection, schema: str) -> None:
    made = ensure_tables(connection, ALL, schema)
    assert [line.split(":")[0] for line in made] == [
        f"schema {schema} is made",
        f"table {schema}.session_metrics is made",
        f"table {schema}.processed_events is made",
        f"table {schema}.session_events_aggregated_ip is made",
        f"table {schema}.retracted_sessions is made",
        f"views of schema {schema} are made",
    ]
    with connection.transaction():
        assert ensure_tables(connection, ALL, schema) == []
        # A transaction has an id from its first write on.
        found = connection.execute("SELECT pg_current_xact_id_if_assigned()").fetchone()
    assert found == (None,)


def test_the_reference_systems_columns_types_key_and_indexes(
    connection: Connection, schema: str
) -> None:
    ensure_tables(connection, ALL, schema)
    found = connection.execute(
        "SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale "
        "FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
        "ORDER BY ordinal_position LIMIT 17",
        (schema, "session_metrics"),
    ).fetchall()
    timestamp = "timestamp without time zone"
    assert found == [
        ("session_id", "character varying", 255, None, None),
        ("user_id", "character varying", 255, None, None),
        ("total_events", "integer", None, 32, 0),
        ("event_type_counts", "jsonb", None, None, None),
        ("first_event_timestamp", timestamp, None, None, None),
        ("last_event_timestamp", timestamp, None, None, None),
        ("session_duration_minutes", "double precision", None, 53, None),
        ("unique_pages_count", "integer", None, 32, 0),
        ("unique_pages", "jsonb", None, None, None),
        ("total_revenue", "numeric", None, 10, 2),
        ("products_viewed_count", "integer", None, 32, 0),
        ("products_viewed", "jsonb", None, None, None),
        ("search_queries", "jsonb", None, None, None),
        ("unique_referrers_count", "integer", None, 32, 0),
        ("referrers", "jsonb", None, None, None),
        ("user_agent", "text", None, None, None),
        ("ip_address", "inet", None, None, None),
    ]
    indexes = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = %s AND tablename = 'session_metrics'",
        (schema,),
    ).fetchall()
    ends = sorted(text.partition("USING btree ")[2] for (text,) in indexes)
    assert ends == ["(last_event_timestamp)", "(session_id)", "(user_id)"]
    times = connection.execute(
        "SELECT table_name, column_name, datetime_precision FROM information_schema.columns "
        "WHERE table_schema = %s AND data_type = %s AND datetime_precision <> 6 ORDER BY 1, 2",
        (schema, timestamp),
    ).fetchall()
    assert times == [
        ("processed_events", "event_timestamp", 3),
        ("session_events_aggregated_ip", "end_session", 3),
        ("session_events_aggregated_ip", "start_session", 3),
    ]


def test_tables_of_the_reference_system_are_moved_forward_with_their_rows(
    connection: Connection, schema: str, make_writer: Callable[..., PostgresWriter]
) -> None:
    connection.execute(f'CREATE SCHEMA "{schema}"')
    connection.execute(
        f'CREATE TABLE "{schema}".processed_events (ip varchar, event_timestamp timestamp(3), '
        "referrer varchar, host varchar, url varchar, geodata varchar)"
    )
    connection.execute(f"INSERT INTO \"{schema}\".processed_events (ip) VALUES ('old'), ('old')")
    made = ensure_tables(connection, ALL, schema)
    assert f"column {schema}.processed_events.event_id is added" in made
    assert f"a unique index on {schema}.processed_events.event_id is made" in made
    assert ensure_tables(connection, ALL, schema) == []
    write(make_writer(), event("e1"), event("e1"))
    assert rows(connection, schema, "ip, event_id", "processed_events") == [
        ("old", None),
        ("old", None),
        (None, "e1"),
    ]


def test_a_user_who_may_only_write_rows_can_write_them(
    connection: Connection,
    postgres: PostgresSpec,
    schema: str,
    make_writer: Callable[..., PostgresWriter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ensure_tables(connection, ALL, schema)
    connection.execute(f"CREATE ROLE \"{schema}\" LOGIN PASSWORD 'secret'")
    monkeypatch.setenv("WRITER", "secret")
    spec = postgres.model_copy(
        update={"username": schema, "password_file": None, "password_env": "WRITER"}
    )
    handle = make_writer(spec).submit([event("e1"), session("a", 1), retraction("b", 1)], "s")
    time.sleep(0.5)
    assert not handle.done()  # it is not permitted yet, which is no fault of the rows
    connection.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO "{schema}"')
    connection.execute(
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO "{schema}"'
    )
    assert handle.result(30) == StoreResult(3)
    with (
        pytest.raises(UserError, match=f"does not permit this to the user {schema}"),
        explained(spec),
        connect(spec) as other,
    ):
        ensure_tables(other, ALL, f"{schema}_more")


def test_something_else_with_a_tables_name_is_left_alone(
    connection: Connection, schema: str
) -> None:
    connection.execute(f'CREATE SCHEMA "{schema}"')
    connection.execute(f'CREATE VIEW "{schema}".session_metrics AS SELECT 1 AS a')
    with pytest.raises(UserError, match="is no table: rename it"):
        ensure_tables(connection, ALL, schema)


def test_a_view_of_ours_is_renewed_and_somebody_elses_is_not(
    connection: Connection, schema: str
) -> None:
    ensure_tables(connection, ALL, schema)
    connection.execute(f'DROP VIEW "{schema}".session_totals')
    connection.execute(f'CREATE VIEW "{schema}".session_totals AS SELECT 1 AS theirs')
    connection.execute(f"COMMENT ON VIEW \"{schema}\".last_sessions IS 'webevents view old: x'")
    made = ensure_tables(connection, ALL, schema)
    assert made == [f"views of schema {schema} are made: last_sessions"]
    assert rows(connection, schema, "*", "session_totals") == [(1,)]


def test_several_make_the_tables_at_once(postgres: PostgresSpec, schema: str) -> None:
    results: list[Any] = []

    def make() -> None:
        with connect(postgres) as connection:
            results.append(ensure_tables(connection, ALL, schema))

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 6
    assert sum(bool(made) for made in results) == 1


# The writer.


def test_a_row_is_written_once_however_often_it_comes(
    connection: Connection, schema: str, make_writer: Callable[..., PostgresWriter]
) -> None:
    writer = make_writer()
    for _ in range(3):
        assert write(writer, event("e1"), event("e2"), event("e1")) == StoreResult(3)
    before = rows(connection, schema, "event_id, xmin::text", "processed_events")
    assert [row[0] for row in before] == ["e1", "e2"]
    write(writer, event("e1"), event("e2"))
    # What is the same already is not even written again.
    assert rows(connection, schema, "event_id, xmin::text", "processed_events") == before
    write(writer, event("e1", host="b.example"))
    assert rows(connection, schema, "event_id, host", "processed_events")[0] == ("e1", "b.example")


def test_the_highest_version_of_a_session_holds(
    connection: Connection, schema: str, make_writer: Callable[..., PostgresWriter]
) -> None:
    writer = make_writer()
    write(writer, session("a", 3))
    write(writer, session("a", 2), session("b", 5), session("b", 4))
    write(writer, session("a", 4))
    for table, column in (
        ("session_metrics", "total_events"),
        ("session_events_aggregated_ip", "web_events"),
    ):
        found = rows(connection, schema, f"session_id, {column}, version", table)
        assert found == [("a", 4, 4), ("b", 5, 5)]


def test_no_older_record_brings_a_retracted_session_back(
    connection: Connection, schema: str, make_writer: Callable[..., PostgresWriter]
) -> None:
    writer = make_writer()
    write(writer, session("a", 3), session("b", 3))
    write(writer, retraction("a", 7), session("c", 8))
    write(writer, session("a", 5), session("a", 7), retraction("b", 2))
    for table in ("session_metrics", "session_events_aggregated_ip"):
        assert rows(connection, schema, "session_id", table) == [("b",), ("c",)]
    write(writer, session("a", 9))
    assert rows(connection, schema, "session_id", "session_metrics") == [("a",), ("b",), ("c",)]


def test_old_retractions_are_forgotten(
    connection: Connection, schema: str, make_writer: Callable[..., PostgresWriter]
) -> None:
    writer = make_writer()
    write(writer, retraction("a", 7))
    connection.execute(
        f"UPDATE \"{schema}\".retracted_sessions SET retracted_at = now() - interval '8 days'"
    )
    write(writer, retraction("b", 7))
    assert rows(connection, schema, "session_id", "retracted_sessions") == [("b",)]


def test_writers_of_one_source_wait_for_each_other(
    connection: Connection,
    postgres: PostgresSpec,
    schema: str,
    make_writer: Callable[..., PostgresWriter],
) -> None:
    writer = make_writer()
    write(writer, session("a", 1))
    with connect(postgres) as other, other.transaction():
        # As a worker that has lost its partition, but has not committed its last batch yet.
        other.execute("SELECT pg_advisory_xact_lock(%s)", (lock_key("s"),))
        behind = writer.submit([retraction("a", 7)], "s")
        elsewhere = make_writer().submit([session("b", 1)], "another source")
        assert elsewhere.result(30).accepted == 1
        time.sleep(0.3)
        assert not behind.done()
        other.execute(
            f'UPDATE "{schema}".session_metrics SET version = 5 WHERE session_id = %s', ("a",)
        )
    assert behind.result(30).accepted == 1
    assert rows(connection, schema, "session_id", "session_metrics") == [("b",)]


def test_a_refused_row_is_found_and_the_rest_is_stored(
    connection: Connection, schema: str, make_writer: Callable[..., PostgresWriter]
) -> None:
    ensure_tables(connection, ALL, schema)
    connection.execute(
        f'ALTER TABLE "{schema}".processed_events ADD CHECK (host <> %s)'.replace("%s", "'bad'")
    )
    items = [event(f"e{n:03}", host="bad" if n in (13, 77) else "ok") for n in range(100)]
    # A line that COPY cannot read: PostgreSQL's word is taken for what our own checks miss.
    items[50] = [Row("processed_events", "e050", 0, b"e050\tx\tno time\tx\tx\tx\tx\n")]
    result = write(make_writer(), *items)
    assert result.accepted == 97
    assert [failed.position for failed in result.failed] == [13, 50, 77]
    assert "23514 CheckViolation" in result.failed[0].reason
    assert "column event_timestamp" in result.failed[1].reason
    assert "no time" not in result.failed[1].reason
    assert len(rows(connection, schema, "event_id", "processed_events")) == 97


def test_a_message_is_stored_in_all_of_its_tables_or_in_none(
    connection: Connection, schema: str, make_writer: Callable[..., PostgresWriter]
) -> None:
    ensure_tables(connection, ALL, schema)
    connection.execute(
        f'ALTER TABLE "{schema}".session_events_aggregated_ip ADD CHECK (web_events < 100)'
    )
    result = write(make_writer(), session("a", 1), session("b", 100), session("c", 3))
    assert [failed.position for failed in result.failed] == [1]
    for table in ("session_metrics", "session_events_aggregated_ip"):
        assert rows(connection, schema, "session_id", table) == [("a",), ("c",)]


plain = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(values=st.lists(st.tuples(plain, plain, st.lists(plain, max_size=3)), max_size=20))
def test_any_text_is_stored_as_it_is(
    values: list[tuple[str, str, list[str]]],
    connection: Connection,
    schema: str,
    make_writer: Callable[..., PostgresWriter],
) -> None:
    ensure_tables(connection, ALL, schema)
    for table in ("session_metrics", "retracted_sessions"):
        connection.execute(f'TRUNCATE "{schema}".{table}')
    writer = make_writer()
    made = [
        session(f"{n:03}", 1, user_id=user, user_agent=agent, unique_pages=pages)
        for n, (user, agent, pages) in enumerate(values)
    ]
    assert write(writer, *made).accepted == len(values)
    found = rows(
        connection, schema, "session_id, user_id, user_agent, unique_pages", "session_metrics"
    )
    assert [row[1:] for row in found] == values
    writer.close()


def test_batches_are_put_together_and_large_ones_are_cut(
    connection: Connection, schema: str, make_writer: Callable[..., PostgresWriter]
) -> None:
    writer = make_writer(max_rows=1000)
    handles = [
        writer.submit([event(f"e{part}-{n}") for n in range(700)], None) for part in range(5)
    ]
    handles.append(writer.submit([event(f"large-{n}") for n in range(2_500)], None))
    assert sum(handle.result(60).accepted for handle in handles) == 6_000
    assert len(rows(connection, schema, "event_id", "processed_events")) == 6_000


# Trouble.


def eventually(check: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_outage_lasts_until_it_ends_and_loses_nothing(
    postgres_server: Callable[..., EmbeddedPostgres],
    schema: str,
    make_writer: Callable[..., PostgresWriter],
) -> None:
    server = postgres_server()
    writer = make_writer(server.spec)
    stop = threading.Event()
    handles = []

    def feed() -> None:
        number = 0
        while not stop.wait(0.01):
            items = [event(f"e{number}-{n}") for n in range(20)]
            handles.append(writer.submit([*items, session(f"s{number}", number)], "s"))
            number += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    for end in (server.kill, server.stop, server.kill):
        done = sum(handle.done() for handle in handles)
        eventually(lambda done=done: sum(handle.done() for handle in handles) > done + 5)
        end()
        eventually(lambda: writer.outage is not None)
        assert writer.outage is not None
        assert writer.outage.attempts >= 1
        server.start()
    stop.set()
    feeder.join()
    assert all(handle.result(60).failed == [] for handle in handles)
    assert writer.outage is None
    with connect(server.spec) as connection:
        assert len(rows(connection, schema, "event_id", "processed_events")) == 20 * len(handles)
        assert len(rows(connection, schema, "session_id", "session_metrics")) == len(handles)


def test_connections_that_are_ended_and_statements_that_wait_too_long(
    connection: Connection,
    postgres: PostgresSpec,
    schema: str,
    make_writer: Callable[..., PostgresWriter],
) -> None:
    writer = make_writer(postgres.model_copy(update={"statement_timeout": _seconds(1)}))
    write(writer, session("a", 1))
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'webevents' AND pid <> pg_backend_pid()"
    )
    assert write(writer, session("a", 2)).accepted == 1
    with connect(postgres) as other, other.transaction():
        other.execute(f'LOCK TABLE "{schema}".session_metrics')
        handle = writer.submit([session("a", 3)], "s")
        eventually(lambda: writer.outage is not None and writer.outage.attempts >= 2)
        assert writer.outage is not None
        assert "LockNotAvailable" in writer.outage.error
    assert handle.result(30).accepted == 1
    assert rows(connection, schema, "total_events", "session_metrics") == [(3,)]


def _seconds(count: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=count)


def test_a_deadlock_and_a_dropped_table_are_no_fault_of_the_rows(
    connection: Connection,
    postgres: PostgresSpec,
    schema: str,
    make_writer: Callable[..., PostgresWriter],
) -> None:
    writer = make_writer()
    write(writer, session("a", 1), event("e1"))
    with connect(postgres) as other:
        other.execute("SET deadlock_timeout = '30s'")  # the writer is to be the victim
        with other.transaction():
            other.execute(f'LOCK TABLE "{schema}".processed_events')
            # It holds session_metrics' rows, then waits for processed_events.
            handle = writer.submit([[*session("a", 2), *event("e2")]], "s")
            eventually(lambda: _waits(connection, schema))
            other.execute(f'LOCK TABLE "{schema}".session_metrics IN SHARE MODE')
            assert not handle.done()
    assert handle.result(30) == StoreResult(1)
    assert writer.repeated >= 1
    connection.execute(f'DROP TABLE "{schema}".processed_events CASCADE')
    assert write(writer, event("e3")) == StoreResult(1)
    assert rows(connection, schema, "event_id", "processed_events") == [("e3",)]


def _waits(connection: Connection, schema: str) -> bool:
    found = connection.execute(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass",
        (f"{schema}.processed_events",),
    ).fetchone()
    return found is not None and found[0] > 0


def test_a_full_disk_is_waited_for(
    postgres_server: Callable[..., EmbeddedPostgres],
    schema: str,
    make_writer: Callable[..., PostgresWriter],
) -> None:
    # A limit on temporary space gives the same class of error (53) as a disk that is full.
    server = postgres_server()
    writer = make_writer(server.spec)
    write(writer, event("e1"))
    with connect(server.spec) as connection:
        connection.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' "
            "USING ERRCODE = 'disk_full'; END $$"
        )
        connection.execute(
            f'CREATE TRIGGER full_disk BEFORE INSERT ON "{schema}".processed_events '
            "FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"
        )
        handle = writer.submit([event("e2")])
        eventually(lambda: writer.outage is not None and writer.outage.attempts > 2)
        assert writer.outage is not None
        assert writer.outage.error.startswith("53100 DiskFull")
        connection.execute(f'DROP TRIGGER full_disk ON "{schema}".processed_events')
        assert handle.result(30) == StoreResult(1)
        assert len(rows(connection, schema, "event_id", "processed_events")) == 2


def test_too_many_connections_are_waited_for(
    postgres_server: Callable[..., EmbeddedPostgres], make_writer: Callable[..., PostgresWriter]
) -> None:
    server = postgres_server(extra={"max_connections": "5", "superuser_reserved_connections": "0"})
    others = [connect(server.spec) for _ in range(5)]
    writer = make_writer(server.spec)
    handle = writer.submit([event("e1")])
    eventually(lambda: writer.outage is not None and writer.outage.attempts > 2)
    assert not handle.done()
    for other in others:
        other.close()
    assert handle.result(30) == StoreResult(1)


def test_a_password_that_is_put_right_is_read_again(
    postgres: PostgresSpec, tmp_path: Path, make_writer: Callable[..., PostgresWriter]
) -> None:
    path = tmp_path / "password"
    path.write_text("wrong")
    writer = make_writer(postgres.model_copy(update={"password_file": str(path)}))
    handle = writer.submit([event("e1")])
    eventually(lambda: writer.outage is not None)
    assert postgres.password_file
    path.write_text(Path(postgres.password_file).read_text() + "\n")
    assert handle.result(30) == StoreResult(1)


def test_closing_does_not_wait_for_an_outage_to_end(
    postgres: PostgresSpec, make_writer: Callable[..., PostgresWriter]
) -> None:
    writer = make_writer(postgres.model_copy(update={"port": 1}))
    handle = writer.submit([event("e1")])
    eventually(lambda: writer.outage is not None)
    began = time.monotonic()
    writer.close()
    assert time.monotonic() - began < 2
    assert not handle.done()
    with pytest.raises(RuntimeError, match="closed"):
        writer.submit([event("e2")])


# The queries.


@pytest.fixture
def traffic(
    connection: Connection, schema: str, make_writer: Callable[..., PostgresWriter]
) -> Callable[[str], list[tuple[Any, ...]]]:
    writer = make_writer()
    places = [("DE", "Hessen"), ("DE", "Hessen"), ("US", None), (None, None), ("FR", "Bretagne")]
    events = [
        event(
            f"e{n}",
            host=("a.example", "b.example")[n % 2],
            event_timestamp=f"2026-03-0{1 + n // 4}T{n % 3:02}:30:00Z",
            geo_country=place[0],
            geo_region_name=place[1],
        )
        for n, place in enumerate([*places, ("DE", "Bayern"), ("AT", None)])
    ]
    sessions = [
        session("s1", 1, total_events=4, total_revenue=10.25, user_id="u1"),
        session("s2", 1, total_events=1, total_revenue=0, user_id="u1", host="b.example"),
        session(
            "s3",
            1,
            total_events=2,
            session_duration_minutes=3.0,
            total_revenue=5,
            user_id="u2",
            last_event_timestamp="2026-03-01T13:00:00Z",
        ),
    ]
    write(writer, *events, *sessions)

    def ask(name: str) -> list[tuple[Any, ...]]:
        (query,) = [each for each in QUERIES if each.name == name]
        found = connection.execute(query.sql(schema, None)).fetchall()
        view = connection.execute(f'SELECT * FROM "{schema}".{query.view}').fetchall()
        assert view == found[: query.limit]
        return found

    return ask


def test_shares_add_up_to_a_hundred(traffic: Callable[[str], list[tuple[Any, ...]]]) -> None:
    countries = traffic("events-by-country")
    assert countries == [
        ("DE", 3, Decimal("42.86")),
        ("AT", 1, Decimal("14.29")),
        ("FR", 1, Decimal("14.29")),
        ("US", 1, Decimal("14.28")),
        ("unknown", 1, Decimal("14.28")),
    ]
    for name in ("events-by-country", "events-by-state", "events-by-hour"):
        found = traffic(name)
        assert sum(row[2] for row in found) == 100
        assert sum(row[1] for row in found) == 7


def test_events_by_host_hour_and_state(traffic: Callable[[str], list[tuple[Any, ...]]]) -> None:
    from datetime import date

    assert traffic("events-by-host-and-date") == [
        ("a.example", date(2026, 3, 1), 2),
        ("a.example", date(2026, 3, 2), 2),
        ("b.example", date(2026, 3, 1), 2),
        ("b.example", date(2026, 3, 2), 1),
    ]
    assert [row[:2] for row in traffic("events-by-hour")] == [(0, 3), (1, 2), (2, 2)]
    assert [row[0] for row in traffic("events-by-state")][:2] == ["DE / Hessen", "AT / unknown"]


def test_sessions_are_not_taken_for_events(
    traffic: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    from datetime import date

    day = date(2026, 3, 1)
    assert traffic("session-events-by-host-and-date") == [
        ("a.example", day, 6, 2),
        ("b.example", day, 1, 1),
    ]
    assert traffic("sessions-by-ip-and-host") == [
        ("203.0.113.9", "a.example", 2, 6),
        ("203.0.113.9", "b.example", 1, 1),
    ]
    assert traffic("events-per-session-by-host") == [
        ("a.example", 2, 6, Decimal("3.00")),
        ("b.example", 1, 1, Decimal("1.00")),
    ]


def test_totals_and_the_last_sessions(traffic: Callable[[str], list[tuple[Any, ...]]]) -> None:
    assert traffic("session-totals") == [
        (3, 2, 7, Decimal("2.33"), Decimal("15.25"), Decimal("5.08"), Decimal("1.00"))
    ]
    assert [row[0] for row in traffic("last-sessions")] == ["s3", "s1", "s2"]


def test_queries_over_empty_tables(connection: Connection, schema: str) -> None:
    ensure_tables(connection, ALL, schema)
    for query in QUERIES:
        found = connection.execute(query.sql(schema, None)).fetchall()
        assert len(found) == (1 if query.name == "session-totals" else 0), query.name
