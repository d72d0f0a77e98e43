"""The end of a pipeline: what its deletion policy says is removed before the resource goes."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from webevents.plan.model import Plan
from webevents.spec.pipeline import WebEventPipeline
from webevents_operator import kinds, names
from webevents_operator.diff import Ref
from webevents_operator.external.tables import drop_tables
from webevents_operator.external.templates import delete_indices
from webevents_operator.external.topics import delete_topics
from webevents_operator.kinds import Object
from webevents_operator.kube import ApiFailure, Cluster
from webevents_operator.names import Key
from webevents_operator.objects.strimzi import strimzi_namespace
from webevents_operator.outcome import Outcome
from webevents_operator.status import Reason
from webevents_operator.store import Store

log = structlog.get_logger()

_WRITERS = (*kinds.RUNNING, kinds.JOB.kind)
_STRIMZI = (kinds.KAFKA_TOPIC.kind, kinds.KAFKA_USER.kind)
_WAY_OUT = (
    "to let go without cleaning up, set spec.deletionPolicy to Retain, or remove the finalizer "
    f"{names.FINALIZER}"
)


def needs_finalizer(key: Key, pipeline: WebEventPipeline) -> bool:
    """Whether the server's own garbage collection is not enough."""
    spec, policy = pipeline.spec, pipeline.spec.deletion_policy
    strimzi = spec.kafka.strimzi
    elsewhere = strimzi is not None and strimzi_namespace(strimzi, key) != key.namespace
    return (
        elsewhere
        or (policy.topics == "Delete" and strimzi is None)
        or (policy.indices == "Delete" and spec.index.enabled)
        or (policy.tables == "Delete" and spec.store.enabled)
    )


class Finalizer:
    """Holds pipelines back until they are cleaned up.

    :param in_thread: runs a function that blocks.
    """

    def __init__(
        self, cluster: Cluster, store: Store, in_thread: Callable[..., Awaitable[Any]]
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._in_thread = in_thread

    async def hold(self, resource: Object, *, wanted: bool) -> None:
        """Set the finalizer where it is needed, and take it off where it is not any more."""
        there = names.FINALIZER in (resource["metadata"].get("finalizers") or [])
        if wanted != there:
            await self._set(resource, wanted=wanted)

    async def let_go(self, resource: Object) -> None:
        """Let the resource go."""
        await self._set(resource, wanted=False)

    async def _set(self, resource: Object, *, wanted: bool) -> None:
        metadata = resource["metadata"]
        others = [each for each in metadata.get("finalizers") or [] if each != names.FINALIZER]
        patch = {
            "metadata": {
                # Refused where somebody else has changed the list meanwhile.
                "resourceVersion": metadata["resourceVersion"],
                "finalizers": [*others, *([names.FINALIZER] if wanted else [])],
            }
        }
        ref = Ref(kinds.PIPELINE.kind, metadata["namespace"], metadata["name"])
        try:
            await self._cluster.merge(ref, patch)
        except ApiFailure as failure:
            if failure.status != 404:
                raise

    async def clean_up(
        self,
        resource: Object,
        pipeline: WebEventPipeline,
        reachable: WebEventPipeline,
        plan: Plan,
    ) -> Outcome | None:
        """Do the next step; None once the resource was let go.

        :param pipeline: as it was asked for.
        :param reachable: with all connections, and secrets in files that are there.
        """
        key = Key(resource["metadata"]["namespace"], resource["metadata"]["name"])
        if not needs_finalizer(key, pipeline):
            await self.let_go(resource)
            return None
        if waiting := await self._stop_writers(key):
            return waiting
        for outcome in await self._remove(key, pipeline, reachable, plan):
            if not outcome.ok:
                message = f"Cannot clean up: {outcome.message}; {_WAY_OUT}"
                return Outcome(False, Reason.DELETING, message)
        log.info("cleaned up", pipeline=str(key))
        await self.let_go(resource)
        return None

    async def _stop_writers(self, key: Key) -> Outcome | None:
        """Workloads go first: they would make again, or write to, what is removed."""
        for ref in self._store.children(key):
            if ref.kind in _WRITERS:
                await self._cluster.delete(ref)
        own = {names.MANAGED_BY: names.FIELD_MANAGER, names.PIPELINE: key.name}
        pods, _ = await self._cluster.list(kinds.POD, key.namespace, own)
        if not pods:
            return None
        return Outcome(False, Reason.DELETING, f"Waiting for {len(pods)} pods to end.")

    async def _remove(
        self, key: Key, pipeline: WebEventPipeline, reachable: WebEventPipeline, plan: Plan
    ) -> list[Outcome]:
        spec, policy = reachable.spec, pipeline.spec.deletion_policy
        done: list[Outcome] = []
        if pipeline.spec.kafka.strimzi:
            for ref in self._store.children(key):
                retained = ref.kind == kinds.KAFKA_TOPIC.kind and policy.topics == "Retain"
                if ref.kind in _STRIMZI and not retained:
                    await self._cluster.delete(ref)
        elif policy.topics == "Delete":
            topics = [topic.name for topic in plan.topics]
            done.append(await self._in_thread(delete_topics, spec.kafka, topics))
        if policy.indices == "Delete" and spec.index.enabled:
            done.append(await self._in_thread(delete_indices, spec.elasticsearch, plan))
        if policy.tables == "Delete" and spec.store.enabled:
            done.append(await self._in_thread(drop_tables, spec.postgres, spec.store))
        return done
