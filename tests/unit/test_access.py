"""Who logs in to Kafka, and what each must be allowed to do."""

from typing import Any

import pytest

from webevents.connectors.kafka import client_config
from webevents.errors import UserError
from webevents.plan.access import permissions
from webevents.plan.make import make_plan
from webevents.spec.kafka import OPERATOR, TOOLS
from webevents.spec.load import parse_pipeline
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.secrets import SecretRef, parse_ref, references

KAFKA = {
    "bootstrapServers": "k:9093",
    "tls": {
        "caFile": "secret:ca/ca.crt",
        "certFile": "secret:kafka-{workload}/tls.crt",
        "keyFile": "secret:kafka-{workload}/tls.key",
    },
}
EVERYTHING: dict[str, Any] = {
    "kafka": KAFKA,
    "generator": {},
    "collector": {},
    "analytics": {"enabled": True},
    "store": {"enabled": True},
    "archive": {"enabled": True},
    "loader": {"enabled": True},
    "alerts": {"enabled": True},
    "live": {"enabled": True},
    "source": {
        "debezium": {"tables": [{"name": "public.clicks"}], "connect": {"cluster": "connect"}}
    },
}


def _pipeline(**spec: Any) -> WebEventPipeline:
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "shop"},
        "spec": spec,
    }
    return parse_pipeline(document, "shop")


def test_each_workload_reads_and_writes_what_the_plan_says_and_nothing_else() -> None:
    plan = make_plan(_pipeline(**EVERYTHING))
    allowed = permissions(plan)
    assert set(allowed) == {each.name for each in plan.workloads} - {"loader"} | {OPERATOR, TOOLS}
    for workload in plan.workloads:
        granted = allowed.get(workload.name, [])
        reads = {p.name for p in granted if p.resource == "topic" and "Read" in p.operations}
        writes = {p.name for p in granted if p.resource == "topic" and "Write" in p.operations}
        state = getattr(workload.settings, "state_topic", None)
        if workload.name != "live":
            assert reads == {*workload.reads, *([state] if state else [])}, workload.name
        assert writes == {*workload.writes, *([state] if state else [])}, workload.name
        assert not [p for p in granted if p.prefix and p.resource != "transactionalId"]
        assert {op for p in granted for op in p.operations} <= {"Read", "Write", "Describe"}


def test_nobody_reads_state_or_groups_of_others() -> None:
    allowed = permissions(make_plan(_pipeline(**EVERYTHING)))
    for account, granted in allowed.items():
        if account in (OPERATOR, TOOLS):
            continue
        groups = {p.name for p in granted if p.resource == "group" and "Read" in p.operations}
        assert groups <= {f"shop-{account}"}
    assert not [p for p in allowed[OPERATOR] if {"Read", "Write"} & set(p.operations)]


def test_where_strimzi_makes_the_topics_the_operator_only_looks() -> None:
    allowed = permissions(make_plan(_pipeline(**EVERYTHING)), own_topics=False)
    assert {op for p in allowed[OPERATOR] for op in p.operations} == {"Describe"}


def test_each_workload_logs_in_as_itself() -> None:
    pipeline = _pipeline(**EVERYTHING)
    for workload in make_plan(pipeline).workloads:
        names = {ref.name for ref in references(workload.settings)}
        own = set() if workload.name == "loader" else {f"kafka-{workload.name}", "ca"}
        assert names == own, workload.name
    names = {ref.name for ref in references(pipeline.logged_in_as(OPERATOR))}
    assert names == {"kafka-operator", "ca"}
    plain = _pipeline(kafka={"bootstrapServers": "k:9092"})
    assert plain.logged_in_as("enrich") is plain


def test_whoever_is_no_workload_is_the_operator() -> None:
    kafka = _pipeline(
        kafka={"bootstrapServers": "k:1", "tls": {}, "sasl": {"username": "shop-{workload}",
        "passwordEnv": "PATH"}}
    ).spec.kafka  # fmt: skip
    assert client_config(kafka)["sasl.username"] == "shop-operator"
    assert client_config(kafka.logged_in_as("index"))["sasl.username"] == "shop-index"


@pytest.mark.parametrize("value", ["secret:A/b", "secret:a", "secret:a/../b", "secret:{other}/b"])
def test_a_reference_that_is_none_is_not_repeated(value: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_ref(value)
    assert value not in str(caught.value)


def test_a_reference_may_name_the_workload() -> None:
    assert parse_ref("secret:kafka-{workload}/password") == SecretRef(
        "kafka-{workload}", "password"
    )


@pytest.mark.parametrize(
    "spec",
    [
        {"kafka": {"bootstrapServers": "k:1", "sasl": {"username": "a", "passwordFile": 4711}}},
        {"elasticsearch": {"username": "a", "passwordFile": ["canary"]}},
        {"collector": {"sites": [{"name": "shop", "writeKeys": ["canary canary"]}]}},
        {"live": {"tokenEnv": 4711}},
    ],
)
def test_what_may_be_a_secret_is_not_repeated(spec: Any) -> None:
    with pytest.raises(UserError) as caught:
        _pipeline(**spec)
    assert "canary" not in str(caught.value) and "4711" not in str(caught.value)
