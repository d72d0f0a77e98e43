"""Watches over the objects of pipelines: list once, then follow, and start again where it ends."""

import asyncio
import random
from collections.abc import Callable

import structlog

from webevents_operator import kinds, metrics, names
from webevents_operator.diff import ref_of
from webevents_operator.kinds import Kind
from webevents_operator.kube import ApiFailure, Cluster
from webevents_operator.names import Key
from webevents_operator.store import Store, owner_key

log = structlog.get_logger()

QUIET_S = 330.0
"""A watch that says nothing for longer is started again: the server itself ends one earlier, and a
connection that broke silently never says anything."""
_OURS = {names.MANAGED_BY: names.FIELD_MANAGER}


class Watches:
    """Keeps the store up with the server.

    :param namespaces: those to watch; None for all.
    :param changed: told whose objects have changed.
    :param apis: gets the optional kinds whose API the server has.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        namespaces: list[str] | None,
        changed: Callable[[Key], None],
        apis: set[str],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._namespaces: list[str | None] = list(namespaces) if namespaces else [None]
        self._changed = changed
        self._apis = apis
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    async def start(self) -> None:
        """List everything once, then follow it. Raises ApiFailure where that cannot be listed."""
        for kind in kinds.CHILDREN:
            if not kind.optional:
                await self._begin(kind)
        await self.look_for_apis()

    async def look_for_apis(self) -> set[str]:
        """Begin with kinds whose API has come since; returns those."""
        new = set()
        for kind in kinds.CHILDREN:
            if kind.optional and kind.kind not in self._apis and await self._exists(kind):
                await self._begin(kind)
                self._apis.add(kind.kind)
                new.add(kind.kind)
        return new

    async def _exists(self, kind: Kind) -> bool:
        return await self._cluster.has_api(kind, self._namespaces[0])

    async def _begin(self, kind: Kind) -> None:
        versions = {space: await self._list(kind, space) for space in self._namespaces}
        self._tasks[kind.kind] = [
            asyncio.create_task(self._follow(kind, space, version), name=f"watch {kind.plural}")
            for space, version in versions.items()
        ]

    async def _list(self, kind: Kind, namespace: str | None) -> str:
        listing, present = self._cluster.listing(kind, namespace, _OURS), set()
        async for each in listing:
            present.add((owner_key(each), ref_of(each)))
            if key := self._store.put_child(each):
                self._changed(key)
        for key in self._store.retain(kind, namespace, present):
            self._changed(key)
        return listing.version

    async def _follow(self, kind: Kind, namespace: str | None, version: str) -> None:
        failures = 0
        while True:
            try:
                await self._read(kind, namespace, version)
                failures = 0
            except (ApiFailure, TimeoutError) as error:
                if isinstance(error, ApiFailure) and error.status == 404 and kind.optional:
                    log.warning("the API is gone", kind=kind.kind)
                    self._apis.discard(kind.kind)
                    return
                failures += 1
                log.info("watch starts again", kind=kind.kind, why=str(error) or "quiet")
            metrics.WATCH_RESTARTS.labels(kind.kind).inc()
            await asyncio.sleep(min(20.0, 0.2 * 2**failures) * random.uniform(0.5, 1))
            try:
                version = await self._list(kind, namespace)
            except ApiFailure as error:
                failures += 1
                log.warning("cannot list", kind=kind.kind, why=str(error))

    async def _read(self, kind: Kind, namespace: str | None, version: str) -> None:
        changes = aiter(self._cluster.watch(kind, namespace, _OURS, version))
        while True:
            try:
                what, found = await asyncio.wait_for(anext(changes), QUIET_S)
            except StopAsyncIteration:
                return
            found |= {"apiVersion": kind.api_version, "kind": kind.kind}
            gone = what == "DELETED"
            key = self._store.remove_child(found) if gone else self._store.put_child(found)
            if key is not None:
                self._changed(key)

    @property
    def broken(self) -> list[str]:
        """Kinds whose watch has ended though it should not."""
        return [
            kind
            for kind, tasks in self._tasks.items()
            if any(task.done() for task in tasks)
            and (kind in self._apis or not kinds.BY_NAME[kind].optional)
        ]

    def stop(self) -> None:
        """End all watches."""
        for tasks in self._tasks.values():
            for task in tasks:
                task.cancel()
