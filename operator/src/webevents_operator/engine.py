"""The operator at work: events in, passes out."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from webevents_operator import kinds, metrics, names
from webevents_operator.backfills import Backfills
from webevents_operator.canary import Canary
from webevents_operator.claims import Claimant, Claims, claims_of
from webevents_operator.config import OperatorConfig
from webevents_operator.externals import Externals
from webevents_operator.kinds import Object
from webevents_operator.kube import ApiFailure, Cluster
from webevents_operator.ledgers import Ledgers
from webevents_operator.names import Key
from webevents_operator.outcome import Blocked
from webevents_operator.parse import plan_of, read
from webevents_operator.queue import Queue
from webevents_operator.reconcile import Reconciler
from webevents_operator.secrets import SecretFiles
from webevents_operator.store import Store
from webevents_operator.watch import Watches

log = structlog.get_logger()

STUCK_S = 120.0
_APIS_EVERY_S = 60.0
_LAGGING_S = 30.0
"""An event loop that is later than this is not alive."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the operator works."""

    namespaces: list[str] | None
    """Those that it watches; None for all."""
    own_namespace: str = "default"
    """Where its canary is."""
    secrets: Path = Path("/tmp/webevents-operator")  # noqa: S108 - made private when it is made


class Engine:
    """Reconciles the pipelines that it is told of."""

    def __init__(self, config: OperatorConfig, place: Place) -> None:
        self.config = config
        self.place = place
        self.store = Store()
        self.queue = Queue()
        self.canary: Canary | None = None
        self._claims = Claims()
        self._claimed: dict[Key, tuple[Any, ...]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._beat = time.monotonic()
        self._apis: set[str] = set()
        self._returning: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Learn what is there, then begin to work.

        :raises ApiFailure: where the server does not let us look.
        """
        self.cluster = Cluster()
        ledgers = Ledgers(self.config.ledger_interval.total_seconds(), self.queue.add)
        self.reconciler = Reconciler(
            self.cluster,
            self.store,
            self._claims,
            self.config,
            SecretFiles(self.place.secrets),
            Externals(self.config.resync_interval.total_seconds(), self.queue.add),
            ledgers,
            self._apis,
            self.gone,
        )
        self.watches = Watches(
            self.cluster, self.store, self.place.namespaces, self.queue.add, self._apis
        )
        # All claims are known before the first pass, so that the oldest wins from the beginning.
        spaces: list[str | None] = [*self.place.namespaces] if self.place.namespaces else [None]
        for namespace in spaces:
            async for each in self.cluster.listing(kinds.PIPELINE, namespace, {}):
                self.seen(each)
        await self.watches.start()
        self.backfills = Backfills(
            self.cluster,
            self.store,
            self.config,
            self.reconciler.observe,
            self.place.namespaces,
        )
        self._tasks = [
            *(asyncio.create_task(self._work()) for _ in range(self.config.workers)),
            asyncio.create_task(self._resync()),
            asyncio.create_task(self._beats()),
            asyncio.create_task(self.backfills.run()),
        ]
        if interval := self.config.canary_interval:
            self.canary = Canary(self.cluster, self.place.own_namespace, interval.total_seconds())
            self._tasks.append(asyncio.create_task(self.canary.run()))

    def seen(self, resource: Object) -> None:
        """A pipeline is there, or has changed."""
        key = self.store.put_pipeline(resource)
        metadata = resource["metadata"]
        if names.CANARY in (metadata.get("annotations") or {}):
            self.store.remove_pipeline(key)
            self._canaries(resource)
            return
        mark = (metadata.get("uid"), metadata.get("generation"))
        if self._claimed.get(key) != mark:
            self._claimed[key] = mark
            self._claim(key, resource)
        self.queue.add(key)

    def _canaries(self, resource: Object) -> None:
        if self.canary is not None:
            task = asyncio.create_task(self.canary.returned(resource))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    def gone(self, key: Key) -> None:
        """A pipeline is there no more."""
        self.store.remove_pipeline(key)
        self._claimed.pop(key, None)
        self._concern(self._claims.remove(key))
        self.queue.add(key)

    def _claim(self, key: Key, resource: Object) -> None:
        try:
            pipeline = read(resource, self.config)
            claims = claims_of(key, pipeline, plan_of(pipeline))
        except Blocked:
            claims = set()  # what is not valid takes nothing from others
        created = str(resource["metadata"].get("creationTimestamp", ""))
        self._concern(self._claims.put(Claimant(created, key), claims))

    def _concern(self, keys: set[Key]) -> None:
        for key in keys:
            self.queue.add(key)

    async def _work(self) -> None:
        while True:
            item = await self.queue.get()
            began = time.monotonic()
            outcome = "done"
            try:
                result = await self.reconciler.reconcile(item.key, poll=item.poll)
                if result.retry:
                    outcome = "waiting"
                    self.queue.retry(item.key)
                else:
                    self.queue.succeeded(item.key)
                if result.after is not None:
                    self.queue.add(item.key, result.after)
            except ApiFailure as failure:
                outcome = "failed"
                pause = self.queue.retry(item.key)
                log.warning("try again", pipeline=str(item.key), why=str(failure),
                            pause_s=round(pause, 1))  # fmt: skip
            except Exception:
                # A fault of ours in one pipeline must not stop the others.
                outcome = "failed"
                self.queue.retry(item.key)
                log.exception("pass failed", pipeline=str(item.key))
            finally:
                self.queue.done(item.key)
            metrics.RECONCILES.labels(outcome).inc()
            metrics.DURATION.observe(time.monotonic() - began)

    async def _resync(self) -> None:
        """Look at everything again, evenly over the interval."""
        interval = self.config.resync_interval.total_seconds()
        apis_at = 0.0
        while True:
            await asyncio.sleep(interval)
            keys = self.store.pipelines()
            for number, key in enumerate(keys):
                self.queue.add(key, number / max(len(keys), 1) * interval / 2, poll=True)
            self._count()
            if time.monotonic() - apis_at > _APIS_EVERY_S:
                apis_at = time.monotonic()
                try:
                    new = await self.watches.look_for_apis()
                except ApiFailure as failure:
                    log.info("APIs not looked for", why=str(failure))
                    continue
                if new:
                    self._concern(set(keys))

    def _count(self) -> None:
        metrics.PIPELINES.labels("true").set(self.store.ready)
        metrics.PIPELINES.labels("false").set(len(self.store.pipelines()) - self.store.ready)

    async def _beats(self) -> None:
        while True:
            self._beat = time.monotonic()
            metrics.STUCK.set(len(self.queue.stuck(STUCK_S)))
            await asyncio.sleep(1)

    def dead(self) -> str | None:
        """Why the process should be started again; None where it is alive."""
        if time.monotonic() - self._beat > _LAGGING_S:
            return f"the event loop has stood still for {_LAGGING_S:.0f} s"
        if self._tasks and any(task.done() for task in self._tasks):
            return "a worker has ended"
        if broken := self.watches.broken if self._tasks else []:
            return f"the watch of {', '.join(broken)} has ended"
        return None

    def idle(self) -> str | None:
        """Why it does not work, though it is alive; None where it does."""
        if not self._tasks:
            return "it has not begun to work"
        return self.dead() or (self.canary.lost() if self.canary else None)

    async def stop(self) -> None:
        """End the work."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.canary:
            await self.canary.remove()
        self.watches.stop()
        self.reconciler.close()
        await self.cluster.close()
