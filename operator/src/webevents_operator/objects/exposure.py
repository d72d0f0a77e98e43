"""What leads to a collector's pods, and who is let in."""

from typing import Any

from webevents.plan.model import Workload
from webevents.spec.collector import CollectorSpec
from webevents.spec.exposure import AutoscalingSpec, GatewaySpec, IngressSpec, PeerSpec
from webevents_operator import names
from webevents_operator.kinds import (
    AUTOSCALER,
    DEPLOYMENT,
    HTTP_ROUTE,
    INGRESS,
    NETWORK_POLICY,
    SERVICE,
    Object,
)
from webevents_operator.objects.frame import Frame


def port_name(spec: CollectorSpec) -> str:
    """Name of the port that takes events."""
    return "https" if spec.tls else "http"


def service_port(spec: CollectorSpec) -> int:
    """The Service's port."""
    return spec.service.port or (443 if spec.tls else 80)


def service(frame: Frame, workload: Workload, spec: CollectorSpec) -> Object:
    """The Service in front of the pods that are ready."""
    asked = spec.service
    made: Object = {
        "type": asked.type,
        "selector": names.selector(frame.key, workload.name),
        "ports": [
            {
                "name": port_name(spec),
                "port": service_port(spec),
                "targetPort": port_name(spec),
                "protocol": "TCP",
                # Ingress controllers and Gateways learn by it whether to speak TLS.
                "appProtocol": port_name(spec),
            }
        ],
    }
    if asked.type != "ClusterIP":
        made["externalTrafficPolicy"] = asked.external_traffic_policy
    if asked.type == "LoadBalancer" and asked.load_balancer_class is not None:
        made["loadBalancerClass"] = asked.load_balancer_class
    return SERVICE.of(
        _name(frame, workload),
        frame.key.namespace,
        metadata=_metadata(frame, workload, asked.annotations),
        spec=made,
    )


def ingress(frame: Frame, workload: Workload, spec: CollectorSpec, asked: IngressSpec) -> Object:
    """The Ingress that leads to the Service."""
    backend = {"service": {"name": _name(frame, workload), "port": {"name": port_name(spec)}}}
    paths = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    made: Object = {"rules": [{"host": host, "http": paths} for host in asked.hosts]}
    if asked.class_name is not None:
        made["ingressClassName"] = asked.class_name
    if asked.tls_secret is not None:
        made["tls"] = [{"hosts": list(asked.hosts), "secretName": asked.tls_secret}]
    return INGRESS.of(
        _name(frame, workload),
        frame.key.namespace,
        metadata=_metadata(frame, workload, asked.annotations),
        spec=made,
    )


def http_route(
    frame: Frame, workload: Workload, spec: CollectorSpec, asked: GatewaySpec
) -> Object | None:
    """The route that leads to the Service; None where the cluster has no such API."""
    if HTTP_ROUTE.kind not in frame.apis:
        return None
    parents = [
        {"group": HTTP_ROUTE.group, "kind": "Gateway"}
        | parent.model_dump(by_alias=True, exclude_none=True)
        for parent in asked.parents
    ]
    backend = {"name": _name(frame, workload), "port": service_port(spec)}
    made: Object = {"parentRefs": parents, "rules": [{"backendRefs": [backend]}]}
    if asked.hostnames:
        made["hostnames"] = list(asked.hostnames)
    return HTTP_ROUTE.of(
        _name(frame, workload),
        frame.key.namespace,
        metadata=frame.metadata(workload.name),
        spec=made,
    )


def autoscaler(frame: Frame, workload: Workload, asked: AutoscalingSpec) -> Object:
    """The HorizontalPodAutoscaler."""
    name = _name(frame, workload)
    target = {"type": "Utilization", "averageUtilization": asked.target_cpu_percent}
    return AUTOSCALER.of(
        name,
        frame.key.namespace,
        metadata=frame.metadata(workload.name),
        spec={
            "scaleTargetRef": {
                "apiVersion": DEPLOYMENT.api_version,
                "kind": DEPLOYMENT.kind,
                "name": name,
            },
            "minReplicas": asked.min_replicas,
            "maxReplicas": asked.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    )


def network_policy(frame: Frame, workload: Workload, spec: CollectorSpec) -> Object:
    """Opens the port that takes events and that of the metrics, and no other.

    Policies add up: where the chart's own closes all pods of pipelines, this one opens the port.
    """
    events: Object = {"ports": [{"port": port_name(spec), "protocol": "TCP"}]}
    if spec.service.accept_from:
        events["from"] = [_peer(peer) for peer in spec.service.accept_from]
    metrics: Object = {"ports": [{"port": "metrics", "protocol": "TCP"}]}
    if frame.config.metrics_from:
        metrics["from"] = list(frame.config.metrics_from)
    return NETWORK_POLICY.of(
        _name(frame, workload),
        frame.key.namespace,
        metadata=frame.metadata(workload.name),
        spec={
            "podSelector": {"matchLabels": names.selector(frame.key, workload.name)},
            "policyTypes": ["Ingress"],
            "ingress": [events, metrics],
        },
    )


def _peer(peer: PeerSpec) -> Object:
    if peer.network is not None:
        return {"ipBlock": {"cidr": peer.network}}
    made: Object = {}
    if peer.namespace_labels:
        made["namespaceSelector"] = {"matchLabels": dict(peer.namespace_labels)}
    if peer.pod_labels:
        made["podSelector"] = {"matchLabels": dict(peer.pod_labels)}
    return made


def _name(frame: Frame, workload: Workload) -> str:
    return names.workload_name(frame.key.name, workload.name)


def _metadata(frame: Frame, workload: Workload, annotations: dict[str, Any]) -> Object:
    made = frame.metadata(workload.name)
    if annotations:
        made["annotations"] = dict(annotations)
    return made
