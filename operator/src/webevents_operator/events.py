"""Events: what ``kubectl describe`` and ``kubectl events`` show of a pipeline's changes."""

import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import structlog

from webevents_operator import kinds
from webevents_operator.kinds import Object
from webevents_operator.kube import ApiFailure, Cluster
from webevents_operator.status import ConditionType

log = structlog.get_logger()

_AGAIN_S = 600.0
"""The same event about the same pipeline is not told again for so long."""
_TOLD = (ConditionType.READY, ConditionType.DEGRADED)

EventType = Literal["Normal", "Warning"]


class Events:
    """Tells events; one that cannot be told is no reason to stop."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._told: dict[tuple[str, str, str], float] = {}

    async def tell_conditions(
        self, resource: Object, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        """Tell of conditions that are not what they were."""
        old = {each["type"]: each for each in before.get("conditions") or []}
        for each in after["conditions"]:
            was = old.get(each["type"], {})
            changed = (was.get("status"), was.get("reason")) != (each["status"], each["reason"])
            if each["type"] not in _TOLD or not changed:
                continue
            if each["type"] == ConditionType.DEGRADED:
                if each["status"] == "True":
                    await self.tell(resource, "Warning", each["reason"], [each["message"]])
            elif each["status"] == "True":
                await self.tell(resource, "Normal", "Ready", [each["message"]])

    async def tell(
        self, resource: Object, kind: EventType, reason: str, messages: Iterable[str]
    ) -> None:
        """Tell of something that happened, an event for each message."""
        metadata = resource["metadata"]
        for message in messages:
            mark, now = (str(metadata["uid"]), reason, message), time.monotonic()
            if now - self._told.get(mark, -_AGAIN_S) < _AGAIN_S:
                continue
            if len(self._told) > 10_000:
                self._told = {k: at for k, at in self._told.items() if now - at < _AGAIN_S}
            self._told[mark] = now
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            event = kinds.EVENT.of(
                f"{metadata['name']}.{uuid.uuid4().hex[:16]}",
                metadata["namespace"],
                involvedObject={
                    "apiVersion": kinds.PIPELINE.api_version,
                    "kind": kinds.PIPELINE.kind,
                    "name": metadata["name"],
                    "namespace": metadata["namespace"],
                    "uid": metadata["uid"],
                },
                type=kind,
                reason=reason,
                message=message[:1000],
                source={"component": "webevents-operator"},
                firstTimestamp=stamp,
                lastTimestamp=stamp,
                count=1,
            )
            try:
                await self._cluster.create(event)
            except ApiFailure as failure:
                log.debug("event not told", error=str(failure))
