"""All objects that a pipeline wants on Kubernetes."""

import re

from webevents_operator import names
from webevents_operator.kinds import POD_MONITOR, SERVICE, Object
from webevents_operator.objects.connector import connector_object
from webevents_operator.objects.frame import Frame
from webevents_operator.objects.pods import METRICS_PORT
from webevents_operator.objects.strimzi import strimzi_objects
from webevents_operator.objects.workloads import workload_objects


def desired_objects(frame: Frame) -> list[Object]:
    """The objects in the order in which they are made."""
    made = strimzi_objects(frame) if frame.strimzi else []
    if frame.plan.connector is not None:
        made.append(connector_object(frame, frame.plan.connector))
    made.append(_service(frame))
    for workload in frame.plan.workloads:
        made += workload_objects(frame, workload)
    if frame.config.pod_monitors and POD_MONITOR.kind in frame.apis:
        made.append(_pod_monitor(frame))
    return made


def _pods(frame: Frame) -> dict[str, str]:
    return {names.MANAGED_BY: names.FIELD_MANAGER, names.PIPELINE: frame.key.name}


def _service(frame: Frame) -> Object:
    """Gives each pod a name; headless, because nothing is balanced over them."""
    return SERVICE.of(
        frame.key.name,
        frame.key.namespace,
        metadata=frame.metadata(),
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": _pods(frame),
            "ports": [
                {
                    "name": "metrics",
                    "port": METRICS_PORT,
                    "targetPort": "metrics",
                    "protocol": "TCP",
                }
            ],
        },
    )


def _label(label: str, name: str = "") -> Object:
    """A label of a pod as a label of what Prometheus reads from it."""
    source = "__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", label)
    return {"sourceLabels": [source], "targetLabel": name or label.rpartition("/")[2]}


def _pod_monitor(frame: Frame) -> Object:
    return POD_MONITOR.of(
        frame.key.name,
        frame.key.namespace,
        metadata=frame.metadata(),
        spec={
            # The alert rules know the job by this name.
            "jobLabel": "app.kubernetes.io/name",
            "selector": {"matchLabels": _pods(frame)},
            "podMetricsEndpoints": [
                {
                    "port": "metrics",
                    "path": "/metrics",
                    # A pod that does not answer is named by these; the metrics' own go before.
                    "honorLabels": True,
                    "relabelings": [_label(names.PIPELINE), _label(names.WORKLOAD, "stage")],
                }
            ],
        },
    )
