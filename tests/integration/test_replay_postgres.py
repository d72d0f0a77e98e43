"""Replay into PostgreSQL: the day's figures, each row once through crashes of either side, its own
pace, faults told by row, dimension tables; on a real server."""

from __future__ import annotations

import csv
import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fashion import CLICKS as CLICK_COUNTS

from webevents.connectors.postgres import connect
from webevents.connectors.postgres.append_statements import Writing
from webevents.connectors.postgres.appender import Appended, Appender, open_locked
from webevents.connectors.postgres.replays import ReplayRecords
from webevents.connectors.postgres.target import TableName
from webevents.errors import UserError
from webevents.local.postgres_server import EmbeddedPostgres
from webevents.sources.replay import replay_settings, with_preset
from webevents.sources.replay.table import (
    DEFINITIONS,
    TABLE_PRESETS,
    TableReplay,
    TableTarget,
    replay_into_table,
)
from webevents.spec.postgres import PostgresSpec

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "fashion-campus"
TWIN = ROOT / "tests" / "data"
CLICKS, TRANSACTIONS = "fashion-campus-clicks", "fashion-campus-transactions"
START = "2026-03-01T00:00:00Z"

real_day = pytest.mark.skipif(
    not (REAL / "one-day-clicks.csv").is_file(),
    reason="the Fashion Campus day is not in ../shared/data/fashion-campus",
)
Connection = psycopg.Connection[Any]


@pytest.fixture
def schema() -> str:
    return f"r{uuid.uuid4().hex[:10]}"


@pytest.fixture
def connection(postgres: PostgresSpec) -> Iterator[Connection]:
    with connect(postgres) as connection:
        yield connection


def command(spec: PostgresSpec, path: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "webevents", "replay", str(path), "--to", "postgres"),
        *("--postgres", spec.address, "--postgres-password-file", str(spec.password_file)),
        *options,
    ]


def run(
    spec: PostgresSpec, path: Path, *options: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(spec, path, *options), text=True, capture_output=True, timeout=240, check=False
    )
    assert done.returncode == code, done.stderr
    return done


@contextmanager
def running(spec: PostgresSpec, path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command(spec, path, *options), text=True, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def rows_done(connection: Connection, schema: str, table: str = "clicks") -> int:
    """Where the newest record of a table is; -1 where there is none."""
    try:
        row = connection.execute(
            f'SELECT rows_done FROM "{schema}".webevents_replays WHERE table_name = %s '
            "ORDER BY began_at DESC LIMIT 1",
            (table,),
        ).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return -1
    return -1 if row is None else int(row[0])


def until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def settings_of(path: Path, preset: str | None = None, **values: Any) -> Any:
    own = {"path": str(path), "speed": None, **values}
    return replay_settings(with_preset(preset, own, TABLE_PRESETS))


def load(
    spec: PostgresSpec, path: Path, schema: str, *key: str, table: str = "t", **values: Any
) -> TableReplay:
    """Load a file as a table, within this process."""
    target = TableTarget(TableName(schema, table), key=key)
    return replay_into_table(settings_of(path, **values), target, spec)


def shop(
    spec: PostgresSpec, path: Path, schema: str, preset: str = CLICKS, **values: Any
) -> TableReplay:
    """Replay a file of the shop into a schema, within this process."""
    known = DEFINITIONS[preset]
    target = replace(known, table=TableName(schema, known.table.name))
    passed = {name: values.pop(name) for name in ("again", "say") if name in values}
    return replay_into_table(settings_of(path, preset, **values), target, spec, **passed)


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def long_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40,375 clicks: the twin many times over, each row with an event_id of its own."""
    rows = cells(TWIN / "twin-clicks.csv")
    path = tmp_path_factory.mktemp("long") / "clicks.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for number in range(85):
            for row in rows:
                event_id, offset = f"{row['event_id']}-{number}", str(len(row["event_id"]) % 7)
                writer.writerow(row | {"event_id": event_id, "event_offset": offset})
    return path


def assert_exact(connection: Connection, schema: str, path: Path, start: str = START) -> None:
    """The table holds each row of the file once, in its order, at its time."""
    expected, at = [], datetime.fromisoformat(start).replace(tzinfo=None)
    for row in cells(path):
        at += timedelta(seconds=float(row["event_offset"] or 0))
        quantity = int(float(row["quantity"])) if row["quantity"] else None
        expected.append((row["event_id"], row["event_name"], quantity, at))
    found = connection.execute(
        f'SELECT event_id, event_name, quantity, created_at FROM "{schema}".clicks ORDER BY id'
    ).fetchall()
    assert len(found) == len(expected)
    assert found == expected


# The day.


@real_day
def test_the_real_day_has_its_published_figures_each_time(
    postgres_server: Callable[..., EmbeddedPostgres],
) -> None:
    server = postgres_server()
    clicks, transactions = REAL / "one-day-clicks.csv", REAL / "one-day-transactions.csv"
    for time_ in range(2):
        said = run(server.spec, clicks, "--preset", CLICKS, "--speed", "full").stderr
        assert ("nothing was written" if time_ else "27,759 rows into public.clicks") in said
        run(server.spec, transactions, "--preset", TRANSACTIONS, "--speed", "max")
        with connect(server.spec) as connection:
            counts = connection.execute("SELECT event_name, count(*) FROM clicks GROUP BY 1")
            assert dict(counts.fetchall()) == CLICK_COUNTS
            totals = connection.execute(
                "SELECT count(*), count(DISTINCT session_id), count(DISTINCT event_id) FROM clicks"
            )
            assert totals.fetchone() == (27_759, 2_763, 27_759)
            statuses = connection.execute(
                "SELECT payment_status, count(*) FROM transactions GROUP BY 1"
            )
            assert dict(statuses.fetchall()) == {"Success": 1_582, "Failed": 85}
            total = connection.execute("SELECT sum(total_amount), count(*) FROM transactions")
            assert total.fetchone() == (1_828_852_234, 1_667)


COLUMNS = {
    "clicks": """
        id integer, session_id text, event_name varchar(20), event_id text,
        traffic_source varchar(15), product_id integer, quantity integer,
        item_price double precision, payment_status varchar(15), search_keywords varchar(50),
        promo_code varchar(20), promo_amount double precision,
        created_at timestamp without time zone""",
    "transactions": """
        id integer, customer_id integer, booking_id text, session_id text,
        payment_method varchar(50), payment_status varchar(15), promo_amount double precision,
        promo_code varchar(20), shipment_fee double precision, shipment_location_lat text,
        shipment_location_lon text, total_amount double precision, product_id integer,
        quantity integer, item_price double precision, created_at timestamp without time zone""",
}


def test_a_day_like_it_becomes_the_shops_tables(
    postgres: PostgresSpec, connection: Connection, schema: str
) -> None:
    for preset, table in ((CLICKS, "clicks"), (TRANSACTIONS, "transactions")):
        path = TWIN / f"twin-{table}.csv"
        for _ in range(2):
            shop(postgres, path, schema, preset, start=START)
        columns = connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
            (f"{schema}.{table}",),
        ).fetchall()
        said = ", ".join(f"{name} {kind}" for name, kind in columns)
        assert said.replace("character varying", "varchar") == " ".join(COLUMNS[table].split())
        identity = connection.execute(
            "SELECT relreplident::text, (SELECT string_agg(attname, ',') FROM pg_attribute a "
            "JOIN pg_index ON indrelid = attrelid AND indisprimary AND attnum = ANY(indkey) "
            "WHERE attrelid = c.oid) FROM pg_class c WHERE oid = %s::regclass",
            (f"{schema}.{table}",),
        ).fetchone()
        assert identity == ("f", "id")
    assert_exact(connection, schema, TWIN / "twin-clicks.csv")
    rows = cells(TWIN / "twin-transactions.csv")
    found = connection.execute(
        f"SELECT booking_id, total_amount, promo_code, shipment_location_lon, customer_id "
        f'FROM "{schema}".transactions ORDER BY id'
    ).fetchall()
    assert found == [
        (
            row["booking_id"],
            float(row["total_amount"]),
            row["promo_code"] or None,
            row["shipment_location_long"],
            int(row["customer_id"]),
        )
        for row in rows
    ]


def test_only_on_purpose_is_a_file_replayed_twice(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    twin = TWIN / "twin-clicks.csv"
    options = ("--preset", CLICKS, "--table", f"{schema}.clicks", "--speed", "full")
    count = f'SELECT count(*) FROM "{schema}".clicks'
    assert shop(postgres, twin, schema).result.sent == 475
    packed = tmp_path / "other name.csv.gz"
    packed.write_bytes(gzip.compress(twin.read_bytes()))
    assert "already" in run(postgres, packed, *options).stderr
    assert connection.execute(count).fetchone() == (475,)
    run(postgres, twin, *options, "--again")
    assert connection.execute(count).fetchone() == (950,)
    assert shop(postgres, twin, schema).done_before is not None
    other = tmp_path / "twin-clicks.csv"
    other.write_text("".join(twin.read_text().splitlines(keepends=True)[:11]))
    shop(postgres, other, schema)
    assert connection.execute(count).fetchone() == (960,)
    # A table that is not there any more has none of the rows.
    connection.execute(f'DROP TABLE "{schema}".clicks')
    assert shop(postgres, twin, schema).made
    assert connection.execute(count).fetchone() == (475,)


# Crashes and outages.


def test_a_replay_that_is_killed_goes_on_at_its_row(
    postgres: PostgresSpec, connection: Connection, schema: str, long_day: Path
) -> None:
    """At full speed: killed before the first row, and wherever each run happens to be."""
    options = ("--preset", CLICKS, "--table", f"{schema}.clicks", "--start", START)
    for at in (-1, 0, 1, 9_000, 17_000, 30_000):
        with running(postgres, long_day, *options, "--speed", "full") as process:
            if at < 0:
                time.sleep(0.3)
            else:
                until(lambda at=at: rows_done(connection, schema) >= at, process)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            process.wait()
    said = run(postgres, long_day, *options, "--speed", "full").stderr
    assert "went on after row" in said or "already" in said
    assert_exact(connection, schema, long_day)


def test_a_paced_replay_that_is_killed_keeps_its_times(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    """Small batches, and a start that only the first run knew."""
    path = tmp_path / "clicks.csv"
    lines = (TWIN / "twin-clicks.csv").read_text().splitlines()
    path.write_text("\n".join([lines[0], *(f"{r.rpartition(',')[0]},10" for r in lines[1:])]))
    options = ("--preset", CLICKS, "--table", f"{schema}.clicks", "--speed", "1000")
    for at in (40, 150, 300):
        with running(postgres, path, *options) as process:
            until(lambda at=at: rows_done(connection, schema) >= at, process)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert rows_done(connection, schema) < 475
    assert "went on after row" in run(postgres, path, *options).stderr
    row = connection.execute(f'SELECT start FROM "{schema}".webevents_replays').fetchall()
    ((start,),) = row
    assert start.hour == start.minute == 0
    assert_exact(connection, schema, path, start.isoformat())


def test_a_replay_outlasts_kills_of_the_server(
    postgres_server: Callable[..., EmbeddedPostgres], long_day: Path
) -> None:
    server = postgres_server()
    options = ("--preset", CLICKS, "--start", START, "--speed", "20000")
    with running(server.spec, long_day, *options) as process:
        for at in (1_000, 9_000, 18_000):
            with connect(server.spec) as connection:
                until(lambda at=at: rows_done(connection, "public") >= at, process)  # type: ignore[misc]
            server.kill()
            time.sleep(1)
            assert process.poll() is None
            server.start()
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    assert said.count("PostgreSQL takes no rows, trying again") >= 3
    assert "PostgreSQL takes rows again" in said
    with connect(server.spec) as connection:
        assert_exact(connection, "public", long_day)


def test_a_stop_in_an_outage_ends_it_and_loses_nothing(
    postgres_server: Callable[..., EmbeddedPostgres], long_day: Path
) -> None:
    server = postgres_server()
    options = ("--preset", CLICKS, "--start", START)
    with running(server.spec, long_day, *options, "--speed", "20000") as process:
        with connect(server.spec) as connection:
            until(lambda: rows_done(connection, "public") >= 2_000, process)
        server.kill()
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert "the same command goes on" in said
    done = run(server.spec, long_day, *options, "--speed", "full", code=2)
    assert "does not answer" in done.stderr
    server.start()
    run(server.spec, long_day, *options, "--speed", "full")
    with connect(server.spec) as connection:
        assert_exact(connection, "public", long_day)


class LostAnswers:
    """A way to the server that loses the answers to some commits: forwards the COMMIT, waits until
    the server has answered, and closes the connection instead of passing the answer on."""

    def __init__(self, to: PostgresSpec, lost: set[int]) -> None:
        self._to = (to.host, to.port)
        self._lost = lost
        self.commits = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.spec = to.model_copy(update={"port": self._server.getsockname()[1]})
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            upstream = socket.create_connection(self._to)
            threading.Thread(target=self._forward, args=(client, upstream), daemon=True).start()

    def _forward(self, client: socket.socket, upstream: socket.socket) -> None:
        losing = threading.Event()

        def back() -> None:
            with suppress(OSError):
                while data := upstream.recv(65_536):
                    if losing.is_set():
                        break
                    client.sendall(data)
            for end in (client, upstream):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who reads
                end.close()

        threading.Thread(target=back, daemon=True).start()
        with suppress(OSError):
            while data := client.recv(65_536):
                if b"COMMIT\x00" in data:
                    self.commits += 1
                    if self.commits in self._lost:
                        losing.set()
                upstream.sendall(data)
        with suppress(OSError):
            upstream.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.close()


def test_a_commit_whose_answer_is_lost_is_not_made_twice(
    postgres: PostgresSpec, connection: Connection, schema: str, long_day: Path
) -> None:
    # The first is that of the preparation; the last one is the record's end.
    way = LostAnswers(postgres, {3, 6, 7, 11, 12})
    said: list[str] = []
    done = shop(way.spec, long_day, schema, start=START, say=said.append)
    way.close()
    assert way.commits >= 11
    assert sum("trying again" in line for line in said) == 3  # two of them twice in a row
    assert (done.result.sent, done.result.skipped, done.finished) == (40_375, 0, True)
    assert_exact(connection, schema, long_day)


def test_two_replays_of_a_file_at_once_do_not_double(
    postgres: PostgresSpec, connection: Connection, schema: str
) -> None:
    twin = TWIN / "twin-clicks.csv"
    options = ("--preset", CLICKS, "--table", f"{schema}.clicks", "--start", START)
    with running(postgres, twin, *options, "--speed", "1000") as first:
        until(lambda: rows_done(connection, schema) >= 0, first)
        done = run(postgres, twin, *options, "--speed", "full", code=2)
        assert "is being replayed" in done.stderr
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=60)
        assert first.returncode == 0, said
        assert "the same command goes on" in said
    assert 0 <= rows_done(connection, schema) < 475
    run(postgres, twin, *options, "--speed", "full")
    assert_exact(connection, schema, twin)


def test_a_replay_that_was_overtaken_writes_nothing_more(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    """As a server could bring it about that gave the lock of a connection up too early."""
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    load(postgres, path, schema)
    records = ReplayRecords(TableName(schema, "t"), "d")
    records.begin(connection, 1, "file", None)
    writing = Writing(TableName(schema, "t"), {"a": "int8"}, (), records, "lock")
    appender = Appender(
        postgres,
        open_locked(postgres, "lock"),
        writing,
        1,
        0,
        say=lambda _: None,
        stop=lambda: False,
    )
    appender.put(Appended(b"5\n", 1, None))
    assert appender.flush()
    assert records.advance(connection, 1, 1, 7, finished=False)
    appender.put(Appended(b"6\n", 2, None))
    with pytest.raises(UserError, match="another replay"):
        appender.flush()
    appender.close()
    rows = connection.execute(f'SELECT a FROM "{schema}".t ORDER BY id').fetchall()
    assert rows == [(1,), (5,)]


# Pace.


def test_a_paced_replay_keeps_the_gaps(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    """Into a table that is there and notes when each row came."""
    path = tmp_path / "gaps.csv"
    gaps = [0, 2, 2, 20, 1, 0, 0, 30, 5]
    path.write_text("n,gap\n" + "".join(f"{n},{gap}\n" for n, gap in enumerate(gaps)))
    connection.execute(f'CREATE SCHEMA "{schema}"')
    connection.execute(
        f'CREATE TABLE "{schema}".t (n int, at timestamptz, '
        "came timestamptz DEFAULT clock_timestamp())"
    )
    options = ("--table", f"{schema}.t", "--drop", "gap", "--offset-column", "gap")
    start = datetime(2026, 3, 1, tzinfo=UTC)
    timed = ("--timestamp", "at", "--start", start.isoformat(), "--speed", "20")
    said = run(postgres, path, *options, *timed).stderr
    assert f"9 rows into {schema}.t" in said
    rows = connection.execute(f'SELECT n, at, came FROM "{schema}".t ORDER BY n').fetchall()
    assert [row[0] for row in rows] == list(range(9))
    offset = 0
    for (_, at, came), gap in zip(rows, gaps, strict=True):
        offset += gap
        assert at == start + timedelta(seconds=offset)
        late = (came - rows[0][2]).total_seconds() - offset / 20
        # The first one may have waited a little for others itself.
        assert -0.5 < late < 1.0


# Rows that PostgreSQL cannot take.

NO_NUL = "holds the character U+0000, which PostgreSQL does not store"


def test_a_row_that_cannot_be_taken_is_told_and_stops_no_other(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    connection.execute(f'CREATE SCHEMA "{schema}"')
    connection.execute(
        f'CREATE TABLE "{schema}".t (name varchar(5), n int, price numeric(5,2), ok boolean, '
        "day date, host inet, tags int[], CHECK (n <> 13))"
    )
    good = 'ann,1,1.50,true,2026-03-01,10.0.0.1,"{1,2}"'
    faults = {
        b"toolong,1,1.5,true,,,": "name: longer than 5 characters",
        b"ann,many,1.5,true,,,": "n: not an integer",
        b"ann,3000000000,1.5,true,,,": "n: out of the range of the column's type",
        b"a\x00b,1,1.5,true,,,": f"name: {NO_NUL}",
        b"ann,1,cheap,true,,,": "price: not a number",
        b"ann,1,123456.5,true,,,": "22003 NumericValueOutOfRange, column price",
        b"ann,1,1.5,maybe,,,": "ok: not true or false",
        b"ann,1,1.5,true,soon,,": "day: not a date",
        b"ann,1,1.5,true,,somewhere,": "22P02 InvalidTextRepresentation, column host",
        b"ann,13,1.5,true,,,": "23514 CheckViolation, table t, constraint t_n_check",
        b"\xff,1,1.5,true,,,": "is not UTF-8",
        b"ann,1": "has 2 cells, the heading has 7",
        b"ann,1,1.5,true,,,{x}": "22P02 InvalidTextRepresentation, column tags",
    }
    path = tmp_path / "t.csv"
    lines = [b"name,n,price,ok,day,host,tags"]
    for fault in faults:
        lines += [good.encode(), fault]
    path.write_bytes(b"\n".join([*lines, good.encode()]) + b"\n")
    options = ("--table", f"{schema}.t", "--speed", "full")
    said = run(postgres, path, *options, code=1).stderr
    for number, why in enumerate(faults.values()):
        assert f"{path} line {3 + 2 * number}: {why}\n" in said
    assert f"14 rows into {schema}.t" in said
    assert "13 rows skipped" in said
    found = connection.execute(f'SELECT count(*), min(tags) FROM "{schema}".t').fetchone()
    assert found == (14, [1, 2])
    # They are done with: nothing is tried again.
    assert "already" in run(postgres, path, *options).stderr
    run(postgres, path, *options, "--again", "--allow-skipped")
    assert connection.execute(f'SELECT count(*) FROM "{schema}".t').fetchone() == (28,)


def test_refused_rows_are_found_in_large_batches(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("n\n" + "".join(f"{n}\n" for n in range(12_000)))
    connection.execute(f'CREATE SCHEMA "{schema}"')
    connection.execute(f'CREATE TABLE "{schema}".t (n int CHECK (n % 1000 <> 999))')
    done = load(postgres, path, schema)
    assert (done.result.sent, done.result.skipped, done.result.position) == (11_988, 12, 12_000)
    assert [issue.row for issue in done.result.issues] == list(range(1_000, 12_001, 1_000))
    found = connection.execute(f'SELECT count(*), count(DISTINCT n) FROM "{schema}".t').fetchone()
    assert found == (11_988, 11_988)


# Dimension tables.

CUSTOMERS = """\
customer_id,first_name,email,birthdate,home_location_lat,phone,first_join_date,active
1,Ann,ann@example.org,1990-01-31,-6.25,0812,2020-05-01T10:00:00Z,true
2,Ben,,1985-12-01,107.5,0813,2021-05-01 10:00:00.5,false
3,"Cee, D.",cee@example.org,,0.1,,,
"""


def test_a_dimension_table_is_made_and_loaded_by_its_key(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    path = tmp_path / "customers.csv"
    path.write_text(CUSTOMERS)
    options = ("--table", f"{schema}.customer", "--key", "customer_id", "--speed", "max")
    said = run(postgres, path, *options).stderr
    assert f"3 rows into {schema}.customer" in said
    assert "3 new or changed" in said
    columns = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        (f"{schema}.customer",),
    ).fetchall()
    assert columns == [
        ("customer_id", "bigint"),
        ("first_name", "text"),
        ("email", "text"),
        ("birthdate", "date"),
        ("home_location_lat", "double precision"),
        ("phone", "text"),
        ("first_join_date", "timestamp without time zone"),
        ("active", "boolean"),
    ]
    everything = f'SELECT xmin::text, * FROM "{schema}".customer ORDER BY customer_id'
    before = connection.execute(everything).fetchall()
    assert before[2][1:] == (3, "Cee, D.", "cee@example.org", None, 0.1, None, None, None)
    assert before[1][7] == datetime(2021, 5, 1, 10, 0, 0, 500_000)
    # Again: no row is even touched, so that nothing is captured.
    assert "0 new or changed" in run(postgres, path, *options).stderr
    assert connection.execute(everything).fetchall() == before
    # A newer version of the file changes what differs, and an older one changes it back.
    newer = tmp_path / "newer.csv"
    newer.write_text(CUSTOMERS.replace("Ben", "Bea") + "4,Dee,,,,,,\n")
    assert "2 new or changed" in run(postgres, newer, *options).stderr
    assert "1 new or changed" in run(postgres, path, *options).stderr
    names = f'SELECT first_name FROM "{schema}".customer ORDER BY customer_id'
    assert connection.execute(names).fetchall() == [("Ann",), ("Ben",), ("Cee, D.",), ("Dee",)]


def test_the_last_row_of_a_key_counts_and_one_without_is_told(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"{n % 100},x,{n}\n" for n in range(12_000))
    path.write_text(f"a,b,value\n{rows},x,1\n7,,1\n")
    done = load(postgres, path, schema, "a", "b")
    assert (done.result.sent, done.result.skipped) == (12_000, 2)
    assert [issue.reason for issue in done.result.issues] == [
        "a is empty, which is the key",
        "b is empty, which is the key",
    ]
    rows_ = connection.execute(f'SELECT a, b, value FROM "{schema}".t ORDER BY a').fetchall()
    assert rows_ == [(n, "x", 11_900 + n) for n in range(100)]


def test_a_load_by_key_that_is_killed_is_whole_after_the_next(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("k,v\n" + "".join(f"k{n},{n}\n" for n in range(60_000)))
    options = ("--table", f"{schema}.t", "--key", "k", "--speed", "full")
    with running(postgres, path, *options) as process:
        until(lambda: rows_done(connection, schema, "t") >= 5_000, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    run(postgres, path, *options)
    found = connection.execute(f'SELECT count(*), sum(v) FROM "{schema}".t').fetchone()
    assert found == (60_000, sum(range(60_000)))


def test_json_lines_become_a_table(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.ndjson"
    path.write_text('{"id":1,"Kind":"a","tags":["x"]}\nbroken\n{"id":2,"price":1.5,"on":true}\n')
    done = load(postgres, path, schema, "id", mapping={"constants": {"shop": "s"}})
    assert (done.result.sent, done.result.skipped) == (2, 1)
    rows = connection.execute(
        f'SELECT id, "Kind", tags, price, "on", shop FROM "{schema}".t ORDER BY 1'
    ).fetchall()
    assert rows == [(1, "a", '["x"]', None, None, "s"), (2, None, None, 1.5, True, "s")]


# What does not go together is told before anything is written.


def test_a_table_that_does_not_fit_is_told(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    connection.execute(f'CREATE SCHEMA "{schema}"')
    made = (
        "TABLE lacks (a int)",
        "TABLE needs (a int, b int, c int NOT NULL)",
        "TABLE makes (a int, b int GENERATED ALWAYS AS (1) STORED)",
        "TABLE unkeyed (a int, b int)",
        "VIEW seen AS SELECT 1 AS a, 2 AS b",
    )
    for each in made:
        name, _, rest = each.partition(" ")[2].partition(" ")
        connection.execute(f'CREATE {each.split()[0]} "{schema}".{name} {rest}')
    for table, key, told in (
        ("lacks", (), "has no column b .it has a.: add it, leave it out with --drop b"),
        ("needs", (), "column c of .* must have a value"),
        ("makes", (), "column b of .* is generated"),
        ("unkeyed", ("a",), "nothing makes a unique .* CREATE UNIQUE INDEX"),
        ("seen", (), "is no table"),
        ("new", ("c",), "key: .* has no column c"),
    ):
        with pytest.raises(UserError, match=told):
            load(postgres, path, schema, *key, table=table)
    with pytest.raises(UserError, match="no column tells the gaps"):
        load(postgres, path, schema, table="new", speed=1)
    (tmp_path / "id.csv").write_text("id,b\n1,2\n")
    with pytest.raises(UserError, match="make it the key with --key id"):
        load(postgres, tmp_path / "id.csv", schema, table="new")
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,))
    assert {name for (name,) in tables} == {"lacks", "needs", "makes", "unkeyed"}


def test_a_role_without_privileges_is_told_which(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / "password").write_text("secret")
    connection.execute(f"CREATE ROLE {schema} LOGIN PASSWORD 'secret'")
    connection.execute(f'CREATE SCHEMA "{schema}"')
    spec = postgres.model_copy(
        update={"username": schema, "password_file": str(tmp_path / "password")}
    )
    with pytest.raises(UserError, match="does not permit"):
        load(spec, tmp_path / "t.csv", schema)
    # With the tables made for it, it needs no more than to write and read.
    load(postgres, tmp_path / "t.csv", schema)
    connection.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO {schema}')
    connection.execute(f'GRANT INSERT ON "{schema}".t TO {schema}')
    connection.execute(f'GRANT SELECT, INSERT, UPDATE ON "{schema}".webevents_replays TO {schema}')
    connection.execute(f'GRANT USAGE ON SEQUENCE "{schema}".t_id_seq TO {schema}')
    (tmp_path / "t.csv").write_text("a\n2\n")
    assert load(spec, tmp_path / "t.csv", schema).result.sent == 1
    connection.execute(f"DROP OWNED BY {schema}; DROP ROLE {schema}")


def test_pieces_make_the_whole_and_keep_one_start(
    postgres: PostgresSpec, connection: Connection, schema: str
) -> None:
    twin = TWIN / "twin-clicks.csv"
    piece = partial(shop, postgres, twin, schema)
    first = piece(limit=100, start=START)
    assert (first.result.sent, first.finished, first.made) == (100, False, True)
    again = piece(limit=100)
    assert again.done_before is not None
    assert again.result.sent == 0
    second = piece(limit=250)
    assert (second.result.sent, second.resumed_at) == (150, 100)
    with pytest.raises(UserError, match=r"began at 2026-03-01T00:00:00\+00:00: leave --start out"):
        piece(start="2026-03-02T00:00:00Z")
    last = piece()
    assert (last.result.sent, last.finished, last.made) == (225, True, False)
    assert_exact(connection, schema, twin)


def test_a_pipelines_file_names_the_database(
    postgres: PostgresSpec, connection: Connection, schema: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    database = f"{{host: 127.0.0.1, port: {postgres.port}, passwordFile: {postgres.password_file}}}"
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(
        "apiVersion: webevents.dev/v1alpha1\nkind: WebEventPipeline\nmetadata: {name: p}\nspec:\n"
        f"  source: {{debezium: {{postgres: {database}, tables: [{{name: public.clicks}}]}}}}\n"
    )
    subprocess.run(
        [
            *(sys.executable, "-m", "webevents", "replay", str(path), "--to", "postgres"),
            *("-f", str(pipeline), "--table", f"{schema}.t", "--speed", "full"),
        ],
        check=True,
        timeout=120,
        env=os.environ,
    )
    assert connection.execute(f'SELECT id, a FROM "{schema}".t').fetchall() == [(1, 1)]
