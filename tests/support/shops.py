"""A pipeline on a real cluster and a real Kafka."""

import uuid
from typing import Any

from kube import Kube, condition, eventually, pipeline

from webevents_operator import kinds, names
from webevents_operator.kinds import Kind, Object


class Shop:
    """A pipeline on a real Kafka, with topics of its own."""

    def __init__(self, kube: Kube, namespace: str, kafka: str, name: str = "shop") -> None:
        self.kube, self.namespace, self.name = kube, namespace, name
        self.prefix = uuid.uuid4().hex[:8]
        topics = ("raw", "enriched", "sessions", "failed")
        self.spec: dict[str, Any] = {
            "generator": {"eventsPerSecond": 20},
            "kafka": {"bootstrapServers": kafka},
            "index": {"enabled": False},
            "topics": {which: {"name": f"{self.prefix}-{which}"} for which in topics},
        }
        for which in ("raw", "enriched"):
            self.spec["topics"][which]["partitions"] = 2

    def create(self, **spec: Any) -> "Shop":
        """Create it."""
        self.kube.create(pipeline(self.namespace, self.name, self.spec | spec))
        return self

    def change(self, spec: Object) -> None:
        """Change its specification."""
        self.kube.merge(kinds.PIPELINE, self.namespace, self.name, {"spec": spec})

    def resource(self) -> Object:
        """The resource."""
        return self.kube.must_get(kinds.PIPELINE, self.namespace, self.name)

    def condition(self, kind: str) -> Object:
        """A condition."""
        return condition(self.resource(), kind)

    def wait(
        self, kind: str = "Ready", status: str = "True", reason: str = "", seconds: float = 60
    ) -> Object:
        """Wait for a condition about the present generation."""

        def current() -> Object:
            resource = self.resource()
            found = condition(resource, kind)
            fresh = found.get("observedGeneration") == resource["metadata"]["generation"]
            return found if fresh else {}

        return eventually(
            current,
            lambda c: c.get("status") == status and reason in ("", c["reason"]),
            seconds=seconds,
        )

    def child(self, kind: Kind, workload: str | None = None) -> Object:
        """One of its objects."""
        name = f"{self.name}-{workload}" if workload else self.name
        return self.kube.must_get(kind, self.namespace, name)

    def pods(self, workload: str) -> dict[str, str]:
        """The unique ids of a workload's pods by name."""
        labels = names.selector(names.Key(self.namespace, self.name), workload)
        found = self.kube.list(kinds.POD, self.namespace, **labels)
        return {
            pod["metadata"]["name"]: pod["metadata"]["uid"]
            for pod in found
            if not pod["metadata"].get("deletionTimestamp")
        }
