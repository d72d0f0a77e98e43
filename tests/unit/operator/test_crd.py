"""The CustomResourceDefinition: generated, structural, and the same as the committed file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webevents.spec.reference import schema as json_schema
from webevents_operator.crd.backfill import rendered_backfill
from webevents_operator.crd.definition import definition, rendered
from webevents_operator.crd.schema import structural

ROOT = Path(__file__).resolve().parents[3]


def _schema() -> dict[str, Any]:
    made: dict[str, Any] = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return made


def _nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from _nodes(inner, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if key in node:
            yield from _nodes(node[key], path + mark)


def test_the_committed_file_is_the_generated_one() -> None:
    file = ROOT / "manifests/crd/webeventpipelines.yaml"
    assert file.read_text(encoding="utf-8") == rendered(), "run scripts/make-crd"
    file = ROOT / "manifests/crd/webeventbackfills.yaml"
    assert file.read_text(encoding="utf-8") == rendered_backfill(), "run scripts/make-crd"


def test_the_package_of_the_operator_does_not_shadow_the_standard_library() -> None:
    # operator/__init__.py would take the place of the module operator wherever the root is on
    # the path.
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_every_field_is_described() -> None:
    fields = {path: node for path, node in _nodes(_schema()) if path.startswith(".spec")}
    assert len(fields) > 150
    bare = [
        path
        for path, node in fields.items()
        if not node.get("description") and not path.endswith(("[]", ".*"))
    ]
    assert bare == []


def test_every_node_has_one_type_and_no_reference() -> None:
    for path, node in _nodes(_schema()):
        assert isinstance(node.get("type"), str), path
        assert not {"$ref", "anyOf", "title", "const"} & node.keys(), path
        assert not ("properties" in node and "additionalProperties" in node), path


def test_durations_default_to_what_people_write() -> None:
    spec = _schema()["properties"]["spec"]["properties"]
    assert spec["sessions"]["properties"]["gap"]["default"] == "30m"
    stages = spec["stages"]["properties"]
    intervals = {
        name: stage["properties"]["commitInterval"]["default"] for name, stage in stages.items()
    }
    assert intervals == {
        "capture": "200ms", "enrich": "200ms", "sessionize": "1s", "analyze": "1s",
        "index": "500ms", "store": "500ms", "detect": "1s",
    }  # fmt: skip


def test_a_bound_that_is_exclusive_is_written_as_openapi_3_0_does() -> None:
    spec = _schema()["properties"]["spec"]["properties"]
    speed = spec["generator"]["properties"]["time"]["properties"]["speed"]
    assert (speed["minimum"], speed["exclusiveMinimum"]) == (0, True)


def test_a_node_of_two_types_is_refused() -> None:
    with pytest.raises(ValueError, match="one type"):
        structural({}, {"anyOf": [{"type": "string"}, {"type": "integer"}]})


def test_an_optional_section_is_absent_by_default() -> None:
    spec = _schema()["properties"]["spec"]
    assert "generator" not in spec["default"]
    assert "default" not in spec["properties"]["generator"]
    assert "tls" not in spec["default"]["kafka"]


def test_no_default_is_null() -> None:
    # The API server refuses a definition with one.
    assert "null" not in json.dumps([node.get("default", {}) for _, node in _nodes(_schema())])


def test_known_names_of_a_map_are_written_out() -> None:
    resources = _schema()["properties"]["spec"]["properties"]["pods"]["properties"]["resources"]
    assert "enrich" in resources["properties"]
    assert resources["properties"]["enrich"]["properties"].keys() == {"requests", "limits"}


def test_the_json_schema_still_has_what_the_rules_speak_of() -> None:
    # add_rules raises where a rule's place is gone; this makes sure that it was asked.
    rules = [path for path, node in _nodes(_schema()) if "x-kubernetes-validations" in node]
    assert ".spec.topics.raw.partitions" in rules
    assert "PipelineSpec" in json_schema()["$defs"]
