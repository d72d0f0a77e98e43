"""The topic of open sessions is deleted: the stage stops loudly, and a rewind makes it whole.

Expected: nothing goes on without the state, which would cut the sessions that were open; after
``webevents rewind`` every session is that of an independent recomputation, none of them twice.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from accounts import check_everything
from confluent_kafka.admin import AdminClient
from pipelines import Servers, TestPipeline

from webevents.sources.output import KafkaOutput
from webevents.sources.simulator import run_simulator
from webevents.spec.generator import GeneratorSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

SPEC: dict[str, Any] = {
    "generator": {"enabled": False},
    "sessions": {"publishOpenEvery": "1s"},
    "analytics": {"enabled": True},
}


def generate(pipeline: TestPipeline, seed: int, count: int) -> None:
    with KafkaOutput(pipeline.servers.config, pipeline.raw_topic) as output:
        run_simulator(GeneratorSpec(seed=seed), output, count=count)


def rewind(pipeline: TestPipeline, *more: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "webevents", "rewind", *more, "-f", str(pipeline.file)]
    command += ["--kafka", pipeline.servers.kafka]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def rewound(pipeline: TestPipeline, *more: str) -> list[dict[str, int]]:
    """Rewind once Kafka has noticed that the workers are gone."""
    deadline = time.monotonic() + 60
    while (answer := rewind(pipeline, *more, "--yes", "--json"))[0]:
        assert "still runs" in answer[1], answer
        assert time.monotonic() < deadline
        time.sleep(1)
    moves: list[dict[str, int]] = json.loads(answer[1])["partitions"]
    return moves


@pytest.mark.parametrize("stage", ["sessionize", "analyze"])
def test_it_stops_loudly_and_a_rewind_makes_it_whole(
    kafka: str, elasticsearch: str, tmp_path: Path, stage: str
) -> None:
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, SPEC)
    topics = pipeline.pipeline.spec.topics
    state = topics.state_name if stage == "sessionize" else topics.analytics_state_name
    pipeline.make_topics()
    generate(pipeline, 1, 3_000)
    pipeline.run()
    before = pipeline.documents("sessions")
    admin = AdminClient(pipeline.servers.config)
    [gone] = admin.delete_topics([state]).values()
    gone.result(30)
    generate(pipeline, 2, 1_000)
    with pipeline.running() as run:
        log = pipeline.data / "workloads" / f"{stage}.log"
        deadline = time.monotonic() + 60
        while f"the state in topic {state} is gone" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        run.interrupt()
        time.sleep(0.5)
        run.interrupt()
        run.process.wait(30)
    assert pipeline.documents("sessions").keys() >= before.keys()

    rewound(pipeline, stage)
    report = pipeline.run()
    check_everything(pipeline, report)
    assert before.keys() <= pipeline.documents("sessions").keys()


def test_a_rewind_to_a_moment_reads_from_there_and_stays_balanced(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    spec = SPEC | {"analytics": {"enabled": False}}
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, spec)
    pipeline.make_topics()
    generate(pipeline, 1, 1_000)
    time.sleep(1.1)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    generate(pipeline, 2, 500)
    before = pipeline.run()["stages"]["enrich"]

    code, said = rewind(pipeline, "nothing")
    assert code == 2 and "there is no stage 'nothing': this pipeline has enrich" in said
    code, said = rewind(pipeline, "enrich", "--to", "yesterday")
    assert code == 2 and "--to yesterday: give earliest, or a time like" in said
    code, said = rewind(pipeline, "enrich", "--to", moment)
    assert code == 0 and "Nothing was changed" in said

    moves = rewound(pipeline, "enrich", "--to", moment)
    assert sum(move["again"] for move in moves) == 500
    assert all(0 <= move["after"] <= move["before"] for move in moves)
    report = pipeline.run()  # says that it is balanced
    enrich = report["stages"]["enrich"]
    assert enrich["in"] == before["in"] == 1_500
    assert enrich["dropped"] == {"before_rewind": 1_000}
    assert enrich["out"] == 500
    assert enrich["records"] == before["records"] + 500
    assert len(pipeline.documents("events")) == 1_500
    assert report["stages"]["sessionize"]["dropped"]["duplicate"] == 500
