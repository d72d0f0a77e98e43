"""KEDA drives the generators by the scale subresource: by a schedule, to none, and back.

KEDA is built for it (``make test-keda``), which takes minutes: elsewhere this is skipped.
"""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from keda import Keda, keda
from kube import Kube, OperatorProcess, eventually
from shop import Shop

StartOperator = Callable[..., OperatorProcess]


@pytest.fixture(name="keda")
def running_keda(kube: Kube, tmp_path: Path) -> Iterator[Keda]:
    """KEDA, while a test runs."""
    built = os.environ.get("WEBEVENTS_KEDA")
    if not built:
        pytest.skip("KEDA is not built here: make test-keda does it, with Go")
    if kube.kubectl_path is None:
        pytest.skip("kubectl is not installed")
    folder = tmp_path / "keda"
    folder.mkdir()
    with keda(kube, Path(built), folder) as asked:
        yield asked


def during(hours: float) -> dict[str, str]:
    """A schedule that begins so many hours from now, and lasts for twelve."""
    start = datetime.now(UTC) + timedelta(hours=hours)
    end = start + timedelta(hours=12)
    return {
        "timezone": "Etc/UTC",
        "start": f"{start.minute} {start.hour} * * *",
        "end": f"{end.minute} {end.hour} * * *",
        "desiredReplicas": "3",
    }


def scaled_object(shop: Shop, schedule: dict[str, str]) -> dict[str, Any]:
    """As docs/operator.md has it."""
    at_once = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": shop.name, "namespace": shop.namespace},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "webevents.dev/v1alpha1",
                "kind": "WebEventPipeline",
                "name": shop.name,
            },
            "minReplicaCount": 0,
            "maxReplicaCount": 4,
            "pollingInterval": 5,
            "cooldownPeriod": 5,
            "advanced": {
                "restoreToOriginalReplicaCount": True,
                "horizontalPodAutoscalerConfig": {"behavior": at_once},
            },
            "triggers": [{"type": "cron", "metadata": schedule}],
        },
    }


def test_keda_scales_by_a_schedule_to_none_and_back(
    shop: Shop, start_operator: StartOperator, image: str, keda: Keda
) -> None:
    start_operator(image=image)
    shop.create()
    shop.wait()
    assert shop.resource()["spec"]["generator"]["replicas"] == 1

    def replicas() -> int:
        return int(shop.resource()["spec"]["generator"]["replicas"])

    keda.apply(scaled_object(shop, during(-1)))
    eventually(replicas, lambda count: count == 3)
    eventually(lambda: len(shop.pods("generator")), lambda count: count == 3)
    shop.wait()
    status = keda.get("scaledobject", "-n", shop.namespace, shop.name)["status"]
    told = {each["type"]: each["status"] for each in status["conditions"]}
    assert told["Ready"] == told["Active"] == "True", status

    keda.apply(scaled_object(shop, during(6)))
    eventually(replicas, lambda count: count == 0)
    eventually(lambda: len(shop.pods("generator")), lambda count: count == 0)
    shop.wait()

    keda.kubectl("delete", "scaledobject", "-n", shop.namespace, shop.name)
    eventually(replicas, lambda count: count == 1)
