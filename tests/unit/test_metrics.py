"""A stage's metrics: what the task tells, and what Prometheus then sees."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from webevents.errors import UserError
from webevents.events.event import InvalidEvent
from webevents.events.failed import failed_record
from webevents.events.ledger import Counts, PartitionLedger
from webevents.stages.chunk import Chunk, Outcome, Record, StageStatus
from webevents.stages.metrics import HUNG_AFTER_S, MAX_TYPES, READY_GRACE_S, TaskMetrics
from webevents.stages.metrics_generator import GeneratorMetrics
from webevents.stages.metrics_server import metrics_server
from webevents.stages.observer import Look, TaskObserver

WHO = {"pipeline": "shop", "stage": "enrich"}
RAW = ("raw", 0)


def make(*, keeps_state: bool = False) -> TaskMetrics:
    return TaskMetrics("shop", "enrich", "failed", keeps_state=keeps_state)


def value(metrics: TaskMetrics | GeneratorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, WHO | labels)


def chunk(read_ago: float = 0.0) -> Chunk:
    return Chunk("raw", 0, [0], [None], [b""], [0], time.monotonic() - read_ago)


def failing(reason: str) -> Record:
    error = InvalidEvent(reason, "why")
    where = {"pipeline": "shop", "stage": "enrich", "topic": "raw", "partition": 0, "offset": 7}
    encoded = failed_record(error, **where, key=None, value=b"{", now_us=0)  # type: ignore[arg-type]
    return Record("failed", None, encoded)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The monotonic clock, to be moved by hand."""
    now = [1_000.0]
    stand_in = SimpleNamespace(monotonic=lambda: now[0], time=time.time)
    monkeypatch.setattr("webevents.stages.metrics.time", stand_in)
    yield now


def test_the_ledger_is_shown_as_committed() -> None:
    metrics = make()
    ledger = PartitionLedger(0, 40, Counts(40, 37, 1, {"late": 2}), emitted=37)
    metrics.assigned(*RAW, ledger, 0.1)
    where = {"topic": "raw", "partition": "0"}
    assert value(metrics, "webevents_ledger_in_total", **where) == 40
    ledger.counts.add(Counts(10, 9, 0, {"late": 1}))
    ledger.emitted, ledger.next = 46, 50
    assert value(metrics, "webevents_ledger_in_total", **where) == 40, "not committed yet"
    assert value(metrics, "webevents_ledger_dropped_total", reason="late", **where) == 2
    assert value(metrics, "webevents_last_commit_timestamp_seconds") == 0
    metrics.committed({RAW: ledger}, 0.3)
    assert value(metrics, "webevents_ledger_in_total", **where) == 50
    assert value(metrics, "webevents_ledger_out_total", **where) == 46
    assert value(metrics, "webevents_ledger_failed_total", **where) == 1
    assert value(metrics, "webevents_ledger_records_total", **where) == 46
    assert value(metrics, "webevents_ledger_dropped_total", reason="late", **where) == 3
    assert value(metrics, "webevents_commits_total") == 1
    committed_at = value(metrics, "webevents_last_commit_timestamp_seconds")
    assert committed_at is not None
    assert abs(committed_at - time.time()) < 60
    assert value(metrics, "webevents_commit_duration_seconds_bucket", le="0.1") == 0
    assert value(metrics, "webevents_commit_duration_seconds_bucket", le="0.5") == 1


def test_balanced_is_a_matter_of_every_partition_of_the_topic() -> None:
    metrics = make()
    metrics.assigned("raw", 0, PartitionLedger(0, 3, Counts(3, 3)), 0)
    metrics.assigned("other", 0, PartitionLedger(0, 3, Counts(3, 3)), 0)
    assert value(metrics, "webevents_ledger_balanced", topic="raw") == 1
    metrics.assigned("raw", 1, PartitionLedger(0, 3, Counts(3, 1, 1)), 0)
    metrics.assigned("raw", 2, PartitionLedger(0, 3, Counts(3, 3)), 0)
    assert value(metrics, "webevents_ledger_balanced", topic="raw") == 0
    assert value(metrics, "webevents_ledger_balanced", topic="other") == 1


def test_lag_is_what_is_not_committed() -> None:
    metrics = make()
    ledger = PartitionLedger(0, 40)
    metrics.assigned(*RAW, ledger, 0)
    where = {"topic": "raw", "partition": "0"}
    assert value(metrics, "webevents_consumer_lag", **where) is None, "the end is not known"
    metrics.looked(Look({RAW: 100}, StageStatus()))
    assert value(metrics, "webevents_consumer_lag", **where) == 60
    metrics.looked(Look({}, StageStatus()))
    assert value(metrics, "webevents_consumer_lag", **where) == 60, "the last known end holds"
    ledger.next = 120
    metrics.committed({RAW: ledger}, 0)
    metrics.looked(Look({RAW: 180, ("raw", 1): 7}, StageStatus()))
    assert value(metrics, "webevents_consumer_lag", **where) == 60
    assert value(metrics, "webevents_consumer_lag", topic="raw", partition="1") is None
    metrics.looked(Look({RAW: 110}, StageStatus()))
    assert value(metrics, "webevents_consumer_lag", **where) == 0, "committed beyond that fetch"


def test_a_partition_that_is_given_up_is_shown_no_more() -> None:
    metrics = make()
    metrics.assigned("raw", 0, PartitionLedger(0, 1, Counts(1, 1)), 0)
    metrics.assigned("raw", 1, PartitionLedger(0, 1, Counts(1, 1)), 0)
    metrics.looked(Look({("raw", 0): 5, ("raw", 1): 5}, StageStatus()))
    metrics.revoked("raw", 0)
    for name in ("webevents_ledger_in_total", "webevents_consumer_lag"):
        assert value(metrics, name, topic="raw", partition="0") is None
        assert value(metrics, name, topic="raw", partition="1") is not None


def test_reasons_and_types_count_with_the_commit() -> None:
    metrics = make()
    outcome = Outcome(
        Counts(5, 3, 2),
        [Record("out", None, b"{}"), failing("too_deep"), failing("invalid_json")],
        types={"view": 2, "buy": 1},
    )
    metrics.processed(chunk(), outcome)
    metrics.processed(chunk(), outcome)
    assert value(metrics, "webevents_failed_events_total", reason="too_deep") is None
    assert value(metrics, "webevents_processed_events_total", type="view") is None
    metrics.committed({}, 0)
    assert value(metrics, "webevents_failed_events_total", reason="too_deep") == 2
    assert value(metrics, "webevents_failed_events_total", reason="invalid_json") == 2
    assert value(metrics, "webevents_processed_events_total", type="view") == 4
    metrics.committed({}, 0)
    assert value(metrics, "webevents_processed_events_total", type="view") == 4


def test_what_a_restart_undoes_is_not_counted() -> None:
    metrics = make()
    metrics.assigned(*RAW, PartitionLedger(0, 1, Counts(1, 1)), 0)
    metrics.looked(Look({RAW: 9}, StageStatus(outage_since=1.0, repeated=4)))
    metrics.processed(chunk(), Outcome(Counts(2, 1, 1), [failing("too_deep")], types={"view": 1}))
    metrics.restarted()
    metrics.committed({}, 0)
    assert value(metrics, "webevents_task_restarts_total") == 1
    assert value(metrics, "webevents_failed_events_total", reason="too_deep") is None
    assert value(metrics, "webevents_processed_events_total", type="view") is None
    assert value(metrics, "webevents_consumer_lag", topic="raw", partition="0") is None
    assert value(metrics, "webevents_destination_outage") is None


def test_types_from_outside_cost_a_bounded_number_of_series() -> None:
    metrics = make()
    types = {f"type-{number}": 2 for number in range(MAX_TYPES + 30)}
    metrics.processed(chunk(), Outcome(Counts(), types={"x" * 101: 1}))
    metrics.processed(chunk(), Outcome(Counts(), types=types))
    metrics.processed(chunk(), Outcome(Counts(), types=types))
    metrics.committed({}, 0)
    assert value(metrics, "webevents_processed_events_total", type="type-0") == 4
    assert value(metrics, "webevents_processed_events_total", type="other") == 30 * 4 + 1
    families = {family.name: family for family in metrics.registry.collect()}
    samples = families["webevents_processed_events"].samples
    labels = {sample.labels["type"] for sample in samples}
    assert len(labels) == MAX_TYPES + 1
    total = sum(s.value for s in samples if s.name.endswith("_total"))
    assert total == 4 * len(types) + 1


def test_a_chunk_takes_until_its_destination_has_confirmed_it() -> None:
    metrics = make()
    metrics.processed(chunk(read_ago=1.5), Outcome(Counts()))
    buckets = {
        le: value(metrics, "webevents_processing_duration_seconds_bucket", le=le)
        for le in ("0.1", "0.5", "1.0", "2.0", "5.0", "+Inf")
    }
    assert buckets == {"0.1": 0, "0.5": 0, "1.0": 0, "2.0": 1, "5.0": 1, "+Inf": 1}


def test_restoring_is_measured_where_there_is_state() -> None:
    for keeps_state in (False, True):
        metrics = make(keeps_state=keeps_state)
        metrics.assigned(*RAW, PartitionLedger(0, 0), 7.5)
        count = value(metrics, "webevents_state_restore_duration_seconds_count")
        assert count == int(keeps_state)
    assert value(metrics, "webevents_state_restore_duration_seconds_sum") == 7.5


def test_a_stage_shows_only_what_it_has() -> None:
    metrics = make()
    names = [
        "webevents_open_sessions",
        "webevents_objects_waiting",
        "webevents_destination_outage",
        "webevents_destination_outage_seconds",
        "webevents_documents_repeated_total",
    ]
    assert [value(metrics, name) for name in names] == [None] * 5
    metrics.looked(Look({}, StageStatus(open_sessions=3, objects_waiting=2)))
    assert [value(metrics, name) for name in names] == [3, 2, None, None, None]
    metrics.looked(Look({}, StageStatus(repeated=0)))
    assert [value(metrics, name) for name in names] == [None, None, 0, 0, 0]
    metrics.looked(Look({}, StageStatus(repeated=12, outage_since=time.time() - 100)))
    shown = [value(metrics, name) for name in names]
    assert shown[2] == 1
    assert shown[3] == pytest.approx(100, abs=30)
    assert shown[4] == 12


def test_ready_once_the_group_has_answered_and_through_short_restarts(clock: list[float]) -> None:
    metrics = make()
    assert metrics.unready()
    clock[0] += READY_GRACE_S * 2
    assert metrics.unready(), "waiting long does not make it ready"
    metrics.restarted()
    assert metrics.unready(), "it was not ready before"
    metrics.joined()
    assert metrics.unready() is None
    metrics.looked(Look({}, StageStatus(repeated=1, outage_since=1.0)))
    assert metrics.unready() is None, "an outage is told by a metric, not by a probe"
    metrics.restarted()
    assert metrics.unready() is None
    clock[0] += READY_GRACE_S / 2
    metrics.restarted()
    assert metrics.unready() is None
    clock[0] += READY_GRACE_S / 2
    assert metrics.unready(), "it keeps restarting and never joins"
    metrics.joined()
    assert metrics.unready() is None


def test_alive_while_the_loop_comes_round(clock: list[float]) -> None:
    metrics = make()
    clock[0] += HUNG_AFTER_S
    assert metrics.unhealthy() is None
    clock[0] += 1
    assert "301 s" in str(metrics.unhealthy())
    metrics.alive()
    assert metrics.unhealthy() is None


def test_an_observer_may_leave_everything_out() -> None:
    observer = TaskObserver()
    observer.alive()
    observer.joined()
    observer.assigned(*RAW, PartitionLedger(0, 0), 0)
    observer.processed(chunk(), Outcome(Counts()))
    observer.committed({}, 0)
    observer.looked(Look({}, StageStatus()))
    observer.revoked(*RAW)
    observer.restarted()


def test_the_generator_shows_what_was_acknowledged_and_what_is_wanted(tmp_path: Path) -> None:
    live = tmp_path / "live.json"
    sent = 5
    metrics = GeneratorMetrics("shop", lambda: sent, live)
    who = {"stage": "generator"}
    target = "webevents_generator_target_events_per_second"
    assert value(metrics, "webevents_generated_events_total", **who) == 5
    assert value(metrics, target, **who) is None
    for text in ("{", "[]", '{"eventsPerSecond": null}', '{"speed": 3}'):
        live.write_text(text)
        assert value(metrics, target, **who) is None, text
    live.write_text(json.dumps({"eventsPerSecond": 250}))
    sent = 9
    assert value(metrics, target, **who) == 250
    assert value(metrics, "webevents_generated_events_total", **who) == 9
    assert metrics.unhealthy() is metrics.unready() is None


# The server.


class Endpoint:
    """Something to serve."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = make().registry
        self.problem: str | None = None

    def unhealthy(self) -> str | None:
        return self.problem

    def unready(self) -> str | None:
        return self.problem


def get(url: str, method: str = "GET", accept: str = "") -> tuple[int, str, str]:
    request = urllib.request.Request(url, method=method, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_endpoints() -> None:
    endpoint = Endpoint()
    port = a_free_port()
    with metrics_server(endpoint, port, "127.0.0.1") as served:
        assert served == port
        url = f"http://127.0.0.1:{port}"
        status, kind, text = get(f"{url}/metrics?name=x")
        assert status == 200
        assert kind.startswith("text/plain; version=")
        names = {family.name for family in text_string_to_metric_families(text)}
        assert {"webevents_commits", "webevents_build_info", "process_cpu_seconds"} <= names
        assert not [name for name in names if name.endswith("_created")]
        kind = get(f"{url}/metrics", accept="application/openmetrics-text; version=1.0.0")[1]
        assert kind.startswith("application/openmetrics-text")
        for path in ("/healthz", "/readyz"):
            endpoint.problem = None
            assert get(url + path) == (200, "text/plain; charset=utf-8", "ok\n")
            endpoint.problem = "not now"
            assert get(url + path) == (503, "text/plain; charset=utf-8", "not now\n")
            assert get(url + path, method="HEAD")[::2] == (503, "")
        assert get(f"{url}/else")[0] == 404
        assert get(f"{url}/metrics", method="POST")[0] == 501
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port)):
        pass


def test_a_client_that_says_nothing_holds_nobody_up() -> None:
    port = a_free_port()
    with (
        metrics_server(Endpoint(), port, "127.0.0.1"),
        socket.create_connection(("127.0.0.1", port)),
    ):
        assert get(f"http://127.0.0.1:{port}/healthz")[0] == 200


def test_port_0_serves_nothing() -> None:
    with metrics_server(Endpoint(), 0, "256.256.256.256") as served:
        assert served == 0


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UserError, match=f"--metrics-port {port}: .*127.0.0.1"),
            metrics_server(Endpoint(), port, "127.0.0.1"),
        ):
            pass


def test_an_address_of_version_6_is_one_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            port = probe.getsockname()[1]
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with metrics_server(Endpoint(), port, "::1"):
        assert get(f"http://[::1]:{port}/healthz")[0] == 200
