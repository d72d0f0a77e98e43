"""One pass over one pipeline: observe, plan, compare, apply; and what is to be said about it.

What decides is pure (``parse``, ``connections``, ``objects``, ``diff``, ``conditions``); here is
fetched what they need, and carried out what they say.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import structlog

from webevents.plan.model import Workload
from webevents.spec.kafka import OPERATOR, TOOLS
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.secrets import SecretRef, references, with_secrets_in
from webevents_operator import kinds, names
from webevents_operator.apply import Applier
from webevents_operator.claims import Claims
from webevents_operator.collecting import collector_view
from webevents_operator.conditions import Seen, make_status, strimzi_outcome
from webevents_operator.config import OperatorConfig
from webevents_operator.connections import through_strimzi
from webevents_operator.diff import Apply, Ref, diff, ref_of
from webevents_operator.events import Events
from webevents_operator.externals import Externals, Outcomes
from webevents_operator.finalize import Finalizer, needs_finalizer
from webevents_operator.kinds import Object
from webevents_operator.kube import ApiFailure, Cluster
from webevents_operator.ledgers import Ledgers
from webevents_operator.names import Key
from webevents_operator.objects.desired import desired_objects
from webevents_operator.objects.frame import Frame
from webevents_operator.objects.strimzi import strimzi_namespace, strimzi_objects
from webevents_operator.objects.workloads import known_partitions, known_replicas, scaled
from webevents_operator.outcome import Blocked, Outcome
from webevents_operator.parse import is_paused, plan_of, read
from webevents_operator.pods import problems
from webevents_operator.secrets import SecretFiles, entries, fingerprint
from webevents_operator.status import Reason
from webevents_operator.store import Store

log = structlog.get_logger()

_STARTING = (*kinds.RUNNING, kinds.JOB.kind)
LOOK_AGAIN_S = 10.0
"""While pods are on their way, how often it is looked why they are not ready."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a pass ended."""

    after: float | None = None
    """Come again in so many seconds, though nothing changes."""
    retry: bool = False
    """Come again soon, and later each time: something failed."""


@dataclass(slots=True)
class Facts:
    """What was observed for a pipeline."""

    asked: WebEventPipeline
    """As it was asked for."""
    pipeline: WebEventPipeline
    """With all connections; secrets as references."""
    reachable: WebEventPipeline
    """The same with secrets in files that the operator has."""
    secrets: dict[SecretRef, str]
    kafka_authorization: bool = False


@dataclass(slots=True)
class _Memory:
    changes: int = 0
    """Of the store, when the last pass ended."""
    polled: bool = True
    """Whether something outside of the watches has to be looked at."""
    settled: bool = False


@dataclass
class Reconciler:
    """Reconciles pipelines.

    :param apis: kinds whose API the server has, of those that are optional; kept up elsewhere.
    :param gone: told of a pipeline that went without a watch telling of it.
    """

    cluster: Cluster
    store: Store
    claims: Claims
    config: OperatorConfig
    secret_files: SecretFiles
    externals: Externals
    ledgers: Ledgers
    apis: set[str]
    gone: Callable[[Key], None]
    _memory: dict[Key, _Memory] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._events = Events(self.cluster)
        self._applier = Applier(self.cluster, self.store)
        self._finalizer = Finalizer(self.cluster, self.store, self.externals.in_thread)

    async def reconcile(self, key: Key, *, poll: bool = False) -> Result:
        """One pass over a pipeline.

        :param poll: nothing is known to have changed; it is only time to look again.
        :raises ApiFailure: where the API server did not do what was asked; try again.
        """
        memory = self._memory.setdefault(key, _Memory())
        known = memory.settled and memory.changes == self.store.changes(key)
        if poll and known and not memory.polled and self.store.has_pipeline(key):
            self.ledgers.again(key)
            return Result()
        resource = self.store.pipeline(key)
        if resource is None:
            self._forget(key)
            return Result()
        memory.settled = False
        seen, result = await self._look(key, resource, memory)
        if seen is not None:
            await self._say(resource, seen)
            memory.settled = not result.retry and result.after is None
        memory.changes = self.store.changes(key)
        return result

    def _forget(self, key: Key) -> None:
        self._memory.pop(key, None)
        self._applier.forget(key)
        self.externals.forget(key)
        self.ledgers.forget(key)
        self.secret_files.forget(key)

    async def _look(
        self, key: Key, resource: Object, memory: _Memory
    ) -> tuple[Seen | None, Result]:
        seen = Seen(
            key=key,
            generation=int(resource["metadata"].get("generation", 0)),
            now=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            paused=is_paused(resource),
            children=self.store.children(key),
        )
        try:
            if resource["metadata"].get("deletionTimestamp"):
                return await self._delete(key, resource, seen)
            pipeline = read(resource, self.config)
            if conflicts := self.claims.conflicts(key):
                for owner in {conflict.owner for conflict in conflicts}:
                    await self._leave(owner)
                told = "; ".join(map(str, conflicts[:3]))
                message = f"{told}: use other names, or delete one of the pipelines"
                raise Blocked(Reason.RESOURCE_CONFLICT, message)
            facts = await self.observe(key, pipeline)
            return await self._bring_about(key, resource, facts, seen, memory)
        except Blocked as blocked:
            # Secrets and servers come without a watch telling of it.
            memory.polled = True
            outcome = Outcome(False, blocked.reason, blocked.message)
            return replace(seen, blocked=outcome), Result()

    async def _delete(self, key: Key, resource: Object, seen: Seen) -> tuple[Seen | None, Result]:
        """Clean up behind a pipeline that goes; its status only tells what holds it back."""
        if names.FINALIZER not in (resource["metadata"].get("finalizers") or []):
            return None, Result()
        try:
            facts = await self.observe(key, read(resource, self.config))
        except Blocked as blocked:
            if blocked.reason is not Reason.INVALID_SPEC:
                raise
            # What it once meant cannot be told any more: everything is left where it is.
            await self._finalizer.let_go(resource)
            return None, Result()
        if self.claims.conflicts(key):
            # Its topics or indices are an older pipeline's: they are not its to remove.
            await self._finalizer.let_go(resource)
            return None, Result()
        held = await self._finalizer.clean_up(
            resource, facts.asked, facts.reachable, plan_of(facts.reachable)
        )
        if held is None:
            return None, Result()
        return replace(seen, blocked=held), Result(retry=True)

    async def observe(self, key: Key, asked: WebEventPipeline) -> Facts:
        """What a pipeline needs to know of other objects: Strimzi's Kafka, and secrets.

        :raises Blocked: where one is missing.
        """
        authorization, pipeline = False, asked
        if strimzi := asked.spec.kafka.strimzi:
            kafka = await self.cluster.get(
                kinds.KAFKA, strimzi_namespace(strimzi, key), strimzi.cluster
            )
            pipeline = through_strimzi(pipeline, key, kafka)
            brokers = ((kafka or {}).get("spec") or {}).get("kafka") or {}
            authorization = (brokers.get("authorization") or {}).get("type") == "simple"
        # What pods log in with is hashed, so that they roll when it changes; the operator takes
        # only its own.
        own = _references(pipeline, (OPERATOR, TOOLS))
        accounts: list[str] = []
        if pipeline.logged_in_as(OPERATOR) is not pipeline:
            accounts = [workload.name for workload in plan_of(pipeline).workloads]
        refs = sorted({*own, *_references(pipeline, accounts)})
        found = {
            name: await self.cluster.get(kinds.SECRET, key.namespace, name)
            for name in sorted({ref.name for ref in refs})
        }
        # Strimzi makes these once it has seen our KafkaUsers: they are waited for.
        strimzis = set()
        if strimzi:
            everybody = (OPERATOR, TOOLS, *accounts)
            strimzis = {ref.name for ref in _references(pipeline, everybody, only_kafka=True)}
        awaited = [ref for ref in refs if found[ref.name] is not None or ref.name not in strimzis]
        values = entries(awaited, found, key.namespace)
        files = {ref: value for ref, value in values.items() if ref in own}
        folder = await asyncio.to_thread(self.secret_files.write, key, files)
        return Facts(
            asked,
            pipeline,
            with_secrets_in(pipeline, folder),
            {ref: fingerprint(value) for ref, value in values.items()},
            authorization,
        )

    async def _bring_about(
        self, key: Key, resource: Object, facts: Facts, seen: Seen, memory: _Memory
    ) -> tuple[Seen, Result]:
        pipeline, plan = facts.pipeline, plan_of(facts.pipeline)
        strimzi = facts.asked.spec.kafka.strimzi
        # Whether anything is needed that no watch tells of.
        # Dashboards come with templates.
        memory.polled = strimzi is None or bool(plan.templates or plan.tables or facts.secrets)
        if seen.paused:
            known = Outcome(True, Reason.PAUSED, "Not looked at.")
            outcomes = Outcomes(known, known, known, known)
        else:
            await self._finalizer.hold(resource, wanted=needs_finalizer(key, facts.asked))
            outcomes = self.externals.bring(
                key, facts.reachable, plan, facts.secrets, topics=strimzi is None
            )
        frame = Frame(
            key=key,
            uid=str(resource["metadata"]["uid"]),
            pipeline=pipeline,
            plan=plan,
            config=self.config,
            strimzi=strimzi,
            partitions=known_partitions(seen.children),
            replicas=known_replicas(seen.children) if _is_autoscaled(pipeline) else {},
            secrets=facts.secrets,
            apis=frozenset(self.apis),
            kafka_authorization=facts.kafka_authorization,
        )
        outcomes = self._with_strimzi(frame, outcomes)
        frame = replace(frame, partitions={**frame.partitions, **outcomes.topics.partitions})
        refused = None
        if not seen.paused:
            refused = await self._apply(frame, outcomes)
            outcomes = self._with_strimzi(frame, outcomes)
            if outcomes.topics.ok:
                self.ledgers.ask(key, facts.reachable.spec.kafka, plan)
        children = self.store.children(key)
        seen = replace(
            seen,
            topics=outcomes.topics,
            templates=outcomes.templates,
            tables=outcomes.tables,
            dashboards=outcomes.dashboards,
            refused=refused,
            workloads=plan.workloads,
            collector=collector_view(frame),
            capped=_capped(frame),
            children=children,
            pod_problems=await self._pod_problems(key, children),
            look=self.ledgers.look(key),
            pending=outcomes.pending,
        )
        for outcome in outcomes.all():
            await self._events.tell(resource, "Normal", "Changed", outcome.done)
        failing = any(each.failing for each in outcomes.all()) or refused is not None
        moving = not failing and _moving(children)
        return seen, Result(after=LOOK_AGAIN_S if moving else None, retry=failing)

    def _with_strimzi(self, frame: Frame, outcomes: Outcomes) -> Outcomes:
        """Where Strimzi makes the topics, how far it has come."""
        strimzi = frame.strimzi
        if strimzi is None:
            return outcomes
        wanted = [ref_of(each) for each in strimzi_objects(frame)]
        namespace = strimzi_namespace(strimzi, frame.key)
        children = self.store.children(frame.key)
        return replace(outcomes, topics=strimzi_outcome(wanted, children, namespace))

    async def _apply(self, frame: Frame, outcomes: Outcomes) -> Outcome | None:
        """Write what differs; returns why the API server refused an object."""
        found = self.store.children(frame.key)
        topics = outcomes.topics
        waits = {"index": outcomes.templates, "store": outcomes.tables}
        wanted = []
        for each in desired_objects(frame):
            workload = each["metadata"]["labels"].get(names.WORKLOAD, "")
            starts = each["kind"] in _STARTING and ref_of(each) not in found
            # What has never run waits until what it needs is there; what runs is kept as wanted.
            if starts and not (topics.ok and waits.get(workload, topics).ok):
                continue
            wanted.append(each)
        retain = frame.pipeline.spec.deletion_policy.topics == "Retain"
        actions = diff(wanted, found, retain_topics=retain)
        creates = any(isinstance(each, Apply) and each.created for each in actions)
        if creates and await self._leave(frame.key):
            return None
        return await self._applier.carry_out(frame, actions)

    async def _leave(self, key: Key) -> bool:
        """Take leave of a pipeline that is there no more.

        A watch that was broken off for long begins anew without telling of what went meanwhile;
        objects would be made, and collected by the server, over and over.
        """
        known = self.store.pipeline(key)
        there = await self.cluster.get(kinds.PIPELINE, key.namespace, key.name)
        if known is None or (there and there["metadata"]["uid"] == known["metadata"]["uid"]):
            return False
        now = self.store.pipeline(key)
        if now and now["metadata"]["uid"] == known["metadata"]["uid"]:
            log.warning("it went while nobody watched", pipeline=str(key))
            self.gone(key)
        return True

    async def _pod_problems(self, key: Key, children: dict[Ref, Object]) -> dict[str, str]:
        if not _moving(children):
            return {}
        own = {names.MANAGED_BY: names.FIELD_MANAGER, names.PIPELINE: key.name}
        pods, _ = await self.cluster.list(kinds.POD, key.namespace, own)
        return problems(pods)

    async def _say(self, resource: Object, seen: Seen) -> None:
        before = resource.get("status") or {}
        if seen.pending and before.get("observedGeneration") == seen.generation:
            # After a restart nothing is known yet: what was said holds until there is an answer.
            return
        status = make_status(seen, before)
        if status == before:
            return
        metadata = resource["metadata"]
        try:
            written = await self.cluster.apply_status(
                kinds.PIPELINE, metadata["namespace"], metadata["name"], status
            )
        except ApiFailure as failure:
            if failure.status == 404:
                return  # deleted meanwhile
            raise
        if self.store.pipeline(seen.key) is not None:
            self.store.put_pipeline(written)
        await self._events.tell_conditions(resource, before, status)

    def close(self) -> None:
        """Let go of the threads."""
        self.externals.close()
        self.ledgers.close()


def _references(
    pipeline: WebEventPipeline, accounts: Iterable[str], *, only_kafka: bool = False
) -> set[SecretRef]:
    """The secrets that a pipeline refers to, for these who log in to its Kafka."""
    found: set[SecretRef] = set()
    for logged_in in {id(each): each for each in map(pipeline.logged_in_as, accounts)}.values():
        found.update(references(logged_in.spec.kafka if only_kafka else logged_in))
    return found


def _is_autoscaled(pipeline: WebEventPipeline) -> bool:
    collector = pipeline.spec.collector
    return collector is not None and collector.autoscaling is not None


def _capped(frame: Frame) -> dict[str, tuple[int, int]]:
    def cap(workload: Workload) -> int | None:
        return scaled(frame, workload)[1]

    return {
        workload.name: (workload.replicas, partitions)
        for workload in frame.plan.workloads
        if (partitions := cap(workload)) is not None
    }


def _moving(children: dict[Ref, Object]) -> bool:
    """Whether pods are on their way."""
    for ref, child in children.items():
        if ref.kind in kinds.RUNNING:
            status, wanted = child.get("status") or {}, int(child["spec"].get("replicas", 0))
            if min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0)) < wanted:
                return True
    return False
