"""The specification: defaults, validation, and errors that name the field and the mend."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.errors import UserError
from webevents.spec.base import format_duration, parse_duration
from webevents.spec.load import load_pipeline, parse_pipeline
from webevents.spec.pipeline import WebEventPipeline

EXAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "examples").glob("*.yaml"))


def parse(spec: dict[str, Any]) -> WebEventPipeline:
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "test"},
        "spec": spec,
    }
    return parse_pipeline(document, "test.yaml")


def error_of(spec: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        parse(spec)
    return str(caught.value)


def test_an_empty_spec_has_the_reference_systems_names() -> None:
    spec = parse({}).spec
    topics = spec.topics
    names = [topics.raw.name, topics.enriched.name, topics.sessions.name, topics.failed.name]
    assert names == ["raw-web-events", "enriched-web-events", "web-sessions", "failed-web-events"]
    assert spec.sessions.gap == timedelta(minutes=30)
    assert spec.sessions.key == ("user_domain_id",)
    assert spec.generator is None


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_valid_and_survive_a_round_trip(path: Path) -> None:
    pipeline = load_pipeline(path)
    again = pipeline.model_dump(mode="json", by_alias=True)
    assert parse_pipeline(again, "again") == pipeline


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"sesions": {}}, "spec.sesions: no such field; did you mean sessions?"),
        ({"sess[]ions": {}}, "spec.sess[]ions: no such field; did you mean sessions?"),
        ({"float": 1, "": 2}, "spec.: no such field; known here: "),
        ({"sessions": {"gapp": "30m"}}, "spec.sessions.gapp: no such field; did you mean gap?"),
        ({"topics": {"raw": {"name": "a", "partition": 1}}}, "did you mean partitions?"),
        ({"generator": {"traffic": [{"wieght": 1}]}}, "did you mean weight?"),
        ({"sessions": {"gap": "half an hour"}}, "spec.sessions.gap: a duration is a number"),
        ({"sessions": {"gap": 30}}, "spec.sessions.gap: a duration"),
        ({"sessions": {"gap": "0s"}}, "gap must be longer than 0s"),
        ({"sessions": {"gap": "13h"}}, "not longer than maxLength"),
        ({"sessions": {"key": []}}, "key needs at least one field"),
        ({"topics": {"raw": {"name": "a b"}}}, "spec.topics.raw.name"),
        ({"topics": {"raw": {"name": "x"}, "failed": {"name": "x"}}}, "need own names"),
        ({"topics": {"raw": {"name": "web-sessions-state"}}}, "need own names"),
        ({"topics": {"raw": {"name": "r", "partitions": 8}}}, "must not be smaller"),
        ({"kafka": {"tls": {"certFile": "a"}}}, "certFile and keyFile go together"),
        ({"kafka": {"sasl": {"username": "u"}}}, "exactly one of passwordFile and passwordEnv"),
        (
            {"kafka": {"sasl": {"mechanism": "PLAIN", "username": "u", "passwordEnv": "P"}}},
            "set tls as well",
        ),
        ({"kafka": {"sasl": {"username": "u", "password": "s"}}}, "did you mean password"),
        ({"elasticsearch": {"urls": ["localhost"]}}, "spec.elasticsearch.urls"),
        ({"elasticsearch": {"engine": "solr"}}, "spec.elasticsearch.engine"),
        (
            {"elasticsearch": {"engine": "opensearch", "apiKeyEnv": "K"}},
            "OpenSearch has no API keys",
        ),
        (
            {"elasticsearch": {"engine": "opensearch"}, "index": {"lifecyclePolicy": "p"}},
            "index.lifecyclePolicy is Elasticsearch's",
        ),
        ({"index": {"events": {"fields": {}}}}, "spec.index.events.fields"),
        ({"index": {"events": {"fields": {"a": {"type": "string"}}}}}, "fields.a.type"),
        (
            {"index": {"unknownFields": "fail", "events": {"fields": {"a": {"type": "ip"}}}}},
            "unknownFields: fail has no effect",
        ),
        ({"events": {"maxBytes": 1}}, "spec.events.maxBytes"),
        ({"enrich": {"dropFields": ["user_domain_id"]}}, "which sessions.key needs"),
        ({"stages": {"enrich": {"replicas": -1}}}, "spec.stages.enrich.replicas"),
    ],
)
def test_a_fault_is_named_with_its_mend(spec: dict[str, Any], says: str) -> None:
    assert says in error_of(spec)


def test_all_faults_are_named_at_once() -> None:
    message = error_of({"sesions": {}, "events": {"maxBytes": 1}})
    assert "spec.sesions" in message
    assert "spec.events.maxBytes" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (": : :", "is not YAML"),
        ("0000-0-0 0:00:00", "is not YAML: year 0 is out of range"),
        ("", "holds 0 documents"),
        ("a: 1\n---\nb: 2\n", "holds 2 documents"),
        ("- a", "not a WebEventPipeline but a list"),
        ("kind: Pod", "kind"),
    ],
)
def test_a_file_that_is_no_pipeline(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        load_pipeline(path)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"cannot read nowhere.yaml: No such file"):
        load_pipeline("nowhere.yaml")


def test_a_status_is_let_through() -> None:
    document = parse({}).model_dump(mode="json", by_alias=True) | {"status": {"ready": True}}
    document["metadata"] |= {"uid": "1", "labels": {"a": "b"}}
    assert parse_pipeline(document, "x").name == "test"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30m", timedelta(minutes=30)),
        ("1h30m", timedelta(minutes=90)),
        ("250ms", timedelta(milliseconds=250)),
        ("1.5s", timedelta(seconds=1.5)),
        ("2d", timedelta(days=2)),
    ],
)
def test_durations(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span
    assert parse_duration(format_duration(span)) == span


@given(st.integers(0, 10**12))
def test_durations_survive_a_round_trip(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(span)) == span


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["spec", "topics", "raw", "name", "key", "gap", "x", "urls"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_no_document_crashes_the_parser(document: Any) -> None:
    try:
        parse(document if isinstance(document, dict) else {"sessions": document})
    except UserError as error:
        assert str(error)
