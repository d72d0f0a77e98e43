"""The generator's metrics for Prometheus."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webevents.stages.metrics_families import WHO, build_info

STAGE = "generator"
"""The value of the label ``stage``."""


class GeneratorMetrics(Collector):
    """What one copy of the generator has sent; read off when Prometheus asks, so it costs nothing.

    :param pipeline: the pipeline's name.
    :param count: tells how many events the brokers have acknowledged.
    :param live: the file with the rate that all copies share, where there is one.
    """

    def __init__(self, pipeline: str, count: Callable[[], int], live: Path | None = None) -> None:
        self.registry = CollectorRegistry()
        self._who = (pipeline, STAGE)
        self._count = count
        self._live = live
        build_info(self.registry, *self._who)
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def unhealthy(self) -> str | None:
        """None: a generator that cannot send ends by itself."""
        return None

    def unready(self) -> str | None:
        """None: nobody waits for a generator."""
        return None

    def collect(self) -> Iterator[Metric]:
        """What was sent, and what should be."""
        sent = CounterMetricFamily(
            "webevents_generated_events",
            "Events of this copy of the generator that the brokers have acknowledged.",
            labels=WHO,
        )
        sent.add_metric(self._who, self._count())
        yield sent
        wanted = GaugeMetricFamily(
            "webevents_generator_target_events_per_second",
            "Events a second that all copies of the generator are to send together.",
            labels=WHO,
        )
        rate = self._rate()
        if rate is not None:
            wanted.add_metric(self._who, rate)
        yield wanted

    def _rate(self) -> float | None:
        if self._live is None:
            return None
        try:
            return float(json.loads(self._live.read_text(encoding="utf-8"))["eventsPerSecond"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # being written, or made by hand: the generator says what it thinks of it
