"""The loader's metrics for Prometheus, and whether its process is alive and ready."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webevents.stages.chunk import StageStatus
from webevents.stages.loader.load import Round
from webevents.stages.metrics import DURATION_BUCKETS, silence
from webevents.stages.metrics_families import WHO, build_info, status_families

STAGE = "loader"
"""The value of the label ``stage``."""


class LoaderMetrics(Collector):
    """What the rounds of a pipeline's loader did.

    :param pipeline: the pipeline's name.
    """

    def __init__(self, pipeline: str) -> None:
        self.registry = registry = CollectorRegistry()
        self._who = who = (pipeline, STAGE)
        self._beat = time.monotonic()
        self._ready = False
        self._waiting = 0
        self._outage_since: float | None = None
        self._outages = 0
        self._rounds = Counter(
            "webevents_commits",
            "Commits that wrote something: executions of the pipeline.",
            WHO,
            registry=registry,
        ).labels(*who)
        self._last_round = Gauge(
            "webevents_last_commit_timestamp_seconds",
            "When the worker last committed, in seconds since the epoch; 0 before its first time.",
            WHO,
            registry=registry,
        ).labels(*who)
        self._duration = Histogram(
            "webevents_loader_round_duration_seconds",
            "How long a round of the loader took, from the listing of objects to the last commit.",
            WHO,
            registry=registry,
            buckets=DURATION_BUCKETS,
        ).labels(*who)
        objects = Counter(
            "webevents_loader_objects",
            "Objects by what became of them: loaded, removed, or damaged and left alone.",
            (*WHO, "fate"),
            registry=registry,
        )
        self._objects = {
            fate: objects.labels(*who, fate) for fate in ("loaded", "removed", "damaged")
        }
        self._messages = Counter(
            "webevents_loader_messages",
            "Messages of loaded objects that were not loaded before.",
            WHO,
            registry=registry,
        ).labels(*who)
        build_info(registry, *who)
        ProcessCollector(registry=registry)
        registry.register(self)

    # What the loader tells.

    def alive(self, waiting: int | None = None) -> None:
        """Remember that the loader goes on.

        :param waiting: objects that are found and not loaded yet.
        """
        self._beat = time.monotonic()
        if waiting is not None:
            self._waiting = waiting

    def loaded(self, done: Round, waiting: int, seconds: float) -> None:
        """Count a round that met no outage."""
        self.alive(waiting)
        self._ready = True
        self._outage_since = None
        self._duration.observe(seconds)
        self._last_round.set(time.time())
        if done.objects:
            self._rounds.inc()
        self._objects["loaded"].inc(done.objects)
        self._objects["removed"].inc(done.removed)
        self._objects["damaged"].inc(done.damaged)
        self._messages.inc(done.records)

    def outage(self) -> None:
        """Remember since when the object store or the database does not do what it is asked."""
        self.alive()
        self._outages += 1
        self._outage_since = self._outage_since or time.time()

    # What the server asks, in threads of its own.

    def unhealthy(self) -> str | None:
        """Why the process should be started again; None where it is alive."""
        return silence(self._beat)

    def unready(self) -> str | None:
        """Why it is not ready; None once a round has succeeded."""
        return None if self._ready else "no round has succeeded yet"

    def collect(self) -> Iterator[Metric]:
        """What is read off when Prometheus asks for it."""
        status = StageStatus(
            outage_since=self._outage_since, repeated=self._outages, objects_waiting=self._waiting
        )
        yield from status_families(self._who, status)
