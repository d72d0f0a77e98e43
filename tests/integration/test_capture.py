"""Change data capture on a real PostgreSQL, Kafka Connect with Debezium, Kafka and Elasticsearch.

The invariant: when all is drained, the index of a table holds exactly the table's rows.
"""

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from elasticsearch import ApiError, Elasticsearch
from elasticsearch.helpers import scan
from pipelines import Run, Servers, TestPipeline, children

from webevents.connectors.kafka_observe import Observer
from webevents.connectors.postgres import connect
from webevents.errors import UserError
from webevents.events.failed import FailedEvent, decode_failed
from webevents.local.connect_server import EmbeddedConnect
from webevents.local.jars import ensure_jars
from webevents.local.java import find_jdk
from webevents.local.postgres_server import EmbeddedPostgres

pytestmark = [pytest.mark.integration, pytest.mark.timeout(500)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A database whose changes can be read; tests want schemas of their own."""
    try:
        find_jdk()
        ensure_jars(*EmbeddedConnect.jar_sets)
        folder = tmp_path_factory.mktemp("source")
        server = EmbeddedPostgres(folder, extra={"wal_level": "logical"}).start()
    except UserError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


class Lab:
    """A pipeline that captures tables of a schema of its own."""

    def __init__(
        self,
        kafka: str,
        elasticsearch: str,
        source: EmbeddedPostgres,
        folder: Path,
        tables: list[dict[str, Any]],
        ddl: str,
        **debezium: Any,
    ) -> None:
        self.servers = Servers(kafka, elasticsearch)
        self.source = source
        name = f"c{random.randrange(10**9):09}"
        self.schema = name
        with self.database() as database:
            database.execute(f"CREATE SCHEMA {name}; SET search_path = {name}; {ddl}")  # type: ignore[arg-type]
        plain: dict[str, Any] = {"mode": "json", "by_alias": True, "exclude_none": True}
        spec = {
            "source": {
                "debezium": {
                    "postgres": source.spec.model_dump(**plain),
                    "topicPrefix": name,
                    "tables": [
                        {**table, "name": f"{name}.{table['name']}", "index": self._index(table)}
                        for table in tables
                    ],
                    **debezium,
                }
            },
            "sessions": {"key": ["session_id"], "publishOpenEvery": "1s"},
        }
        self.pipeline = TestPipeline(self.servers, folder, spec, name=name)

    def _index(self, table: dict[str, Any]) -> str:
        return f"{self.schema}-rows-{table['name']}"

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        with connect(self.source.spec, "test") as connection:
            connection.execute(f"SET search_path = {self.schema}, public")  # type: ignore[arg-type]
            yield connection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.database() as database:
            return database.execute(query).fetchall()  # type: ignore[arg-type]

    def documents(self, table: str) -> dict[str, dict[str, Any]]:
        client = Elasticsearch(self.servers.elasticsearch)
        index = f"{self.schema}-rows-{table}"
        client.indices.refresh(index=index, ignore_unavailable=True)
        try:
            hits = list(scan(client, index=index, ignore_unavailable=True))
        except ApiError as error:
            if error.status_code != 503:
                raise
            hits = []  # an index that was just made: its shards are on their way
        client.close()
        return {hit["_id"]: hit["_source"] for hit in hits}

    def failed(self) -> list[FailedEvent]:
        observer = Observer(self.servers.config)
        topic = self.pipeline.pipeline.spec.topics.failed.name
        found = [decode_failed(message.value()) for message in observer.messages(topic)]
        observer.close()
        return found

    def wait(self, run: Run, condition: Callable[[], Any], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert run.process.poll() is None, run.log.read_text()[-3000:]
            assert time.monotonic() < deadline, run.log.read_text()[-3000:]
            time.sleep(0.3)


def connect_process(run: Run) -> int:
    """Process id of the run's Kafka Connect."""
    found = [
        pid
        for pid, command in children(run.process.pid)
        if any("ConnectDistributed" in part for part in command)
    ]
    return found[0] if found else 0


ORDERS = """
CREATE TABLE orders (
    shop text, number int, session_id text, state text, amount numeric(12, 4), free numeric,
    placed timestamptz, at timestamp(3), day date, noon time, uid uuid, info jsonb, flags text[],
    paid boolean, secret text, PRIMARY KEY (shop, number));
ALTER TABLE orders REPLICA IDENTITY FULL;
"""
ORDERS_TABLE = {
    "name": "orders",
    "timestamp": "placed",
    "eventType": "state",
    "fields": {"session_id": "session_id"},
    "exclude": ["secret"],
    "columns": {"placed": "date", "amount": "double", "number": "long"},
}


def test_every_kind_of_change_and_value(
    kafka: str, elasticsearch: str, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Rows that are there before, inserts, updates, deletes, changed keys and a new column."""
    lab = Lab(kafka, elasticsearch, source, tmp_path, [ORDERS_TABLE], ORDERS)
    insert = """INSERT INTO orders VALUES ('a', %s, 's1', 'new', 12345678.1234, 1e-20,
        '2026-11-01 12:00:00+02', '2026-11-01 10:00:00.123', '2026-11-01', '12:30:00.5',
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1]}', '{x,NULL}', true, 'never shown')"""
    with lab.database() as database:
        for number in (1, 2):
            database.execute(insert, [number])
    with lab.pipeline.running() as run:
        lab.wait(run, lambda: len(lab.documents("orders")) == 2)
        with lab.database() as database:
            for number in (3, 4, 5):
                database.execute(insert, [number])
            database.execute("UPDATE orders SET state = 'sent', amount = 5 WHERE number = 1")
            database.execute("DELETE FROM orders WHERE number IN (2, 3)")
            database.execute("UPDATE orders SET number = 40 WHERE number = 4")
            database.execute("ALTER TABLE orders ADD COLUMN weight float DEFAULT 1.5")
            database.execute("UPDATE orders SET weight = 2.5, state = NULL WHERE number = 5")
        run.interrupt()
        report = run.finish(200)
    documents = lab.documents("orders")
    assert {(d["shop"], d["number"]) for d in documents.values()} == {
        ("a", 1),
        ("a", 5),
        ("a", 40),
    }
    assert set(documents) == {'["a",1]', '["a",5]', '["a",40]'}
    assert documents['["a",1]'] == {
        "shop": "a",
        "number": 1,
        "session_id": "s1",
        "state": "sent",
        "amount": 5.0,
        "free": 1e-20,
        "placed": "2026-11-01T10:00:00.000000Z",
        "at": "2026-11-01T10:00:00.123000Z",
        "day": "2026-11-01",
        "noon": "12:30:00.500000",
        "uid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "info": '{"a": [1]}',
        "flags": ["x", None],
        "paid": True,
        "__table": f"{lab.schema}.orders",
        "__op": "u",
        "__deleted": False,
        "__changed_at": documents['["a",1]']["__changed_at"],
    }
    assert (documents['["a",5]']["weight"], documents['["a",5]']["state"]) == (2.5, None)
    stages = report["stages"]
    # 5 inserts, 1 of the changed key; 3 updates (one is a delete and an insert); 3 deletes.
    assert stages["capture"]["failed"] == 0
    assert stages["capture"]["dropped"] == {"tombstone": 3}
    assert stages["capture"]["out"] == 2 + 3 + 1 + 2 + 2 + 1
    (session,) = lab.pipeline.documents("sessions").values()
    assert session["total_events"] == 6, "inserted rows, of which one got another key"
    assert lab.failed() == []
    raw = b"".join(
        message.value() for message in Observer(lab.servers.config).messages(lab.pipeline.raw_topic)
    )
    assert b"never shown" not in raw


BARE = """
CREATE TABLE bare (id int PRIMARY KEY, name text NOT NULL, big text);
ALTER TABLE bare ALTER big SET STORAGE EXTERNAL;
"""


@pytest.mark.parametrize("on_delete", ["mark", "remove"])
def test_a_table_whose_log_tells_the_keys_only(
    on_delete: str,
    kafka: str,
    elasticsearch: str,
    source: EmbeddedPostgres,
    tmp_path: Path,
) -> None:
    """To mark deleted rows the connector has the log tell all; else what is missing is said."""
    lab = Lab(kafka, elasticsearch, source, tmp_path, [{"name": "bare"}], BARE, onDelete=on_delete)
    with lab.database() as database:
        for number in (1, 2):
            database.execute("INSERT INTO bare VALUES (%s, 'ann', repeat('x', 100000))", [number])
    with lab.pipeline.running() as run:
        lab.wait(run, lambda: len(lab.documents("bare")) == 2)
        with lab.database() as database:
            database.execute("UPDATE bare SET name = 'bob'")
            database.execute("DELETE FROM bare WHERE id = 1")
        run.interrupt()
        run.finish(200)
    documents = {
        key: (document["name"], len(document["big"]), document["__deleted"])
        for key, document in lab.documents("bare").items()
    }
    if on_delete == "mark":
        assert documents == {"1": ("bob", 100_000, True), "2": ("bob", 100_000, False)}
        assert lab.failed() == []
        return
    assert documents == {"2": ("ann", 100_000, False)}
    failed = lab.failed()
    assert [(each.stage, each.reason) for each in failed] == [("capture", "invalid_change")] * 2
    assert all("column big is not in the change" in each.detail for each in failed)


SHOP = """
CREATE TABLE items (id serial PRIMARY KEY, session_id text, name text, price numeric(10, 2),
    at timestamp DEFAULT now());
ALTER TABLE items REPLICA IDENTITY FULL;
"""
ITEMS = {
    "name": "items",
    "timestamp": "at",
    "fields": {"session_id": "session_id", "revenue": "price"},
    "columns": {"price": "double", "at": "date"},
}


def test_the_index_is_the_table_whatever_is_killed(
    kafka: str, elasticsearch: str, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Thousands of changes while Kafka Connect, each stage and the database are killed."""
    lab = Lab(kafka, elasticsearch, source, tmp_path, [ITEMS], SHOP)
    rng = random.Random(5)

    def write(changes: int) -> int:
        made = 0
        with lab.database() as database, database.transaction():
            for _ in range(changes):
                dice = rng.random()
                if dice < 0.6:
                    database.execute(
                        "INSERT INTO items (session_id, name, price) VALUES (%s, %s, %s)",
                        [f"s{rng.randrange(50)}", f"n{rng.random()}", Decimal(rng.randrange(9999))],
                    )
                    made += 1
                elif dice < 0.85:
                    database.execute(
                        "UPDATE items SET price = price + 1 WHERE id %% 97 = %s",
                        [rng.randrange(97)],
                    )
                else:
                    database.execute("DELETE FROM items WHERE id %% 211 = %s", [rng.randrange(211)])
        return made

    write(200)
    ((inserted,),) = lab.rows("SELECT count(*) FROM items")
    with lab.pipeline.running() as run:
        lab.wait(run, lambda: lab.documents("items"))
        for victim in ("capture", "connect", "index", "enrich", "source", "sessionize"):
            inserted += write(150)
            time.sleep(1)
            if victim == "connect":
                os.kill(connect_process(run), signal.SIGKILL)
            elif victim == "source":
                source.kill()
                source.start()
            else:
                run.kill_worker(victim)
            inserted += write(150)
        lab.wait(run, lambda: "Kafka Connect ended; starting it again" in run.log.read_text())
        run.interrupt()
        report = run.finish(300)
    expected = {
        str(number): (session, name, float(price))
        for number, session, name, price in lab.rows(
            "SELECT id, session_id, name, price FROM items"
        )
    }
    found = {
        key: (document["session_id"], document["name"], document["price"])
        for key, document in lab.documents("items").items()
    }
    assert found == expected
    assert 0 < len(expected) < inserted
    sessions = lab.pipeline.documents("sessions")
    assert sum(session["total_events"] for session in sessions.values()) == inserted
    assert report["stages"]["capture"]["failed"] == 0
    assert lab.failed() == []


def test_a_second_run_changes_nothing(
    kafka: str, elasticsearch: str, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Also with the connector made anew from nothing: it reads all rows a second time."""
    lab = Lab(kafka, elasticsearch, source, tmp_path, [ITEMS], SHOP)
    with lab.database() as database:
        database.execute(
            "INSERT INTO items (session_id, name, price) "
            "SELECT 's' || g % 7, 'n' || g, g FROM generate_series(1, 500) g"
        )

    def run_once(number: int) -> tuple[Any, Any]:
        with lab.pipeline.running() as run:
            lab.wait(run, lambda: run.log.read_text().count(" reads ") == number)
            lab.wait(run, lambda: len(lab.documents("items")) == 500)
            run.interrupt()
            run.finish(200)
        documents = {k: (d["name"], d["price"]) for k, d in lab.documents("items").items()}
        sessions = {
            key: (session["total_events"], session["total_revenue"])
            for key, session in lab.pipeline.documents("sessions").items()
        }
        return documents, sessions

    first = run_once(1)
    assert len(first[1]) == 7
    assert run_once(2) == first
    # Connect forgets where it was: a new group, whose topics are empty.
    text = lab.pipeline.file.read_text()
    document = yaml.safe_load(text)
    document["spec"]["source"]["debezium"]["connector"] = f"{lab.schema}-again"
    lab.pipeline.file.write_text(json.dumps(document))
    assert run_once(3) == first
