"""The collector's metrics for Prometheus."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

STAGE = "collector"
WHO = ("pipeline", "stage")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class CollectorMetrics(Collector):
    """What one copy of the collector has done.

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
            "webevents_collector_requests",
            "Requests that were answered, by endpoint and HTTP status.",
            (*WHO, "endpoint", "status"),
            registry=self.registry,
        )
        self._refused = Counter(
            "webevents_collector_refused_requests",
            "Requests of which nothing was taken, by reason.",
            (*WHO, "reason"),
            registry=self.registry,
        )
        self._events = Counter(
            "webevents_collector_events",
            "Events of answered requests, by protocol, site and fate: delivered, spooled, failed "
            "(sent to failed events) or opted_out.",
            (*WHO, "protocol", "site", "fate"),
            registry=self.registry,
        )
        self._duration = Histogram(
            "webevents_collector_request_duration_seconds",
            "How long a request took until its answer, Kafka's acknowledgement included.",
            (*WHO, "endpoint"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        # A label is looked up by a lock and a tuple of texts: remember its child instead.
        self._children: dict[tuple[object, ...], Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._child(self._requests, endpoint, str(status)).inc()
        histogram = self._histograms.get(endpoint)
        if histogram is None:
            histogram = self._histograms[endpoint] = self._duration.labels(*self._who, endpoint)
        histogram.observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a refused request."""
        self._child(self._refused, reason).inc()

    def events(self, protocol: str, site: str | None, fate: str, count: int) -> None:
        """Count events."""
        if count:
            self._child(self._events, protocol, site or "", fate).inc(count)

    def _child(self, metric: Counter, *labels: str) -> Counter:
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*self._who, *labels)
        return child

    def collect(self) -> Iterator[Metric]:
        """The present state, read off when Prometheus asks."""
        values = self.gauges()
        for name, help_ in GAUGES.items():
            family = GaugeMetricFamily(f"webevents_collector_{name}", help_, labels=WHO)
            if name in values:
                family.add_metric(self._who, values[name])
            yield family


GAUGES = {
    "kafka_up": "1 while the brokers acknowledge, else 0.",
    "in_flight_requests": "Requests whose events wait for Kafka's acknowledgement.",
    "in_flight_bytes": "Bytes of events that wait for Kafka's acknowledgement.",
    "spool_events": "Messages that wait in the spool on disk.",
    "spool_bytes": "Bytes of messages that wait in the spool on disk.",
    "sites": "Sites that may send; 0 where anybody may.",
}
"""Gauges and what they tell."""
