"""Lag, rates and the ledger's verdict, read from Kafka beside the reconciling."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import structlog
from confluent_kafka import KafkaException

from webevents.connectors.kafka import client_config
from webevents.connectors.kafka_observe import Observer
from webevents.errors import UserError
from webevents.plan.ledger import PipelineLedger, observe
from webevents.plan.model import Plan
from webevents.spec.base import Model
from webevents.spec.kafka import KafkaSpec
from webevents_operator.conditions import LedgerLook
from webevents_operator.names import Key

log = structlog.get_logger()

_THREADS = 4
_LONGEST = 4
"""So many intervals at most pass before what could not be read is asked for again."""


@dataclass(slots=True)
class _Server:
    """What is known of a Kafka, whoever asked."""

    answered: float = float("-inf")
    failures: int = 0
    away_until: float = 0.0


@dataclass(slots=True)
class _Memory:
    kafka: KafkaSpec
    plan: Plan
    asked_at: float
    failures: int = 0
    looked_at: float = 0.0
    received: dict[str, int] = field(default_factory=dict)
    look: LedgerLook | None = None
    task: asyncio.Task[None] | None = None


class Ledgers:
    """The newest look at each pipeline's ledger.

    :param interval_s: how long a look holds.
    :param changed: told the pipeline when a new look is there.
    """

    def __init__(self, interval_s: float, changed: Callable[[Key], None]) -> None:
        self._interval_s = interval_s
        self._changed = changed
        self._memory: dict[Key, _Memory] = {}
        self._servers: defaultdict[str | None, _Server] = defaultdict(_Server)
        self._slots = asyncio.Semaphore(_THREADS)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="ledger")

    def look(self, key: Key) -> LedgerLook | None:
        """What was seen last."""
        memory = self._memory.get(key)
        return memory.look if memory else None

    def ask(self, key: Key, kafka: KafkaSpec, plan: Plan) -> None:
        """Look again where it is time, without waiting for it.

        :param kafka: with secrets in files that are there.
        """
        memory = self._memory.get(key)
        if memory is None:
            started = time.monotonic() - self._interval_s
            memory = self._memory[key] = _Memory(kafka, _observed(plan), started)
        memory.kafka, memory.plan = kafka, _observed(plan)
        self.again(key)

    def again(self, key: Key) -> None:
        """Look again where it is time, as was asked last."""
        memory, now = self._memory.get(key), time.monotonic()
        if memory is None or memory.task is not None:
            return
        server = self._servers[memory.kafka.bootstrap_servers]
        if now < max(memory.asked_at + self._pause(memory.failures), server.away_until):
            return
        memory.asked_at = now
        server.away_until = now + self._pause(server.failures) if server.failures else 0.0
        memory.task = asyncio.create_task(self._look(key, memory, server))

    def _pause(self, failures: int) -> float:
        return self._interval_s * float(min(2**failures, _LONGEST))

    def forget(self, key: Key) -> None:
        """A pipeline is gone."""
        self._memory.pop(key, None)

    def close(self) -> None:
        """Take no more looks."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _look(self, key: Key, memory: _Memory, server: _Server) -> None:
        failures = server.failures
        try:
            async with self._slots:
                if server.failures > failures:
                    return  # another one has seen meanwhile that it is away
                loop = asyncio.get_running_loop()
                ledger = await loop.run_in_executor(self._pool, _read, memory.kafka, memory.plan)
            memory.failures = server.failures = 0
            server.answered, server.away_until = time.monotonic(), 0.0
        except (KafkaException, UserError) as error:
            # The condition of the topics tells that Kafka is away; the last look goes on to hold.
            log.debug("ledger not read", pipeline=str(key), error=str(error))
            memory.failures += 1
            self._not_answered(server, error)
            return
        finally:
            memory.task = None
        now = time.monotonic()
        received = {name: view.counts().received for name, view in ledger.groups.items()}
        rates = {}
        if memory.looked_at:
            span = now - memory.looked_at
            rates = {
                name: max(count - memory.received.get(name, count), 0) / span
                for name, count in received.items()
            }
        memory.looked_at, memory.received = now, received
        before, memory.look = memory.look, LedgerLook(ledger, rates)
        if before != memory.look:
            self._changed(key)

    def _not_answered(self, server: _Server, error: Exception) -> None:
        """Ask a Kafka that is away less often, on behalf of all pipelines that are on it.

        Codes below 0 are the client's own: no broker has answered. Where one has answered others,
        the log-in of this pipeline is at fault.
        """
        local = isinstance(error, KafkaException) and error.args[0].code() < 0
        now = time.monotonic()
        if local and now - server.answered > 2 * self._interval_s:
            server.failures += 1
            server.away_until = now + self._pause(server.failures)


def _observed(plan: Plan) -> Plan:
    """What is observed of a plan, without the settings: it is kept for every pipeline."""
    none = Model()
    workloads = [replace(each, settings=none, command=(), live={}) for each in plan.workloads]
    return Plan(plan.pipeline, topics=(), templates=(), workloads=workloads)


def _read(kafka: KafkaSpec, plan: Plan) -> PipelineLedger:
    observer = Observer(client_config(kafka))
    try:
        return observe(plan, observer)
    finally:
        observer.close()
