"""How a collector runs and is reached on Kubernetes; the local runtime looks at none of it."""

from ipaddress import ip_network
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from webevents.spec.base import Model
from webevents.spec.kubernetes import LabelValue, Quantity

_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_HOSTNAME = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


def _network(value: str) -> str:
    ip_network(value)  # its ValueError says what is wrong, such as host bits that are set
    return value


Network = Annotated[str, AfterValidator(_network)]
ObjectName = Annotated[str, Field(pattern=_SUBDOMAIN, max_length=253)]
Hostname = Annotated[str, Field(pattern=_HOSTNAME, max_length=253)]


class PeerSpec(Model):
    """Who may connect: a network, or pods; of one that names labels of both, both must fit."""

    network: Network | None = None
    """Such as 10.0.0.0/8."""
    namespace_labels: dict[str, LabelValue] = Field(default={})
    """Labels of the namespace that the pods are in; the pipeline's own when empty."""
    pod_labels: dict[str, LabelValue] = Field(default={})
    """Labels of the pods; all pods of the namespace when empty."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.network is not None) == bool(self.namespace_labels or self.pod_labels):
            raise ValueError("a peer is either a network, or has namespaceLabels or podLabels")
        return self


class ServiceSpec(Model):
    """The Service in front of the collector's pods."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Who can reach it: the cluster, the nodes' network, or the world."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Its port; 80, or 443 with spec.collector.tls, when absent."""
    external_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    """With a type other than ClusterIP. Local keeps the visitor's address, and balances over nodes
    instead of pods."""
    load_balancer_class: str | None = Field(default=None, max_length=253)
    """With type LoadBalancer: which one; the cluster's default when absent."""
    annotations: dict[str, str] = Field(default={})
    """Its annotations, such as those for the cloud's load balancer."""
    accept_from: tuple[PeerSpec, ...] = Field(default=(), max_length=50)
    """Who may connect to the pods' port, by a NetworkPolicy; everybody when empty. With an Ingress
    or a Gateway: its pods alone, so that nobody goes past it."""

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if self.load_balancer_class is not None and self.type != "LoadBalancer":
            raise ValueError("loadBalancerClass needs type LoadBalancer")
        if self.external_traffic_policy == "Local" and self.type == "ClusterIP":
            raise ValueError("externalTrafficPolicy Local needs type NodePort or LoadBalancer")
        return self


class IngressSpec(Model):
    """An Ingress that leads to the collector."""

    hosts: tuple[Hostname, ...] = Field(min_length=1, max_length=50)
    """Names by which visitors reach it."""
    class_name: ObjectName | None = None
    """The IngressClass; the cluster's default when absent."""
    tls_secret: ObjectName | None = None
    """Secret with the certificate of the hosts; plain HTTP when absent."""
    annotations: dict[str, str] = Field(default={})
    """Its annotations, such as cert-manager's."""


class GatewayParent(Model):
    """A Gateway that takes the route."""

    name: ObjectName
    """The Gateway."""
    namespace: str | None = Field(default=None, pattern=_LABEL, max_length=63)
    """Its namespace; the pipeline's when absent."""
    section_name: ObjectName | None = None
    """One of its listeners; all that fit when absent."""


class GatewaySpec(Model):
    """An HTTPRoute of the Gateway API that leads to the collector."""

    parents: tuple[GatewayParent, ...] = Field(min_length=1, max_length=32)
    """The Gateways."""
    hostnames: tuple[Hostname, ...] = Field(default=(), max_length=16)
    """Names by which visitors reach it; those of the Gateways when empty."""


class AutoscalingSpec(Model):
    """A HorizontalPodAutoscaler of the collector; it has spec.collector.replicas out of use."""

    min_replicas: int = Field(default=2, ge=1, le=1000)
    """Fewest copies."""
    max_replicas: int = Field(default=10, ge=1, le=1000)
    """Most copies."""
    target_cpu_percent: int = Field(default=70, ge=1, le=1000)
    """Processor time that is aimed at, of what a pod requests (spec.pods.resources.collector)."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError("minReplicas must not be greater than maxReplicas")
        return self


class SpoolVolumeSpec(Model):
    """The volume of each pod's spool."""

    kind: Literal["claim", "emptyDir"] = "claim"
    """claim: a PersistentVolumeClaim, which outlives the pod. emptyDir: the node's disk, which
    outlives only the container: what waits there is lost with the pod."""
    size: Quantity = "3Gi"
    """Its size, at least twice spool.maxBytes."""
    storage_class: ObjectName | None = None
    """The claim's StorageClass; the cluster's default when absent."""
