"""The examples that store in PostgreSQL: their tables equal plain SQL over the raw events.

Steps: the example's generator fills a raw topic with 12,000 events (duplicates, late and corrupt
ones among them); the example's pipeline processes it; the raw events are copied into a table as
they are and recomputed by SQL with window functions.
Expected: equal, column by column, and so is each `webevents query`; unchanged after the store stage
has read everything once more; equal when workers are killed during the run, and when PostgreSQL is.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from pipelines import Run, Servers, TestPipeline

from webevents.connectors.kafka_observe import Observer
from webevents.connectors.postgres import connect
from webevents.local.postgres_server import EmbeddedPostgres
from webevents.sources.output import KafkaOutput
from webevents.sources.simulator import run_simulator
from webevents.spec.generator import GeneratorSpec
from webevents.spec.postgres import PostgresSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

EVENTS = 12_000
MANIFESTS = Path(__file__).parents[2] / "manifests" / "examples"
Connection = psycopg.Connection[Any]

SESSIONS = """
CREATE TEMPORARY VIEW events AS
  SELECT DISTINCT ON (event_id) event_id, body, (body ->> 'event_timestamp')::timestamp AS at
  FROM raw ORDER BY event_id;
CREATE TEMPORARY VIEW in_sessions AS
  WITH marked AS (
    SELECT *, {key} AS key,
      at - lag(at) OVER (PARTITION BY {key} ORDER BY at, event_id) <= '{gap}' AS goes_on
    FROM events WHERE {key} IS NOT NULL
  )
  SELECT *, count(*) FILTER (WHERE goes_on IS NOT TRUE)
    OVER (PARTITION BY key ORDER BY at, event_id) AS session
  FROM marked;
"""

SESSION_METRICS = """
WITH parts AS (
  SELECT key, session, at, event_id, body,
    coalesce(body ->> 'page_url', body ->> 'page_url_path') AS page
  FROM in_sessions
), types AS (
  SELECT key, session, jsonb_object_agg(type, number) AS counts FROM (
    SELECT key, session, body ->> 'event_type' AS type, count(*) AS number
    FROM parts GROUP BY 1, 2, 3
  ) GROUP BY 1, 2
), queries AS (
  SELECT key, session, jsonb_agg(query ORDER BY place) AS used FROM (
    SELECT key, session, body ->> 'search_query' AS query, min(array[at::text, event_id]) AS place
    FROM parts WHERE body ->> 'search_query' <> '' GROUP BY 1, 2, 3
  ) GROUP BY 1, 2
), totals AS (
  SELECT key, session, count(*)::integer AS total_events,
    min(at) AS first_event_timestamp, max(at) AS last_event_timestamp,
    count(DISTINCT page)::integer AS unique_pages_count,
    coalesce(jsonb_agg(DISTINCT page) FILTER (WHERE page IS NOT NULL), '[]') AS unique_pages,
    coalesce(sum((body ->> 'revenue')::numeric), 0)::decimal(10,2) AS total_revenue,
    count(DISTINCT body ->> 'product_id')::integer AS products_viewed_count,
    coalesce(jsonb_agg(DISTINCT body ->> 'product_id')
      FILTER (WHERE body ->> 'product_id' IS NOT NULL), '[]') AS products_viewed,
    count(DISTINCT body ->> 'referer_url')::integer AS unique_referrers_count,
    coalesce(jsonb_agg(DISTINCT body ->> 'referer_url')
      FILTER (WHERE body ->> 'referer_url' IS NOT NULL), '[]') AS referrers,
    (array_agg(body ->> 'browser_user_agent' ORDER BY at, event_id))[1] AS user_agent,
    (array_agg(body ->> 'ip_address' ORDER BY at, event_id))[1]::inet AS ip_address
  FROM parts GROUP BY 1, 2
)
SELECT key AS user_id, total_events, counts AS event_type_counts, first_event_timestamp,
  last_event_timestamp,
  round(round(extract(epoch FROM last_event_timestamp - first_event_timestamp) / 60, 6), 4),
  unique_pages_count, unique_pages, total_revenue, products_viewed_count, products_viewed,
  coalesce(used, '[]') AS search_queries, unique_referrers_count, referrers, user_agent, ip_address
FROM totals JOIN types USING (key, session) LEFT JOIN queries USING (key, session)
"""

STORED_METRICS = """
SELECT user_id, total_events, event_type_counts, first_event_timestamp, last_event_timestamp,
  round(session_duration_minutes::numeric, 4), unique_pages_count, unique_pages, total_revenue,
  products_viewed_count, products_viewed, search_queries, unique_referrers_count, referrers,
  user_agent, ip_address
FROM session_metrics
"""

PROCESSED_EVENTS = """
SELECT event_id, body ->> 'ip_address' AS ip, at::timestamp(3), body ->> 'referer_url' AS referrer,
  body ->> 'host' AS host, body ->> 'page_url' AS url, jsonb_strip_nulls(jsonb_build_object(
    'country', body ->> 'geo_country', 'state', body ->> 'geo_region_name')) AS geodata
FROM events
"""

STORED_EVENTS = """
SELECT event_id, ip, event_timestamp, referrer, host, url, geodata::jsonb FROM processed_events
"""

AGGREGATED = """
SELECT min(at)::timestamp(3) AS start_session, max(at)::timestamp(3) AS end_session,
  min(body ->> 'ip_address') AS ip, min(body ->> 'host') AS host, count(*) AS web_events
FROM in_sessions GROUP BY key, session
"""

STORED_AGGREGATED = """
SELECT start_session, end_session, ip, host, web_events FROM session_events_aggregated_ip
"""

AVERAGES = """
SELECT count(*) AS sessions, count(DISTINCT user_id) AS users, sum(total_events)::bigint AS events,
  round(sum(total_events)::numeric / count(*), 2) AS events_per_session,
  sum(total_revenue) AS revenue, round(sum(total_revenue) / count(*), 2) AS revenue_per_session,
  round(sum(extract(epoch FROM last_event_timestamp - first_event_timestamp)) / 60 / count(*), 2)
    AS minutes_per_session
FROM sessions
"""

LAST_SESSIONS = """
SELECT user_id, total_events, first_event_timestamp, last_event_timestamp, unique_pages_count,
  total_revenue
FROM sessions ORDER BY last_event_timestamp DESC LIMIT 10
"""

PLACE = "coalesce(body ->> 'geo_country', 'unknown')"
STATE = f"{PLACE} || ' / ' || coalesce(body ->> 'geo_region_name', 'unknown')"

QUERIES = {
    "session-totals": AVERAGES,
    "last-sessions": LAST_SESSIONS,
    "events-by-host-and-date": """
        SELECT body ->> 'host' AS host, at::timestamp(3)::date AS date, count(*) AS events
        FROM events GROUP BY 1, 2""",
    "events-by-country": f"SELECT {PLACE} AS country, count(*) AS events FROM events GROUP BY 1",
    "events-by-state": f"SELECT {STATE} AS state, count(*) AS events FROM events GROUP BY 1",
    "events-by-hour": """
        SELECT extract(hour FROM at::timestamp(3))::integer AS hour, count(*) AS events
        FROM events GROUP BY 1""",
    "sessions-by-ip-and-host": """
        SELECT ip, host, count(*) AS sessions, sum(web_events)::bigint AS events
        FROM aggregated GROUP BY 1, 2""",
    "session-events-by-host-and-date": """
        SELECT host, start_session::date AS date, sum(web_events)::bigint AS events,
          count(*) AS sessions
        FROM aggregated GROUP BY 1, 2""",
    "events-per-session-by-host": """
        SELECT host, count(*) AS sessions, sum(web_events)::bigint AS events,
          round(sum(web_events)::numeric / count(*), 2) AS events_per_session
        FROM aggregated GROUP BY 1""",
}
"""Every published query, once more, over what was recomputed from the raw events."""


@dataclass(frozen=True)
class Example:
    """An example, and the SQL that its tables must equal."""

    name: str
    key: str
    gap: str
    tables: dict[str, tuple[str, str]]
    """(recomputed, stored) by table."""
    queries: tuple[str, ...]
    """Names of the queries over its tables."""


EXAMPLES = (
    Example(
        "session-metrics",
        "body ->> 'user_id'",
        "30 minutes",
        {"session_metrics": (SESSION_METRICS, STORED_METRICS)},
        ("session-totals", "last-sessions"),
    ),
    Example(
        "site-family",
        "(body ->> 'ip_address') || '|' || (body ->> 'host')",
        "5 minutes",
        {
            "processed_events": (PROCESSED_EVENTS, STORED_EVENTS),
            "session_events_aggregated_ip": (AGGREGATED, STORED_AGGREGATED),
        },
        tuple(name for name in QUERIES if name not in ("session-totals", "last-sessions")),
    ),
)


@dataclass
class Fed:
    """An example with a raw topic full of its events."""

    example: Example
    servers: Servers
    spec: dict[str, Any]
    topic: str
    sent: int
    corrupt: int
    valid: list[tuple[str, bytes]]
    """(event_id, message) of all that are not corrupt, copies included."""

    @property
    def distinct(self) -> int:
        """Number of different valid events."""
        return len({event_id for event_id, _ in self.valid})

    def pipeline(self, folder: Path) -> TestPipeline:
        """A pipeline over the raw topic with a schema of its own."""
        made = TestPipeline(self.servers, folder, self.spec, raw=self.topic)
        document = yaml.safe_load(made.file.read_text())
        document["spec"]["store"]["schemaName"] = made.name
        made.file.write_text(yaml.safe_dump(document))
        return made


@pytest.fixture(scope="module", params=EXAMPLES, ids=[example.name for example in EXAMPLES])
def fed(
    request: pytest.FixtureRequest,
    kafka: str,
    elasticsearch: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Fed:
    example: Example = request.param
    folder = tmp_path_factory.mktemp(example.name)
    spec = yaml.safe_load((MANIFESTS / f"{example.name}.yaml").read_text())["spec"]
    generator = spec.pop("generator")
    del spec["topics"]
    # test_opensearch.py has OpenSearch; here the servers of most tests take its place.
    spec.pop("elasticsearch", None)
    generator |= {"seed": 11, "time": {"mode": "backdated", "start": "2026-03-01T06:00:00Z"}}
    servers = Servers(kafka, elasticsearch)
    pipeline = TestPipeline(servers, folder, spec)
    pipeline.make_topics()
    truth_path = folder / "truth.ndjson"
    with KafkaOutput(servers.config, pipeline.raw_topic) as output:
        sent = run_simulator(
            GeneratorSpec.model_validate(generator),
            output,
            count=EVENTS,
            truth_path=truth_path,
            key_fields=spec["sessions"]["key"],
        ).sent
    truth = [json.loads(line) for line in truth_path.open()]
    corrupt = sum(row.get("fault") == "corrupt" for row in truth)
    good = {row["event_id"] for row in truth if row.get("fault") != "corrupt"}
    valid = list(_valid(servers, pipeline.raw_topic, good))
    assert len(valid) == sent - corrupt
    return Fed(example, servers, spec, pipeline.raw_topic, sent, corrupt, valid)


def _valid(servers: Servers, topic: str, good: set[str]) -> Iterator[tuple[str, bytes]]:
    observer = Observer(servers.config)
    for message in observer.messages(topic):
        try:
            event_id = json.loads(message.value())["event_id"]
        except (ValueError, KeyError, RecursionError):
            continue
        if event_id in good:
            yield event_id, message.value()
    observer.close()


def options(spec: PostgresSpec) -> list[str]:
    assert spec.password_file
    return [
        *("--postgres", spec.address, "--postgres-user", spec.username),
        *("--postgres-password-file", spec.password_file),
    ]


def check(fed: Fed, pipeline: TestPipeline, spec: PostgresSpec, report: dict[str, Any]) -> None:
    """The tables equal the recomputation, and the ledger tells of them."""
    example = fed.example
    assert report["stages"]["enrich"]["failed"] == fed.corrupt
    assert report["stages"]["sessionize"]["dropped"] == {
        "duplicate": fed.sent - fed.corrupt - fed.distinct
    }
    assert report["stages"]["store"]["failed"] == 0
    with recomputed(fed, pipeline, spec) as connection:
        for table, (wanted, stored) in example.tables.items():
            rows = _count(connection, f"SELECT FROM {table}")
            assert report["tables"][f"{pipeline.name}.{table}"] == rows
            assert rows == _count(connection, wanted) > 300
            connection.execute(f"CREATE TEMPORARY TABLE wanted AS {wanted}")
            for one, other in (("SELECT * FROM wanted", stored), (stored, "SELECT * FROM wanted")):
                assert connection.execute(f"{one} EXCEPT ALL {other} LIMIT 3").fetchall() == []
            connection.execute("DROP TABLE wanted")


@contextlib.contextmanager
def recomputed(fed: Fed, pipeline: TestPipeline, spec: PostgresSpec) -> Iterator[Connection]:
    """A connection with the valid raw events as temporary views: ``events``, ``in_sessions``."""
    with connect(spec) as connection:
        connection.execute(f'SET search_path = "{pipeline.name}"')
        connection.execute('CREATE TEMPORARY TABLE raw (event_id text COLLATE "C", body jsonb)')
        with connection.cursor() as cursor, cursor.copy("COPY raw FROM STDIN") as copy:
            for event_id, message in fed.valid:
                copy.write_row((event_id, message.decode()))
        connection.execute("ANALYZE raw")
        connection.execute(SESSIONS.format(key=fed.example.key, gap=fed.example.gap))
        yield connection


def check_queries(fed: Fed, pipeline: TestPipeline, spec: PostgresSpec) -> None:
    """What `webevents query` shows, for each query of the example, is what plain SQL finds."""
    with recomputed(fed, pipeline, spec) as connection:
        sessions = "sessions" if "session_metrics" in fed.example.tables else "aggregated"
        first = SESSION_METRICS if sessions == "sessions" else AGGREGATED
        connection.execute(f"CREATE TEMPORARY TABLE {sessions} AS {first}")
        for name in fed.example.queries:
            options_ = ["-f", str(pipeline.file), "--limit", "100000", *options(spec)]
            if name == "last-sessions":
                options_[2:4] = []
            shown = subprocess.run(
                [sys.executable, "-m", "webevents", "query", name, "--json", *options_],
                check=True,
                capture_output=True,
                timeout=120,
            )
            found = json.loads(shown.stdout)
            cursor = connection.execute(QUERIES[name])
            names = [column.name for column in cursor.description or ()]
            expected = Counter(tuple(map(_shown, row)) for row in cursor.fetchall())
            assert Counter(tuple(_shown(row[n]) for n in names) for row in found) == expected, name
            assert len(found) > (0 if name == "session-totals" else 2), name
            check_shares(found)


def check_shares(rows: list[dict[str, Any]]) -> None:
    """Shares add up to 100.00 and are right to the last digit."""
    if rows and "percent" in rows[0]:
        total = sum(row["events"] for row in rows)
        assert round(sum(row["percent"] for row in rows), 6) == 100
        assert all(abs(row["percent"] - 100 * row["events"] / total) < 0.01 for row in rows)


def _shown(value: Any) -> Any:
    """A value as JSON has it: 5 and 5.00 are the same, times are text."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return str(value) if isinstance(value, date) else value


def _count(connection: Connection, query: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM ({query})").fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def contents(fed: Fed, pipeline: TestPipeline, spec: PostgresSpec) -> dict[str, list[Any]]:
    """Every row with its place, which a row that is written again does not keep."""
    with connect(spec) as connection:
        return {
            table: connection.execute(
                f'SELECT t::text, ctid::text FROM "{pipeline.name}".{table} t ORDER BY 1'
            ).fetchall()
            for table in fed.example.tables
        }


def test_the_tables_equal_plain_sql_and_stay_so_when_all_is_read_again(
    fed: Fed, postgres: PostgresSpec, tmp_path: Path
) -> None:
    pipeline = fed.pipeline(tmp_path)
    report = pipeline.run(*options(postgres))
    check(fed, pipeline, postgres, report)
    if fed.spec["index"].get("enabled", True):
        assert len(pipeline.documents("events")) == fed.distinct
        assert len(pipeline.documents("sessions")) == sum(report["tables"].values())
    before = contents(fed, pipeline, postgres)

    again = pipeline.run(*options(postgres))
    assert again["tables"] == report["tables"]
    assert contents(fed, pipeline, postgres) == before

    assert pipeline.read_again("store") >= report["stages"]["store"]["in"] > 0
    assert contents(fed, pipeline, postgres) == before

    check_queries(fed, pipeline, postgres)


def wait_for_rows(
    run: Run, fed: Fed, pipeline: TestPipeline, spec: PostgresSpec, rows: int
) -> None:
    """Wait until the store stage has written something: its table is there, with some rows."""
    table = f'"{pipeline.name}".{next(iter(fed.example.tables))}'
    deadline = time.monotonic() + 120
    while True:
        with connect(spec) as connection, contextlib.suppress(psycopg.errors.UndefinedTable):
            if _count(connection, f"SELECT FROM {table}") >= rows:
                return
        assert run.process.poll() is None, run.log.read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_kills_of_workers_change_nothing(fed: Fed, postgres: PostgresSpec, tmp_path: Path) -> None:
    pipeline = fed.pipeline(tmp_path)
    with pipeline.running("--until-drained", *options(postgres)) as run:
        stages = ["enrich", "sessionize", "store"]
        stages += ["index"] if fed.spec["index"].get("enabled", True) else []
        stages += ["analyze"] if fed.spec.get("analytics", {}).get("enabled") else []
        for stage in stages:
            run.kill_worker(stage)
        wait_for_rows(run, fed, pipeline, postgres, 1)
        run.kill_worker("store")
        report = run.finish()
    # The last kill may find everything done already.
    assert report["restarts"] - len(stages) in (0, 1)
    check(fed, pipeline, postgres, report)


def test_kills_of_postgresql_lose_and_double_nothing(
    fed: Fed, postgres_server: Callable[..., EmbeddedPostgres], tmp_path: Path
) -> None:
    server = postgres_server()
    pipeline = fed.pipeline(tmp_path)
    with pipeline.running("--until-drained", *options(server.spec)) as run:
        for rows in (0, 1):
            wait_for_rows(run, fed, pipeline, server.spec, rows)
            server.kill()
            time.sleep(0.5)
            server.start()
        report = run.finish()
    check(fed, pipeline, server.spec, report)
    assert all(report["stages"][stage]["failed"] == 0 for stage in ("sessionize", "store"))


def test_the_runtime_starts_a_postgresql_of_its_own(kafka: str, tmp_path: Path) -> None:
    manifest, report = MANIFESTS / "site-family.yaml", tmp_path / "report.json"
    webevents = (sys.executable, "-m", "webevents")
    run = subprocess.Popen(
        [
            *(*webevents, "run", "-f", str(manifest), "--kafka", kafka, "--seconds", "12"),
            *("--report", str(report)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    shown: list[Any] = []
    query = [*webevents, "query", "events-per-session-by-host", "--json", "-f", str(manifest)]
    while run.poll() is None and not shown:
        asked = subprocess.run(query, capture_output=True, check=False, timeout=60)
        shown = json.loads(asked.stdout) if asked.returncode == 0 else []
        time.sleep(0.5)
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert "PostgreSQL is ready on port" in said
    assert {row["host"] for row in shown} <= {f"{n}.example.com" for n in ("www", "blog", "shop")}
    assert shown
    found = json.loads(report.read_text())
    assert found["tables"]["public.processed_events"] > 0
    assert found["balanced"]
