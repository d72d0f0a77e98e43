"""The collector -> Deployment or StatefulSet, and what leads visitors to its pods.

It is a Deployment: its pods are alike, and a new one is ready before an old one goes. Where it
spools, a pod must find its own spool again after a restart: then it is a StatefulSet, whose pods
have a volume each.
"""

import math
from typing import Any

from webevents.plan.model import Workload
from webevents.spec.collector import CollectorSpec
from webevents_operator import names
from webevents_operator.kinds import DEPLOYMENT, STATEFUL_SET, Object
from webevents_operator.objects.budget import disruption_budget
from webevents_operator.objects.exposure import (
    autoscaler,
    http_route,
    ingress,
    network_policy,
    port_name,
    service,
)
from webevents_operator.objects.frame import Frame
from webevents_operator.objects.pods import GRACE_S, pod_template
from webevents_operator.objects.quantities import canonical
from webevents_operator.objects.settings import SPOOL_FOLDER

_PRIVILEGED = 1024
"""Ports below are root's, unless the pod says otherwise."""


def collector_objects(frame: Frame, workload: Workload) -> list[Object]:
    """The objects of a collector but its settings, in the order in which they are made."""
    spec = frame.pipeline.spec.collector
    assert spec is not None
    made = [service(frame, workload, spec)]
    if frame.config.network_policies:
        made.append(network_policy(frame, workload, spec))
    spools = spec.on_outage == "spool"
    made.append((_stateful_set if spools else _deployment)(frame, workload, spec))
    if spec.autoscaling or spec.replicas > 1:
        made.append(disruption_budget(frame, workload))
    if spec.autoscaling:
        made.append(autoscaler(frame, workload, spec.autoscaling))
    if spec.ingress:
        made.append(ingress(frame, workload, spec, spec.ingress))
    if spec.gateway and (route := http_route(frame, workload, spec, spec.gateway)):
        made.append(route)
    return made


def _deployment(frame: Frame, workload: Workload, spec: CollectorSpec) -> Object:
    metadata = frame.metadata(workload.name)
    scale: Object = {"replicas": workload.replicas}
    if spec.autoscaling:
        metadata["annotations"] = {names.AUTOSCALED: "true"}
        scale = {}
    return DEPLOYMENT.of(
        names.workload_name(frame.key.name, workload.name),
        frame.key.namespace,
        metadata=metadata,
        spec=scale
        | {
            "revisionHistoryLimit": 3,
            # Never fewer that take events than there should be.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "selector": {"matchLabels": names.selector(frame.key, workload.name)},
            "template": _template(frame, workload, spec),
        },
    )


def _stateful_set(frame: Frame, workload: Workload, spec: CollectorSpec) -> Object:
    volume = spec.spool.volume
    made: Object = {
        "replicas": workload.replicas,
        "serviceName": frame.key.name,
        "podManagementPolicy": "Parallel",
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": names.selector(frame.key, workload.name)},
        "template": _template(frame, workload, spec),
    }
    template, size = made["template"]["spec"], canonical(volume.size)
    mount = {"name": "spool", "mountPath": spec.spool.path or SPOOL_FOLDER}
    template["containers"][0]["volumeMounts"].append(mount)
    if volume.kind == "emptyDir":
        template["volumes"].append({"name": "spool", "emptyDir": {"sizeLimit": size}})
    else:
        claim: Object = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
        }
        if volume.storage_class is not None:
            claim["storageClassName"] = volume.storage_class
        made["volumeClaimTemplates"] = [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "spool"},
                "spec": claim,
            }
        ]
        # What waits in a spool belongs into the topics, and goes when they do.
        delete = frame.pipeline.spec.deletion_policy.topics == "Delete"
        made["persistentVolumeClaimRetentionPolicy"] = {
            "whenScaled": "Retain",
            "whenDeleted": "Delete" if delete else "Retain",
        }
    return STATEFUL_SET.of(
        names.workload_name(frame.key.name, workload.name),
        frame.key.namespace,
        metadata=frame.metadata(workload.name),
        spec=made,
    )


def _template(frame: Frame, workload: Workload, spec: CollectorSpec) -> Object:
    template = pod_template(frame, workload, names.workload_name(frame.key.name, workload.name))
    pod: dict[str, Any] = template["spec"]
    (container,) = pod["containers"]
    drain = spec.drain.total_seconds()
    container["args"] += ["--drain", f"{drain:g}"]
    container["ports"].append(
        {"name": port_name(spec), "containerPort": spec.port, "protocol": "TCP"}
    )
    pod["terminationGracePeriodSeconds"] = math.ceil(drain) + GRACE_S
    if spec.port < _PRIVILEGED:
        # One of the sysctls that Kubernetes counts as safe.
        pod["securityContext"]["sysctls"] = [
            {"name": "net.ipv4.ip_unprivileged_port_start", "value": str(spec.port)}
        ]
    return template
