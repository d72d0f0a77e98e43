"""Values that contradict each other are refused with a sentence that names the mend."""

from collections.abc import Callable
from typing import Any

import pytest

Refused = Callable[..., str]
OFF: dict[str, Any] = {"create": False}
KAFKA = {"create": False, "existing": {"bootstrapServers": "k:9092"}}
ELASTICSEARCH = {"create": False, "existing": {"urls": ["http://e:9200"]}}
EXISTING = {"kafka": KAFKA, "elasticsearch": ELASTICSEARCH, "kibana": OFF}


@pytest.mark.parametrize(
    ("values", "mend"),
    [
        ({"kafka": {"existing": {"bootstrapServers": "k:1"}}}, "set kafka.create to false"),
        ({"elasticsearch": {"existing": {"urls": ["http://e:1"]}}}, "take elasticsearch.existing"),
        ({"kafka": OFF}, "set kafka.create to true, or kafka.existing.bootstrapServers"),
        ({"kafka": {"create": False, "existing": {"replicationFactor": 3}}}, "names no brokers"),
        ({"elasticsearch": OFF, "kibana": OFF}, "or pipeline.spec.index.enabled to false"),
        ({"elasticsearch": ELASTICSEARCH}, "kibana.elasticsearchSecret"),
        ({"kafka": {"brokers": {"replicas": 2}}}, "set an odd number, or kafka.controllers"),
        ({"kafka": {"controllers": {"replicas": 4}}}, "set an odd number, or 0"),
        ({"elasticsearch": {"nodes": 2}}, "set 1 or 3, or elasticsearch.masters to 3"),
        ({"elasticsearch": {"masters": 2}}, "set 3, or 0"),
        ({"connect": {"create": True}}, "set connect.image"),
        ({"pipeline": {"spec": {"store": {"enabled": True}}}}, "set postgres.existing.host"),
        ({"pipeline": {"spec": {"archive": {"enabled": True}}}}, "set s3.existing.endpoint"),
        ({"operator": {"watch": {"scope": "listed"}}}, "set operator.watch.namespaces"),
        ({"operator": {"watch": {"namespaces": ["a"]}}}, "set it to listed"),
        ({"operator": {"serviceAccount": OFF}}, "set operator.serviceAccount.name"),
    ],
)
def test_a_contradiction(refused: Refused, values: dict[str, Any], mend: str) -> None:
    assert mend in refused(**values)


def test_secrets_of_another_machine(refused: Refused) -> None:
    sasl = {"username": "me", "passwordEnv": "PASSWORD"}
    told = refused(
        **EXISTING | {"kafka": {"create": False, "existing": {"bootstrapServers": "k:1",
        "tls": {"caFile": "/etc/ca.crt"}, "sasl": sasl}}},
    )  # fmt: skip
    assert "set passwordFile to secret:NAME/KEY" in told.replace("kafka.existing.sasl.", "")
    assert "kafka.existing.tls.caFile is a file of no pod: write secret:NAME/KEY" in told


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"opertor": {}}, "opertor"),
        ({"operator": {"workers": 0}}, "operator/workers"),
        ({"operator": {"resyncInterval": "soon"}}, "resyncInterval"),
        ({"images": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"operator": {"image": {"digest": "sha256:12"}}}, "digest"),
        ({"pipeline": {"spec": {"generator": {"eventsPerSecond": "many"}}}}, "eventsPerSecond"),
        ({"pipeline": {"spec": {"sesions": {}}}}, "sesions"),
        ({"kafka": {"existing": {"bootstrapServer": "k:1"}}}, "bootstrapServer"),
        ({"dataflows": {"resources": {"enrichh": {}}}}, "enrichh"),
    ],
)
def test_the_schema(refused: Refused, values: dict[str, Any], field: str) -> None:
    told = refused(**EXISTING | values).replace(".", "/")
    assert "specifications of the schema" in told or "schema" in told
    assert field in told


def test_all_faults_are_told_at_once(refused: Refused) -> None:
    told = refused(kafka={"controllers": {"replicas": 2}}, elasticsearch={"nodes": 2})
    assert "kafka.controllers.replicas" in told
    assert "elasticsearch.nodes" in told


def test_preflight_names_every_operator_that_is_missing(refused: Refused) -> None:
    # Only a real API server has this API, by which the chart knows that there is one.
    told = refused(
        "small", apis=("apiregistration.k8s.io/v1", "elasticsearch.k8s.elastic.co/v1/Elasticsearch")
    )
    assert "kafka.create needs Strimzi 1.0 or newer" in told
    assert "kibana.create needs ECK" in told
    assert "monitoring.podMonitors needs the Prometheus operator" in told
    assert "elasticsearch.create" not in told


def test_preflight_is_content_or_switched_off(render: Callable[..., Any]) -> None:
    real = "apiregistration.k8s.io/v1"
    assert render(apis=(real,), **EXISTING)
    assert render("laptop", apis=(real,), preflight=False)
