"""A collector's objects: what runs it, what leads to it, and what changes without a restart."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from webevents.spec.secrets import SecretRef
from webevents_operator import kinds, names
from webevents_operator.collecting import address, collector_view, exposure_problem
from webevents_operator.config import OperatorConfig
from webevents_operator.diff import Ref
from webevents_operator.kinds import Kind, Object
from webevents_operator.objects.desired import desired_objects
from webevents_operator.objects.frame import Frame
from webevents_operator.status import Reason

MakeFrame = Callable[..., Frame]
ROUTES = frozenset({kinds.HTTP_ROUTE.kind})


def made(frame: Frame) -> dict[str, Object]:
    """The collector's objects by kind."""
    found = [each for each in desired_objects(frame)
             if each["metadata"]["labels"].get(names.WORKLOAD) == "collector"]  # fmt: skip
    by_kind = {each["kind"]: each for each in found}
    assert len(by_kind) == len(found)
    assert {each["metadata"]["name"] for each in found} <= {"shop-collector"}
    return by_kind


def pod(objects: dict[str, Object], kind: Kind = kinds.DEPLOYMENT) -> Object:
    return dict(objects[kind.kind]["spec"]["template"]["spec"])


def test_one_that_refuses_is_a_deployment(make_frame: MakeFrame) -> None:
    objects = made(make_frame({"collector": {"replicas": 2, "drain": "7s"}}))
    assert set(objects) == {
        *("ConfigMap", "Service", "NetworkPolicy", "Deployment", "PodDisruptionBudget"),
    }
    deployment = objects["Deployment"]["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (container,) = pod(objects)["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert container["args"][-2:] == ["--drain", "7"]
    assert "--replicas" not in container["args"]
    assert pod(objects)["terminationGracePeriodSeconds"] == 37
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"metrics": 9090, "http": 8080}
    (port,) = objects["Service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, "http")
    assert objects["Service"]["spec"]["selector"] == deployment["selector"]["matchLabels"]


def test_one_that_spools_has_a_volume_for_each_pod(make_frame: MakeFrame) -> None:
    spool = {"volume": {"size": "3072Mi", "storageClass": "fast"}}
    objects = made(make_frame({"collector": {"onOutage": "spool", "spool": spool}}))
    assert "Deployment" not in objects
    spec = objects["StatefulSet"]["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "3Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    retention = spec["persistentVolumeClaimRetentionPolicy"]
    assert retention == {"whenScaled": "Retain", "whenDeleted": "Retain"}
    (container,) = pod(objects, kinds.STATEFUL_SET)["containers"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    settings = json.loads(objects["ConfigMap"]["data"]["settings.json"])
    assert settings["collector"]["spool"]["path"] == mounts["spool"] == "/var/lib/webevents/spool"


def test_a_spool_goes_with_the_topics_or_with_the_pod(make_frame: MakeFrame) -> None:
    spec: Object = {"collector": {"onOutage": "spool"}, "deletionPolicy": {"topics": "Delete"}}
    found = made(make_frame(spec))["StatefulSet"]["spec"]
    assert found["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    spec["collector"]["spool"] = {"volume": {"kind": "emptyDir", "size": "2Gi"}, "path": "/spool"}
    objects = made(make_frame(spec))
    assert "volumeClaimTemplates" not in objects["StatefulSet"]["spec"]
    template = pod(objects, kinds.STATEFUL_SET)
    assert {"name": "spool", "emptyDir": {"sizeLimit": "2Gi"}} in template["volumes"]
    assert {"name": "spool", "mountPath": "/spool"} in template["containers"][0]["volumeMounts"]


def test_privileged_ports_need_no_root(make_frame: MakeFrame) -> None:
    security = pod(made(make_frame({"collector": {"port": 80}})))["securityContext"]
    assert security["sysctls"] == [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]
    assert security["runAsNonRoot"] is True
    assert "sysctls" not in pod(made(make_frame({"collector": {}})))["securityContext"]


@pytest.mark.parametrize(
    ("change", "rolls"),
    [
        ({"sites": [{"name": "a", "writeKeys": ["k"]}]}, False),
        ({"replicas": 5}, False),
        ({"ingress": {"hosts": ["a.example"]}}, False),
        ({"service": {"type": "LoadBalancer"}}, False),
        ({"autoscaling": {}}, False),
        ({"gateway": {"parents": [{"name": "g"}]}}, False),
        ({"visitor": {"mode": "cookieless"}}, True),
        ({"port": 8081}, True),
    ],
)
def test_what_restarts_it(make_frame: MakeFrame, change: Object, rolls: bool) -> None:
    before, after = made(make_frame({"collector": {}})), made(make_frame({"collector": change}))
    templates = [each["Deployment"]["spec"]["template"] for each in (before, after)]
    assert (templates[0] != templates[1]) is rolls


def test_keys_in_a_secret_are_rotated_without_a_restart(make_frame: MakeFrame) -> None:
    site = {"name": "shop", "writeKeysFile": "secret:keys/shop"}
    ref = SecretRef("keys", "shop")
    one, two = (
        made(make_frame({"collector": {"sites": [site]}}, secrets={ref: value}))
        for value in ("one", "two")
    )
    assert one["Deployment"] == two["Deployment"]
    (volume,) = [each for each in pod(one)["volumes"] if "secret" in each]
    assert volume["secret"]["items"] == [{"key": "shop", "path": "shop"}]
    # The pods are touched when this changes, so that they read the new keys at once.
    marks = [each["ConfigMap"]["metadata"]["annotations"][names.LIVE] for each in (one, two)]
    assert marks[0] != marks[1]
    (live,) = json.loads(one["ConfigMap"]["data"]["live.json"])["sites"]
    assert live["writeKeysFile"] == "/etc/webevents/secrets/keys/shop"


def test_a_certificate_restarts_it(make_frame: MakeFrame) -> None:
    tls = {"certFile": "secret:cert/tls.crt", "keyFile": "secret:cert/tls.key"}
    spec = {"collector": {"tls": tls}}
    ref = SecretRef("cert", "tls.crt")
    one, two = (made(make_frame(spec, secrets={ref: value})) for value in ("one", "two"))
    assert one["Deployment"] != two["Deployment"]
    (port,) = one["Service"]["spec"]["ports"]
    assert (port["name"], port["port"], port["appProtocol"]) == ("https", 443, "https")
    settings = json.loads(one["ConfigMap"]["data"]["settings.json"])
    assert settings["collector"]["tls"]["certFile"] == "/etc/webevents/secrets/cert/tls.crt"


def test_an_autoscaler_says_how_many(make_frame: MakeFrame) -> None:
    scaling = {"minReplicas": 3, "maxReplicas": 6, "targetCpuPercent": 50}
    objects = made(make_frame({"collector": {"autoscaling": scaling}}, replicas={"collector": 4}))
    assert "replicas" not in objects["Deployment"]["spec"]
    assert objects["Deployment"]["metadata"]["annotations"] == {names.AUTOSCALED: "true"}
    spec = objects["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 6)
    assert spec["scaleTargetRef"]["name"] == "shop-collector"
    (metric,) = spec["metrics"]
    assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 50}
    assert "PodDisruptionBudget" in objects
    # Sites share their rate over the pods that there are.
    assert json.loads(objects["ConfigMap"]["data"]["live.json"])["replicas"] == 4


def test_who_may_connect(make_frame: MakeFrame) -> None:
    proxy = {"namespaceLabels": {"name": "ingress"}, "podLabels": {"app": "nginx"}}
    peers = [proxy, {"network": "10.0.0.0/8"}]
    config = OperatorConfig(metrics_from=({"podSelector": {"matchLabels": {"app": "prom"}}},))
    spec = {"collector": {"service": {"acceptFrom": peers}}}
    policy = made(make_frame(spec, config=config))["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    events, metrics = policy["ingress"]
    assert [port["port"] for port in events["ports"] + metrics["ports"]] == ["http", "metrics"]
    assert events["from"] == [
        {
            "namespaceSelector": {"matchLabels": {"name": "ingress"}},
            "podSelector": {"matchLabels": {"app": "nginx"}},
        },
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
    ]
    assert metrics["from"] == list(config.metrics_from)
    open_to_all = made(make_frame({"collector": {}}))["NetworkPolicy"]["spec"]["ingress"]
    assert all("from" not in rule for rule in open_to_all)
    none = make_frame({"collector": {}}, config=OperatorConfig(network_policies=False))
    assert "NetworkPolicy" not in made(none)


def test_an_ingress_and_a_route(make_frame: MakeFrame) -> None:
    spec: Object = {
        "collector": {
            "ingress": {"hosts": ["c.example"], "className": "nginx", "tlsSecret": "cert",
                        "annotations": {"a": "b"}},
            "gateway": {"parents": [{"name": "g", "namespace": "infra", "sectionName": "web"}],
                        "hostnames": ["c.example"]},
        }
    }  # fmt: skip
    assert "HTTPRoute" not in made(make_frame(spec))  # where the API is not, it is not made
    objects = made(make_frame(spec, apis=ROUTES))
    ingress = objects["Ingress"]
    assert ingress["metadata"]["annotations"] == {"a": "b"}
    assert ingress["spec"]["tls"] == [{"hosts": ["c.example"], "secretName": "cert"}]
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    backend = {"service": {"name": "shop-collector", "port": {"name": "http"}}}
    assert (rule["host"], path["path"], path["backend"]) == ("c.example", "/", backend)
    route = objects["HTTPRoute"]["spec"]
    assert route["parentRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g",
         "namespace": "infra", "sectionName": "web"}
    ]  # fmt: skip
    assert route["rules"] == [{"backendRefs": [{"name": "shop-collector", "port": 80}]}]


@pytest.mark.parametrize(
    ("collector", "given", "expected"),
    [
        ({}, [], "http://shop-collector.web.svc"),
        ({"service": {"port": 8080}}, [], "http://shop-collector.web.svc:8080"),
        ({"service": {"type": "LoadBalancer"}}, [{"ip": "192.0.2.1"}], "http://192.0.2.1"),
        ({"service": {"type": "LoadBalancer", "port": 81}}, [{"hostname": "lb.example"}],
         "http://lb.example:81"),
        ({"service": {"type": "LoadBalancer"}}, [{"ip": "2001:db8::1"}], "http://[2001:db8::1]"),
        ({"ingress": {"hosts": ["c.example"], "tlsSecret": "cert"}}, [], "https://c.example"),
        ({"gateway": {"parents": [{"name": "g"}], "hostnames": ["c.example"]}}, [], "c.example"),
    ],
)  # fmt: skip
def test_where_it_is_reached(
    make_frame: MakeFrame, collector: Object, given: list[Object], expected: str
) -> None:
    frame = make_frame({"collector": collector}, apis=ROUTES)
    view = collector_view(frame)
    assert view is not None
    service = {"status": {"loadBalancer": {"ingress": given}}}
    assert address(view, {Ref("Service", "web", "shop-collector"): service}) == expected


def test_what_is_in_the_way_of_a_route(make_frame: MakeFrame) -> None:
    spec = {"collector": {"gateway": {"parents": [{"name": "g"}]}}}
    lacking = collector_view(make_frame(spec))
    assert lacking is not None
    problem = exposure_problem(lacking, {})
    assert problem is not None
    assert problem.reason is Reason.DEPENDENCY_MISSING
    view = collector_view(make_frame(spec, apis=ROUTES))
    assert view is not None
    assert exposure_problem(view, {}) is None

    def with_status(status: str) -> Any:
        condition = {"type": "Accepted", "status": status, "reason": "NoMatch", "message": "no"}
        parent = {"parentRef": {"name": "g"}, "conditions": [condition]}
        route = {"status": {"parents": [parent]}}
        return exposure_problem(view, {Ref("HTTPRoute", "web", "shop-collector"): route})

    assert with_status("True") is None
    refused = with_status("False")
    assert refused.reason is Reason.ROUTE_REFUSED
    assert "the Gateway g does not take" in refused.message


def test_a_collector_that_is_switched_off_has_nothing(make_frame: MakeFrame) -> None:
    frame = make_frame({"collector": {"enabled": False}})
    assert made(frame) == {}
    assert collector_view(frame) is None
