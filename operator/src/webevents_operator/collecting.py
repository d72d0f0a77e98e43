"""What is said of a collector: where it is reached, and what is in the way; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from webevents.spec.collector import CollectorSpec
from webevents_operator import names
from webevents_operator.diff import Ref
from webevents_operator.kinds import HTTP_ROUTE, SERVICE, Object
from webevents_operator.names import Key
from webevents_operator.objects.exposure import port_name, service_port
from webevents_operator.objects.frame import Frame
from webevents_operator.outcome import Outcome
from webevents_operator.status import Reason

WORKLOAD = "collector"


@dataclass(frozen=True, slots=True)
class CollectorView:
    """A collector as far as its status depends on it."""

    key: Key
    spec: CollectorSpec
    has_route_api: bool
    """Whether the cluster has the Gateway API."""

    @property
    def object_name(self) -> str:
        """Name of its objects."""
        return names.workload_name(self.key.name, WORKLOAD)

    def child(self, kind: str, children: Mapping[Ref, Object]) -> Object:
        """One of its objects; an empty one where it is not there."""
        return children.get(Ref(kind, self.key.namespace, self.object_name), {})


def collector_view(frame: Frame) -> CollectorView | None:
    """The collector of a pipeline, if it has one."""
    spec = frame.pipeline.spec.collector
    if spec is None or not spec.enabled:
        return None
    return CollectorView(frame.key, spec, HTTP_ROUTE.kind in frame.apis)


def address(view: CollectorView, children: Mapping[Ref, Object]) -> str:
    """Where the collector is reached, from as far away as it is."""
    return next(_addresses(view, children))


def _addresses(view: CollectorView, children: Mapping[Ref, Object]) -> Iterator[str]:
    spec = view.spec
    if spec.ingress:
        yield f"{'https' if spec.ingress.tls_secret else 'http'}://{spec.ingress.hosts[0]}"
    if spec.gateway and spec.gateway.hostnames and view.has_route_api:
        yield spec.gateway.hostnames[0]  # with or without TLS: that is the Gateway's
    scheme, port = port_name(spec), service_port(spec)
    usual = {"http": 80, "https": 443}[scheme]
    behind = "" if port == usual else f":{port}"
    status = view.child(SERVICE.kind, children).get("status") or {}
    for given in (status.get("loadBalancer") or {}).get("ingress") or []:
        if host := given.get("hostname") or given.get("ip"):
            yield f"{scheme}://{f'[{host}]' if ':' in host else host}{behind}"
    yield f"{scheme}://{view.object_name}.{view.key.namespace}.svc{behind}"


def exposure_problem(view: CollectorView, children: Mapping[Ref, Object]) -> Outcome | None:
    """Why visitors do not reach the collector in the way that is asked for, as far as it shows."""
    if view.spec.gateway is None:
        return None
    if not view.has_route_api:
        return Outcome(
            False,
            Reason.DEPENDENCY_MISSING,
            "spec.collector.gateway: the cluster has no Gateway API (httproutes of "
            f"{HTTP_ROUTE.api_version}), or the operator may not use it: install it, or set "
            "spec.collector.ingress instead",
        )
    route = view.child(HTTP_ROUTE.kind, children)
    for parent in (route.get("status") or {}).get("parents") or []:
        for condition in parent.get("conditions") or []:
            if condition.get("type") == "Accepted" and condition.get("status") == "False":
                gateway = (parent.get("parentRef") or {}).get("name")
                told = f"{condition.get('reason')}: {condition.get('message')}"
                return Outcome(
                    False,
                    Reason.ROUTE_REFUSED,
                    f"the Gateway {gateway} does not take the collector's route ({told}): mend the "
                    "Gateway, or spec.collector.gateway",
                )
    return None
