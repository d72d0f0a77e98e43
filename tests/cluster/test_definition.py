"""What the API server makes of the definition: explained, defaulted, and bad resources refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube import Kube, eventually, pipeline
from lightkube import ApiError

from webevents.spec.pipeline import PipelineSpec
from webevents_operator import kinds
from webevents_operator.kinds import Object

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*.yaml"))

SASL = {"username": "u", "passwordFile": "secret:a/b"}
ES = {"urls": ["https://es:9200"]}


def _bad() -> dict[str, Object]:
    """Faulty specifications by what is wrong with them."""
    bad: dict[str, Any] = {
        "two collectors' kinds of scaling": {
            "collector": {"autoscaling": {}, "onOutage": "spool"}
        },
        "fewest above most": {
            "collector": {"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}
        },
        "collector on the metrics' port": {"collector": {"port": 9090}},
        "site without a key": {"collector": {"sites": [{"name": "a"}]}},
        "peer of two kinds": {
            "collector": {
                "service": {"acceptFrom": [{"network": "10.0.0.0/8", "podLabels": {"a": "b"}}]}
            }
        },
        "peer of no kind": {"collector": {"service": {"acceptFrom": [{}]}}},
        "traffic policy within the cluster": {
            "collector": {"service": {"externalTrafficPolicy": "Local"}}
        },
        "class of no load balancer": {"collector": {"service": {"loadBalancerClass": "a"}}},
        "ingress without hosts": {"collector": {"ingress": {"hosts": []}}},
        "ingress of a bad host": {"collector": {"ingress": {"hosts": ["https://a"]}}},
        "gateway without a name": {"collector": {"gateway": {"parents": [{}]}}},
        "cookie for others without TLS": {
            "collector": {"visitor": {"cookie": {"sameSite": "None", "secure": False}}}
        },
        "generator is text": {"generator": "yes"},
        "replicas below 0": {"generator": {"replicas": -1}},
        "replicas too many": {"generator": {"replicas": 1001}},
        "replicas not whole": {"generator": {"replicas": 1.5}},
        "replicas text": {"generator": {"replicas": "3"}},
        "rate below 0": {"generator": {"eventsPerSecond": -0.1}},
        "rate text": {"generator": {"eventsPerSecond": "fast"}},
        "sessions a day 0": {"generator": {"sessionsPerDay": 0}},
        "unknown profile": {"generator": {"profile": "games"}},
        "seed below 0": {"generator": {"seed": -1}},
        "no users": {"generator": {"users": 0}},
        "host with a space": {"generator": {"hosts": ["a b"]}},
        "hosts is text": {"generator": {"hosts": "a"}},
        "unknown addresses": {"generator": {"addresses": "private"}},
        "unknown clock": {"generator": {"time": {"mode": "slow"}}},
        "speed 0": {"generator": {"time": {"speed": 0}}},
        "duration without unit": {"generator": {"time": {"duration": "30"}}},
        "duration of another unit": {"generator": {"time": {"duration": "3w"}}},
        "backdated without events": {
            "generator": {"eventsPerSecond": 0, "time": {"mode": "backdated"}}
        },
        "share above 1": {"generator": {"faults": {"late": 1.1}}},
        "share below 0": {"generator": {"faults": {"bots": -0.1}}},
        "shares above 1 together": {"generator": {"faults": {"late": 0.6, "corrupt": 0.5}}},
        "unknown corruption": {"generator": {"faults": {"corruptKinds": ["fire"]}}},
        "negative weight": {"generator": {"campaigns": {"a": -1}}},
        "weight is text": {"generator": {"platforms": {"iOS": "much"}}},
        "page weights are a list": {"generator": {"site": {"pages": {"home": []}}}},
        "source without channel": {"generator": {"traffic": [{"weight": 1}]}},
        "source without weight": {"generator": {"traffic": [{"channel": "Email"}]}},
        "referrer is no URL": {
            "generator": {"traffic": [{"channel": "a", "weight": 1, "referrer": "x"}]}
        },
        "event type without weight": {"generator": {"journeys": {"eventTypes": {"a": {}}}}},
        "unknown page kind": {
            "generator": {"journeys": {"eventTypes": {"a": {"weight": 1, "pages": ["moon"]}}}}
        },
        "no products": {"generator": {"journeys": {"products": 0}}},
        "brokers is a list": {"kafka": {"bootstrapServers": ["a:1"]}},
        "replication 0": {"kafka": {"replicationFactor": 0}},
        "replication 10": {"kafka": {"replicationFactor": 10}},
        "strimzi and brokers": {
            "kafka": {"strimzi": {"cluster": "a"}, "bootstrapServers": "b:9092"}
        },
        "strimzi and SASL": {"kafka": {"strimzi": {"cluster": "a"}, "sasl": SASL}},
        "strimzi without cluster": {"kafka": {"strimzi": {}}},
        "strimzi in capitals": {"kafka": {"strimzi": {"cluster": "A"}}},
        "client certificate without key": {"kafka": {"tls": {"certFile": "secret:a/b"}}},
        "key without client certificate": {"kafka": {"tls": {"keyFile": "secret:a/b"}}},
        "SASL without user": {"kafka": {"sasl": {"passwordFile": "secret:a/b"}}},
        "SASL without password": {"kafka": {"sasl": {"username": "u"}}},
        "SASL with two passwords": {"kafka": {"sasl": SASL | {"passwordEnv": "P"}}},
        "unknown mechanism": {"kafka": {"sasl": SASL | {"mechanism": "OAUTH"}}},
        "PLAIN without TLS": {"kafka": {"sasl": SASL | {"mechanism": "PLAIN"}}},
        "topic with a slash": {"topics": {"raw": {"name": "a/b"}}},
        "topic without a name": {"topics": {"raw": {"name": ""}}},
        "topic's name too long": {"topics": {"raw": {"name": "a" * 250}}},
        "no partitions": {"topics": {"raw": {"partitions": 0}}},
        "partitions too many": {"topics": {"raw": {"partitions": 1001}}},
        "fewer enriched than raw": {"topics": {"raw": {"partitions": 8}}},
        "two topics of one name": {"topics": {"raw": {"name": "a"}, "failed": {"name": "a"}}},
        "a topic named as the state": {
            "topics": {"raw": {"name": "s-state"}, "sessions": {"name": "s"}}
        },
        "retention without unit": {"topics": {"raw": {"retention": "7"}}},
        "retention a number": {"topics": {"raw": {"retention": 7}}},
        "message too small": {"events": {"maxBytes": 10}},
        "message too large": {"events": {"maxBytes": 20_000_000}},
        "unknown onFuture": {"events": {"onFuture": "ignore"}},
        "key is text": {"sessions": {"key": "user_id"}},
        "key empty": {"sessions": {"key": []}},
        "key twice": {"sessions": {"key": ["a", "a"]}},
        "key too long": {"sessions": {"key": [f"f{n}" for n in range(17)]}},
        "gap in words": {"sessions": {"gap": "half an hour"}},
        "gap negative": {"sessions": {"gap": "-5m"}},
        "too few events": {"sessions": {"maxEvents": 1}},
        "enabled is text": {"sessions": {"enabled": "true"}},
        "drops what the key needs": {"enrich": {"dropFields": ["user_domain_id"]}},
        "category is text": {"enrich": {"sourceCategories": {"a": "b"}}},
        "unknown mask": {"enrich": {"privacy": {"maskIp": "all"}}},
        "hash without key": {"enrich": {"privacy": {"hashFields": ["user_id"]}}},
        "hash with two keys": {
            "enrich": {"privacy": {"hashKeyFile": "secret:a/b", "hashKeyEnv": "K"}}
        },
        "referrer without medium": {"enrich": {"referrers": {"a.b": {}}}},
        "unknown medium": {"enrich": {"referrers": {"a.b": {"medium": "pigeon"}}}},
        "URL without port": {"elasticsearch": {"urls": ["https://es"]}},
        "URL with a password": {"elasticsearch": {"urls": ["https://u:p@es:9200"]}},
        "URL of another scheme": {"elasticsearch": {"urls": ["ftp://es:21"]}},
        "URLs empty": {"elasticsearch": {"urls": []}},
        "TLS without https": {"elasticsearch": {"urls": ["http://es:9200"], "tls": {}}},
        "user without password": {"elasticsearch": ES | {"username": "u"}},
        "password without user": {"elasticsearch": ES | {"passwordFile": "secret:a/b"}},
        "API key and user": {"elasticsearch": ES | SASL | {"apiKeyFile": "secret:a/b"}},
        "two API keys": {"elasticsearch": ES | {"apiKeyFile": "secret:a/b", "apiKeyEnv": "K"}},
        "authority without checking": {
            "elasticsearch": ES | {"tls": {"verify": False, "caFile": "secret:a/b"}}
        },
        "prefix in capitals": {"index": {"events": {"prefix": "Web"}}},
        "prefixes the same": {
            "index": {"events": {"prefix": "a"}, "sessions": {"prefix": "a"}}
        },
        "prefix within the other": {
            "index": {"events": {"prefix": "a"}, "sessions": {"prefix": "a-b"}}
        },
        "no shards": {"index": {"shards": 0}},
        "unknown fields ignored": {"index": {"unknownFields": "drop"}},
        "bulk too small": {"index": {"bulk": {"maxBytes": 1}}},
        "port 0": {"postgres": {"port": 0}},
        "port 70000": {"postgres": {"port": 70000}},
        "database without a name": {"postgres": {"database": ""}},
        "verify-ca without authority": {"postgres": {"tls": {"mode": "verify-ca"}}},
        "unknown table": {"store": {"tables": ["visits"]}},
        "no table": {"store": {"tables": []}},
        "table twice": {"store": {"tables": ["sessionMetrics", "sessionMetrics"]}},
        "table of sessions without sessions": {
            "store": {"enabled": True}, "sessions": {"enabled": False}
        },
        "schema with a hyphen": {"store": {"schemaName": "a-b"}},
        "bucket in capitals": {"s3": {"bucket": "Events"}},
        "bucket too short": {"s3": {"bucket": "ab"}},
        "access key without secret": {"s3": {"accessKeyFile": "secret:a/b"}},
        "unknown format": {"archive": {"format": "csv"}},
        "compression too high": {"archive": {"compressionLevel": 30}},
        "loader without archive": {"loader": {"enabled": True}},
        "chunk empty": {"stages": {"enrich": {"chunkSize": 0}}},
        "unknown workload": {"pods": {"resources": {"dance": {}}}},
        "memory in words": {"pods": {"resources": {"enrich": {"limits": {"memory": "much"}}}}},
        "unknown toleration": {"pods": {"tolerations": [{"operator": "Like"}]}},
        "unknown policy": {"deletionPolicy": {"topics": "Archive"}},
        "paused in words": {"paused": "later"},
        "OpenSearch with an API key": {
            "elasticsearch": ES | {"engine": "opensearch", "apiKeyFile": "secret:a/b"}
        },
        "OpenSearch with a policy of Elasticsearch": {
            "elasticsearch": ES | {"engine": "opensearch"}, "index": {"lifecyclePolicy": "a"}
        },
        "chosen fields and others refused": {
            "index": {"events": {"fields": {"a": {"type": "keyword"}}}, "unknownFields": "fail"}
        },
        "receiver of no kind": {"alerts": {"receivers": {"a": {}}}},
        "receiver of two kinds": {
            "alerts": {"receivers": {"a": {
                "slack": {"urlFile": "secret:a/b"}, "webhook": {"url": "https://a:1"}
            }}}
        },
        "webhook without URL": {"alerts": {"receivers": {"a": {"webhook": {}}}}},
        "pager without key": {"alerts": {"receivers": {"a": {"pagerduty": {}}}}},
        "cookie that browsers refuse": {
            "collector": {"visitor": {"cookie": {"sameSite": "None", "secure": False}}}
        },
        "visitor with two keys": {
            "collector": {"visitor": {"hashKeyFile": "secret:a/b", "hashKeyEnv": "K"}}
        },
        "misspelt field": {"generator": {"eventPerSecond": 5}},
        "misspelt section": {"session": {}},
    }  # fmt: skip
    return bad


BAD = _bad()


def test_there_are_a_hundred_of_them() -> None:
    assert len(BAD) >= 100


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_resource_is_refused(kube: Kube, fault: str) -> None:
    wanted = pipeline("default", "bad", BAD[fault])
    with pytest.raises(ApiError) as refused:
        kube.create_strictly(wanted)
    assert refused.value.status.code in (400, 422)
    # The message says where.
    section = next(iter(BAD[fault]))
    assert f"spec.{section}" in str(refused.value.status.message) or "spec" in str(
        refused.value.status.message
    )


@pytest.mark.parametrize("name", ["a.b", "a" * 53])
def test_a_name_that_pods_cannot_have_is_refused(kube: Kube, name: str) -> None:
    with pytest.raises(ApiError, match="52 characters and no dot"):
        kube.create_strictly(pipeline("default", name, {}))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_are_accepted(kube: Kube, file: Path) -> None:
    example = yaml.safe_load(file.read_text(encoding="utf-8"))
    example["metadata"]["namespace"] = "default"
    kube.create_strictly(example)


def test_defaults_are_filled_in(kube: Kube) -> None:
    spec = kube.create_strictly(pipeline("default", "plain", {}))["spec"]
    assert spec["sessions"]["gap"] == "30m"
    assert spec["stages"]["sessionize"] == {
        "replicas": 1, "commitInterval": "1s", "chunkSize": 1000,
    }  # fmt: skip
    assert spec["deletionPolicy"] == {"topics": "Retain", "indices": "Retain", "tables": "Retain"}
    assert "generator" not in spec
    partial = pipeline("default", "plain", {"stages": {"sessionize": {"replicas": 2}}})
    stage = kube.create_strictly(partial)["spec"]["stages"]["sessionize"]
    assert stage["commitInterval"] == "1s"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"topics": {"raw": {"partitions": 2}}}, "partitions only grow"),
        ({"topics": {"enriched": {"name": "other"}}}, "a topic's name stays as it is"),
        ({"sessions": {"key": ["user_id"]}}, "sessions.key stays as it is"),
    ],
)
def test_what_cannot_change_is_refused(
    kube: Kube, namespace: str, change: Object, message: str
) -> None:
    kube.create(pipeline(namespace, "shop", {"paused": True}))
    with pytest.raises(ApiError, match=message):
        kube.merge(kinds.PIPELINE, namespace, "shop", {"spec": copy.deepcopy(change)})
    kube.merge(
        kinds.PIPELINE, namespace, "shop", {"spec": {"topics": {"enriched": {"partitions": 8}}}}
    )


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("spec.sessions", "gap <string> A pause longer than this ends the session."),
        ("spec.sessions", "maxLength <string>"),
        ("spec.generator.eventsPerSecond", "FIELD: eventsPerSecond <number>"),
        ("spec.kafka.sasl.mechanism", "ENUM: SCRAM-SHA-512 SCRAM-SHA-256 PLAIN"),
        ("spec.deletionPolicy.topics", "ENUM: Retain Delete"),
        ("spec.pods.tolerations", "<[]Object>"),
        ("status.conditions", "Why, in one word of a fixed list."),
        ("status.stages", "Messages still to be read."),
    ],
)
def test_explain_reads_like_documentation(kube: Kube, field: str, told: str) -> None:
    if kube.kubectl_path is None:
        pytest.skip("kubectl is not installed")
    # kubectl may remember for a moment what was served before.
    done = eventually(lambda: kube.kubectl("explain", f"wep.{field}"), lambda d: d.returncode == 0)
    text = " ".join(done.stdout.split())
    assert told in text
    assert "<no description>" not in text


def test_every_field_is_explained(kube: Kube) -> None:
    if kube.kubectl_path is None:
        pytest.skip("kubectl is not installed")
    fields = kube.kubectl("explain", "wep.spec", "--recursive").stdout
    for section in PipelineSpec.model_fields.values():
        assert f"{section.alias or section.serialization_alias}\t<" in fields
