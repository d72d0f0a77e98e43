"""Topics, templates, tables and dashboards, brought about beside the reconciling.

A server that is slow or away must not hold up the passes over other pipelines: a pass uses what is
known, asks for more, and comes again when the answer is there.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from webevents.plan.model import Plan
from webevents.spec.pipeline import WebEventPipeline
from webevents_operator.connections import shows_dashboards
from webevents_operator.external.dashboards import bring_kibana
from webevents_operator.external.tables import bring_tables
from webevents_operator.external.templates import bring_templates
from webevents_operator.external.topics import bring_topics
from webevents_operator.names import Key
from webevents_operator.objects.frame import digest
from webevents_operator.outcome import NOT_NEEDED, Outcome
from webevents_operator.queue import BACKOFF_LIMIT_S, BACKOFF_S
from webevents_operator.status import Reason

log = structlog.get_logger()

THREADS = 16


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How bringing about what is outside of Kubernetes went."""

    topics: Outcome = NOT_NEEDED
    templates: Outcome = NOT_NEEDED
    tables: Outcome = NOT_NEEDED
    dashboards: Outcome = NOT_NEEDED
    pending: bool = False
    """Whether they are still being looked at for the first time."""

    def all(self) -> tuple[Outcome, ...]:
        """Each of them."""
        return (self.topics, self.templates, self.tables, self.dashboards)


@dataclass(slots=True)
class _Memory:
    mark: str = ""
    outcomes: Outcomes | None = None
    at: float = 0.0
    failures: int = 0
    told: bool = True
    task: asyncio.Task[None] | None = None
    running: str = ""


@dataclass
class Externals:
    """What is known of each pipeline's topics, templates, tables and dashboards.

    :param interval_s: how long an answer holds.
    :param changed: told the pipeline when an answer is there.
    """

    interval_s: float
    changed: Callable[[Key], None]
    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="external")
    )
    _memory: dict[Key, _Memory] = field(default_factory=dict)

    def bring(
        self,
        key: Key,
        pipeline: WebEventPipeline,
        plan: Plan,
        secrets: object,
        *,
        topics: bool,
    ) -> Outcomes:
        """What is known, and have it looked at again where it is time.

        :param pipeline: with secrets in files that are there.
        :param secrets: changes when the secrets do.
        :param topics: whether the topics are ours to make.
        """
        memory = self._memory.setdefault(key, _Memory())
        mark = _mark(pipeline, plan, secrets)
        if memory.task is None and self._is_due(memory, mark):
            memory.running = mark
            work = self._bring(key, memory, mark, pipeline, plan, topics)
            memory.task = asyncio.create_task(work)
        if memory.outcomes is None or memory.mark != mark:
            return _pending(pipeline, plan, topics)
        if memory.told:
            return _without_news(memory.outcomes)
        memory.told = True
        return memory.outcomes

    def forget(self, key: Key) -> None:
        """A pipeline is gone."""
        self._memory.pop(key, None)

    def close(self) -> None:
        """Let go of the threads."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)

    def _is_due(self, memory: _Memory, mark: str) -> bool:
        if memory.mark != mark:
            return True
        # Passes come every interval, and in between when something changes: whatever is deleted
        # by hand is back after one and a half of it.
        pause = self.interval_s * 0.5
        if memory.failures:
            pause = min(pause, BACKOFF_LIMIT_S, BACKOFF_S * 2 ** (memory.failures - 1))
        return time.monotonic() - memory.at >= pause

    async def _bring(
        self,
        key: Key,
        memory: _Memory,
        mark: str,
        pipeline: WebEventPipeline,
        plan: Plan,
        topics: bool,
    ) -> None:
        try:
            outcomes = await self._bring_all(pipeline, plan, topics)
        except Exception as error:
            # A fault of ours, or one that a client library did not use to have.
            log.exception("not brought about", pipeline=str(key))
            wrong = Outcome(False, Reason.API_ERROR, f"{type(error).__name__}: {error}")
            outcomes = Outcomes(topics=wrong)
        finally:
            memory.task = None
        failing = any(outcome.failing for outcome in outcomes.all())
        memory.failures = min(memory.failures + 1, 20) if failing else 0
        news = outcomes != memory.outcomes or memory.mark != mark
        memory.mark, memory.outcomes, memory.at = mark, outcomes, time.monotonic()
        if news:
            memory.told = False
            self.changed(key)

    async def _bring_all(
        self, pipeline: WebEventPipeline, plan: Plan, own_topics: bool
    ) -> Outcomes:
        spec = pipeline.spec
        pairs = {spec.topics.state_name: spec.topics.enriched.name}
        topics, templates, tables, dashboards = await asyncio.gather(
            self._if(own_topics, bring_topics, spec.kafka, plan.topics, pairs),
            self._if(bool(plan.templates), bring_templates, spec.elasticsearch, plan),
            self._if(spec.store.enabled, bring_tables, spec.postgres, spec.store),
            self._if(shows_dashboards(spec), bring_kibana, pipeline),
        )
        return Outcomes(topics, templates, tables, dashboards)

    async def _if(self, needed: bool, work: Callable[..., Outcome], *arguments: Any) -> Outcome:
        if not needed:
            return NOT_NEEDED
        done: Outcome = await self.in_thread(work, *arguments)
        return done


def _mark(pipeline: WebEventPipeline, plan: Plan, secrets: object) -> str:
    """Changes when something else is to be brought about, or elsewhere."""
    spec = pipeline.spec
    connections = [
        each.model_dump_json()
        for each in (spec.kafka, spec.elasticsearch, spec.postgres, spec.kibana, spec.source)
    ]
    topics = [[t.name, t.partitions, t.replication_factor, dict(t.config)] for t in plan.topics]
    templates = [[t.name, t.body] for t in plan.templates]
    store = spec.store.model_dump_json()
    return digest([connections, topics, templates, store, list(plan.tables), str(secrets)])


def _pending(pipeline: WebEventPipeline, plan: Plan, topics: bool) -> Outcomes:
    def looking(wanted: bool, at: str) -> Outcome:
        if not wanted:
            return NOT_NEEDED
        return Outcome(False, Reason.PROGRESSING, f"Looking at {at}.")

    made = Outcomes(
        looking(topics, "Kafka"),
        looking(bool(plan.templates), "Elasticsearch"),
        looking(bool(plan.tables), "PostgreSQL"),
        looking(shows_dashboards(pipeline.spec), "Kibana"),
    )
    return replace(made, pending=any(each is not NOT_NEEDED for each in made.all()))


def _without_news(outcomes: Outcomes) -> Outcomes:
    topics, templates, tables, dashboards = (replace(each, done=()) for each in outcomes.all())
    return replace(
        outcomes, topics=topics, templates=templates, tables=tables, dashboards=dashboards
    )
