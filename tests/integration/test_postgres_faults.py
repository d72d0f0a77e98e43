"""The writer of PostgreSQL where a standby takes the server's place, and where the disk is full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from standby import HOST, Standby

from webevents.connectors.postgres import PostgresWriter, StoreResult, connect
from webevents.connectors.retrying import Backoff
from webevents.local.postgres_server import EmbeddedPostgres
from webevents.logic.rows.events import EventRows
from webevents.logic.rows.sessions import SessionRows
from webevents.logic.rows.tables import TABLES, Row

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ALL = list(TABLES.values())
QUICK = Backoff(base_s=0.05, cap_s=0.5)


def event(key: str, host: str = "a.example") -> list[Row]:
    record = {
        "event_id": key,
        "event_type": "pageview",
        "event_timestamp": "2026-03-01 12:00:00",
        "host": host,
    }
    return EventRows(ALL).build(json.dumps(record).encode())


def session(key: str, version: int) -> list[Row]:
    record = {
        "session_id": key,
        "version": version,
        "first_event_timestamp": "2026-03-01T12:00:00Z",
        "last_event_timestamp": "2026-03-01T12:10:00Z",
        "total_events": version,
    }
    return SessionRows(ALL).build(json.dumps(record).encode())


def eventually(check: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is there on Linux only")
def test_a_failover_is_followed_and_loses_and_doubles_nothing(
    postgres_server: Callable[..., EmbeddedPostgres], tmp_path: Path
) -> None:
    primary = postgres_server()
    spec = primary.spec.model_copy(update={"host": f"{primary.spec.host},{HOST}"})
    standby = Standby(tmp_path / "standby", primary)
    try:
        standby.start()
        assert standby.ask("SELECT pg_is_in_recovery()") == [(True,)]
        with connect(primary.spec) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            eventually(
                lambda: connection.execute(
                    "SELECT sync_state FROM pg_stat_replication WHERE sync_state = 'sync'"
                ).fetchall()
            )
        writer = PostgresWriter(spec, ALL, backoff=QUICK)
        stop, handles = threading.Event(), []

        def feed() -> None:
            while not stop.wait(0.01):
                number = len(handles)
                rows = [event(f"e{number}-{n}") for n in range(20)]
                handles.append(writer.submit([*rows, session("s", number)], "s"))

        def done() -> int:
            return sum(handle.done() for handle in handles)

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            eventually(lambda: done() > 20)
            primary.kill()
            eventually(lambda: writer.outage is not None and writer.outage.attempts > 2)
            before = done()
            # The standby answers, but takes no writes before it is promoted.
            time.sleep(1)
            assert done() == before
            standby.ask("SELECT pg_promote()")
            eventually(lambda: done() > before + 20)
        finally:
            stop.set()
            feeder.join()
        assert all(handle.result(60).failed == [] for handle in handles)
        assert writer.outage is None
        writer.close()
        assert standby.ask("SELECT count(*), count(DISTINCT event_id) FROM processed_events") == [
            (20 * len(handles),) * 2
        ]
        assert standby.ask("SELECT total_events FROM session_metrics") == [(len(handles) - 1,)]
    finally:
        standby.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=777", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("this system has no mount")
    if done.returncode != 0:
        pytest.skip(f"a file system of a size cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_really_full_is_waited_for(
    postgres_server: Callable[..., EmbeddedPostgres], small_disk: Path
) -> None:
    server = postgres_server()
    ballast = small_disk / "ballast"
    place = small_disk / "tables"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    schema = f"s{uuid.uuid4().hex[:8]}"
    with connect(server.spec) as connection:
        _own(server, place)
        connection.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        connection.execute("ALTER DATABASE webevents SET default_tablespace = small")
    writer = PostgresWriter(server.spec, ALL, schema=schema, backoff=QUICK)
    try:
        assert writer.submit([event("first")]).result(60) == StoreResult(1)
        ballast.write_bytes(bytes(31_000_000))
        # 5 MB of rows: too much beside the ballast.
        handles = [
            writer.submit([event(f"e{part}-{n}", host="h" * 1_000) for n in range(500)])
            for part in range(10)
        ]
        eventually(lambda: writer.outage is not None and writer.outage.attempts > 2)
        assert writer.outage is not None
        assert writer.outage.error.startswith("53100 DiskFull")
        assert not handles[-1].done()
        ballast.unlink()
        assert all(handle.result(60) == StoreResult(500) for handle in handles)
        with connect(server.spec) as connection:
            found = connection.execute(
                f'SELECT count(*), count(DISTINCT event_id) FROM "{schema}".processed_events'
            ).fetchone()
        assert found == (5_001, 5_001)
    finally:
        writer.close()
        server.stop()


def _own(server: EmbeddedPostgres, folder: Path) -> None:
    """Give a folder to the user that the server runs as."""
    data = (server.data_dir / "data").stat()
    os.chown(folder, data.st_uid, data.st_gid)
