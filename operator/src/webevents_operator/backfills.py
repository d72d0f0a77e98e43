"""Backfills: a WebEventBackfill -> a Job that runs it, and its state in Kafka -> its status."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from confluent_kafka import KafkaException
from pydantic import ValidationError

from webevents.errors import UserError
from webevents.operations.backfill.layout import check
from webevents.operations.backfill.run import Backfill
from webevents.operations.backfill.state import ENDED, State, ended_before
from webevents.plan.make import make_plan
from webevents.spec.backfill import WebEventBackfill
from webevents.spec.kafka import TOOLS
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.secrets import SecretRef
from webevents_operator import kinds, metrics, names
from webevents_operator.config import OperatorConfig
from webevents_operator.crd.backfill import BackfillIndexStatus, BackfillStatus
from webevents_operator.diff import Ref
from webevents_operator.kinds import Object
from webevents_operator.kube import ApiFailure, Cluster
from webevents_operator.names import Key
from webevents_operator.objects.backfill import backfill_objects
from webevents_operator.objects.frame import Frame
from webevents_operator.outcome import Blocked
from webevents_operator.parse import read
from webevents_operator.status import Condition, Reason
from webevents_operator.store import Store

log = structlog.get_logger()

LOOK_EVERY_S = 5.0
"""How often backfills are looked at: they are few, and each is a request to Kafka."""
COMPLETE = "Complete"

_TOLD = {
    "planned": (Reason.PROGRESSING, "Its job is about to begin."),
    "reading": (Reason.PROGRESSING, "Raw events are read and indexed anew."),
    "read": (Reason.PROGRESSING, "The new indices are compared with the old ones."),
    "compared": (Reason.PAUSED, "The new indices are ready: set spec.swap to true to swap them."),
    "swapping": (Reason.PROGRESSING, "The new indices take the old ones' places."),
    "done": (Reason.AS_WANTED, "The new indices stand in the old ones' places."),
    "aborted": (Reason.DELETING, "It was given up; the old indices are as they were."),
}


class Facts(Protocol):
    """A pipeline as it is on the cluster."""

    pipeline: WebEventPipeline
    reachable: WebEventPipeline
    secrets: dict[SecretRef, str]


Observe = Callable[[Key, WebEventPipeline], Awaitable[Facts]]


class Backfills:
    """Looks at all backfills, again and again.

    :param observe: finds a pipeline's connections and secrets.
    :param namespaces: those that are watched; None for all.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        config: OperatorConfig,
        observe: Observe,
        namespaces: list[str] | None,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._config = config
        self._observe = observe
        self._namespaces: list[str | None] = [*namespaces] if namespaces else [None]

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """One pass over all backfills; a fault in one does not stop the others."""
        reasons: Counter[str] = Counter()
        for namespace in self._namespaces:
            try:
                found, _ = await self._cluster.list(kinds.BACKFILL, namespace, {})
            except ApiFailure as failure:
                if failure.status not in (403, 404):  # else nobody gave us the API, or the right
                    log.warning("backfills not looked at", why=str(failure))
                continue
            for resource in found:
                name = f"{resource['metadata']['namespace']}/{resource['metadata']['name']}"
                try:
                    reasons[await self._one(resource)] += 1
                except ApiFailure as failure:
                    log.warning("try again", backfill=name, why=str(failure))
                except Exception:
                    log.exception("pass failed", backfill=name)
        metrics.BACKFILLS.clear()
        for reason, count in reasons.items():
            metrics.BACKFILLS.labels(reason).set(count)

    async def _one(self, resource: Object) -> str:
        """One pass over one backfill; the reason of its condition."""
        status = resource.get("status") or {}
        deleted = bool(resource["metadata"].get("deletionTimestamp"))
        fresh = status.get("observedGeneration") == resource["metadata"].get("generation")
        if status.get("phase") in ENDED and fresh and not deleted:
            await self._hold(resource, wanted=False)
            return _reason(status)
        try:
            made = await self._bring_about(resource, deleted=deleted)
        except Blocked as blocked:
            made = _status(resource, None, blocked.reason, blocked.message)
        except UserError as error:
            made = _status(resource, None, Reason.INVALID_SPEC, str(error))
        except KafkaException as error:
            made = _status(resource, None, Reason.KAFKA_UNAVAILABLE, error.args[0].str())
        if made is None:
            return Reason.DELETING
        if made != status:
            metadata = resource["metadata"]
            try:
                await self._cluster.apply_status(
                    kinds.BACKFILL, metadata["namespace"], metadata["name"], made
                )
            except ApiFailure as failure:
                if failure.status != 404:  # deleted meanwhile
                    raise
        return _reason(made)

    async def _bring_about(self, resource: Object, *, deleted: bool) -> Object | None:
        """Make what is wanted; the status, or None where the resource was let go."""
        metadata = resource["metadata"]
        held = names.FINALIZER in (metadata.get("finalizers") or [])
        if deleted and not held:
            return None
        try:
            wanted = WebEventBackfill.model_validate(
                {k: resource[k] for k in ("metadata", "spec") if k in resource}
                | {"apiVersion": kinds.BACKFILL.api_version, "kind": kinds.BACKFILL.kind}
            )
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors())
            raise Blocked(Reason.INVALID_SPEC, told) from None
        key = Key(metadata["namespace"], wanted.spec.pipeline)
        owner = self._store.pipeline(key)
        if owner is None:
            if deleted:
                # Where its topics and indices are can no longer be told.
                await self._hold(resource, wanted=False)
                return None
            raise Blocked(
                Reason.DEPENDENCY_MISSING, f"There is no WebEventPipeline {key}: correct it"
            )
        facts = await self._observe(key, read(owner, self._config))
        backfill = Backfill(facts.reachable.logged_in_as(TOOLS), wanted.name)
        state = await asyncio.to_thread(backfill.state)
        made_at = str(metadata["creationTimestamp"])
        if state is not None and ended_before(state, made_at):
            state = None  # of a resource of the same name that is gone
        if deleted:
            return await self._give_up(resource, backfill, state)
        if state is None:
            check(facts.reachable, wanted.spec, datetime.now(UTC))
        elif state.phase in ENDED:
            await self._hold(resource, wanted=False)
            return _status(resource, state, *_TOLD[state.phase])
        await self._hold(resource, wanted=True)
        frame = Frame(
            key=key,
            uid=str(metadata["uid"]),
            pipeline=facts.pipeline,
            plan=make_plan(facts.pipeline),
            config=self._config,
            secrets=facts.secrets,
        )
        failed = await self._apply(resource, backfill_objects(frame, wanted, made_at))
        if state is None:
            return _status(resource, None, *_TOLD["planned"])
        if state.stopped:
            return _status(resource, state, Reason.PAUSED, f"Stopped: {state.stopped}")
        if failed:
            return _status(resource, state, Reason.PODS_FAILING, failed)
        return _status(resource, state, *_TOLD[state.phase])

    async def _apply(self, resource: Object, wanted: list[Object]) -> str:
        """Make the objects that are not there, and remove jobs of other settings.

        :returns: why the job has failed for good; empty where it has not.
        """
        namespace = resource["metadata"]["namespace"]
        label = {names.BACKFILL: resource["metadata"]["name"]}
        jobs, _ = await self._cluster.list(kinds.JOB, namespace, label)
        there = {job["metadata"]["name"]: job for job in jobs}
        current = {each["metadata"]["name"] for each in wanted if each["kind"] == kinds.JOB.kind}
        for name in there.keys() - current:
            await self._cluster.delete(Ref(kinds.JOB.kind, namespace, name))
        # What runs keeps its settings, also where the pipeline's change meanwhile.
        for each in wanted if not current <= there.keys() else ():
            await self._cluster.apply(each, force=True)
        for name in current & there.keys():
            for each in (there[name].get("status") or {}).get("conditions") or []:
                if each["type"] == "Failed" and each["status"] == "True":
                    return (
                        f"The job {name} has given up ({each.get('message', '')}): see its pods' "
                        "logs, mend it, and delete the job to have it tried again"
                    )
        return ""

    async def _give_up(
        self, resource: Object, backfill: Backfill, state: State | None
    ) -> Object | None:
        """Clean up behind a backfill that is deleted before its end."""
        namespace = resource["metadata"]["namespace"]
        label = {names.BACKFILL: resource["metadata"]["name"]}
        jobs, _ = await self._cluster.list(kinds.JOB, namespace, label)
        for job in jobs:
            await self._cluster.delete(Ref(kinds.JOB.kind, namespace, job["metadata"]["name"]))
        pods, _ = await self._cluster.list(kinds.POD, namespace, label)
        if any((pod.get("status") or {}).get("phase") in ("Pending", "Running") for pod in pods):
            return _status(resource, state, Reason.DELETING, "Its pods are stopped.")
        if state is not None and state.phase not in ENDED:
            # A swap that has begun only goes forward, and takes no time.
            act: Callable[[], Any] = backfill.abort
            if state.phase == "swapping":
                act = lambda: backfill.run(None)  # noqa: E731
            await asyncio.to_thread(act)
        await self._hold(resource, wanted=False)
        return None

    async def _hold(self, resource: Object, *, wanted: bool) -> None:
        """Set the finalizer, or take it off."""
        metadata = resource["metadata"]
        there = metadata.get("finalizers") or []
        if (names.FINALIZER in there) == wanted:
            return
        others = [each for each in there if each != names.FINALIZER]
        patch = {
            "metadata": {
                "resourceVersion": metadata["resourceVersion"],
                "finalizers": [*others, *([names.FINALIZER] if wanted else [])],
            }
        }
        ref = Ref(kinds.BACKFILL.kind, metadata["namespace"], metadata["name"])
        try:
            await self._cluster.merge(ref, patch)
        except ApiFailure as failure:
            if failure.status != 404:
                raise


def _reason(status: Mapping[str, Any]) -> str:
    return next((str(each["reason"]) for each in status.get("conditions") or []), "")


def _status(resource: Object, state: State | None, reason: Reason, message: str) -> Object:
    """The status; the time of the condition's last change is kept."""
    before = resource.get("status") or {}
    generation = int(resource["metadata"].get("generation", 0))
    is_so = "True" if state is not None and state.phase == "done" else "False"
    known: Object = next((each for each in before.get("conditions") or []), {})
    changed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if known.get("status") == is_so:
        changed = known.get("lastTransitionTime", changed)
    made = BackfillStatus(
        observed_generation=generation,
        phase=state.phase if state else None,
        conditions=(
            Condition(
                type=COMPLETE,
                status=is_so,
                reason=str(reason),
                message=message,
                observed_generation=generation,
                last_transition_time=changed,
            ),
        ),
        started_at=state.started_at if state else None,
        ended_at=(state.ended_at or None) if state else None,
        indices=tuple(_index(each) for each in state.indices) if state else (),
    )
    whole: Object = json.loads(made.model_dump_json(by_alias=True, exclude_none=True))
    return whole


def _index(state: Any) -> BackfillIndexStatus:
    found = state.compared
    counts = (
        {}
        if found is None
        else {name: getattr(found, name) for name in ("old", "new", "changed", "missing", "extra")}
    )
    return BackfillIndexStatus(name=state.name, index=state.shadow, swapped=state.swapped, **counts)
