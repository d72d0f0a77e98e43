"""The index templates, and the parts of the specification that they come from."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from webevents.events.analytics import JOURNEY_FIELDS, KINDS
from webevents.events.fields import FIELDS, Kind
from webevents.events.session import SESSION_FIELDS
from webevents.logic.documents import EXTRA as DOCUMENT_EXTRA
from webevents.plan.make import make_plan
from webevents.plan.model import Template
from webevents.plan.templates import (
    EXTRA,
    IGNORE_ABOVE,
    component_templates,
    index_templates,
    mappings,
)
from webevents.spec.elasticsearch import ElasticsearchSpec, IndexSpec
from webevents.spec.pipeline import WebEventPipeline


def pipeline(name: str = "shop", **spec: Any) -> WebEventPipeline:
    return WebEventPipeline.model_validate(
        {
            "apiVersion": "webevents.dev/v1alpha1",
            "kind": "WebEventPipeline",
            "metadata": {"name": name},
            "spec": spec,
        }
    )


def by_name(templates: list[Template]) -> dict[str, Any]:
    return {template.name: json.loads(json.dumps(template.body)) for template in templates}


def test_names_patterns_and_parts() -> None:
    components = by_name(component_templates(pipeline()))
    indices = by_name(index_templates(pipeline()))
    assert list(components) == [
        "webevents-shop-settings",
        "webevents-shop-events",
        "webevents-shop-sessions",
        "webevents-shop-failed",
        "webevents-shop-samples",
    ]
    assert {n: b["index_patterns"] for n, b in indices.items()} == {
        "webevents-shop-events": ["web-events-*"],
        "webevents-shop-sessions": ["web-sessions-*"],
        "webevents-shop-failed": ["failed-shop-*"],
        "webevents-shop-samples": ["stages-shop-*"],
    }
    for name, body in indices.items():
        *own, custom = body["composed_of"]
        assert own == ["webevents-shop-settings", name]
        assert set(own) <= set(components)
        assert body["ignore_missing_component_templates"] == [custom] == ["webevents-shop@custom"]
        assert body["_meta"]["managed_by"] == "webevents"


def test_without_sessions() -> None:
    none = {"failed": {"enabled": False}, "samples": {"enabled": False}}
    without = pipeline(sessions={"enabled": False}, index=none)
    assert [t.name for t in component_templates(without)] == [
        "webevents-shop-settings",
        "webevents-shop-events",
    ]
    assert [t.name for t in index_templates(without)] == ["webevents-shop-events"]


def test_each_kind_of_analytics_has_an_index_of_its_own() -> None:
    made = by_name(index_templates(pipeline(analytics={"enabled": True})))
    kinds = [name for name in made if name.removeprefix("webevents-shop-") in KINDS]
    assert [made[name]["index_patterns"] for name in kinds] == [
        [f"web-analytics-{kind}-*"] for kind in KINDS
    ]
    settings = by_name(component_templates(pipeline(analytics={"enabled": True})))
    for name in kinds:
        assert name in made[name]["composed_of"]
        assert settings[name]["template"]["settings"]["index"]["gc_deletes"] == "1h"
    fewer = {"enabled": True, "funnels": [], "retention": {"enabled": False}}
    assert {t.name for t in index_templates(pipeline(analytics=fewer))} == {
        "webevents-shop-events",
        "webevents-shop-sessions",
        "webevents-shop-transitions",
        "webevents-shop-attribution",
        "webevents-shop-failed",
        "webevents-shop-samples",
    }


def test_a_longer_prefix_comes_first() -> None:
    def priority(prefix: str) -> int:
        made = index_templates(pipeline(index={"events": {"prefix": prefix}}))
        found: int = made[0].body["priority"]
        return found

    assert priority("web-events-eu") > priority("web-events") > 200


def test_every_field_has_a_strict_mapping() -> None:
    components = by_name(component_templates(pipeline()))
    events = components["webevents-shop-events"]["template"]["mappings"]
    sessions = components["webevents-shop-sessions"]["template"]["mappings"]
    assert events["dynamic"] == sessions["dynamic"] == "strict"
    assert set(events["properties"]) == {*(f.name for f in FIELDS), EXTRA}
    assert set(sessions["properties"]) == {f.name for f in SESSION_FIELDS}
    assert events["properties"][EXTRA]["type"] == "flattened"
    assert EXTRA == DOCUMENT_EXTRA
    assert EXTRA not in {field.name for field in FIELDS}
    expected = {
        Kind.KEYWORD: "keyword",
        Kind.ID: "keyword",
        Kind.TEXT: "text",
        Kind.DATE: "date_nanos",
        Kind.IP: "ip",
        Kind.BOOLEAN: "boolean",
        Kind.LONG: "long",
        Kind.DOUBLE: "double",
        Kind.GEO_POINT: "geo_point",
        Kind.STRINGS: "keyword",
        Kind.COUNTS: "flattened",
        Kind.STORED: "object",
    }
    assert set(expected) == set(Kind)
    more = by_name(component_templates(pipeline(analytics={"enabled": True})))
    kinds = [
        (fields, more[f"webevents-shop-{kind}"]["template"]["mappings"])
        for kind, fields in KINDS.items()
    ]
    assert all(made["dynamic"] == "strict" for _, made in kinds)
    with_journey = more["webevents-shop-sessions"]["template"]["mappings"]
    assert set(with_journey["properties"]) == {
        field.name for field in (*SESSION_FIELDS, *JOURNEY_FIELDS)
    }
    for table, made in (
        (FIELDS, events),
        (SESSION_FIELDS, sessions),
        (JOURNEY_FIELDS, with_journey),
        *kinds,
    ):
        for field in table:
            assert made["properties"][field.name]["type"] == expected[field.kind]


def test_no_keyword_can_exceed_lucenes_limit() -> None:
    def keywords(node: Any) -> list[Any]:
        if not isinstance(node, dict):
            return []
        own = [node] if node.get("type") in ("keyword", "flattened") else []
        return own + [found for child in node.values() for found in keywords(child)]

    found = keywords(mappings([*FIELDS, *SESSION_FIELDS]))
    assert len(found) > 50
    assert all(node["ignore_above"] * 4 <= 32_766 for node in found)
    assert IGNORE_ABOVE * 4 <= 32_766


def test_only_the_events_time_is_a_date() -> None:
    """The documents' builder sees to this one's form; another date would need the same."""
    assert [field.name for field in FIELDS if field.kind is Kind.DATE] == ["event_timestamp"]


def test_mappings_do_not_share_what_a_caller_changes() -> None:
    mappings(FIELDS)["properties"]["x"] = 1
    assert "x" not in mappings(FIELDS)["properties"]


def test_settings() -> None:
    def settings(**index: Any) -> Any:
        made = by_name(component_templates(pipeline(index=index)))
        return made["webevents-shop-settings"]["template"]["settings"]["index"]

    assert settings() == {
        "number_of_shards": 1,
        "auto_expand_replicas": "0-1",
        "refresh_interval": "1000ms",
    }
    assert settings(shards=3, replicas=2, refreshInterval="1m", lifecyclePolicy="keep-90d") == {
        "number_of_shards": 3,
        "number_of_replicas": 2,
        "refresh_interval": "60000ms",
        "lifecycle": {"name": "keep-90d"},
    }


def test_index_defaults() -> None:
    spec = IndexSpec()
    assert (spec.events.prefix, spec.sessions.prefix) == ("web-events", "web-sessions")
    assert (spec.bulk.max_bytes, spec.bulk.in_flight) == (5_000_000, 2)
    assert spec.unknown_fields == "keep"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"events": {"prefix": "Web"}}, "pattern"),
        ({"events": {"prefix": "-web"}}, "pattern"),
        ({"events": {"prefix": "a*"}}, "pattern"),
        ({"events": {"prefix": "web"}, "sessions": {"prefix": "web"}}, "must differ"),
        ({"events": {"prefix": "web"}}, "must differ"),  # web-* matches web-sessions-…
        ({"sessions": {"prefix": "web"}}, "must differ"),
        ({"unknownFields": "drop"}, "keep"),
        ({"refreshInterval": "10ms"}, "refreshInterval"),
        ({"bulk": {"maxBytes": 100_000_000}}, "90000000"),
        ({"bulk": {"size": 1}}, "not permitted"),
        ({"replica": 1}, "not permitted"),
    ],
)
def test_index_settings_that_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        IndexSpec.model_validate(given)


URL = "https://es.example.org:9200"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"urls": [URL]},
        {"urls": [URL, "https://10.0.0.1:443/path/"]},
        {"urls": [URL], "username": "u", "passwordFile": "f"},
        {"urls": [URL], "username": "u", "passwordEnv": "E"},
        {"urls": [URL], "apiKeyFile": "f"},
        {"urls": [URL], "apiKeyEnv": "E", "tls": {"caFile": "ca"}},
        {"urls": [URL], "tls": {"certFile": "c", "keyFile": "k"}},
    ],
)
def test_connections(given: dict[str, Any]) -> None:
    spec = ElasticsearchSpec.model_validate(given)
    assert ElasticsearchSpec.model_validate(spec.model_dump(by_alias=True, mode="json")) == spec


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"urls": []}, "at least 1"),
        ({"urls": ["es:9200"]}, "no http or https URL"),
        ({"urls": ["ftp://es:9200"]}, "no http or https URL"),
        ({"urls": ["https://es"]}, "has no port"),
        ({"urls": ["https://es:x"]}, "not a URL"),
        ({"urls": ["https://es:9200/?a=b"]}, "end after the path"),
        ({"username": "u"}, "username needs"),
        ({"passwordFile": "f"}, "need username"),
        ({"username": "u", "passwordFile": "f", "passwordEnv": "E"}, "only one of passwordFile"),
        ({"apiKeyFile": "f", "apiKeyEnv": "E"}, "only one of apiKeyFile"),
        ({"apiKeyFile": "f", "username": "u", "passwordEnv": "E"}, "not both"),
        ({"password": "secret"}, "not permitted"),
        ({"urls": ["http://es:9200"], "tls": {}}, "write https"),
        ({"urls": [URL], "tls": {"certFile": "c"}}, "go together"),
        ({"urls": [URL], "tls": {"verify": False, "caFile": "c"}}, "no use"),
        ({"requestTimeout": "10ms"}, "at least 1s"),
    ],
)
def test_connections_that_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ElasticsearchSpec.model_validate(given)


def test_a_password_in_a_url_is_refused() -> None:
    with pytest.raises(ValidationError, match="holds no user or password"):
        ElasticsearchSpec.model_validate({"urls": ["https://u:secret@es:9200"]})


def test_opensearch_is_given_what_it_has() -> None:
    theirs, ours = (
        make_plan(pipeline(elasticsearch={"engine": engine})).templates
        for engine in ("elasticsearch", "opensearch")
    )
    before, after = (json.dumps([each.body for each in made]) for made in (theirs, ours))
    for foreign in ("flattened", "depth_limit", "@custom", "ignore_missing_component_templates"):
        assert foreign in before
        assert foreign not in after
    assert after.count('{"type": "flat_object"}') == 2  # extra, and a session's event_type_counts
    assert [(each.kind, each.name) for each in ours] == [(each.kind, each.name) for each in theirs]


def test_documents_with_fields_of_a_persons_choice_have_no_others() -> None:
    fields = {
        "timestamp": {"type": "date", "field": "event_timestamp"},
        "price": {"type": "float"},
        "user_agent": {"type": "text", "field": "browser_user_agent"},
    }
    made = pipeline(index={"events": {"fields": fields}})
    (mapping,) = (
        template.body["template"]["mappings"]
        for template in make_plan(made).templates
        if (template.kind, template.name) == ("component", "webevents-shop-events")
    )
    assert mapping["dynamic"] == "strict"
    assert {name: field["type"] for name, field in mapping["properties"].items()} == {
        "timestamp": "date",
        "price": "float",
        "user_agent": "text",
    }
