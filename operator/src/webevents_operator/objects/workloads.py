"""A workload of the plan -> ConfigMap, StatefulSet or Job, and PodDisruptionBudget.

A workload that runs for good is a StatefulSet: a pod's name stays the same after a restart, which
is what static membership of a consumer group and the numbers of generators need. A generator that
comes to an end (backdated, or with a duration) is a Job, because a StatefulSet would start it
again. A collector is a matter of its own (``collector``).
"""

import json
from collections.abc import Mapping

from webevents.live.settings import LiveSettings
from webevents.plan.model import Workload
from webevents.sources.settings import GeneratorSettings
from webevents_operator import names
from webevents_operator.diff import Ref
from webevents_operator.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    STATEFUL_SET,
    Object,
)
from webevents_operator.objects.budget import disruption_budget
from webevents_operator.objects.collector import collector_objects
from webevents_operator.objects.frame import Frame, digest
from webevents_operator.objects.page import page_objects
from webevents_operator.objects.pods import pod_template
from webevents_operator.objects.settings import live_digest, live_settings, settings_of


def workload_objects(frame: Frame, workload: Workload) -> list[Object]:
    """The objects that bring a workload about."""
    made = [_config_map(frame, workload)]
    if isinstance(workload.settings, LiveSettings):
        return [*made, *page_objects(frame, workload, _stateful_set(frame, workload))]
    if workload.port is not None:
        return made + collector_objects(frame, workload)
    if not workload.replicas and comes_to_an_end(workload):
        return made
    if comes_to_an_end(workload):
        return [*made, _job(frame, workload)]
    made.append(_stateful_set(frame, workload))
    if workload.replicas > 1:
        made.append(disruption_budget(frame, workload))
    return made


def scaled(frame: Frame, workload: Workload) -> tuple[int, int | None]:
    """Replicas that a workload gets, and the partitions that it shares if those cap it.

    More workers than partitions would stand idle. A topic whose partitions are not known yet has
    as many as the plan says.
    """
    planned = {topic.name: topic.partitions for topic in frame.plan.topics}
    counts = [frame.partitions.get(topic, planned.get(topic, 0)) for topic in workload.reads]
    if not counts or workload.replicas <= max(counts):
        return workload.replicas, None
    return max(counts), max(counts)


def comes_to_an_end(workload: Workload) -> bool:
    """Whether the workload's processes end by themselves when all is done."""
    if not isinstance(workload.settings, GeneratorSettings):
        return False
    time = workload.settings.generator.time
    return time.mode == "backdated" or time.duration is not None


def known_partitions(children: Mapping[Ref, Object]) -> dict[str, int]:
    """Partitions of topics that workloads already run with: what holds while Kafka is away."""
    known: dict[str, int] = {}
    for ref, child in children.items():
        if ref.kind == STATEFUL_SET.kind:
            metadata = child["spec"]["template"].get("metadata") or {}
            text = (metadata.get("annotations") or {}).get(names.PARTITIONS, "{}")
            try:
                counts = json.loads(text)
            except ValueError:
                continue  # somebody wrote into it; it is about to be put right
            known |= {str(topic): count for topic, count in counts.items() if count}
    return known


def known_replicas(children: Mapping[Ref, Object]) -> dict[str, int]:
    """Pods that Deployments are to have, by workload, whoever has said so."""
    return {
        child["metadata"]["labels"].get(names.WORKLOAD, ""): int(child["spec"].get("replicas", 0))
        for ref, child in children.items()
        if ref.kind == DEPLOYMENT.kind
    }


def _config_map(frame: Frame, workload: Workload) -> Object:
    data = {"settings.json": json.dumps(settings_of(workload), indent=1, sort_keys=True)}
    metadata = frame.metadata(workload.name)
    if workload.live:
        data["live.json"] = json.dumps(live_settings(frame, workload), sort_keys=True)
        metadata["annotations"] = {names.LIVE: live_digest(frame, workload)}
    return CONFIG_MAP.of(
        names.workload_name(frame.key.name, workload.name),
        frame.key.namespace,
        metadata=metadata,
        data=data,
    )


def _stateful_set(frame: Frame, workload: Workload) -> Object:
    name = names.workload_name(frame.key.name, workload.name)
    replicas, _ = scaled(frame, workload)
    return STATEFUL_SET.of(
        name,
        frame.key.namespace,
        metadata=frame.metadata(workload.name),
        spec={
            "replicas": replicas,
            "serviceName": frame.key.name,
            # Workers do not wait for each other.
            "podManagementPolicy": "Parallel",
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": names.selector(frame.key, workload.name)},
            "template": pod_template(frame, workload, name),
        },
    )


def _job(frame: Frame, workload: Workload) -> Object:
    config = names.workload_name(frame.key.name, workload.name)
    template = pod_template(frame, workload, config)
    template["spec"]["restartPolicy"] = "OnFailure"
    # A Job's template cannot change: other settings are another Job, and what ended stays ended.
    return JOB.of(
        f"{config}-{digest([settings_of(workload), workload.replicas])[:8]}",
        frame.key.namespace,
        metadata=frame.metadata(workload.name),
        spec={
            "completionMode": "Indexed",
            "completions": workload.replicas,
            "parallelism": workload.replicas,
            "backoffLimit": 20,
            "template": template,
        },
    )
