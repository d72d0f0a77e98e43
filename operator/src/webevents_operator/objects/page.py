"""The live page -> StatefulSet and, where others may look, the Service that leads to it.

Without a token the page listens to its own pod only: ``kubectl port-forward`` reaches it, and a
Service would lead to nothing.
"""

from webevents.live.settings import LiveSettings
from webevents.plan.model import Workload
from webevents_operator import names
from webevents_operator.kinds import NETWORK_POLICY, SERVICE, Object
from webevents_operator.objects.frame import Frame

PORT_NAME = "page"
SERVICE_PORT = 80


def page_objects(frame: Frame, workload: Workload, pods: Object) -> list[Object]:
    """The objects of a live page but its settings, in the order in which they are made.

    :param pods: the StatefulSet, without the page's port.
    """
    assert isinstance(workload.settings, LiveSettings)
    live = workload.settings.live
    (container,) = pods["spec"]["template"]["spec"]["containers"]
    container["ports"].append({"name": PORT_NAME, "containerPort": live.port, "protocol": "TCP"})
    if live.token_file is None and live.token_env is None:
        return [pods]
    made = [_service(frame, workload)]
    if frame.config.network_policies:
        made.append(_network_policy(frame, workload))
    return [*made, pods]


def _network_policy(frame: Frame, workload: Workload) -> Object:
    """Opens the page's port, which asks for the token, and that of the metrics."""
    metrics: Object = {"ports": [{"port": "metrics", "protocol": "TCP"}]}
    if frame.config.metrics_from:
        metrics["from"] = list(frame.config.metrics_from)
    return NETWORK_POLICY.of(
        names.workload_name(frame.key.name, workload.name),
        frame.key.namespace,
        metadata=frame.metadata(workload.name),
        spec={
            "podSelector": {"matchLabels": names.selector(frame.key, workload.name)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": PORT_NAME, "protocol": "TCP"}]}, metrics],
        },
    )


def _service(frame: Frame, workload: Workload) -> Object:
    return SERVICE.of(
        names.workload_name(frame.key.name, workload.name),
        frame.key.namespace,
        metadata=frame.metadata(workload.name),
        spec={
            "type": "ClusterIP",
            "selector": names.selector(frame.key, workload.name),
            "ports": [
                {
                    "name": PORT_NAME,
                    "port": SERVICE_PORT,
                    "targetPort": PORT_NAME,
                    "protocol": "TCP",
                }
            ],
        },
    )
