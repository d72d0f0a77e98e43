"""What is seen of a pipeline -> its conditions and status; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from webevents.plan.ledger import PipelineLedger
from webevents.plan.model import Workload
from webevents_operator import names
from webevents_operator.collecting import WORKLOAD, CollectorView, address, exposure_problem
from webevents_operator.diff import Ref
from webevents_operator.kinds import JOB, KAFKA_CONNECTOR, KAFKA_TOPIC, RUNNING, Object
from webevents_operator.names import Key
from webevents_operator.outcome import NOT_NEEDED, Outcome
from webevents_operator.status import (
    CollectorStatus,
    Condition,
    ConditionType,
    LedgerStatus,
    Reason,
    StageStatus,
    Status,
)


@dataclass(frozen=True, slots=True)
class LedgerLook:
    """What the ledger said at one moment, and the rates since the look before."""

    ledger: PipelineLedger
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the status is made of."""

    key: Key
    generation: int
    now: str
    """RFC 3339."""
    paused: bool = False
    blocked: Outcome | None = None
    """Why nothing can be done at all."""
    topics: Outcome = NOT_NEEDED
    templates: Outcome = NOT_NEEDED
    tables: Outcome = NOT_NEEDED
    dashboards: Outcome = NOT_NEEDED
    refused: Outcome | None = None
    """Why the API server refused an object."""
    workloads: Sequence[Workload] = ()
    collector: CollectorView | None = None
    capped: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Workloads that get fewer replicas than asked for: (asked, partitions)."""
    children: Mapping[Ref, Object] = field(default_factory=dict)
    pod_problems: Mapping[str, str] = field(default_factory=dict)
    """Why pods of a workload do not run."""
    look: LedgerLook | None = None
    pending: bool = False
    """Whether something outside has not been looked at yet."""


def strimzi_outcome(
    wanted: Iterable[Ref], children: Mapping[Ref, Object], namespace: str
) -> Outcome:
    """Whether Strimzi has brought the topics and the user about.

    :param wanted: the KafkaTopics and KafkaUsers of the pipeline.
    """
    waiting, failed, partitions = [], [], {}
    refs = list(wanted)
    for ref in refs:
        child = children.get(ref, {"metadata": {}})
        ready = _strimzi_ready(child)
        if ready is None:
            waiting.append(f"{ref.kind} {ref.name}")
        elif ready.get("status") != "True":
            failed.append(f"{ref.kind} {ref.name}: {ready.get('message') or ready.get('reason')}")
        elif ref.kind == KAFKA_TOPIC.kind:
            spec = child["spec"]
            partitions[str(spec["topicName"])] = int(spec["partitions"])
    if failed:
        return Outcome(False, Reason.KAFKA_UNAVAILABLE, f"Strimzi refuses {'; '.join(failed)}")
    if waiting:
        return Outcome(
            False,
            Reason.PROGRESSING,
            f"Strimzi has not finished {', '.join(waiting)}; if this lasts, see whether its "
            f"entity operator runs and watches the namespace {namespace}",
        )
    message = f"All {len(refs)} topics and users are there."
    return Outcome(True, Reason.AS_WANTED, message, partitions=partitions)


def _strimzi_ready(child: Object) -> Mapping[str, Any] | None:
    """What Strimzi says of an object's present form; None where it has not yet."""
    status = child.get("status") or {}
    if status.get("observedGeneration") != child["metadata"].get("generation"):
        return None
    found = (each for each in status.get("conditions") or [] if each.get("type") == "Ready")
    return next(found, None)


def conditions(seen: Seen) -> list[tuple[ConditionType, Outcome]]:
    """The conditions that say True where all is well, and Degraded and Progressing."""
    if seen.blocked:
        ready = seen.blocked
        return [
            (ConditionType.READY, ready),
            (ConditionType.PROGRESSING, Outcome(False, ready.reason, "Waiting to be mended.")),
            (ConditionType.DEGRADED, Outcome(True, ready.reason, ready.message)),
        ]
    workloads = _workloads(seen)
    parts = [
        (ConditionType.TOPICS_READY, seen.topics),
        (ConditionType.TEMPLATES_READY, seen.templates),
        (ConditionType.TABLES_READY, seen.tables),
        (ConditionType.DASHBOARDS_READY, seen.dashboards),
        (ConditionType.WORKLOADS_READY, workloads),
    ]
    bad = [outcome for _, outcome in parts if not outcome.ok]
    needed = [outcome for kind, outcome in parts if kind is not ConditionType.DASHBOARDS_READY]
    if seen.refused:
        bad.insert(0, seen.refused)
        needed.insert(0, seen.refused)
    # What is wrong goes before what is only on its way.
    bad.sort(key=lambda outcome: not outcome.failing)
    ready = _ready(needed, seen.dashboards)
    degraded = _degraded(seen, bad)
    moving = next((outcome for outcome in bad if not outcome.failing), None)
    progressing = (
        Outcome(True, Reason.PROGRESSING, moving.message)
        if moving
        else Outcome(False, Reason.AS_WANTED, "Nothing is on its way.")
    )
    if seen.paused:
        message = "The operator leaves everything as it is, because the pipeline is paused."
        progressing = Outcome(False, Reason.PAUSED, message)
    return [
        (ConditionType.READY, ready),
        *parts,
        (ConditionType.PROGRESSING, progressing),
        (ConditionType.DEGRADED, degraded),
    ]


def _ready(needed: Iterable[Outcome], dashboards: Outcome) -> Outcome:
    """Events flow without dashboards: a Kibana that is away only degrades the pipeline."""
    bad = [outcome for outcome in needed if not outcome.ok]
    if bad:
        return min(bad, key=lambda outcome: not outcome.failing)
    if not dashboards.ok:
        return Outcome(True, Reason.AS_WANTED, "Everything is as wanted but the dashboards.")
    return Outcome(True, Reason.AS_WANTED, "Everything is as wanted.")


def _degraded(seen: Seen, bad: Iterable[Outcome]) -> Outcome:
    failing = next((outcome for outcome in bad if outcome.failing), None)
    if failing:
        return Outcome(True, failing.reason, failing.message)
    if seen.look and not seen.look.ledger.balanced:
        problems = "; ".join(seen.look.ledger.problems[:3])
        message = f"{problems}: see webevents ledger, and docs/concepts.md"
        return Outcome(True, Reason.LEDGER_UNBALANCED, message)
    if seen.capped:
        told = "; ".join(
            f"{name} gets {partitions} of {asked} replicas, because its topic has "
            f"{partitions} partitions"
            for name, (asked, partitions) in seen.capped.items()
        )
        message = f"{told}: more would stand idle; raise the topic's partitions, or ask for fewer"
        return Outcome(True, Reason.REPLICAS_CAPPED, message)
    return Outcome(False, Reason.AS_WANTED, "Nothing is wrong.")


def _workloads(seen: Seen) -> Outcome:
    if seen.pod_problems:
        told = "; ".join(f"{name}: {why}" for name, why in seen.pod_problems.items())
        return Outcome(False, Reason.PODS_FAILING, told)
    if seen.collector and (problem := exposure_problem(seen.collector, seen.children)):
        return problem
    waiting = []
    for ref, child in seen.children.items():
        if ref.kind != KAFKA_CONNECTOR.kind:
            continue
        ready = _strimzi_ready(child)
        if ready is None:
            waiting.append(f"connector {ref.name}")
        elif ready.get("status") != "True":
            told = f"Kafka Connect refuses {ref.name}: {ready.get('message')}"
            return Outcome(False, Reason.CONNECTOR_FAILING, told)
    for workload in seen.workloads:
        stage = _stage(seen, workload, {})
        if not _settled(seen, workload, stage):
            waiting.append(f"{workload.name} {stage.ready}/{stage.replicas}")
    if waiting:
        return Outcome(False, Reason.PROGRESSING, f"Waiting to be ready: {', '.join(waiting)}")
    return Outcome(True, Reason.AS_WANTED, f"All {len(seen.workloads)} workloads are ready.")


def _settled(seen: Seen, workload: Workload, stage: StageStatus) -> bool:
    found = _set_of(seen, workload)
    if found is None:
        return _job_of(seen, workload) is not None or workload.replicas == 0
    status = found.get("status") or {}
    return (
        status.get("observedGeneration") == found["metadata"].get("generation")
        and stage.ready >= stage.replicas
        and status.get("updatedReplicas", 0) >= stage.replicas
    )


def _set_of(seen: Seen, workload: Workload) -> Object | None:
    name = names.workload_name(seen.key.name, workload.name)
    refs = (Ref(kind, seen.key.namespace, name) for kind in RUNNING)
    return next((seen.children[ref] for ref in refs if ref in seen.children), None)


def _job_of(seen: Seen, workload: Workload) -> Object | None:
    for ref, child in seen.children.items():
        labels = child["metadata"].get("labels") or {}
        if ref.kind == JOB.kind and labels.get(names.WORKLOAD) == workload.name:
            return child
    return None


_COUNTED = {
    "lag": "lag",
    "events_per_second": "eventsPerSecond",
    "received": "received",
    "delivered": "delivered",
    "failed": "failed",
    "dropped": "dropped",
}


def _stage(seen: Seen, workload: Workload, before: Mapping[str, Any]) -> StageStatus:
    """One workload.

    :param before: what was told of it so far: counts hold until others are read.
    """
    replicas, ready = workload.replicas, 0
    if found := _set_of(seen, workload):
        replicas = int(found["spec"].get("replicas", 0))
        ready = int((found.get("status") or {}).get("readyReplicas", 0))
    elif job := _job_of(seen, workload):
        status = job.get("status") or {}
        ready = int(status.get("ready", 0)) + int(status.get("succeeded", 0))
    view = seen.look.ledger.groups.get(workload.name) if seen.look else None
    if seen.look is None or view is None:
        counted = {name: before[alias] for name, alias in _COUNTED.items() if alias in before}
        return StageStatus(name=workload.name, replicas=replicas, ready=ready, **counted)
    counts = view.counts()
    return StageStatus(
        name=workload.name,
        replicas=replicas,
        ready=ready,
        lag=view.lag,
        events_per_second=_rate(seen.look, workload.name, before),
        received=counts.received,
        delivered=counts.delivered,
        failed=counts.failed,
        dropped=sum(counts.dropped.values()),
    )


def _rate(look: LedgerLook, stage: str, before: Mapping[str, Any]) -> float | None:
    """What was told before holds until there are two looks, of which a rate can be made."""
    rate = look.rates.get(stage)
    told: float | None = before.get("eventsPerSecond")
    return told if rate is None else round(rate, 1)


def make_status(seen: Seen, before: Mapping[str, Any]) -> Object:
    """The status as the API server takes it.

    :param before: the status so far, from which the times of transition are kept.
    """
    old = {each.get("type"): each for each in before.get("conditions") or []}
    told = {each.get("name"): each for each in before.get("stages") or []}
    stages = [_stage(seen, each, told.get(each.name, {})) for each in seen.workloads]
    generator = next((stage for stage in stages if stage.name == "generator"), None)
    made = Status(
        observed_generation=seen.generation,
        conditions=tuple(
            _condition(seen, kind, outcome, old.get(kind)) for kind, outcome in conditions(seen)
        ),
        replicas=generator.replicas if generator else 0,
        selector=_selector(seen.key),
        generators=f"{generator.ready}/{generator.replicas}" if generator else None,
        stages=tuple(stages),
        collector=_collector(seen, stages),
        paused=seen.paused,
        **_totals(seen, before),
    )
    return made.model_dump(mode="json", by_alias=True, exclude_none=True)


def _collector(seen: Seen, stages: Sequence[StageStatus]) -> CollectorStatus | None:
    if seen.collector is None:
        return None
    stage = next(stage for stage in stages if stage.name == WORKLOAD)
    return CollectorStatus(
        replicas=stage.replicas,
        ready=stage.ready,
        address=address(seen.collector, seen.children),
    )


def _totals(seen: Seen, before: Mapping[str, Any]) -> dict[str, Any]:
    if seen.blocked:
        return {}
    if seen.look is None:
        told = {"lag": "lag", "events_per_second": "eventsPerSecond", "ledger": "ledger"}
        return {name: before[alias] for name, alias in told.items() if alias in before}
    ledger = seen.look.ledger
    return {
        "lag": ledger.lag,
        "events_per_second": _rate(seen.look, next(iter(ledger.groups), ""), before),
        "ledger": LedgerStatus(balanced=ledger.balanced, problems=tuple(ledger.problems[:10])),
    }


def _selector(key: Key) -> str:
    return ",".join(f"{name}={value}" for name, value in names.selector(key, "generator").items())


def _condition(
    seen: Seen, kind: ConditionType, outcome: Outcome, old: Mapping[str, Any] | None
) -> Condition:
    status: Literal["True", "False"] = "True" if outcome.ok else "False"
    since = seen.now
    if old and old.get("status") == status:
        since = str(old.get("lastTransitionTime", seen.now))
    return Condition(
        type=kind,
        status=status,
        reason=outcome.reason,
        message=outcome.message[:4000],
        observed_generation=seen.generation,
        last_transition_time=since,
    )
