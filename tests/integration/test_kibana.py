"""Every panel of the dashboards, asked of a real Elasticsearch that the real pipeline filled.

There is no Kibana here: what it would ask is read from the saved objects themselves
(tests/support/kibana_queries.py) and held against the ground truth: the events that the simulator
sent, enriched offline, the sessions that the naive recomputation makes of them, and the topic of
failed events. The stages' samples are held against the ledger, their panels against the samples.
Steps: the simulator fills the raw topic (corrupt, late, duplicate events and bots among them); the
pipeline processes it; each panel's query is run.
Expected: the same numbers, exactly, where Elasticsearch does not approximate.
"""

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from accounts import failed_events
from elasticsearch import Elasticsearch
from kibana_queries import (
    LensLayer,
    Row,
    answer,
    body,
    compare,
    lens_layers,
    milliseconds,
    shown,
    truth,
    vega_specs,
)
from live_pages import wait_for
from pipelines import Servers, TestPipeline
from reference_analytics import analyze, journey_of
from reference_sessions import recompute, revenue_of

from webevents.connectors.kafka_observe import Observer
from webevents.events.event import decode_event
from webevents.events.failed import FailedEvent
from webevents.kibana.objects import saved_objects
from webevents.logic.enrich.enricher import Enricher
from webevents.sources.output import KafkaOutput
from webevents.sources.simulator import run_simulator
from webevents.spec.generator import GeneratorSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
NPM = ROOT / "tests" / "kibana"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = [
    what
    for what, there in [
        (
            "npm's packages (run `make test-kibana`)",
            (NPM / "node_modules" / ".package-lock.json").is_file(),
        ),
        ("Node (on Debian: apt install nodejs npm)", shutil.which("node")),
        ("Chromium (on Debian: apt install chromium)", CHROMIUM),
    ]
    if not there
]
EVENTS = 12_000
SINCE, UNTIL = "2026-03-01T00:00:00Z", "2026-03-04T00:00:00Z"
GENERATOR = {
    "seed": 11,
    "profile": "journeys",
    "hosts": ["www.example.com", "shop.example.com"],
    "users": 400,
    "eventsPerSecond": 0.1,
    "time": {"mode": "backdated", "start": SINCE},
    "faults": {
        "corrupt": 0.01,
        "duplicates": 0.02,
        "late": 0.03,
        "lateBy": "30m",
        "outOfOrder": 0.2,
        "outOfOrderBy": "30s",
        "bots": 0.03,
    },
}
SPEC: dict[str, Any] = {
    "sessions": {"key": ["user_id"], "allowedLateness": "2h", "idleTimeout": "1h"},
    "analytics": {"enabled": True, "retention": {"period": "day"}},
    "index": {"samples": {"every": "1s"}},
}
NOW = {"failed", "samples"}
"""Views whose documents have the time of the run, and not that of the events."""
NOT_IN_TRUTH = {"Versions of a session"}
"""The recomputation knows of no versions, which tell the order of corrections alone."""


@dataclass
class Filled:
    """The documents' truth, and where they are."""

    pipeline: TestPipeline
    search: Elasticsearch
    raw: list[Mapping[str, Any]]
    """The distinct valid events as they were sent."""
    events: list[Mapping[str, Any]]
    sessions: list[Mapping[str, Any]]
    analytics: Mapping[str, list[Mapping[str, Any]]]
    failed: list[FailedEvent]
    samples: list[Mapping[str, Any]]
    report: Mapping[str, Any]
    objects: list[dict[str, Any]]

    def documents(self, index: str) -> list[Mapping[str, Any]]:
        """The truth of a data view."""
        kind = index.removesuffix("-*").rpartition("-")[2]
        failed = [msgspec.to_builtins(each) for each in self.failed]
        made = {"failed": failed, "samples": self.samples, **self.analytics}
        return {"events": self.events, "sessions": self.sessions, **made}[kind]

    @cached_property
    def answers(self) -> dict[tuple[str, str, int], tuple[LensLayer, Row]]:
        """Each layer with Elasticsearch's answer."""
        found = {}
        for layer in lens_layers(self.objects):
            now = layer.index.removesuffix("-*").rpartition("-")[2] in NOW
            window = ("2026-03-05T00:00:00Z", "2100-01-01T00:00:00Z") if now else (SINCE, UNTIL)
            response = self.search.search(index=layer.index, **body(layer, *window))
            number = sum(
                1 for board, panel, _ in found if (board, panel) == (layer.dashboard, layer.panel)
            )
            found[layer.dashboard, layer.panel, number] = layer, answer(layer, response)
        return found

    def table(self, board: str, panel: str) -> dict[Any, dict[str, float | None]]:
        """What a panel shows."""
        layer, row = self.answers[f"{self.pipeline.name}-{board}", panel, 0]
        return shown(layer, row)

    def figure(self, board: str, panel: str) -> float | None:
        """The one number that a panel shows."""
        [row] = self.table(board, panel).values()
        return next(iter(row.values()))

    def vega(self, board: str, panel: str) -> Any:
        """The answer to a Vega panel's query."""
        return ask(self, vega_specs(self.objects)[f"{self.pipeline.name}-{board}-{panel}"]["data"])


def ask(filled: Filled, data: Any) -> Any:
    """Elasticsearch's answer to a specification's (first) data."""
    data = data[0] if isinstance(data, list) else data
    url = data["url"]
    window = {"range": {url["%timefield%"]: {"gte": SINCE, "lt": UNTIL}}}
    found: Any = filled.search.search(index=url["index"], query=window, **url["body"]).body
    for name in data["format"]["property"].split("."):
        found = found[name]
    return found


@pytest.fixture(scope="module")
def filled(kafka: str, elasticsearch: str, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    folder = tmp_path_factory.mktemp("kibana")
    servers = Servers(kafka, elasticsearch)
    pipeline = TestPipeline(servers, folder, SPEC)
    pipeline.make_topics()
    truth_path = folder / "truth.ndjson"
    with KafkaOutput(servers.config, pipeline.raw_topic) as output:
        run_simulator(
            GeneratorSpec.model_validate(GENERATOR),
            output,
            count=EVENTS,
            truth_path=truth_path,
            key_fields=["user_id"],
        )
    rows = [json.loads(line) for line in truth_path.open()]
    valid = {row["event_id"] for row in rows if row.get("fault") != "corrupt"}
    raw = {}
    observer = Observer(servers.config)
    for message in observer.messages(pipeline.raw_topic):
        try:
            event_id = json.loads(message.value())["event_id"]
        except (ValueError, KeyError, RecursionError):
            continue
        if isinstance(event_id, str) and event_id in valid:
            raw[event_id] = message.value()
    observer.close()
    spec = pipeline.pipeline.spec
    enricher = Enricher(spec.enrich)
    events = [json.loads(enricher.enrich(each, decode_event(each))) for each in raw.values()]
    journey = journey_of(spec.analytics, lambda event: revenue_of(event, spec.sessions))
    sessions = recompute(events, spec.sessions, pipeline.name, more=journey)
    search = Elasticsearch(elasticsearch)
    with pipeline.running() as run:
        wait_for(lambda: _all_seen(search, pipeline, len(rows)), 480)
        run.interrupt()
        report = run.finish(240)
    assert len(pipeline.documents("events")) == len(raw)
    for session_id, session in pipeline.documents("sessions").items():
        # Which sessions the end of the stream leaves open differs by partition.
        sessions[session_id]["open"] = session["open"]
    analytics: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in spec.analytics.kinds}
    for (index, _), document in analyze(sessions.values(), spec.analytics, pipeline.name).items():
        analytics[index.rpartition("-")[0]].append(document)
    search.indices.refresh(index=f"{pipeline.name}-analytics-*")
    return Filled(
        pipeline,
        search,
        [json.loads(each) for each in raw.values()],
        events,
        list(sessions.values()),
        analytics,
        failed_events(pipeline),
        list(pipeline.documents("samples").values()),
        report,
        saved_objects(pipeline.pipeline),
    )


def _all_seen(search: Elasticsearch, pipeline: TestPipeline, sent: int) -> bool:
    """Whether the newest samples say that everything is processed."""
    # An index that was just made cannot be searched for a moment.
    patient = search.options(ignore_status=503, max_retries=0)
    response = patient.search(
        index=f"{pipeline.name}-samples-*",
        size=0,
        aggs={
            "stages": {
                "terms": {"field": "stage"},
                "aggs": {"newest": {"top_hits": {"size": 1, "sort": [{"timestamp": "desc"}]}}},
            }
        },
    )
    if "aggregations" not in response:
        return False
    newest = {
        bucket["key"]: bucket["newest"]["hits"]["hits"][0]["_source"]
        for bucket in response["aggregations"]["stages"]["buckets"]
        if bucket["newest"]["hits"]["hits"]
    }
    if not newest or any(sample["lag"] for sample in newest.values()):
        return False
    return bool(newest["enrich"]["in"] == sent)


def test_samples_are_what_the_ledger_says(filled: Filled) -> None:
    stages = filled.report["stages"]
    newest = {sample["stage"]: sample for sample in sorted(filled.samples, key=_moment)}
    assert newest.keys() == stages.keys() == {"enrich", "sessionize", "analyze", "index"}
    for sample in filled.samples:
        assert sample["in"] == sample["out"] + sample["failed"] + sample["dropped"]
    numbers = ("in", "out", "failed", "records")
    grew = []
    enrich = newest["enrich"]
    assert {n: enrich[n] for n in numbers} == {n: stages["enrich"][n] for n in numbers}
    for name, sample in newest.items():
        # Sessions are published at intervals too, so that some records may come later.
        assert 0 < sample["in"] <= stages[name]["in"]
        of_stage = [each for each in filled.samples if each["stage"] == name]
        # The newest one may be from when the last sessions were on their way.
        assert any(each["lag"] == 0 < each["in"] for each in of_stage)
        assert {each.get("workers") for each in of_stage} <= {None, 0, 1}
        # How many were read between the first and the last sample, by the rates.
        of_stage.sort(key=_moment)
        read = sum(
            each.get("in_per_second", 0) * (_moment(each) - _moment(before)) / 1000
            for before, each in pairwise(of_stage)
        )
        assert read == pytest.approx(sample["in"] - of_stage[0]["in"], rel=0.01, abs=1)
        waits = [each for each in of_stage if "wait_p50_ms" in each]
        assert all(0 <= each["wait_p50_ms"] <= each["wait_p99_ms"] < 900_000 for each in waits)
        # A quick stage may have read everything before the first sample.
        if sample["in"] > of_stage[0]["in"]:
            grew.append(name)
            assert waits
            assert max(each.get("workers", 0) for each in of_stage) == 1
    assert grew
    assert max(each["wait_p99_ms"] for each in filled.samples if "wait_p99_ms" in each) > 0


def _moment(sample: Mapping[str, Any]) -> float:
    return milliseconds(sample["timestamp"])


def test_failed_events_are_told_of_without_what_was_in_them(filled: Filled) -> None:
    documents = list(filled.pipeline.documents("failed").values())
    assert len(documents) == len(filled.failed) == filled.report["stages"]["enrich"]["failed"] > 50
    told = {"failed_at", "pipeline", "stage", "reason", "detail", "topic", "partition", "offset"}
    for document in documents:
        assert told <= document.keys() <= told | {"size", "event_id"}

    def places(them: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        fields = ("topic", "partition", "offset", "reason", "detail", "failed_at")
        return sorted(tuple(each[name] for name in fields) for each in them)

    assert places(documents) == places(map(msgspec.to_builtins, filled.failed))
    identified = {
        (each["partition"], each["offset"]): each["event_id"]
        for each in documents
        if "event_id" in each
    }
    originals = {(each.partition, each.offset): each.original() for each in filled.failed}
    assert len(identified) > 10
    # Not decoded, because some of them are no JSON to every reader.
    assert all(f'"{e}"'.encode() in originals[place] for place, e in identified.items())


def test_every_panel_shows_the_truth(filled: Filled) -> None:
    held, empty = 0, []
    for layer, row in filled.answers.values():
        if layer.panel in NOT_IN_TRUTH:
            continue
        held += compare(layer, row, truth(layer, filled.documents(layer.index)))
        if layer.buckets and not row.rows:
            empty.append(f"{layer.dashboard} {layer.panel}")
    print(f"{len(filled.answers)} queries, {held} numbers; without a row: {sorted(empty)}")
    assert held > 2_000
    # Only the collector names trackers, and only a database of places names cities.
    assert {each.partition(" ")[2] for each in empty} == {"Trackers", "Cities"}


def test_the_figures_are_those_of_the_events_that_were_sent(filled: Filled) -> None:
    """Straight from the simulator's events, whatever the dashboards' definition says."""
    raw = filled.raw
    types = Counter(event["event_type"] for event in raw)
    by_type: Counter[str] = Counter()
    for (kind, _), row in filled.table("overview", "Events by type").items():
        by_type[kind] += int(row["Events"] or 0)
    revenue = round(sum(event.get("revenue") or 0 for event in raw), 2)
    with_purchase = {e["event_id"] for e in raw if e["event_type"] == "purchase"}
    steps = {
        key[0]: row["Sessions"] for key, row in filled.table("funnel", "Sessions with …").items()
    }

    assert filled.figure("overview", "Events") == len(raw)
    assert filled.figure("stream", "Events in this time") == len(raw)
    assert by_type == types
    assert len(types) == 9 and revenue > 0
    assert filled.figure("overview", "Revenue") == pytest.approx(revenue)
    assert filled.figure("overview", "Sessions") == len(filled.sessions)
    assert sum(s["total_events"] for s in filled.sessions) == len(raw)
    assert steps == {
        "1. a page view": sum(
            1 for s in filled.sessions if s["event_type_counts"].get("page_view")
        ),
        "2. a product": sum(1 for s in filled.sessions if s["products_viewed"]),
        "3. a cart": sum(1 for s in filled.sessions if s["event_type_counts"].get("add_to_cart")),
        "4. a purchase": sum(1 for s in filled.sessions if s["event_type_counts"].get("purchase")),
    }
    assert 0 < steps["4. a purchase"] <= len(with_purchase)
    rate = filled.figure("overview", "Bounce rate")
    assert rate == pytest.approx(
        sum(s["is_bounce"] for s in filled.sessions) / len(filled.sessions)
    )


def test_shares_add_up(filled: Filled) -> None:
    for board, panel in (
        ("sites", "By country"),
        ("sites", "By state"),
        ("geography", "Countries"),
    ):
        rows = filled.table(board, panel)
        events = {key[0]: row["Events"] for key, row in rows.items()}
        field = "geo_region_name" if panel == "By state" else "geo_country"
        assert events == Counter(e[field] for e in filled.events if field in e)
        assert sum(row["Share"] or 0 for row in rows.values()) == pytest.approx(1)


def test_hosts_and_hours_are_those_of_the_events(filled: Filled) -> None:
    moments = [
        (event["host"], datetime.fromtimestamp(milliseconds(event["event_timestamp"]) / 1000, UTC))
        for event in filled.raw
    ]
    midnight = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    days = Counter((host, int(at.replace(**midnight).timestamp() * 1000)) for host, at in moments)
    shown_days = {
        key: row["Events"] for key, row in filled.table("sites", "By host and date").items()
    }
    assert shown_days == days
    assert len({host for host, _ in days}) == 2

    hours: Counter[int] = Counter()
    for bucket in filled.vega("sites", "by-hour"):
        hours[datetime.fromtimestamp(bucket["key"] / 1000, UTC).hour] += bucket["doc_count"]
    assert hours == Counter(at.hour for _, at in moments)

    averages = filled.table("sites", "Average events per session and host")
    sessions = Counter(session["host"] for session in filled.sessions)
    events = Counter[str]()
    for session in filled.sessions:
        events[session["host"]] += session["total_events"]
    assert {key[0]: row["Events per session"] for key, row in averages.items()} == {
        host: pytest.approx(events[host] / sessions[host]) for host in sessions
    }


def test_the_newest_event_is_the_newest_that_was_sent(filled: Filled) -> None:
    newest = max(milliseconds(event["event_timestamp"]) for event in filled.raw)
    found = filled.vega("stream", "age-of-the-newest-event")
    assert found["newest"]["value"] == pytest.approx(newest, abs=1)


def test_the_map_has_every_place(filled: Filled) -> None:
    """The map asks for tiles of its own choice; at any of them every located event is in one."""
    maps = [each for each in filled.objects if each["type"] == "map"]
    views = {
        each["id"]: each["attributes"] for each in filled.objects if each["type"] == "index-pattern"
    }
    located = [event for event in filled.events if event.get("geo_location")]
    assert located
    for each in maps:
        [layer] = [
            layer
            for layer in json.loads(each["attributes"]["layerListJSON"])
            if layer["sourceDescriptor"]["type"] == "ES_GEO_GRID"
        ]
        source = layer["sourceDescriptor"]
        [view] = [r["id"] for r in each["references"] if r["name"] == source["indexPatternRefName"]]
        tiles = {"geotile_grid": {"field": source["geoField"], "precision": 6, "size": 10_000}}
        response = filled.search.search(index=views[view]["title"], size=0, aggs={"tiles": tiles})
        found = response["aggregations"]["tiles"]["buckets"]
        assert sum(bucket["doc_count"] for bucket in found) == len(located)
        assert len(found) > 3


def test_each_records_panel_finds_its_documents(filled: Filled) -> None:
    """Discover asks for the newest documents with the columns that the panel names."""
    views = {
        each["id"]: each["attributes"] for each in filled.objects if each["type"] == "index-pattern"
    }
    searches = [each for each in filled.objects if each["type"] == "search"]
    assert len(searches) == 3
    for each in searches:
        view = views[each["references"][0]["id"]]
        columns = each["attributes"]["columns"]
        [[field, direction]] = each["attributes"]["sort"]
        assert (field, direction) == (view["timeFieldName"], "desc")
        hits = filled.search.search(
            index=view["title"], size=50, sort=[{field: direction}], fields=columns
        )["hits"]["hits"]
        assert len(hits) == 50
        found = {name for hit in hits for name in hit["fields"]}
        assert any(
            wanted <= found
            for wanted in (
                {"event_type", "page_url"},
                {"session_key", "total_events"},
                {"stage", "reason", "detail", "topic", "offset"},
            )
        )


def test_data_views_match_the_indices(filled: Filled) -> None:
    """A data view that matches no index, or lacks its time field, breaks each of its panels."""
    for each in filled.objects:
        if each["type"] == "index-pattern":
            title, time = each["attributes"]["title"], each["attributes"]["timeFieldName"]
            found = filled.search.field_caps(index=title, fields=[time])
            assert found["indices"], title
            assert set(found["fields"][time]) == {"date_nanos"}


def test_the_shipped_files_ask_the_same(filled: Filled) -> None:
    """manifests/kibana differs from what is tested here by names alone."""
    path = ROOT / "manifests" / "kibana" / "web-events.ndjson"
    objects = [json.loads(line) for line in path.read_text().splitlines()]
    ours = {
        (layer.dashboard.removeprefix(f"{filled.pipeline.name}-"), layer.panel): layer.columns
        for layer in lens_layers(filled.objects)
    }
    shipped = {
        (layer.dashboard.removeprefix("web-events-"), layer.panel): layer.columns
        for layer in lens_layers(objects)
    }
    # That example need not have analytics.
    assert shipped == {key: ours[key] for key in shipped}
    assert len(shipped) > 60


def test_the_sankey_and_the_funnels_have_every_session(filled: Filled) -> None:
    """From the paths that the recomputed sessions took, not from the stage's documents."""
    people = [session for session in filled.sessions if not session["is_bot"]]
    firsts = Counter(session["path"][0] for session in people if _goes_on(session))
    steps = filled.vega("journeys", "paths")
    assert [bucket["key"] for bucket in steps] == [1, 2, 3, 4]
    found = {bucket["key"]: bucket["doc_count"] for bucket in steps[0]["from"]["buckets"]}
    assert found and all(firsts[page] == sessions for page, sessions in found.items())
    assert min(found.values()) >= max([n for p, n in firsts.items() if p not in found], default=0)
    ways = Counter(
        (session["path"][0], (*session["path"], "(exit)")[1])
        for session in people
        if _goes_on(session)
    )
    for left in steps[0]["from"]["buckets"]:
        for right in left["to"]["buckets"]:
            assert right["doc_count"] == ways[left["key"], right["key"]]

    [funnel] = filled.vega("funnel", "funnels")
    reached = {bucket["key"]: bucket["doc_count"] for bucket in funnel["steps"]["buckets"]}
    orders = [
        [e["event_type"] for e in sorted(events, key=lambda e: milliseconds(e["event_timestamp"]))]
        for events in _events_of(filled, people)
    ]
    assert reached == {
        "1. visit": sum(1 for kinds in orders if _takes(kinds, "page_view")),
        "2. cart": sum(1 for kinds in orders if _takes(kinds, "page_view", "add_to_cart")),
        "3. purchase": sum(
            1 for kinds in orders if _takes(kinds, "page_view", "add_to_cart", "purchase")
        ),
    }
    assert reached["3. purchase"] > 0


def _goes_on(session: Mapping[str, Any]) -> bool:
    """Whether something follows the session's first page, be it its end."""
    return len(session["path"]) > 1 or (bool(session["path"]) and not session["open"])


def _events_of(filled: Filled, sessions: Iterable[Any]) -> list[list[Mapping[str, Any]]]:
    """The events of each session, by user and time."""
    by_user: dict[str, list[Mapping[str, Any]]] = {}
    for event in filled.raw:
        by_user.setdefault(str(event["user_id"]), []).append(event)
    return [
        [
            event
            for event in by_user[session["session_key"]]
            if milliseconds(session["first_event_timestamp"]) - 1
            <= milliseconds(event["event_timestamp"])
            <= milliseconds(session["last_event_timestamp"]) + 1
        ]
        for session in sessions
    ]


def _takes(kinds: Iterable[str], *steps: str) -> bool:
    """Whether the steps are among them in this order."""
    left = iter(kinds)
    return all(step in left for step in steps)


def test_cohorts_and_credits_are_whole(filled: Filled) -> None:
    people = [session for session in filled.sessions if not session["is_bot"]]
    cohorts = filled.vega("retention", "cohorts")
    first = {
        bucket["key"]: cell["doc_count"]
        for bucket in cohorts
        for cell in bucket["periods"]["buckets"]
        if cell["key"] == 0
    }
    assert sum(first.values()) == len({session["session_key"] for session in people})
    conversions = filled.figure("retention", "Conversions")
    purchases = sum(session["event_type_counts"].get("purchase", 0) for session in people)
    assert conversions == purchases
    table = filled.table("retention", "Conversions by channel")
    for model in ("First touch", "Last touch", "Linear", "By position"):
        assert sum(row[model] or 0 for row in table.values()) == pytest.approx(purchases)


def _bands(steps: list[Any]) -> Counter[tuple[int, str, str]]:
    """The ways between the eight largest pages of each column, the others, and the end."""
    rows = [
        (step["key"], left["key"], right["key"], right["doc_count"])
        for step in steps
        for left in step["from"]["buckets"]
        for right in left["to"]["buckets"]
    ]
    leaving, coming = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
    for step, left, right, sessions in rows:
        leaving[step - 1, left] += sessions
        coming[step, right] += sessions
    sizes = leaving | coming

    def called(column: int, page: str) -> str:
        pages = sorted((-n, name) for (at, name), n in sizes.items() if at == column)
        largest = [name for _, name in pages[:8]]
        return page if page in (*largest, "(exit)") else "(others)"

    ways = Counter[tuple[int, str, str]]()
    for step, left, right, sessions in rows:
        ways[step, called(step - 1, left), called(step, right)] += sessions
    return ways


@pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")
def test_vega_draws_each_panel_in_chromium(filled: Filled, tmp_path: Path) -> None:
    """Vega 5 and Vega-Lite 5, as Kibana 8.19 and 9.x have them, with Elasticsearch's answers.

    `make test-kibana` installs what is needed from npm, and keeps the pictures in build/kibana.
    """
    pictures = Path(os.environ.get("KIBANA_PICTURES", tmp_path))
    panels = []
    for name, spec in vega_specs(filled.objects).items():
        short = name.removeprefix(f"{filled.pipeline.name}-")
        data = spec["data"] if isinstance(spec["data"], dict) else spec["data"][0]
        data["values"] = ask(filled, data)
        del data["url"], data["format"]
        size = (
            {"width": 1100, "height": 420} if "age" not in short else {"width": 300, "height": 140}
        )
        panels.append({"name": short, "spec": spec, "png": str(pictures / f"{short}.png"), **size})
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"chromium": CHROMIUM, "panels": panels}))
    command = ["node", str(NPM / "draw.mjs"), str(task)]
    drawn = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=300).stdout)
    assert set(drawn) == {
        *("stream-age-of-the-newest-event", "performance-age-of-the-newest-event"),
        *("journeys-paths", "funnel-funnels", "retention-cohorts", "sites-by-hour"),
    }
    for panel in panels:
        found = drawn[panel["name"]]
        assert found["problems"] == [], panel["name"]
        # What is drawn fills the panel and does not reach beyond it.
        assert abs(found["width"] - panel["width"]) <= 2, found
        assert abs(found["height"] - panel["height"]) <= 2, found
        assert Path(panel["png"]).stat().st_size > 1_000

    steps = filled.vega("journeys", "paths")
    ways = _bands(steps)
    assert drawn["journeys-paths"]["marks"]["path"] == len(ways)
    bars = {(step - 1, left) for step, left, _ in ways} | {(step, right) for step, _, right in ways}
    assert drawn["journeys-paths"]["marks"]["rect"] == len(bars)
    for left in steps[0]["from"]["buckets"][:5]:
        sessions = sum(right["doc_count"] for right in left["to"]["buckets"])
        text = f"{left['key']} {sessions:,}"
        assert text in drawn["journeys-paths"]["texts"]
    [funnel] = filled.vega("funnel", "funnels")
    for bucket in funnel["steps"]["buckets"]:
        share = bucket["doc_count"] / funnel["doc_count"]
        text = f"{bucket['doc_count']:,} ({share:.1%})"
        assert text in drawn["funnel-funnels"]["texts"]
    hours = {
        datetime.fromtimestamp(b["key"] / 1000, UTC).hour for b in filled.vega("sites", "by-hour")
    }
    assert drawn["sites-by-hour"]["marks"]["rect"] == len(hours)
    cells = sum(len(cohort["periods"]["buckets"]) for cohort in filled.vega("retention", "cohorts"))
    assert drawn["retention-cohorts"]["marks"]["rect"] >= cells
    assert [text[-2:] for text in drawn["stream-age-of-the-newest-event"]["texts"]] == [" h"]
