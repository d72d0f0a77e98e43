"""Processes that die or freeze, under load."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos_load import Progress, caught_up, freeze, under_load, wait_for
from pipelines import Servers

from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.kafka_server import EmbeddedKafka

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

STAGES = ("enrich", "sessionize", "index")
KILLS = int(os.environ.get("CHAOS_KILLS", "50"))


def test_workers_are_killed(
    kafka: EmbeddedKafka,
    elasticsearch: EmbeddedElasticsearch,
    tmp_path: Path,
    seen: Callable[[str], None],
) -> None:
    took = []
    servers = Servers(kafka.bootstrap, elasticsearch.url)
    with under_load(servers, tmp_path, seen) as load:
        progress = Progress(load.pipeline)
        for number in range(KILLS):
            stage = STAGES[number % len(STAGES)]
            load.run.kill_worker(stage, 60)
            took.append(until_it_works(progress, stage))
        progress.close()
        load.told = f"{KILLS} kills, work resumed within {max(took):.1f} s"
    assert max(took) <= 30


def until_it_works(progress: Progress, stage: str) -> float:
    """Seconds until a stage has committed something new."""
    began, before = time.monotonic(), progress.of(stage)
    wait_for(lambda: progress.of(stage) > before, 120)
    return time.monotonic() - began


def test_workers_are_asked_to_end(
    kafka: EmbeddedKafka,
    elasticsearch: EmbeddedElasticsearch,
    tmp_path: Path,
    seen: Callable[[str], None],
) -> None:
    took = []
    servers = Servers(kafka.bootstrap, elasticsearch.url)
    with under_load(servers, tmp_path, seen) as load:
        progress = Progress(load.pipeline)
        for stage in STAGES * 2:
            [pid] = load.run.workers(stage)
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            while pid in load.run.workers(stage):
                assert time.monotonic() < began + 60
                time.sleep(0.01)
            took.append(time.monotonic() - began)
            until_it_works(progress, stage)
        progress.close()
        load.told = f"each had ended within {max(took):.1f} s of its SIGTERM"
    assert max(took) <= 5


@pytest.mark.parametrize("server", ["kafka", "elasticsearch"])
def test_a_server_freezes(
    server: str,
    kafka: EmbeddedKafka,
    elasticsearch: EmbeddedElasticsearch,
    tmp_path: Path,
    seen: Callable[[str], None],
) -> None:
    frozen = {"kafka": kafka, "elasticsearch": elasticsearch}[server]
    servers = Servers(kafka.bootstrap, elasticsearch.url)
    with under_load(servers, tmp_path, seen) as load:
        assert frozen.pid
        freeze(frozen.pid, 45)
        caught_up(load.pipeline)
        load.told = f"{frozen.name} stood still for 45 s"
