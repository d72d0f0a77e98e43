"""Names that the operator gives: labels, annotations, finalizer, objects."""

import hashlib
import re
from typing import NamedTuple

GROUP = "webevents.dev"
FIELD_MANAGER = "webevents-operator"
SCALE_MANAGER = f"{FIELD_MANAGER}-scale"
"""Holds the number of replicas until an autoscaler has changed it."""

MANAGED_BY = "app.kubernetes.io/managed-by"
PIPELINE = f"{GROUP}/pipeline"
"""Label: name of the pipeline that an object belongs to."""
NAMESPACE = f"{GROUP}/pipeline-namespace"
"""Label: namespace of that pipeline."""
BACKFILL = f"{GROUP}/backfill"
"""Label: the backfill that an object belongs to."""
WORKLOAD = f"{GROUP}/workload"
"""Label: the workload that an object belongs to."""

APPLIED = f"{GROUP}/applied"
"""Annotation: hash of the object as it was last applied."""
SETTINGS = f"{GROUP}/settings"
"""Annotation of pods: hash of the settings that they run with."""
SECRETS = f"{GROUP}/secrets"
"""Annotation of pods: hash of the secrets that they run with."""
PARTITIONS = f"{GROUP}/partitions"
"""Annotation of pods: partitions of the topics that they read."""
LIVE = f"{GROUP}/live-settings"
"""Annotation of ConfigMaps and pods: hash of the live settings that pods should have by now."""
AUTOSCALED = f"{GROUP}/autoscaled"
"""Annotation of a Deployment: "true" where an autoscaler says how many pods it has."""
PAUSED = f"{GROUP}/paused"
"""Annotation of a pipeline: "true" makes the operator leave everything as it is."""
CANARY = f"{GROUP}/canary"
"""Annotation of the canary: when it was last touched."""
FINALIZER = f"{GROUP}/cleanup"
"""Holds a pipeline back until what its deletion policy says is gone."""

STRIMZI_CLUSTER = "strimzi.io/cluster"

MAX_NAME = 52
"""Characters of a StatefulSet's name: its pods' revision label adds 11, and a label has 63."""


class Key(NamedTuple):
    """A pipeline."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def workload_name(pipeline: str, workload: str) -> str:
    """Name of a workload's objects; a long pipeline's name is shortened and made unique again."""
    return _fit(pipeline, f"-{workload}", MAX_NAME)


def resource_name(topic: str) -> str:
    """Name of a KafkaTopic: the topic's, where that is a name that Kubernetes takes."""
    plain = re.sub(r"[^a-z0-9.-]", "-", topic.lower()).strip(".-")
    if plain == topic:
        return topic
    return f"{plain[:200] or 'topic'}-{_digest(topic)}"


def labels(key: Key, workload: str | None = None) -> dict[str, str]:
    """Labels of an object that belongs to a pipeline."""
    made = {
        MANAGED_BY: FIELD_MANAGER,
        "app.kubernetes.io/name": "webevents",
        "app.kubernetes.io/instance": key.name,
        PIPELINE: key.name,
        NAMESPACE: key.namespace,
    }
    if workload:
        made |= {"app.kubernetes.io/component": workload, WORKLOAD: workload}
    return made


def selector(key: Key, workload: str) -> dict[str, str]:
    """The labels that tell the pods of a workload from all others in the namespace."""
    return {PIPELINE: key.name, WORKLOAD: workload}


def _fit(name: str, ending: str, length: int) -> str:
    if len(name) + len(ending) <= length:
        return name + ending
    return f"{name[: length - len(ending) - 7]}-{_digest(name)}{ending}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=3).hexdigest()
