"""The plan: a pure function of the pipeline."""

from typing import Any

import pytest

from webevents.errors import UserError
from webevents.plan.make import make_plan
from webevents.plan.model import Plan
from webevents.sources.collector.settings import CollectorSettings
from webevents.sources.settings import GeneratorSettings
from webevents.spec.load import parse_pipeline
from webevents.stages.settings import StageSettings


def plan_of(spec: dict[str, Any]) -> Plan:
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "shop"},
        "spec": spec,
    }
    return make_plan(parse_pipeline(document, "test"))


def test_the_default_pipeline() -> None:
    plan = plan_of({"generator": {}})
    assert [topic.name for topic in plan.topics] == [
        "raw-web-events",
        "enriched-web-events",
        "failed-web-events",
        "web-sessions",
        "web-sessions-state",
    ]
    assert [workload.name for workload in plan.workloads] == [
        "generator",
        "enrich",
        "sessionize",
        "index",
    ]
    assert plan.indices == {
        "events": "web-events-*",
        "sessions": "web-sessions-*",
        "failed": "failed-shop-*",
        "samples": "stages-shop-*",
    }
    groups = {workload.group for workload in plan.stages()}
    assert groups == {"shop-enrich", "shop-sessionize", "shop-index"}


def test_it_is_a_pure_function() -> None:
    spec = {"generator": {"eventsPerSecond": 5}, "sessions": {"gap": "5m"}}
    assert plan_of(spec) == plan_of(spec)


def test_the_state_topic_is_compacted_and_has_the_inputs_partitions() -> None:
    topics = {
        topic.name: topic
        for topic in plan_of({"topics": {"enriched": {"name": "e", "partitions": 6}}}).topics
    }
    state = topics["web-sessions-state"]
    assert state.partitions == topics["e"].partitions == 6
    assert state.config["cleanup.policy"] == "compact"
    # A record of a session with full lists must fit, and 10 MB events where they are allowed.
    assert {topic.config["max.message.bytes"] for topic in topics.values()} == {"10485760"}


def test_what_is_switched_off_is_not_planned() -> None:
    plan = plan_of({"sessions": {"enabled": False}, "index": {"enabled": False}})
    assert [workload.name for workload in plan.workloads] == ["enrich"]
    assert "web-sessions-state" not in {topic.name for topic in plan.topics}
    assert plan.templates == []
    assert plan.indices == {}


def test_analytics_are_a_stage_between_sessions_and_the_index() -> None:
    plan = plan_of({"analytics": {"enabled": True}, "topics": {"sessions": {"partitions": 8}}})
    stages = {stage.name: stage for stage in plan.stages()}
    assert list(stages) == ["enrich", "sessionize", "analyze", "index"]
    assert stages["analyze"].reads == ("web-sessions",)
    assert stages["analyze"].writes == ("web-analytics", "failed-web-events")
    assert stages["index"].reads == (
        *("enriched-web-events", "web-sessions", "web-analytics"),
        "failed-web-events",
    )
    topics = {topic.name: topic for topic in plan.topics}
    assert topics["web-analytics-state"].partitions == 8
    assert topics["web-analytics-state"].config["cleanup.policy"] == "compact"
    assert plan.indices["funnels"] == "web-analytics-funnels-*"
    assert len(plan.indices) == 8


def test_each_stage_reads_what_one_before_it_writes() -> None:
    plan = plan_of({"generator": {}, "analytics": {"enabled": True}})
    written = {"raw-web-events"}
    for stage in plan.stages():
        assert set(stage.reads) <= written, stage.name
        written.update(stage.writes)


def test_a_change_of_the_rate_changes_only_the_live_settings() -> None:
    slow, fast = (
        {
            workload.name: workload
            for workload in plan_of({"generator": {"eventsPerSecond": rate}}).workloads
        }
        for rate in (5, 50)
    )
    assert slow["generator"].live == {"eventsPerSecond": 5}
    assert fast["generator"].live == {"eventsPerSecond": 50}
    assert slow["generator"].settings == fast["generator"].settings
    assert {name: slow[name] for name in ("enrich", "sessionize", "index")} == {
        name: fast[name] for name in ("enrich", "sessionize", "index")
    }


@pytest.mark.parametrize(
    ("time", "live"),
    [
        ({}, {"eventsPerSecond": 7}),
        ({"mode": "accelerated", "speed": 60}, {"speed": 60}),
        ({"mode": "backdated", "start": "2026-01-01T00:00:00Z"}, {}),
    ],
)
def test_the_generators_settings_are_read_back_in_every_mode(
    time: dict[str, Any], live: dict[str, float]
) -> None:
    plan = plan_of({"generator": {"eventsPerSecond": 7, "time": time}})
    workload = plan.workloads[0]
    assert workload.live == live
    written = workload.settings.model_dump(mode="json", by_alias=True)
    assert GeneratorSettings.model_validate(written) == workload.settings


def test_a_stages_settings_change_only_with_what_it_needs() -> None:
    before = {workload.name: workload.settings for workload in plan_of({}).workloads}
    after = {
        workload.name: workload.settings
        for workload in plan_of({"enrich": {"dropFields": ["utm_content"]}}).workloads
    }
    assert before["enrich"] != after["enrich"]
    assert before["sessionize"] == after["sessionize"]
    assert before["index"] == after["index"]


def test_retention_and_replication_reach_the_topics() -> None:
    plan = plan_of(
        {
            "kafka": {"bootstrapServers": "b:9092", "replicationFactor": 3},
            "topics": {"raw": {"name": "r", "retention": "1h"}},
        }
    )
    raw = plan.topics[0]
    assert (raw.name, raw.config["retention.ms"], raw.replication_factor) == ("r", "3600000", 3)


def test_alerts_are_one_worker_over_all_partitions() -> None:
    plan = plan_of({"alerts": {"enabled": True}, "topics": {"alerts": {"name": "a"}}})
    detect = next(workload for workload in plan.workloads if workload.name == "detect")
    assert detect.replicas == 1
    assert detect.reads == ("enriched-web-events", "failed-web-events")
    assert detect.writes[0] == "a"
    topics = {topic.name: topic for topic in plan.topics}
    assert topics["a-state"].partitions == 1
    assert topics["a-state"].config["cleanup.policy"] == "compact"
    assert "cleanup.policy" not in topics["a"].config
    settings = detect.settings.model_dump()
    assert set(settings["groups"]) == {"enrich", "sessionize", "index"}
    assert "detect" not in {workload.name for workload in plan_of({}).workloads}


@pytest.mark.parametrize(
    "spec",
    [{"stages": {"detect": {"replicas": 2}}}, {"topics": {"alerts": {"name": "raw-web-events"}}}],
)
def test_detectors_and_topics_that_would_be_in_each_others_way(spec: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"detect.replicas|need own names"):
        plan_of(spec)


def test_the_index_stage_tells_how_all_stages_stand_and_what_failed() -> None:
    spec = {
        "index": {"samples": {"every": "2s"}},
        "alerts": {"enabled": True},
        "archive": {"enabled": True},
        "s3": {"bucket": "bucket"},
        "store": {"enabled": True},
        "analytics": {"enabled": True},
    }
    stages = {stage.name: stage for stage in plan_of(spec).stages()}
    # It drains behind every stage that can fail events but the one that only looks.
    assert list(stages)[-2:] == ["index", "detect"]
    settings = stages["index"].settings
    assert isinstance(settings, StageSettings)
    assert settings.groups == {name: (each.group, each.reads) for name, each in stages.items()}
    assert (settings.failed_prefix, settings.samples_prefix) == ("failed-shop", "stages-shop")
    none = {"failed": {"enabled": False}, "samples": {"enabled": False}}
    [*_, index] = plan_of({"index": none}).stages()
    assert isinstance(index.settings, StageSettings)
    assert index.reads == ("enriched-web-events", "web-sessions")
    assert (index.settings.failed_prefix, index.settings.samples_prefix) == (None, None)
    assert index.settings.groups == {}
    assert set(plan_of({"index": none}).indices) == {"events", "sessions"}


def test_a_collector_is_a_workload_whose_sites_are_live() -> None:
    sites = [{"name": "shop", "writeKeys": ["K"], "eventsPerSecond": 5.0}]
    spec = {
        "collector": {"port": 8081, "replicas": 2, "sites": sites},
        "sessions": {"key": ["user_id"]},
        "events": {"maxBytes": 5000},
    }
    workload = plan_of(spec).workloads[0]
    assert (workload.name, workload.command) == ("collector", ("collect",))
    assert (workload.port, workload.replicas) == (8081, 2)
    assert workload.writes == ("raw-web-events", "failed-web-events")
    assert not workload.reads
    settings = workload.settings
    assert isinstance(settings, CollectorSettings)
    assert (settings.key, settings.max_event_bytes) == (("user_id",), 5000)
    [live] = workload.live["sites"]
    assert live.items() >= sites[0].items()
    without = plan_of(spec | {"collector": spec["collector"] | {"sites": []}}).workloads[0]
    assert without.settings == settings, "changing the sites must not restart it"
    assert "collector" not in [
        each.name for each in plan_of({"collector": {"enabled": False}}).workloads
    ]
