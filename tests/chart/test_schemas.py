"""Every rendered object is judged by a real API server and the real definitions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path.stem for path in (ROOT / "charts/web-event-pipeline/values").glob("*.yaml"))
CONNECT = {
    "create": True,
    "plugins": {"debezium": "example.com/debezium:3"},
    "config": {"offset.flush.interval.ms": 1000},
}
EPHEMERAL = {"storage": {"ephemeral": True}}
MORE: dict[str, dict[str, Any]] = {
    "connect": {"connect": CONNECT},
    "tls": {"kafka": {"authentication": "tls"}, "connect": CONNECT},
    "ephemeral": {"kafka": {"brokers": EPHEMERAL}, "elasticsearch": EPHEMERAL},
    "all-namespaces": {"operator": {"watch": {"scope": "all"}}},
    "busy": {
        "operator": {
            "podDisruptionBudget": {"enabled": True},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "nodeSelector": {"a": "b"},
            "podLabels": {"team": "web"},
            "podAnnotations": {"a": "b"},
            "priorityClassName": "system-cluster-critical",
        },
        "networkPolicy": {"metricsFrom": [{"podSelector": {"matchLabels": {"a": "b"}}}]},
        "images": {"pullSecrets": ["mirror"]},
    },
}


def _judge(kubectl: Callable[..., Any], objects: list[dict[str, Any]]) -> str:
    """What the server says to the objects that it refuses."""
    for each in objects:
        each["metadata"].pop("namespace", None)
        if each["kind"] == "Pod":  # the account that it names comes with the release
            each["spec"]["serviceAccountName"] = "default"
    done = kubectl(
        "--namespace", "default", "apply", "--dry-run=server", "--validate=strict",
        "--server-side", "--force-conflicts", "--field-manager=test", "--filename", "-",
        input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}),
    )  # fmt: skip
    assert done.returncode or len(done.stdout.splitlines()) == len(objects)
    return str(done.stderr)


@pytest.mark.parametrize("file", FILES)
def test_values_files(kubectl: Callable[..., Any], render: Callable[..., Any], file: str) -> None:
    assert _judge(kubectl, [each for each in render(file) if not _is_monitoring(each)]) == ""


@pytest.mark.parametrize("case", MORE)
def test_further_values(kubectl: Callable[..., Any], render: Callable[..., Any], case: str) -> None:
    assert _judge(kubectl, render("laptop", **MORE[case])) == ""


def _is_monitoring(each: dict[str, Any]) -> bool:
    return str(each["apiVersion"]).startswith("monitoring.coreos.com/")


def test_what_the_prometheus_operator_reads(
    kubectl: Callable[..., Any], render: Callable[..., Any], monitoring: None
) -> None:
    made = [each for each in render("large") if _is_monitoring(each)]
    assert {each["kind"] for each in made} == {"PodMonitor", "PrometheusRule"}
    assert _judge(kubectl, made) == ""
    made[0]["spec"]["podMetricsEndpoint"] = []
    told = _judge(kubectl, made)
    assert "PodMonitor" in told and 'unknown field "podMetricsEndpoint"' in told


def test_the_judge_refuses(kubectl: Callable[..., Any], render: Callable[..., Any]) -> None:
    (kafka,) = [each for each in render("laptop") if each["kind"] == "Kafka"]
    kafka["spec"]["kafka"]["listeners"][0]["typ"] = "internal"
    told = _judge(kubectl, [kafka])
    assert "Kafka.spec.kafka.listeners[0]" in told and 'unknown field "typ"' in told
