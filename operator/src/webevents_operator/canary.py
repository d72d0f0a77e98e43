"""A resource of the operator's own that it reconciles to prove that it works.

Its annotation is written; the change must come back through the watch, and its status is written
as that of any other. It wants nothing, and no other pipeline is touched.
"""

import asyncio
import os
import time
from datetime import UTC, datetime

import structlog

from webevents_operator import kinds, metrics, names
from webevents_operator.diff import Ref
from webevents_operator.kinds import Object
from webevents_operator.kube import ApiFailure, Cluster

log = structlog.get_logger()

NAME = "webevents-canary"
_ROUNDS_MISSED = 3


class Canary:
    """Sends the canary and watches for its return.

    :param interval_s: how often.
    """

    def __init__(self, cluster: Cluster, namespace: str, interval_s: float) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._interval_s = interval_s
        self._sent = ""
        self._returned_at = time.monotonic()

    async def run(self) -> None:
        """Send it until cancelled."""
        try:
            while True:
                self._sent = datetime.now(UTC).isoformat()
                try:
                    await self._cluster.apply(self._resource(), force=True)
                except ApiFailure as failure:
                    log.warning("canary not sent", why=str(failure))
                await asyncio.sleep(self._interval_s)
        finally:
            metrics.CANARY.set(-1)

    async def returned(self, resource: Object) -> None:
        """The canary has come back through the watch."""
        stamp = resource["metadata"]["annotations"][names.CANARY]
        known = (resource.get("status") or {}).get("conditions") or []
        told = known[0]["message"] if known else ""
        if stamp == self._sent and told == stamp:
            self._returned_at = time.monotonic()
            metrics.CANARY.set(0)
        elif stamp == self._sent:
            try:
                await self._cluster.apply_status(
                    kinds.PIPELINE, self._namespace, NAME, _status(resource, stamp)
                )
            except ApiFailure as failure:
                log.warning("canary not answered", why=str(failure))

    def lost(self) -> str | None:
        """Why the operator does not work; None where it does."""
        age = time.monotonic() - self._returned_at
        metrics.CANARY.set(age)
        if age > _ROUNDS_MISSED * self._interval_s:
            return f"the canary has not come back for {age:.0f} s"
        return None

    async def remove(self) -> None:
        """Take the canary away."""
        try:
            await self._cluster.delete(Ref(kinds.PIPELINE.kind, self._namespace, NAME))
        except ApiFailure as failure:
            log.info("canary not removed", why=str(failure))

    def _resource(self) -> Object:
        return kinds.PIPELINE.of(
            NAME,
            self._namespace,
            metadata={"annotations": {names.CANARY: self._sent}, **_owner()},
            spec={"paused": True},
        )


def _owner() -> Object:
    """The operator's own pod, where it runs in one: the canary goes with it, also where a release
    is uninstalled and the operator may not remove it any more."""
    name, uid = os.environ.get("POD_NAME"), os.environ.get("POD_UID")
    if not name or not uid:
        return {}
    owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
    return {"ownerReferences": [owner]}


def _status(resource: Object, stamp: str) -> Object:
    generation = resource["metadata"].get("generation", 0)
    return {
        "observedGeneration": generation,
        "paused": True,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "AsWanted",
                "message": stamp,
                "observedGeneration": generation,
                "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        ],
    }
