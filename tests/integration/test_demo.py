"""What `make demo` runs: how soon its page shows true figures.

The web-events example as it ships, on servers that are up, so that what is measured is the pipeline
and not the start of Kafka and Elasticsearch.
Expected: each figure is between what the ledger said before and after it, when the first events are
seen and again when every stage has some.
"""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from live_pages import stats, wait_for
from pipelines import Servers, TestPipeline

from webevents.connectors.kafka_observe import Observer
from webevents.local.ports import free_port
from webevents.plan.ledger import observe
from webevents.plan.make import make_plan

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "web-events.yaml"
GOAL_S = 30
LIMIT_S = 10 * GOAL_S
"""For a machine that is busy with much else."""
NUMBERS = ("in", "out", "failed", "records")


def test_the_page_shows_true_figures_soon(kafka: str, elasticsearch: str, tmp_path: Path) -> None:
    port = free_port()
    spec: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())["spec"]
    assert spec["live"]["enabled"]
    spec["live"]["port"] = port
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, spec)
    plan = make_plan(pipeline.pipeline)
    stages = {stage.name for stage in plan.stages()}
    observer = Observer(pipeline.servers.config)

    def ledger() -> dict[str, Any]:
        return observe(plan, observer).report()

    def seen_by(count: int) -> float:
        """Wait until so many stages are seen to have read events; when that was."""
        wait_for(
            lambda: sum(each["in"] > 0 for each in stats(port).get("stages", [])) >= count, LIMIT_S
        )
        return time.monotonic() - began

    def true_page() -> dict[str, Any]:
        """The page's figures, held against the ledger before and after."""
        before = ledger()
        # The page looks once a second.
        reached = time.time() * 1000 + 2_000
        page: dict[str, Any] = wait_for(
            lambda: (seen := stats(port)) and seen["at"] > reached and seen
        )
        after = ledger()
        assert {stage["name"] for stage in page["stages"]} == stages
        for stage in page["stages"]:
            name = stage["name"]
            assert stage["balanced"], stage
            for number in NUMBERS:
                least, most = before[name][number], after[name][number]
                assert least <= stage[number] <= most, (name, number, stage)
        assert page["totals"]["in"] == page["stages"][0]["in"] > 0
        return page

    began = time.monotonic()
    with pipeline.running() as run:
        first = seen_by(1)
        true_page()
        every = seen_by(len(stages))
        page = true_page()
        run.interrupt()
        report = run.finish(300)
    observer.close()
    for stage in page["stages"]:
        assert stage["in"] <= report["stages"][stage["name"]]["in"]
    print(
        f"the page shows true figures {first:.1f} s after the start (goal {GOAL_S} s), "
        f"and events at every stage after {every:.1f} s"
    )
