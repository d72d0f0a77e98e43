"""spec.pods and spec.deletionPolicy: what only Kubernetes looks at."""

from typing import Annotated, Literal

from pydantic import Field

from webevents.spec.base import Model

Quantity = Annotated[
    str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$", max_length=20)
]
"""An amount as Kubernetes writes it, such as 500m or 512Mi."""

_UNITS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)
}


def bytes_of(quantity: str) -> float:
    """An amount as a number."""
    number = quantity.rstrip("".join(_UNITS))
    unit: float = _UNITS.get(quantity[len(number) :], 1)
    return float(number) * unit


WorkloadName = Literal[
    "generator",
    "collector",
    "capture",
    "enrich",
    "sessionize",
    "analyze",
    "index",
    "store",
    "archive",
    "loader",
    "detect",
    "live",
]
LabelValue = Annotated[str, Field(max_length=63)]
"""A label's value."""


class AmountsSpec(Model):
    """Amounts of what a node has."""

    cpu: Quantity | None = None
    """Processor time, such as 500m for half a core."""
    memory: Quantity | None = None
    """Memory, such as 512Mi."""


class ResourcesSpec(Model):
    """What one pod asks for."""

    requests: AmountsSpec = AmountsSpec()
    """What is reserved for the pod."""
    limits: AmountsSpec = AmountsSpec()
    """What the pod gets at most."""


class TolerationSpec(Model):
    """A taint of nodes that pods put up with."""

    key: str | None = None
    """The taint's key; every key when absent."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Equal: the value must be the same; Exists: any value."""
    value: str | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; every effect when absent."""


class PodsSpec(Model):
    """The pods of the pipeline's workloads."""

    image: str | None = Field(default=None, min_length=1, max_length=500)
    """Image of the workloads; the operator's setting when absent."""
    resources: dict[WorkloadName, ResourcesSpec] = Field(default={})
    """What pods ask for, by workload; the operator's settings for those that are not named."""
    node_selector: dict[str, LabelValue] = Field(default={})
    """Labels that a node must have."""
    tolerations: tuple[TolerationSpec, ...] = ()
    """Taints of nodes that pods put up with."""
    labels: dict[str, LabelValue] = Field(default={})
    """Further labels of the pods."""
    annotations: dict[str, str] = Field(default={})
    """Further annotations of the pods."""
    service_account: str | None = Field(default=None, max_length=253)
    """Service account of the pods, such as one with a role for the object store; the namespace's
    default when absent. No token is mounted unless it is named."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets with the log-in to the image's registry."""


Policy = Literal["Retain", "Delete"]


class DeletionPolicySpec(Model):
    """Retain leaves data where it is when the resource is deleted; Delete removes it."""

    topics: Policy = "Retain"
    """The pipeline's topics."""
    indices: Policy = "Retain"
    """The pipeline's indices and their templates in Elasticsearch."""
    tables: Policy = "Retain"
    """The pipeline's tables and views in PostgreSQL."""
