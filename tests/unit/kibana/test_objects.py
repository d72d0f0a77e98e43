"""The saved objects: their shape, their references, their fields, and what is committed.

The shape is what Kibana's import API documents for NDJSON: an object a line with ``type``, ``id``,
``attributes``, ``references`` (each with ``type``, ``id`` and ``name``), ``coreMigrationVersion``
and ``typeMigrationVersion``; the attributes' own shapes are those of docs/decisions/0007.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_kibana import faults_of
from kibana_queries import kql, lens_layers, vega_specs

from webevents.errors import UserError
from webevents.kibana.dashboards import DASHBOARDS
from webevents.kibana.objects import marked, ndjson, saved_objects
from webevents.plan.make import make_plan
from webevents.spec.load import load_pipeline, parse_pipeline
from webevents.spec.pipeline import WebEventPipeline

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "manifests" / "examples"
Json = dict[str, Any]


def example(name: str, **spec: Any) -> WebEventPipeline:
    pipeline = load_pipeline(EXAMPLES / f"{name}.yaml")
    if not spec:
        return pipeline
    document = {
        "apiVersion": pipeline.api_version,
        "kind": pipeline.kind,
        "metadata": {"name": name},
        "spec": {
            **pipeline.spec.model_dump(mode="json", by_alias=True, exclude_unset=True),
            **spec,
        },
    }
    return parse_pipeline(document, name)


def in_elasticsearch() -> WebEventPipeline:
    """session-metrics, whose documents have fields of their own, with Elasticsearch."""
    return example("session-metrics", elasticsearch={"engine": "elasticsearch"})


PIPELINES = {
    "web-events": lambda: example("web-events"),
    "analytics": lambda: example("web-events", analytics={"enabled": True}),
    "fashion-campus": lambda: example("fashion-campus"),
    "session-metrics": in_elasticsearch,
}


@pytest.fixture(params=PIPELINES)
def pipeline(request: pytest.FixtureRequest) -> WebEventPipeline:
    return PIPELINES[request.param]()


@pytest.mark.parametrize("name", ["web-events", "fashion-campus"])
def test_what_is_committed_is_what_the_definition_says(name: str) -> None:
    committed = (ROOT / "manifests" / "kibana" / f"{name}.ndjson").read_text(encoding="utf-8")
    assert committed == ndjson(saved_objects(example(name))), "run `make kibana`"


def test_each_object_has_the_shape_that_the_import_asks_for(pipeline: WebEventPipeline) -> None:
    objects = saved_objects(pipeline)
    assert [each for each in objects if faults_of(each)] == []
    keys = Counter((each["type"], each["id"]) for each in objects)
    assert set(keys.values()) == {1}
    for each in objects:
        assert set(each) == {
            *("type", "id", "attributes", "references", "managed"),
            *("coreMigrationVersion", "typeMigrationVersion"),
        }
        assert each["attributes"]["title"]
        names = [reference["name"] for reference in each["references"]]
        assert len(set(names)) == len(names)
        for reference in each["references"]:
            assert (reference["type"], reference["id"]) in keys, reference


def test_the_shape_is_really_asked_for() -> None:
    """The checks above would find what they look for."""
    good = saved_objects(example("web-events"))[1]
    assert faults_of({**good, "type": "watch"})
    assert faults_of({**good, "typeMigrationVersion": "11.0.0"})
    assert faults_of({**good, "coreMigrationVersion": "9.0.0"})
    assert faults_of({**good, "references": [{"type": "map", "id": "x"}]})
    assert faults_of({**good, "attributes": {"title": "x", "panelsJSON": "{"}})


def test_panels_name_what_they_refer_to(pipeline: WebEventPipeline) -> None:
    """Kibana finds a panel's object and data view by the names of the dashboard's references."""
    for board in saved_objects(pipeline):
        if board["type"] != "dashboard":
            continue
        panels = json.loads(board["attributes"]["panelsJSON"])
        expected = []
        for panel in panels:
            name = panel["panelIndex"]
            assert panel["gridData"]["i"] == name
            if panel["type"] == "lens":
                inner = panel["embeddableConfig"]["attributes"]["references"]
                expected += [f"{name}:{each['name']}" for each in inner]
            else:
                expected.append(f"{name}:{panel['panelRefName']}")
        controls = board["attributes"].get("controlGroupInput", {}).get("panelsJSON", "{}")
        expected += [f"controlGroup_{name}:optionsListDataView" for name in json.loads(controls)]
        assert Counter(expected) == Counter(each["name"] for each in board["references"])


def test_panels_fill_their_rows_and_do_not_overlap(pipeline: WebEventPipeline) -> None:
    for board in saved_objects(pipeline):
        if board["type"] != "dashboard":
            continue
        cells = Counter[tuple[int, int]]()
        for panel in json.loads(board["attributes"]["panelsJSON"]):
            place = panel["gridData"]
            cells.update(
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            )
        height = max(y for _, y in cells) + 1
        assert set(cells.values()) == {1}
        assert set(cells) == {(x, y) for x in range(48) for y in range(height)}, board["id"]


def test_every_field_is_one_that_the_documents_have(pipeline: WebEventPipeline) -> None:
    """Lens columns, filters and controls against the mappings of the pipeline's own templates."""
    objects = saved_objects(pipeline)
    mappings = _mappings(pipeline)
    seen = 0
    for layer in lens_layers(objects):
        for column in layer.columns.values():
            name = column.get("sourceField")
            if name and name != "___records___":
                seen += 1
                assert _has(mappings[layer.index], name, column), (layer.panel, name)
    views = {each["id"]: each["attributes"] for each in objects if each["type"] == "index-pattern"}
    for view in views.values():
        assert _type(mappings[view["title"]], view["timeFieldName"]) in ("date", "date_nanos")
    assert seen > 60


def _mappings(pipeline: WebEventPipeline) -> dict[str, Json]:
    """The mapping by index pattern, put together of the plan's templates."""
    plan = make_plan(pipeline)
    parts = {each.name: each.body for each in plan.templates if each.kind == "component"}
    made: dict[str, Json] = {}
    for template in plan.templates:
        if template.kind == "index":
            [pattern] = template.body["index_patterns"]
            found: Json = {}
            for name in template.body["composed_of"]:
                body = parts.get(name, {"template": {}})["template"]
                mapping = body.get("mappings", {})
                found |= mapping.get("properties", {})
                if mapping.get("dynamic") is True:
                    found["*"] = {"type": "keyword"}
            made[pattern] = found
    return made


def _type(mapping: Json, name: str) -> str | None:
    head, _, rest = name.partition(".")
    found = mapping.get(name) or mapping.get(head)
    if found and rest and found["type"] != "flattened":
        found = found.get("fields", {}).get(rest)
    found = found or mapping.get("*")
    return found["type"] if found else None


KINDS = {
    "string": {"keyword", "flattened"},
    "number": {"long", "double", "float"},
    "date": {"date", "date_nanos"},
    "boolean": {"boolean"},
    "ip": {"ip"},
}


def _has(mapping: Json, name: str, column: Json) -> bool:
    kind = _type(mapping, name)
    if column["isBucketed"] or column["operationType"] not in ("unique_count",):
        return kind in KINDS[column["dataType"]]
    return kind is not None and kind != "text"


def test_no_panel_needs_a_licence_or_a_script(pipeline: WebEventPipeline) -> None:
    text = ndjson(saved_objects(pipeline))
    types = {json.loads(line)["type"] for line in text.splitlines()}
    assert types <= {"index-pattern", "search", "visualization", "map", "dashboard"}
    for word in ("painless", '"script"', "watcher", "anomaly", "esql", "textBasedLanguage"):
        assert word not in text.lower()


def test_every_condition_is_one_that_the_tests_can_read(pipeline: WebEventPipeline) -> None:
    conditions = set()
    for layer in lens_layers(saved_objects(pipeline)):
        conditions |= {layer.where} - {""}
        for column in layer.columns.values():
            if "filter" in column:
                conditions.add(column["filter"]["query"])
    assert conditions
    for condition in conditions:
        query, _ = kql(condition)
        assert query


def test_identifiers_and_dashboards_stay() -> None:
    """They are never changed: links and copies of users hang on them."""
    objects = saved_objects(example("web-events", analytics={"enabled": True}))
    boards = [each["id"] for each in objects if each["type"] == "dashboard"]
    assert boards == [
        f"web-events-{key}"
        for key in (
            *("overview", "stream", "acquisition", "journeys", "funnel", "sessions"),
            *("geography", "technology", "retention", "performance", "sites"),
        )
    ]
    again = saved_objects(example("web-events", analytics={"enabled": True}))
    assert ndjson(objects) == ndjson(again)
    keys = [dashboard.key for dashboard in DASHBOARDS]
    assert len(set(keys)) == len(keys)


def test_dashboards_that_are_watched_refresh_every_five_seconds() -> None:
    boards = {
        each["id"].removeprefix("fashion-campus-"): each["attributes"]
        for each in saved_objects(example("fashion-campus"))
        if each["type"] == "dashboard"
    }
    for key in ("shop", "sites", "stream", "performance"):
        assert boards[key]["refreshInterval"] == {"pause": False, "value": 5000}
    assert all(board["timeRestore"] and board["timeTo"] == "now" for board in boards.values())


def test_the_shop_has_its_ten_panels() -> None:
    [board] = [
        each for each in saved_objects(example("fashion-campus")) if each["id"].endswith("-shop")
    ]
    titles = [panel["title"] for panel in json.loads(board["attributes"]["panelsJSON"])]
    assert titles[:10] == [
        "Click records",
        "Transaction records",
        "Total sale (rupiah)",
        "Search keywords",
        "Click sources",
        "Event names",
        "Clicks vs transactions per minute",
        "Payment methods",
        "Transactions per 10 minutes",
        "Click event names",
    ]


def test_fields_of_ones_own_are_called_as_the_documents_call_them() -> None:
    """session-metrics has timestamp for event_timestamp, and few fields: panels go."""
    objects = saved_objects(in_elasticsearch())
    [events] = [each for each in objects if each["id"] == "session-metrics-view-events"]
    assert events["attributes"]["timeFieldName"] == "timestamp"
    assert events["attributes"]["title"] == "clickstream-events-*"
    panels = {layer.panel for layer in lens_layers(objects) if "events-*" in layer.index}
    assert "Stream of events" in panels
    assert "Referring hosts" not in panels
    assert not [each for each in objects if each["type"] == "map"]
    assert "event_timestamp" not in json.dumps(
        [layer.columns for layer in lens_layers(objects) if layer.index == "clickstream-events-*"]
    )


def test_a_space_of_ones_own_has_identifiers_of_its_own() -> None:
    """Kibana's identifiers hold for all spaces: two pipelines of one name must not collide."""
    objects = saved_objects(example("web-events", kibana={"space": "shop"}))
    ours = {each["id"] for each in saved_objects(example("web-events"))}
    assert not ours & {each["id"] for each in objects}


def test_nothing_is_made_of_a_pipeline_that_indexes_nothing() -> None:
    assert saved_objects(example("site-family")) == []


def test_the_mark_changes_with_kibana_and_with_the_definition() -> None:
    one, other = saved_objects(example("web-events")), saved_objects(example("fashion-campus"))
    marks = {
        marked(objects, version)[0]["attributes"]["description"]
        for objects in (one, other)
        for version in ("8.19.0", "9.1.2")
    }
    assert len(marks) == 4


def test_vega_asks_within_the_dashboards_time(pipeline: WebEventPipeline) -> None:
    titles = {
        each["attributes"]["title"]: each["attributes"]["timeFieldName"]
        for each in saved_objects(pipeline)
        if each["type"] == "index-pattern"
    }
    specs = vega_specs(saved_objects(pipeline))
    assert len(specs) >= 3
    for spec in specs.values():
        data = spec["data"] if isinstance(spec["data"], dict) else spec["data"][0]
        assert data["url"]["%context%"] is True
        assert data["url"]["%timefield%"] == titles[data["url"]["index"]]
        assert data["url"]["body"]["size"] == 0


def test_opensearch_has_no_kibana() -> None:
    with pytest.raises(UserError, match="take kibana out"):
        example("session-metrics", kibana={"url": "https://kibana.example.com:5601"})
