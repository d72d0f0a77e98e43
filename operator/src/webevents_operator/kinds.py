"""The kinds of objects that the operator makes or looks at."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lightkube.generic_resource import create_namespaced_resource

from webevents.spec.backfill import KIND as BACKFILL_KIND
from webevents.spec.pipeline import KIND
from webevents_operator.names import GROUP

Object = dict[str, Any]
"""An object of the API server as JSON."""


@dataclass(frozen=True)
class Kind:
    """A kind of objects."""

    group: str
    version: str
    kind: str
    plural: str
    optional: bool = False
    """Whether its API may be absent."""

    @property
    def api_version(self) -> str:
        """What objects of this kind have as ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def resource(self) -> Any:
        """The client library's class of the kind."""
        return create_namespaced_resource(self.group, self.version, self.kind, self.plural)

    def of(self, name: str, namespace: str, **members: Any) -> Object:
        """An object of this kind."""
        metadata = {"name": name, "namespace": namespace} | members.pop("metadata", {})
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": metadata,
            **members,
        }


CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
SERVICE = Kind("", "v1", "Service", "services")
STATEFUL_SET = Kind("apps", "v1", "StatefulSet", "statefulsets")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
JOB = Kind("batch", "v1", "Job", "jobs")
DISRUPTION_BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
AUTOSCALER = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
INGRESS = Kind("networking.k8s.io", "v1", "Ingress", "ingresses")
HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", optional=True)
POD_MONITOR = Kind("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors", optional=True)
KAFKA_TOPIC = Kind("kafka.strimzi.io", "v1", "KafkaTopic", "kafkatopics", optional=True)
KAFKA_USER = Kind("kafka.strimzi.io", "v1", "KafkaUser", "kafkausers", optional=True)
KAFKA_CONNECTOR = Kind("kafka.strimzi.io", "v1", "KafkaConnector", "kafkaconnectors", optional=True)

SECRET = Kind("", "v1", "Secret", "secrets")
POD = Kind("", "v1", "Pod", "pods")
EVENT = Kind("", "v1", "Event", "events")
KAFKA = Kind("kafka.strimzi.io", "v1", "Kafka", "kafkas", optional=True)
PIPELINE = Kind(GROUP, "v1alpha1", KIND, "webeventpipelines")
BACKFILL = Kind(GROUP, "v1alpha1", BACKFILL_KIND, "webeventbackfills", optional=True)

CHILDREN = (
    *(KAFKA_TOPIC, KAFKA_USER, KAFKA_CONNECTOR, CONFIG_MAP, SERVICE, NETWORK_POLICY),
    *(STATEFUL_SET, DEPLOYMENT, JOB, DISRUPTION_BUDGET, AUTOSCALER, INGRESS, HTTP_ROUTE),
    POD_MONITOR,
)
"""What the operator makes, in the order in which it is made."""

RUNNING = (STATEFUL_SET.kind, DEPLOYMENT.kind)
"""What runs a workload for good; alike in what is said of their pods."""

BY_NAME = {kind.kind: kind for kind in (*CHILDREN, SECRET, POD, EVENT, KAFKA, PIPELINE, BACKFILL)}
