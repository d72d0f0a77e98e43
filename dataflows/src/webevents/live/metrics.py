"""The live page's own metrics for Prometheus."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

STAGE = "live"
WHO = ("pipeline", "stage")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
GAUGES = {
    "viewers": "Open pages that get snapshots.",
    "kafka_up": "1 while the figures are fresh, 0 while Kafka does not answer.",
    "skipped_events": "Events that were left out because the page could not keep up.",
    "unreadable_messages": "Messages of the topics that are not what they should be.",
}
"""Gauges and what they tell."""


class LiveMetrics(Collector):
    """What the live page has done.

    :param pipeline: the pipeline's name.
    """

    def __init__(self, pipeline: str) -> None:
        self.registry = CollectorRegistry()
        self._who = (pipeline, STAGE)
        self.gauges: Callable[[], dict[str, float]] = dict
        """Tells the values of :data:`GAUGES`, once the server runs."""
        self.unready: Callable[[], str | None] = lambda: "the server has not started"
        self.unhealthy: Callable[[], str | None] = lambda: None
        self._requests = Counter(
            "webevents_live_requests",
            "Requests that were answered, by path and HTTP status.",
            (*WHO, "path", "status"),
            registry=self.registry,
        )
        self.snapshots = Counter(
            "webevents_live_snapshots",
            "Snapshots that were made.",
            WHO,
            registry=self.registry,
        ).labels(*self._who)
        self.sent = Counter(
            "webevents_live_snapshots_sent",
            "Snapshots that went to a viewer; slow viewers miss some.",
            WHO,
            registry=self.registry,
        ).labels(*self._who)
        self.duration = Histogram(
            "webevents_live_snapshot_duration_seconds",
            "How long a snapshot took to make.",
            WHO,
            buckets=BUCKETS,
            registry=self.registry,
        ).labels(*self._who)
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def request(self, path: str, status: int) -> None:
        """Count an answered request.

        :param path: one of the page's own, or other.
        """
        self._requests.labels(*self._who, path, str(status)).inc()

    def collect(self) -> Iterator[Metric]:
        """The present state, read off when Prometheus asks."""
        values = self.gauges()
        for name, help_ in GAUGES.items():
            family = GaugeMetricFamily(f"webevents_live_{name}", help_, labels=WHO)
            if name in values:
                family.add_metric(self._who, values[name])
            yield family
