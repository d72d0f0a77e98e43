"""The fashion-campus example: a recorded day goes into PostgreSQL, and comes out in both indices.

Steps: the example runs; customers and products are loaded in batch, the day's clicks and
transactions are replayed into the database at full speed, while the replay, the database, Kafka
Connect and a worker of each stage are killed; the run drains.
Expected: the figures of the day, which are known; the same when all is done once more.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fashion import Day, check, example
from pipelines import Servers, TestPipeline

from webevents.errors import UserError
from webevents.local.connect_server import EmbeddedConnect
from webevents.local.jars import ensure_jars
from webevents.local.java import find_jdk
from webevents.local.postgres_server import EmbeddedPostgres

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    try:
        find_jdk()
        ensure_jars(*EmbeddedConnect.jar_sets)
        folder = tmp_path / "source"
        server = EmbeddedPostgres(folder, extra={"wal_level": "logical"}).start()
    except UserError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


def test_the_day_has_its_figures_whatever_is_killed(
    kafka: str, elasticsearch: str, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    name = f"f{os.getpid()}x{time.time_ns() % 10**6}"
    day = Day(name, source.spec, elasticsearch)
    pipeline = TestPipeline(
        Servers(kafka, elasticsearch), tmp_path, example(name, source.spec), name=name
    )
    with pipeline.running() as run:
        day.replay("clicks", kill_after=2.5)
        day.replay("clicks")
        dimensions = day.load_dimensions(tmp_path)
        day.replay("transactions")
        run.kill("ConnectDistributed")
        source.kill()
        source.start()
        for stage in ("capture", "enrich", "index", "sessionize"):
            run.kill_worker(stage)
            time.sleep(1)
        run.wait_for_line(" reads ")
        run.interrupt()
        report = run.finish(300)
    check(day, pipeline)
    assert report["stages"]["capture"]["failed"] == 0

    assert "nothing was written" in day.replay("clicks")
    transactions = sum(day.by("transactions", "payment_status").values())
    for _ in range(2):
        assert day.load_dimensions(tmp_path) == dimensions
        assert day.dimensions() == {k: (rows, transactions) for k, rows in dimensions.items()}
    with pipeline.running() as run:
        run.wait_for_line(" reads ")
        run.interrupt()
        run.finish(200)
    check(day, pipeline)
