"""docs/metrics.md tells every metric as it is served, and every alert as its rule is."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from webevents.events.event import InvalidEvent
from webevents.events.failed import failed_record
from webevents.events.ledger import Counts, PartitionLedger
from webevents.live.metrics import GAUGES as LIVE_GAUGES
from webevents.live.metrics import LiveMetrics
from webevents.sources.collector.metrics import GAUGES, CollectorMetrics
from webevents.stages.chunk import Chunk, Outcome, Record, StageStatus
from webevents.stages.loader.load import Round
from webevents.stages.loader.metrics import LoaderMetrics
from webevents.stages.metrics import TaskMetrics
from webevents.stages.metrics_generator import GeneratorMetrics
from webevents.stages.observer import Look

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"
RULES = ROOT / "manifests" / "monitoring" / "alerts.yaml"


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose first title is ``head``."""
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {head} |"):
            break
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return found


def served(live: Path) -> list[Metric]:
    """All metrics: of a worker that has met everything, and of every other process."""
    metrics = TaskMetrics("shop", "enrich", "failed", keeps_state=True)
    ledger = PartitionLedger(0, 3, Counts(3, 1, 1, {"late": 1}))
    where = {"topic": "raw", "partition": 0, "offset": 0}
    error = failed_record(
        InvalidEvent("too_deep", "why"),
        pipeline="shop",
        stage="enrich",
        key=None,
        value=b"",
        now_us=0,
        **where,  # type: ignore[arg-type]
    )
    outcome = Outcome(Counts(3, 1, 1), [Record("failed", None, error)], types={"view": 1})
    metrics.assigned("raw", 0, ledger, 1.0)
    metrics.processed(Chunk("raw", 0, [0], [None], [b""], [0]), outcome)
    metrics.committed({("raw", 0): ledger}, 0.1)
    metrics.looked(Look({("raw", 0): 9}, StageStatus(1, 1.0, 1, 1, 1, 1, 1)))
    live.write_text('{"eventsPerSecond": 5}')
    generator = GeneratorMetrics("shop", lambda: 1, live)
    loader = LoaderMetrics("shop")
    loader.loaded(Round(1, 2, 3, 4), 5, 0.1)
    collector = CollectorMetrics("shop")
    collector.request("json", 404, 0.1)
    collector.refused("not_found")
    collector.events("json", "shop", "delivered", 1)
    collector.gauges = lambda: dict.fromkeys(GAUGES, 1.0)
    page = LiveMetrics("shop")
    page.request("/", 200)
    page.gauges = lambda: dict.fromkeys(LIVE_GAUGES, 1.0)
    sources = (metrics, generator, loader, collector, page)
    families: dict[str, Metric] = {}
    for source in sources:
        for each in source.registry.collect():
            if each.samples or each.name not in families:
                families[each.name] = each
    return [family for name, family in sorted(families.items()) if name.startswith("webevents_")]


def test_the_table_is_what_is_served(tmp_path: Path) -> None:
    expected = []
    for family in served(tmp_path / "live.json"):
        assert family.samples, f"{family.name} shows nothing"
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        expected.append([name, family.type, labels, family.documentation])
    told: list[Any] = [
        [name, kind, set(labels.split(", ")), meaning]
        for name, kind, labels, meaning in rows("name")
    ]
    assert told == expected


def test_metrics_have_the_prefix_and_units_of_the_convention(tmp_path: Path) -> None:
    for family in served(tmp_path / "live.json"):
        assert re.fullmatch(r"webevents(_[a-z]+)+", family.name)
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        assert family.documentation.endswith(".")


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_tells_what_it_is_and_where_its_runbook_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"]
    runbook = ROOT / annotations["runbook"]
    text = runbook.read_text(encoding="utf-8")
    assert text.startswith(f"# {rule['alert']}\n")
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert titles == ["What it means", "How to look", "The mend"]


def test_every_alert_is_told_and_every_runbook_has_an_alert() -> None:
    told = [(name, severity) for name, severity, *_ in rows("alert")]
    assert told == [(rule["alert"], rule["labels"]["severity"]) for rule in rules()]
    runbooks = {f"docs/runbooks/{path.name}" for path in (ROOT / "docs/runbooks").glob("*.md")}
    assert {rule["annotations"]["runbook"] for rule in rules()} <= runbooks


def test_rules_runbooks_and_the_page_name_metrics_that_are_there(tmp_path: Path) -> None:
    known = set()
    for family in served(tmp_path / "live.json"):
        known |= {sample.name for sample in family.samples} | {family.name}
    runbooks = (ROOT / "docs" / "runbooks").glob("*.md")
    for path in (PAGE, RULES, *runbooks):
        named = re.findall(r"\bwebevents_[a-z_]+[a-z]\b", path.read_text(encoding="utf-8"))
        assert set(named) - {"webevents_ledger"} <= known, path.name
