"""The index templates, the documents and the bulk writer, on a real Elasticsearch and OpenSearch.

What only one of the two has, or has otherwise, is said at the test.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from webevents.connectors.elasticsearch import (
    Backoff,
    BulkWriter,
    SearchClient,
    Unreachable,
    connect,
    count,
    ensure_templates,
    refresh,
)
from webevents.errors import UserError
from webevents.events.fields import FIELDS, Kind
from webevents.events.times import format_time, parse_time
from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.logic.documents import Document, EventDocuments, SessionDocuments
from webevents.plan.make import make_plan
from webevents.plan.model import Template
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.pipeline import WebEventPipeline

pytestmark = pytest.mark.integration


Engine = Literal["elasticsearch", "opensearch"]


@pytest.fixture(params=["elasticsearch", "opensearch"])
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.param
    return engine


@pytest.fixture
def client(engine: Engine, request: pytest.FixtureRequest) -> Iterator[SearchClient]:
    # Only the server that is asked for is started.
    url = request.getfixturevalue(engine)
    client = connect(ElasticsearchSpec(engine=engine, urls=(url,)))
    yield client
    client.close()


only_elasticsearch = pytest.mark.parametrize("engine", ["elasticsearch"], indirect=True)
only_opensearch = pytest.mark.parametrize("engine", ["opensearch"], indirect=True)


class Lab:
    """A pipeline's templates on the server, with prefixes of the test's own."""

    def __init__(self, client: Any, engine: Engine, **index: Any) -> None:
        self.client = client
        self.engine = engine
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.events, self.sessions = f"{self.name}-e", f"{self.name}-s"
        prefixes = {"events": {"prefix": self.events}, "sessions": {"prefix": self.sessions}}
        self.pipeline = pipeline_of(
            self.name, {"shards": 1, "replicas": 0} | index | prefixes, engine
        )
        self.templates = list(make_plan(self.pipeline).templates)
        self.written = ensure_templates(client, self.templates)
        self.writer = BulkWriter(client)
        self.event = EventDocuments(self.events).build
        self.session = SessionDocuments(self.sessions).build

    def write(self, *documents: Document) -> list[tuple[int, int, str, str]]:
        """Write and refresh; returns what failed."""
        failed = self.writer.submit(documents).result(60).failed
        refresh(self.client, f"{self.name}-*")
        return [tuple(error) for error in failed]  # type: ignore[misc]

    def find(self, query: dict[str, Any], pattern: str = "*") -> list[str]:
        """The sorted ids of what a query finds."""
        return sorted(hit["_id"] for hit in self.hits(f"{self.name}-{pattern}", query=query))

    def hits(self, index: str, **body: Any) -> list[dict[str, Any]]:
        """What a search finds."""
        found = self.client.search(index=index, body={"size": 1000} | body)
        hits: list[dict[str, Any]] = found["hits"]["hits"]
        return hits

    def close(self) -> None:
        self.writer.close()
        for template in reversed(self.templates):
            if template.kind == "index":
                self.client.indices.delete_index_template(name=template.name)
            else:
                self.client.cluster.delete_component_template(name=template.name)
        names = list(self.client.indices.get(index=f"{self.name}-*"))
        if names:
            self.client.indices.delete(index=names)


def pipeline_of(name: str, index: dict[str, Any], engine: Engine) -> WebEventPipeline:
    return WebEventPipeline.model_validate(
        {
            "apiVersion": "webevents.dev/v1alpha1",
            "kind": "WebEventPipeline",
            "metadata": {"name": name},
            "spec": {"elasticsearch": {"engine": engine}, "index": index},
        }
    )


@pytest.fixture
def lab(client: SearchClient, engine: Engine) -> Iterator[Lab]:
    lab = Lab(client, engine)
    yield lab
    lab.close()


def event(event_id: str, **fields: Any) -> bytes:
    base = {
        "event_id": event_id,
        "event_timestamp": "2020-07-05 14:32:45.407110",
        "event_type": "pageview",
    }
    return json.dumps(base | fields).encode()


def session(session_id: str, version: int, **fields: Any) -> bytes:
    base = {
        "session_id": session_id,
        "version": version,
        "first_event_timestamp": "2020-07-05T14:32:45.407110Z",
    }
    return json.dumps(base | fields).encode()


def test_every_field_is_indexed_with_its_type(lab: Lab) -> None:
    samples: dict[Kind, Any] = {
        Kind.KEYWORD: "a word",
        Kind.ID: 443,
        Kind.TEXT: "Two Words",
        Kind.DATE: "2020-07-05T14:32:45Z",
        Kind.IP: "192.0.2.1",
        Kind.BOOLEAN: True,
        Kind.LONG: 3,
        Kind.DOUBLE: 2,
        Kind.GEO_POINT: "52.5,13.4",
        Kind.STRINGS: ["a", "b"],
        Kind.COUNTS: {"a": 1},
    }
    raw = json.dumps({field.name: samples[field.kind] for field in FIELDS}).encode()
    assert lab.write(lab.event(raw)) == []
    indexed = lab.find({"bool": {"filter": [{"exists": {"field": f.name}} for f in FIELDS]}})
    assert indexed == ["a word"]
    assert lab.find({"match": {"page_title": "words"}}) == ["a word"]
    assert lab.find({"term": {"page_title.keyword": "Two Words"}}) == ["a word"]
    assert lab.find({"term": {"referer_url_port": "443"}}) == ["a word"]
    assert lab.find({"term": {"ip_address": "192.0.2.0/24"}}) == ["a word"]
    assert lab.find(
        {"geo_distance": {"distance": "5km", "geo_location": {"lat": 52.5, "lon": 13.41}}}
    )


def test_daily_indices_by_event_time(lab: Lab) -> None:
    documents = [
        lab.event(event("a", event_timestamp="2020-07-05 23:59:59.999999")),
        lab.event(event("b", event_timestamp="2020-07-06T00:00:00Z")),
        lab.event(event("c", event_timestamp="2020-07-06T01:00:00+02:00")),
    ]
    assert lab.write(*documents) == []
    found = lab.hits(f"{lab.events}-*")
    assert {hit["_id"]: hit["_index"].removeprefix(f"{lab.events}-") for hit in found} == {
        "a": "2020.07.05",
        "b": "2020.07.06",
        "c": "2020.07.05",
    }
    assert count(lab.client, f"{lab.events}-*") == 3
    assert count(lab.client, f"{lab.name}-none-*") == 0


def test_the_same_id_five_times_is_one_document(lab: Lab) -> None:
    assert lab.write(*[lab.event(event("a"))] * 5) == []
    assert count(lab.client, f"{lab.events}-*") == 1


def test_ids_of_any_kind(lab: Lab) -> None:
    ids = ['quote"d', "back\\slash", "line\nbreak", "ünï/cödé?#", "x" * 512, "x" * 513, "ü" * 300]
    documents = [lab.event(event(one)) for one in ids]
    assert lab.write(*documents) == []
    assert lab.find({"match_all": {}}) == sorted(document.id for document in documents)
    assert lab.find({"term": {"event_id": "x" * 513}}) == [documents[5].id]


TIMES = [
    "2020-07-05 14:32:45",
    "2020-07-05T14:32:45",
    *("2020-07-05 14:32:45." + "123456789"[:digits] for digits in range(1, 10)),
    *("2020-07-05T14:32:45." + "123456789"[:digits] for digits in range(1, 10)),
    *(f"2020-07-05{gap}14:32:45.407110{zone}" for gap in " T" for zone in ("Z", "+02:00", "-0530")),
    *(f"2020-07-05{gap}00:32:45{zone}" for gap in " T" for zone in ("Z", "+02", "+05:45", "-1100")),
    # Python reads these, the mapping's formats do not all: they are rewritten.
    "2020-07-05T14:32:45.4071101234",
    "2020-07-05T14:32:45,407",
    "2020-07-05T14:32+05:00",
    "2020-07-05T14+05:00",
    "2020-07-05T14:32:45+05:30:15",
    "2020-W27-7T14:32:45",
    "2020-07-05T143245.123",
    *(f"2020-07-05T14:32:45{zone}" for zone in ("+17:59", "-18:00", "+23:59", "-00:00", "+02:75")),
    # The bounds.
    "1970-01-01T00:00:00Z",
    "2261-12-31T23:59:59.999999Z",
    "2024-02-29 00:00:00",
]


def test_times_are_read_as_python_reads_them(lab: Lab) -> None:
    documents = [
        lab.event(event(str(number), event_timestamp=text)) for number, text in enumerate(TIMES)
    ]
    assert lab.write(*documents) == []
    hits = lab.hits(
        f"{lab.events}-*",
        docvalue_fields=[{"field": "event_timestamp", "format": "strict_date_optional_time_nanos"}],
    )
    read = {
        int(hit["_id"]): format_time(parse_time(hit["fields"]["event_timestamp"][0]))
        for hit in hits
    }
    assert read == {n: format_time(parse_time(text)) for n, text in enumerate(TIMES)}
    days = {int(hit["_id"]): hit["_index"][-10:].replace(".", "-") for hit in hits}
    assert days == {number: text[:10] for number, text in read.items()}


def test_unknown_fields_are_kept_and_searchable(lab: Lab) -> None:
    raw = event(
        "a",
        colour="blue",
        **{"geo.city": "Berlin", "": "empty name"},
        cart={"items": [{"sku": "s1"}, {"sku": "s2"}]},
        extra={"own": 1, "colour": "red"},
    )
    deep: Any = "bottom"
    for _ in range(19):
        deep = {"d": deep}
    assert lab.write(lab.event(raw), lab.event(event("deep", deep=deep["d"]))) == []
    mapping = lab.client.indices.get_mapping(index=f"{lab.events}-*")
    (fields,) = (index["mappings"]["properties"] for index in mapping.values())
    assert set(fields) == {*(field.name for field in FIELDS), "extra"}
    for name, value in [
        ("extra.colour", "blue"),
        ("extra.colour", "red"),
        ("extra.own", "1"),
        ("extra.geo.city", "Berlin"),
        ("extra.cart.items.sku", "s2"),
    ]:
        assert lab.find({"term": {name: value}}) == ["a"], name
    assert lab.find({"term": {"extra." + ".".join(["deep", *"d" * 18]): "bottom"}}) == ["deep"]


def test_unknown_fields_do_not_grow_the_mapping(lab: Lab) -> None:
    documents = [lab.event(event(str(n), **{f"field_{n}": n})) for n in range(2000)]
    assert lab.write(*documents) == []
    assert count(lab.client, f"{lab.events}-*") == 2000
    mapping = lab.client.indices.get_mapping(index=f"{lab.events}-*")
    (fields,) = (index["mappings"]["properties"] for index in mapping.values())
    assert len(fields) == len(FIELDS) + 1


def test_long_values_are_kept_but_not_searchable(lab: Lab) -> None:
    long = {"page_url": "ü" * 40_000, "page_title": "ü" * 40_000}
    if lab.engine == "elasticsearch":
        long["unknown"] = "ü" * 40_000
    assert lab.write(lab.event(event("a", **long))) == []
    (hit,) = lab.hits(f"{lab.events}-*")
    assert len(hit["_source"]["page_url"]) == 40_000
    for field in ("page_url", "page_title.keyword"):
        assert lab.find({"exists": {"field": field}}) == []
    if lab.engine == "elasticsearch":  # OpenSearch lists malformed values only
        assert {"page_url", "page_title.keyword"} <= set(hit["_ignored"])


@only_opensearch
def test_a_long_unknown_value_fails_its_event_alone_on_opensearch(lab: Lab) -> None:
    """Its flat_object has no limit of length, so Lucene's holds (docs/indices.md)."""
    events = [event("fits", other="x" * 30_000), event("long", other="secret" * 6_000)]
    ((place, status, _, reason),) = lab.write(*map(lab.event, events))
    assert (place, status) == (1, 400)
    assert "field extra" in reason
    assert "secret" not in reason
    assert lab.find({"term": {"extra.other": "x" * 30_000}}) == ["fits"]


def test_an_address_that_is_none_is_found_by_its_keyword(lab: Lab) -> None:
    addresses = {"v4": "192.0.2.1", "v6": "2001:db8::1", "masked": "192.0.2.x", "hash": "5f4dcc3b"}
    assert lab.write(*(lab.event(event(i, ip_address=a)) for i, a in addresses.items())) == []
    assert lab.find({"term": {"ip_address.keyword": "192.0.2.x"}}) == ["masked"]
    assert lab.find({"term": {"ip_address": "2001:db8::/32"}}) == ["v6"]
    assert lab.find({"term": {"_ignored": "ip_address"}}) == ["hash", "masked"]


def test_a_refused_document_is_reported_and_the_rest_is_written(lab: Lab) -> None:
    secret = "Jane Doe"
    bad: list[Document] = []
    for number, fields in enumerate(
        [
            {"geo_location": secret},
            {"event_timestamp": secret},
            {"price": secret},
            {"quantity": 1.5},
            {"quantity": 10**30},
            {secret: 1},
            {"is_bot": secret},
            {"extra": secret},
        ]
    ):
        body = event(f"bad{number}", **fields)
        bad.append(Document(f"{lab.events}-2020.07.05", f"bad{number}", body))
    good = [lab.event(event(f"good{number}")) for number in range(len(bad))]
    mixed = [document for pair in zip(good, bad, strict=True) for document in pair]
    failed = lab.write(*mixed)
    assert [position for position, *_ in failed] == list(range(1, len(mixed), 2))
    assert {status for _, status, _, _ in failed} == {400}
    reasons = [reason for *_, reason in failed]
    for reason, named in zip(
        reasons,
        [
            "field geo_location of type geo_point",
            "field event_timestamp of type date_nanos",
            "field price of type double",
            "field quantity of type long",
            "field quantity of type long",
            f"field ({len(secret)} characters)",  # no plain name, so it may be anything
            "field is_bot of type boolean",
            "field extra",
        ],
        strict=True,
    ):
        assert named in reason
    assert not any(secret in reason for reason in reasons)
    assert count(lab.client, f"{lab.events}-*") == len(good)
    assert lab.writer.outage is None


def test_text_that_is_no_text_fails_alone(lab: Lab) -> None:
    """What the documents' builder would have caught: the writer still counts right."""
    index = f"{lab.events}-2020.07.05"
    bodies = [
        event("ok"),
        b'{"event_id":',
        event("dup")[:-1] + b',"event_id":"dup"}',
        b"\xff",
        b"[]",
        event("surrogate")[:-1] + b',"extra":{"a":"\\ud800"}}',
    ]
    failed = lab.write(*(Document(index, str(n), body) for n, body in enumerate(bodies)))
    assert {1, 2, 3, 4} <= {position for position, *_ in failed}
    assert "ok" in {hit["_source"]["event_id"] for hit in lab.hits(index)}


def test_the_highest_version_of_a_session_holds(lab: Lab) -> None:
    for version in (3, 5, 4, 5):
        assert lab.write(lab.session(session("a", version, total_events=version))) == []
    found = lab.hits(f"{lab.sessions}-*", version=True)
    assert [(hit["_id"], hit["_version"], hit["_source"]["total_events"]) for hit in found] == [
        ("a", 5, 5)
    ]


def test_a_retraction_deletes_and_stays(lab: Lab) -> None:
    gone = session("a", 7, retracted=True)
    assert lab.write(lab.session(session("a", 6)), lab.session(session("b", 6))) == []
    assert lab.write(lab.session(gone)) == []
    assert lab.find({"match_all": {}}) == ["b"]
    assert lab.write(lab.session(session("a", 6)), lab.session(gone)) == []
    assert lab.find({"match_all": {}}) == ["b"]
    # A session that was never seen, in an index that is not there.
    other = session("c", 2, retracted=True, first_event_timestamp="2021-01-01T00:00:00Z")
    assert lab.write(lab.session(other)) == []
    assert lab.write(lab.session(session("a", 8))) == []
    assert lab.find({"match_all": {}}) == ["a", "b"]


def test_ensure_templates_writes_only_what_differs(lab: Lab) -> None:
    assert lab.written == [template.name for template in lab.templates]
    assert ensure_templates(lab.client, lab.templates) == []
    changed = pipeline_of(
        lab.name,
        lab.pipeline.spec.index.model_dump(by_alias=True, mode="json") | {"refreshInterval": "2s"},
        lab.engine,
    )
    templates = make_plan(changed).templates
    assert ensure_templates(lab.client, templates) == [f"webevents-{lab.name}-settings"]
    assert ensure_templates(lab.client, templates) == []
    # Deleted by hand, or changed by hand: restored.
    lab.client.indices.delete_index_template(name=f"webevents-{lab.name}-events")
    stored = lab.client.cluster.get_component_template(name=f"webevents-{lab.name}-sessions")
    body = dict(stored["component_templates"][0]["component_template"]["template"])
    body["mappings"] = {"dynamic": True}
    lab.client.cluster.put_component_template(
        name=f"webevents-{lab.name}-sessions", body={"template": body}
    )
    restored = [f"webevents-{lab.name}-sessions", f"webevents-{lab.name}-events"]
    assert ensure_templates(lab.client, templates) == restored
    assert ensure_templates(lab.client, templates) == []


def test_new_fields_reach_todays_index(lab: Lab) -> None:
    assert lab.write(lab.event(event("a"))) == []
    name = f"webevents-{lab.name}-events"
    grown: list[Template] = []
    for template in lab.templates:
        if template.kind == "component" and template.name == name:
            body = json.loads(json.dumps(template.body))
            body["template"]["mappings"]["properties"]["brand_new"] = {"type": "keyword"}
            template = Template(template.kind, template.name, body)
        grown.append(template)
    document = Document(f"{lab.events}-2020.07.05", "b", event("b", brand_new="x"))
    assert [status for _, status, _, _ in lab.write(document)] == [400]
    assert ensure_templates(lab.client, grown) == [name]
    assert lab.write(document) == []
    assert lab.find({"term": {"brand_new": "x"}}) == ["b"]


def test_overlapping_prefixes_take_the_longer_ones_template(lab: Lab) -> None:
    inner = pipeline_of(
        f"{lab.name}-in",
        {
            "shards": 2,
            "replicas": 0,
            "events": {"prefix": f"{lab.events}-in"},
            "sessions": {"prefix": f"{lab.sessions}-in"},
        },
        lab.engine,
    )
    templates = make_plan(inner).templates
    ensure_templates(lab.client, templates)
    lab.templates += templates
    index = f"{lab.events}-in-2020.07.05"
    assert lab.write(Document(index, "a", event("a")), lab.event(event("b"))) == []
    settings = lab.client.indices.get_settings(index=f"{lab.events}-*")
    shards = {
        name: found["settings"]["index"]["number_of_shards"] for name, found in settings.items()
    }
    assert shards == {index: "2", f"{lab.events}-2020.07.05": "1"}


@only_elasticsearch
def test_a_users_own_component_is_taken_in(client: Any, engine: Engine) -> None:
    lab = Lab(client, engine)
    custom = f"webevents-{lab.name}@custom"
    client.cluster.put_component_template(
        name=custom, template={"settings": {"index": {"refresh_interval": "7s"}}}
    )
    try:
        assert lab.write(lab.event(event("a"))) == []
        found = client.indices.get_settings(index=f"{lab.events}-*")
        assert [f["settings"]["index"]["refresh_interval"] for f in found.values()] == ["7s"]
    finally:
        lab.close()
        client.cluster.delete_component_template(name=custom)


@only_elasticsearch
def test_a_policy_that_the_cluster_cannot_have_is_explained(
    client: SearchClient, engine: Engine
) -> None:
    pipeline = pipeline_of("lifecycle", {"lifecyclePolicy": "mine"}, engine)
    with pytest.raises(UserError, match=r"index\.lifecycle\.name"):
        ensure_templates(client, make_plan(pipeline).templates)


def test_no_server_is_explained() -> None:
    client = connect(ElasticsearchSpec(urls=("http://127.0.0.1:9",)))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 does not answer"):
        count(client, "web-events-*")


@pytest.mark.parametrize("compression", [False, True])
def test_many_documents_in_small_requests(lab: Lab, compression: bool) -> None:
    writer = BulkWriter(
        lab.client, max_in_flight=3, max_bytes=20_000, max_documents=90, compression=compression
    )
    handles = [
        writer.submit([lab.event(event(f"{n}-{m}", page_url="u" * (m % 300))) for m in range(200)])
        for n in range(10)
    ]
    assert [handle.result(60).accepted for handle in handles] == [200] * 10
    writer.close(cancel=False)
    refresh(lab.client, f"{lab.events}-*")
    assert count(lab.client, f"{lab.events}-*") == 2000


def test_a_server_that_is_away_for_a_while(
    elasticsearch_server: Callable[..., EmbeddedElasticsearch], tmp_path: Path
) -> None:
    """Killed in the middle of writing, and back later: nothing lost, nothing failed."""
    server = elasticsearch_server(data_dir=tmp_path / "es", heap_mb=400)
    client = connect(ElasticsearchSpec(urls=(server.url,)))
    lab = Lab(client, "elasticsearch")
    writer = BulkWriter(client, backoff=Backoff(cap_s=1))
    chunks = [[lab.event(event(f"{n}-{m}")) for m in range(200)] for n in range(60)]
    handles = []
    for number, chunk in enumerate(chunks):
        handles.append(writer.submit(chunk))
        if number == 20:
            handles[5].result(30)
            server.kill()
    deadline = time.monotonic() + 30
    while writer.outage is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert writer.outage is not None
    assert not handles[-1].done()
    server.start()
    results = [handle.result(60) for handle in handles]
    assert {(result.accepted, len(result.failed)) for result in results} == {(200, 0)}
    refresh(client, f"{lab.events}-*")
    assert count(client, f"{lab.events}-*") == 60 * 200
    writer.close(cancel=False)
    assert writer.outage is None
