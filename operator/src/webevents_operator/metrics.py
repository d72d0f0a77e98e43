"""The operator's own metrics; docs/operator.md has the table."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

RECONCILES = Counter(
    "webevents_operator_reconciles",
    "Reconciles by how they ended: done, waiting or failed.",
    ["outcome"],
    registry=REGISTRY,
)
DURATION = Histogram(
    "webevents_operator_reconcile_duration_seconds",
    "How long a reconcile took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
WRITES = Counter(
    "webevents_operator_api_writes",
    "Writing requests to the API server.",
    ["kind", "verb"],
    registry=REGISTRY,
)
QUEUE = Gauge(
    "webevents_operator_queue_length", "Pipelines that wait to be reconciled.", registry=REGISTRY
)
STUCK = Gauge(
    "webevents_operator_stuck_reconciles",
    "Reconciles that have been under way for more than 2 minutes.",
    registry=REGISTRY,
)
PIPELINES = Gauge(
    "webevents_operator_pipelines",
    "Pipelines by whether they are ready.",
    ["ready"],
    registry=REGISTRY,
)
BACKFILLS = Gauge(
    "webevents_operator_backfills",
    "Backfills by the reason of their condition Complete.",
    ["reason"],
    registry=REGISTRY,
)
WATCH_RESTARTS = Counter(
    "webevents_operator_watch_restarts",
    "Watches that had to be started again, by kind.",
    ["kind"],
    registry=REGISTRY,
)
CANARY = Gauge(
    "webevents_operator_canary_age_seconds",
    "Time since the canary was last reconciled from end to end; -1 without a canary.",
    registry=REGISTRY,
)
