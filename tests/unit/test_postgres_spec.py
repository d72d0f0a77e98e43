"""spec.postgres and spec.store, and what the plan makes of them."""

from typing import Any

import pytest

from webevents.cli.connections import postgres_spec
from webevents.errors import UserError
from webevents.plan.make import make_plan
from webevents.plan.model import Plan
from webevents.spec.load import parse_pipeline


def plan_of(spec: dict[str, Any]) -> Plan:
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "shop"},
        "spec": spec,
    }
    return make_plan(parse_pipeline(document, "test"))


def store(plan: Plan) -> Any:
    return next(workload for workload in plan.workloads if workload.name == "store")


def test_nothing_is_stored_by_default() -> None:
    plan = plan_of({})
    assert "store" not in [workload.name for workload in plan.workloads]
    assert plan.tables == ()


def test_sessions_are_stored_when_it_is_enabled() -> None:
    plan = plan_of({"store": {"enabled": True}})
    assert plan.tables == ("public.session_metrics",)
    assert store(plan).reads == ("web-sessions",)
    assert store(plan).group == "shop-store"
    assert store(plan).settings.sessions_topic == "web-sessions"


def test_the_stage_reads_only_what_its_tables_need() -> None:
    tables = ["processedEvents", "sessionEventsAggregatedIp"]
    both = plan_of({"store": {"enabled": True, "tables": tables, "schemaName": "traffic"}})
    assert both.tables == ("traffic.processed_events", "traffic.session_events_aggregated_ip")
    assert store(both).reads == ("enriched-web-events", "web-sessions")
    spec = {"sessions": {"enabled": False}, "store": {"enabled": True, "tables": tables[:1]}}
    events = plan_of(spec)
    assert store(events).reads == ("enriched-web-events",)
    assert store(events).settings.sessions_topic is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"store": {"enabled": True}, "sessions": {"enabled": False}}, "sessions.enabled is false"),
        ({"store": {"tables": []}}, "at least one table"),
        ({"store": {"tables": ["processedEvents"] * 2}}, "each once"),
        ({"store": {"schemaName": 'x"; DROP'}}, "schemaName"),
        ({"postgres": {"host": "a b"}}, "postgres.host"),
        ({"postgres": {"passwordFile": "f", "passwordEnv": "e"}}, "only one of passwordFile"),
        ({"postgres": {"tls": {"certFile": "c"}}}, "certFile and keyFile go together"),
        ({"postgres": {"tls": {"mode": "verify-ca"}}}, "verify-ca needs caFile"),
        ({"postgres": {"statementTimeout": "10ms"}}, "statementTimeout must be at least 1s"),
    ],
)
def test_what_does_not_go_together_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_of(spec)


@pytest.mark.parametrize(
    ("address", "host", "port", "database"),
    [
        ("db.example.com", "db.example.com", 5432, "webevents"),
        ("db.example.com:5433", "db.example.com", 5433, "webevents"),
        ("db/clicks", "db", 5432, "clicks"),
        ("a,b:6432/clicks", "a,b", 6432, "clicks"),
    ],
)
def test_the_options_name_a_server(
    address: str, host: str, port: int, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POSTGRES_PASSWORD", raising=False)
    spec = postgres_spec(address)
    assert spec is not None
    assert (spec.host, spec.port, spec.database) == (host, port, database)
    assert spec.password_env is None


def test_the_options_need_a_server() -> None:
    assert postgres_spec(None) is None
    with pytest.raises(UserError, match="need --postgres HOST"):
        postgres_spec(None, user="me")
    with pytest.raises(UserError, match="--postgres: port"):
        postgres_spec("db:99999")


def test_the_password_comes_from_the_environment_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "secret")
    spec = postgres_spec("db")
    assert spec is not None
    assert spec.password_env == "POSTGRES_PASSWORD"
    assert "secret" not in spec.model_dump_json()
    spec = postgres_spec("db", password_file=tmp_path / "p")
    assert spec is not None
    assert (spec.password_env, spec.password_file) == (None, str(tmp_path / "p"))
