"""Topics and templates on a real Kafka and a real Elasticsearch, and what deletion leaves."""

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from elasticsearch import Elasticsearch
from kube import Kube, OperatorProcess, condition, eventually, own_labels, pipeline

from webevents_operator import kinds, names
from webevents_operator.kinds import Object

StartOperator = Callable[..., OperatorProcess]
Create = Callable[..., str]


@pytest.fixture
def admin(kafka: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka})


@pytest.fixture
def client(elasticsearch: str) -> Iterator[Elasticsearch]:
    with Elasticsearch(elasticsearch) as made:
        yield made


@pytest.fixture
def prefix() -> str:
    return f"x{uuid.uuid4().hex[:8]}"


@pytest.fixture
def create(kube: Kube, namespace: str, kafka: str, elasticsearch: str, prefix: str) -> Create:
    """Create the pipeline ``shop`` with names of its own."""

    def make(name: str = "shop", **spec: Any) -> str:
        topics: dict[str, Any] = {
            which: {"name": f"{prefix}-{which}"}
            for which in ("raw", "enriched", "sessions", "failed")
        }
        for which, more in spec.pop("topics", {}).items():
            topics[which] |= more
        index = {
            "events": {"prefix": f"{prefix}-events"},
            "sessions": {"prefix": f"{prefix}-sessions"},
        }
        full = {
            "kafka": {"bootstrapServers": kafka},
            "elasticsearch": {"urls": [elasticsearch]},
            "index": index,
            "topics": topics,
        }
        kube.create(pipeline(namespace, name, full | spec))
        return name

    return make


def _partitions(admin: AdminClient, topic: str) -> int:
    found = admin.list_topics(timeout=60).topics.get(topic)
    return len(found.partitions) if found else 0


def _retention(admin: AdminClient, topic: str) -> str:
    asked = ConfigResource(ResourceType.TOPIC, topic)
    entries = admin.describe_configs([asked])[asked].result(timeout=60)
    return str(entries["retention.ms"].value)


def _ready(kube: Kube, namespace: str, kind: str = "Ready") -> Object:
    return condition(kube.must_get(kinds.PIPELINE, namespace, "shop"), kind)


def test_topics_follow_the_resource(
    kube: Kube, namespace: str, start_operator: StartOperator, create: Create,
    admin: AdminClient, prefix: str,
) -> None:  # fmt: skip
    operator = start_operator()
    create(topics={"raw": {"partitions": 2, "retention": "1d"}})
    eventually(lambda: _ready(kube, namespace, "TopicsReady").get("status"), lambda s: s == "True")
    assert _partitions(admin, f"{prefix}-raw") == 2
    assert _partitions(admin, f"{prefix}-sessions-state") == 4
    assert _retention(admin, f"{prefix}-raw") == "86400000"

    change: Object = {"raw": {"retention": "2d"}, "enriched": {"partitions": 6}}
    kube.merge(kinds.PIPELINE, namespace, "shop", {"spec": {"topics": change}})
    eventually(lambda: _partitions(admin, f"{prefix}-enriched"), lambda count: count == 6)
    eventually(lambda: _partitions(admin, f"{prefix}-sessions-state"), lambda count: count == 6)
    eventually(lambda: _retention(admin, f"{prefix}-raw"), lambda found: found == "172800000")

    kube.merge(
        kinds.PIPELINE, namespace, "shop", {"spec": {"topics": {"raw": {"retention": None}}}}
    )
    eventually(lambda: _retention(admin, f"{prefix}-raw"), lambda found: found == "-1")

    # Deleted by hand: it comes back at the next look.
    with operator.within(60):
        for future in admin.delete_topics([f"{prefix}-failed"]).values():
            future.result(timeout=60)
        eventually(lambda: _partitions(admin, f"{prefix}-failed"), lambda count: count == 1)


def test_a_topic_with_more_partitions_stays_and_its_state_has_as_many(
    kube: Kube, namespace: str, start_operator: StartOperator, create: Create,
    admin: AdminClient, prefix: str,
) -> None:  # fmt: skip
    from confluent_kafka.admin import NewTopic

    for future in admin.create_topics([NewTopic(f"{prefix}-enriched", 7, 1)]).values():
        future.result(timeout=60)
    start_operator()
    create()
    told = eventually(
        lambda: _ready(kube, namespace, "TopicsReady"), lambda c: c.get("status") == "True"
    )
    assert told["reason"] == "PartitionsCannotShrink"
    assert "has 7 partitions, more than 4" in told["message"]
    assert _partitions(admin, f"{prefix}-sessions-state") == 7


def test_templates_come_back(
    kube: Kube, namespace: str, start_operator: StartOperator, create: Create,
    client: Elasticsearch,
) -> None:  # fmt: skip
    operator = start_operator()
    create()
    name = "webevents-shop-events"
    eventually(lambda: client.indices.exists_index_template(name=name).body)
    eventually(
        lambda: _ready(kube, namespace, "TemplatesReady").get("status"), lambda s: s == "True"
    )
    kube.merge(kinds.PIPELINE, namespace, "shop", {"spec": {"index": {"shards": 3}}})

    def shards() -> str:
        found = client.cluster.get_component_template(name="webevents-shop-settings")
        template = found["component_templates"][0]["component_template"]["template"]
        return str(template["settings"]["index"]["number_of_shards"])

    eventually(shards, lambda count: count == "3")
    with operator.within(60):
        client.indices.delete_index_template(name=name)
        eventually(lambda: client.indices.exists_index_template(name=name).body)


def test_index_waits_for_its_templates_and_the_others_do_not(
    kube: Kube, namespace: str, start_operator: StartOperator, create: Create
) -> None:
    start_operator()
    create(elasticsearch={"urls": ["http://127.0.0.1:9"]})
    told = eventually(
        lambda: _ready(kube, namespace, "TemplatesReady"),
        lambda c: c.get("reason") == "ElasticsearchUnavailable",
    )
    assert "does not answer: start it, or correct spec.elasticsearch.urls" in told["message"]
    eventually(
        lambda: {s["metadata"]["name"] for s in kube.list(kinds.STATEFUL_SET, namespace)},
        lambda found: found == {"shop-enrich", "shop-sessionize"},
    )
    assert _ready(kube, namespace)["reason"] == "ElasticsearchUnavailable"


def test_delete_removes_what_the_policy_says(
    kube: Kube, namespace: str, start_operator: StartOperator, create: Create,
    admin: AdminClient, client: Elasticsearch, prefix: str,
) -> None:  # fmt: skip
    start_operator()
    create(deletionPolicy={"topics": "Delete", "indices": "Delete"})
    eventually(
        lambda: _ready(kube, namespace, "TemplatesReady").get("status"), lambda s: s == "True"
    )
    eventually(lambda: len(kube.list(kinds.STATEFUL_SET, namespace)) == 3)
    made = kube.must_get(kinds.PIPELINE, namespace, "shop")
    assert made["metadata"]["finalizers"] == [names.FINALIZER]
    document = {"event_id": "1", "event_timestamp": "2026-01-01T00:00:00Z", "event_type": "a"}
    client.index(index=f"{prefix}-events-2026.01.01", document=document, refresh=True)
    # Others', of similar names.
    others = [f"{prefix}-events-more-2026.01.01", f"{prefix}x-events-2026.01.01"]
    for index in others:
        client.options(ignore_status=400).indices.create(index=index)
    kube.delete(kinds.PIPELINE, namespace, "shop")
    eventually(lambda: kube.get(kinds.PIPELINE, namespace, "shop") is None)
    left = [topic for topic in admin.list_topics(timeout=60).topics if topic.startswith(prefix)]
    assert left == []
    assert sorted(client.indices.get(index=f"{prefix}*")) == others
    assert not client.indices.exists_index_template(name="webevents-shop-events")
    eventually(lambda: kube.list(kinds.STATEFUL_SET, namespace) == [])


def test_what_belongs_to_an_older_pipeline_is_not_removed(
    kube: Kube, namespace: str, start_operator: StartOperator, create: Create,
    admin: AdminClient, prefix: str,
) -> None:  # fmt: skip
    start_operator()
    create(index={"enabled": False})
    eventually(lambda: len(kube.list(kinds.STATEFUL_SET, namespace)) == 2)
    time.sleep(1.1)  # creation times are in seconds
    create("younger", index={"enabled": False}, deletionPolicy={"topics": "Delete"})
    metadata = {"finalizers": [names.FINALIZER]}  # as from a time before it was in conflict
    kube.merge(kinds.PIPELINE, namespace, "younger", {"metadata": metadata})
    kube.delete(kinds.PIPELINE, namespace, "younger")
    eventually(lambda: kube.get(kinds.PIPELINE, namespace, "younger") is None)
    assert _partitions(admin, f"{prefix}-raw") == 4


def test_what_cannot_be_cleaned_up_says_why_and_can_be_let_go(
    kube: Kube, namespace: str, start_operator: StartOperator, create: Create
) -> None:
    start_operator()
    create(
        kafka={"bootstrapServers": "127.0.0.1:9"},
        index={"enabled": False},
        deletionPolicy={"topics": "Delete"},
    )
    eventually(
        lambda: kube.must_get(kinds.PIPELINE, namespace, "shop")["metadata"].get("finalizers")
    )
    kube.delete(kinds.PIPELINE, namespace, "shop")
    told = eventually(lambda: _ready(kube, namespace), lambda c: c.get("reason") == "Deleting")
    assert "set spec.deletionPolicy to Retain" in told["message"]
    policy = {"spec": {"deletionPolicy": {"topics": "Retain"}}}
    kube.merge(kinds.PIPELINE, namespace, "shop", policy)
    eventually(lambda: kube.get(kinds.PIPELINE, namespace, "shop") is None)


def test_a_secret_that_is_rotated_rolls_only_who_uses_it(
    kube: Kube, namespace: str, start_operator: StartOperator, create: Create
) -> None:
    operator = start_operator()
    privacy = {"hashFields": ["user_id"], "hashKeyFile": "secret:hashing/key"}
    create(index={"enabled": False}, enrich={"privacy": privacy})
    told = eventually(lambda: _ready(kube, namespace), lambda c: c.get("reason") == "SecretMissing")
    assert f"There is no Secret {namespace}/hashing" in told["message"]
    secret = kinds.SECRET.of("hashing", namespace, stringData={"other": "x"})
    kube.create(secret)
    eventually(lambda: _ready(kube, namespace), lambda c: "no key key" in c.get("message", ""))
    kube.merge(kinds.SECRET, namespace, "hashing", {"stringData": {"key": "k" * 20}})
    eventually(lambda: len(kube.list(kinds.STATEFUL_SET, namespace)) == 2)

    def templates() -> dict[str, Object]:
        found = kube.list(kinds.STATEFUL_SET, namespace, **own_labels("shop"))
        return {each["metadata"]["name"]: each["spec"]["template"] for each in found}

    before = templates()
    (volume,) = [each for each in before["shop-enrich"]["spec"]["volumes"] if "secret" in each]
    assert volume["secret"]["secretName"] == "hashing"
    with operator.within(60):
        kube.merge(kinds.SECRET, namespace, "hashing", {"stringData": {"key": "n" * 20}})
        eventually(templates, lambda now: now["shop-enrich"] != before["shop-enrich"])
    assert templates()["shop-sessionize"] == before["shop-sessionize"]
