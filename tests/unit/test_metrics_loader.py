"""What the loader's metrics show of its rounds."""

import pytest

from webevents.stages.loader.load import Round
from webevents.stages.loader.metrics import LoaderMetrics
from webevents.stages.metrics import HUNG_AFTER_S

WHO = {"pipeline": "shop", "stage": "loader"}


def value(metrics: LoaderMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, WHO | labels)


def test_rounds_are_counted() -> None:
    metrics = LoaderMetrics("shop")
    assert metrics.unready() == "no round has succeeded yet"
    metrics.loaded(Round(objects=2, records=30, removed=1, damaged=1), waiting=3, seconds=0.2)
    metrics.loaded(Round(), waiting=0, seconds=0.1)
    assert metrics.unready() is None
    assert value(metrics, "webevents_loader_objects_total", fate="loaded") == 2
    assert value(metrics, "webevents_loader_objects_total", fate="removed") == 1
    assert value(metrics, "webevents_loader_objects_total", fate="damaged") == 1
    assert value(metrics, "webevents_loader_messages_total") == 30
    assert value(metrics, "webevents_commits_total") == 1, "an idle round writes nothing"
    assert value(metrics, "webevents_loader_round_duration_seconds_count") == 2
    assert value(metrics, "webevents_objects_waiting") == 0


def test_an_outage_is_shown_until_a_round_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    metrics = LoaderMetrics("shop")
    metrics.alive(waiting=7)
    metrics.outage()
    clock[0] += 40
    metrics.outage()
    assert value(metrics, "webevents_destination_outage") == 1
    assert value(metrics, "webevents_destination_outage_seconds") == 40
    assert value(metrics, "webevents_documents_repeated_total") == 2
    assert value(metrics, "webevents_objects_waiting") == 7
    metrics.loaded(Round(objects=7), waiting=0, seconds=0.1)
    assert value(metrics, "webevents_destination_outage") == 0
    assert value(metrics, "webevents_last_commit_timestamp_seconds") == clock[0]


def test_a_loop_that_stands_still_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    metrics = LoaderMetrics("shop")
    clock[0] += HUNG_AFTER_S
    assert metrics.unhealthy() is None
    clock[0] += 1
    assert "stood still" in (metrics.unhealthy() or "")
    metrics.alive()
    assert metrics.unhealthy() is None
