"""Metrics that are read off when Prometheus asks for them: the ledgers, the lag, the status."""

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from webevents import __version__
from webevents.events.ledger import PartitionLedger
from webevents.stages.chunk import StageStatus
from webevents.stages.observer import Source

WHO = ("pipeline", "stage")
"""The labels that every metric of a stage has."""
_WHERE = (*WHO, "topic", "partition")


class Committed(NamedTuple):
    """What is shown of a partition's ledger."""

    next: int
    """The committed offset."""
    received: int
    delivered: int
    failed: int
    dropped: Mapping[str, int]
    emitted: int
    balanced: bool

    @classmethod
    def of(cls, ledger: PartitionLedger) -> "Committed":
        """A copy, because the task goes on counting."""
        counts = ledger.counts
        return cls(
            ledger.next,
            counts.received,
            counts.delivered,
            counts.failed,
            counts.dropped.copy(),
            ledger.emitted,
            counts.balanced,
        )


def build_info(registry: CollectorRegistry, pipeline: str, stage: str) -> None:
    """Register the version that runs."""
    Gauge(
        "webevents_build_info",
        "Always 1; the labels say which version runs.",
        (*WHO, "version", "python"),
        registry=registry,
    ).labels(pipeline, stage, __version__, platform.python_version()).set(1)


def ledger_families(who: Sequence[str], partitions: Mapping[Source, Committed]) -> Iterator[Metric]:
    """The ledgers of the assigned partitions.

    They go on counting where a partition's last owner stopped, so that, other than most counters,
    they do not begin at 0 with the process.
    """
    shown = [((*who, *map(str, source)), ledger) for source, ledger in partitions.items()]
    numbers = (
        ("webevents_ledger_in", "Events read.", "received"),
        ("webevents_ledger_out", "Events delivered.", "delivered"),
        ("webevents_ledger_failed", "Events sent to failed events.", "failed"),
        ("webevents_ledger_records", "Records written to the stage's output topic.", "emitted"),
    )
    for name, help_, field in numbers:
        family = CounterMetricFamily(name, help_, labels=_WHERE)
        for labels, ledger in shown:
            family.add_metric(labels, getattr(ledger, field))
        yield family
    dropped = CounterMetricFamily(
        "webevents_ledger_dropped",
        "Events left out on purpose, by reason.",
        labels=(*_WHERE, "reason"),
    )
    for labels, ledger in shown:
        for reason, count in ledger.dropped.items():
            dropped.add_metric((*labels, reason), count)
    yield dropped
    balanced = GaugeMetricFamily(
        "webevents_ledger_balanced",
        "1 where every event read from the topic is accounted for (in = out + failed + dropped), "
        "else 0.",
        labels=(*WHO, "topic"),
    )
    for topic in dict.fromkeys(topic for topic, _ in partitions):
        holds = all(ledger.balanced for source, ledger in partitions.items() if source[0] == topic)
        balanced.add_metric((*who, topic), float(holds))
    yield balanced


def lag_family(who: Sequence[str], lags: Mapping[Source, int]) -> Metric:
    """The lags of the assigned partitions, as far as they are known."""
    family = GaugeMetricFamily(
        "webevents_consumer_lag",
        "Messages of a partition that are not yet processed and committed.",
        labels=_WHERE,
    )
    for source, lag in lags.items():
        family.add_metric((*who, *map(str, source)), lag)
    return family


def status_families(who: Sequence[str], status: StageStatus) -> Iterator[Metric]:
    """What the processor tells; a stage without such a thing shows no value of it."""
    sessions = GaugeMetricFamily(
        "webevents_open_sessions",
        "Sessions in memory: open ones, and those that a late event can still change.",
        labels=WHO,
    )
    visitors = GaugeMetricFamily(
        "webevents_visitors", "Visitors that analytics remember (stage analyze).", labels=WHO
    )
    waiting = GaugeMetricFamily(
        "webevents_objects_waiting",
        "Objects that wait: to be stored (archive), or found and to be loaded (loader).",
        labels=WHO,
    )
    outage = GaugeMetricFamily(
        "webevents_destination_outage",
        "1 while the destination takes nothing, else 0.",
        labels=WHO,
    )
    outage_seconds = GaugeMetricFamily(
        "webevents_destination_outage_seconds",
        "For how long the destination has been taking nothing; 0 where it does.",
        labels=WHO,
    )
    repeated = CounterMetricFamily(
        "webevents_documents_repeated",
        "Documents, rows, objects or rounds of the loader that were tried again.",
        labels=WHO,
    )
    alerts = GaugeMetricFamily(
        "webevents_alerts_firing", "Alerts that are open (stage detect).", labels=WHO
    )
    notices = GaugeMetricFamily(
        "webevents_alert_notices_waiting",
        "What receivers of alerts are still to be told (stage detect).",
        labels=WHO,
    )
    if status.alerts_firing is not None:
        alerts.add_metric(who, status.alerts_firing)
    if status.notices_waiting is not None:
        notices.add_metric(who, status.notices_waiting)
    if status.open_sessions is not None:
        sessions.add_metric(who, status.open_sessions)
    if status.visitors is not None:
        visitors.add_metric(who, status.visitors)
    if status.objects_waiting is not None:
        waiting.add_metric(who, status.objects_waiting)
    if status.repeated is not None:  # only a stage with a destination counts these
        since = status.outage_since
        outage.add_metric(who, 0 if since is None else 1)
        outage_seconds.add_metric(who, 0 if since is None else max(time.time() - since, 0))
        repeated.add_metric(who, status.repeated)
    yield from (sessions, visitors, waiting, outage, outage_seconds, repeated, alerts, notices)
