"""A collector on a real API server: what is made, what changes without a restart, and its status.

The pods are stand-ins; tests/e2e/test_collector.py has the real ones.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from kube import Kube, OperatorProcess, eventually
from lightkube import ApiError
from shop import Shop

from webevents_operator import kinds, names
from webevents_operator.kinds import Object

StartOperator = Callable[..., OperatorProcess]
NAME = "shop-collector"
# What the operator uses of the Gateway API's HTTPRoute, for clusters that do not have it.
ROUTE_DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: unapproved, for tests}
spec:
  group: gateway.networking.k8s.io
  scope: Namespaced
  names: {kind: HTTPRoute, listKind: HTTPRouteList, plural: httproutes, singular: httproute}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
            spec:
              type: object
              properties:
                hostnames: {type: array, items: {type: string}}
                parentRefs:
                  type: array
                  items:
                    type: object
                    required: [name]
                    properties:
                      group: {type: string, default: gateway.networking.k8s.io}
                      kind: {type: string, default: Gateway}
                      name: {type: string}
                      namespace: {type: string}
                      sectionName: {type: string}
                rules:
                  type: array
                  items:
                    type: object
                    properties:
                      backendRefs:
                        type: array
                        items:
                          type: object
                          required: [name]
                          properties:
                            name: {type: string}
                            port: {type: integer}
                            weight: {type: integer, default: 1}
"""


@pytest.fixture
def shop(kube: Kube, namespace: str, kafka: str) -> Shop:
    made = Shop(kube, namespace, kafka)
    made.spec |= {"generator": None, "sessions": {"enabled": False}}
    return made


@pytest.fixture
def gateway_api(kube: Kube, tmp_path: Path) -> None:
    """The API of HTTPRoutes: the cluster's own, or as much of it as is used here."""
    try:
        kube.list(kinds.HTTP_ROUTE, "default")
    except httpx2.HTTPStatusError:  # of an API that is not there, not always with a Status
        file = tmp_path / "route.yaml"
        definition = yaml.safe_load(ROUTE_DEFINITION.replace("unapproved, for tests", "unapproved"))
        file.write_text(yaml.safe_dump(definition), encoding="utf-8")
        kube.apply_crd(file)


def live(shop: Shop) -> Any:
    return json.loads(shop.child(kinds.CONFIG_MAP, "collector")["data"]["live.json"])


def replicas(shop: Shop) -> int:
    return int(shop.child(kinds.DEPLOYMENT, "collector")["spec"]["replicas"])


def test_a_collector_comes_about(shop: Shop, start_operator: StartOperator, image: str) -> None:
    operator = start_operator(image=image)
    site = {"name": "shop", "writeKeys": ["one"]}
    ingress = {"hosts": ["collect.shop.example"], "tlsSecret": "certificate"}
    shop.create(collector={"replicas": 2, "sites": [site], "ingress": ingress})
    shop.wait()
    status = shop.resource()["status"]["collector"]
    assert status == {"replicas": 2, "ready": 2, "address": "https://collect.shop.example"}
    for kind in (kinds.SERVICE, kinds.NETWORK_POLICY, kinds.INGRESS, kinds.DISRUPTION_BUDGET):
        (owner,) = shop.child(kind, "collector")["metadata"]["ownerReferences"]
        assert owner["uid"] == shop.resource()["metadata"]["uid"]
    addresses = shop.child(kinds.SERVICE, "collector")["spec"]["clusterIP"]
    assert addresses != "None"
    # Keys and the number of copies change without a restart.
    before = shop.pods("collector")
    shop.change({"collector": {"sites": [site | {"writeKeys": ["one", "two"]}], "replicas": 3}})
    eventually(lambda: len(shop.pods("collector")), lambda count: count == 3)
    shop.wait()
    assert before.items() <= shop.pods("collector").items()
    assert live(shop)["replicas"] == 3
    assert live(shop)["sites"][0]["writeKeys"] == ["one", "two"]
    mark = shop.child(kinds.CONFIG_MAP, "collector")["metadata"]["annotations"][names.LIVE]

    def told() -> set[Any]:
        pods = (shop.kube.must_get(kinds.POD, shop.namespace, pod) for pod in before)
        return {(pod["metadata"].get("annotations") or {}).get(names.LIVE) for pod in pods}

    eventually(told, lambda found: found == {mark})
    # Then all is still.
    eventually(shop.resource, lambda r: r["status"].get("ledger", {}).get("balanced") is True)
    writes = operator.metric("webevents_operator_api_writes_total")
    passes = operator.metric("webevents_operator_reconciles_total")
    eventually(
        lambda: operator.metric("webevents_operator_reconciles_total"), lambda n: n > passes + 1
    )
    assert operator.metric("webevents_operator_api_writes_total") == writes


def test_a_rotated_secret_reaches_the_pods_without_a_restart(
    shop: Shop, start_operator: StartOperator, image: str
) -> None:
    start_operator(image=image)

    def secret(keys: str) -> Object:
        return kinds.SECRET.of("keys", shop.namespace, stringData={"shop": keys})

    shop.kube.apply(secret("one"))
    site = {"name": "shop", "writeKeysFile": "secret:keys/shop"}
    shop.create(collector={"sites": [site]})
    shop.wait()
    before = shop.pods("collector")
    (pod,) = before
    mark = shop.child(kinds.CONFIG_MAP, "collector")["metadata"]["annotations"][names.LIVE]
    shop.kube.apply(secret("one\ntwo"))
    changed = eventually(
        lambda: shop.kube.must_get(kinds.POD, shop.namespace, pod)["metadata"]["annotations"].get(
            names.LIVE
        ),
        lambda found: found not in (None, mark),
    )
    config = shop.child(kinds.CONFIG_MAP, "collector")["metadata"]["annotations"]
    assert config[names.LIVE] == changed
    assert shop.pods("collector") == before


def test_an_autoscaler_takes_over_and_gives_back(shop: Shop, start_operator: StartOperator) -> None:
    start_operator()
    shop.create(collector={"replicas": 3})
    eventually(lambda: shop.kube.get(kinds.DEPLOYMENT, shop.namespace, NAME))
    shop.change({"collector": {"autoscaling": {"minReplicas": 2, "maxReplicas": 6}}})
    eventually(lambda: shop.kube.get(kinds.AUTOSCALER, shop.namespace, NAME))
    eventually(
        lambda: shop.child(kinds.DEPLOYMENT, "collector")["metadata"]["annotations"],
        lambda found: names.AUTOSCALED in found,
    )
    assert replicas(shop) == 3  # not the server's default of 1
    # As the autoscaler does it; the operator leaves it so, and shares the rates anew.
    shop.kube.merge(kinds.DEPLOYMENT, shop.namespace, NAME, {"spec": {"replicas": 5}})
    eventually(lambda: live(shop)["replicas"], lambda found: found == 5)
    assert replicas(shop) == 5
    shop.change({"collector": {"autoscaling": None}})
    eventually(lambda: replicas(shop), lambda found: found == 3)
    eventually(lambda: shop.kube.get(kinds.AUTOSCALER, shop.namespace, NAME) is None)


def test_a_spool_has_a_volume(shop: Shop, start_operator: StartOperator, image: str) -> None:
    start_operator(image=image)
    shop.create(collector={"onOutage": "spool", "spool": {"maxBytes": 1000000}})
    shop.change({"collector": {"spool": {"volume": {"kind": "emptyDir"}}, "onOutage": "refuse"}})
    shop.change({"collector": {"onOutage": "spool"}})
    shop.wait()
    assert set(shop.pods("collector")) == {f"{NAME}-0"}
    with pytest.raises(ApiError, match=r"spool\.volume stays as it is while onOutage is spool"):
        shop.change({"collector": {"spool": {"volume": {"kind": "claim"}}}})
    # It becomes a Deployment, and its pods go on under the same Service.
    shop.change({"collector": {"onOutage": "refuse"}})
    shop.wait()
    eventually(lambda: shop.kube.get(kinds.STATEFUL_SET, shop.namespace, NAME) is None)
    eventually(lambda: len(shop.pods("collector")), lambda count: count == 1)


def test_a_claim_for_each_pod(shop: Shop, start_operator: StartOperator) -> None:
    start_operator()
    shop.create(collector={"onOutage": "spool", "replicas": 2})
    spec = eventually(
        lambda: shop.kube.get(kinds.STATEFUL_SET, shop.namespace, NAME),
    )["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    claims = {each["metadata"]["name"] for each in spec["volumeClaimTemplates"]}
    assert claims == {"spool"}
    pods = eventually(lambda: shop.pods("collector"), lambda found: len(found) == 2)
    assert set(pods) == {f"{NAME}-0", f"{NAME}-1"}


def test_a_route_of_the_gateway_api(
    gateway_api: None, shop: Shop, start_operator: StartOperator
) -> None:
    start_operator()
    gateway = {"parents": [{"name": "public"}], "hostnames": ["collect.shop.example"]}
    shop.create(collector={"gateway": gateway})
    route = eventually(lambda: shop.kube.get(kinds.HTTP_ROUTE, shop.namespace, NAME))
    (rule,) = route["spec"]["rules"]
    assert rule["backendRefs"][0]["name"] == NAME
    eventually(
        lambda: (shop.resource().get("status") or {}).get("collector", {}),
        lambda found: found.get("address") == "collect.shop.example",
    )
    # What a Gateway's controller writes where it does not take a route.
    shop.kube.merge_status(
        kinds.HTTP_ROUTE,
        shop.namespace,
        NAME,
        {
            "parents": [
                {
                    "parentRef": {"name": "public"},
                    "controllerName": "test.example/controller",
                    "conditions": [
                        {
                            "type": "Accepted",
                            "status": "False",
                            "reason": "NoMatchingListenerHostname",
                            "message": "no listener has this name",
                            "lastTransitionTime": "2026-11-27T00:00:00Z",
                        }
                    ],
                }
            ]
        },
    )
    told = shop.wait("WorkloadsReady", "False", "RouteRefused")
    assert "the Gateway public does not take" in told["message"]
    shop.change({"collector": {"gateway": None}})
    eventually(lambda: shop.kube.get(kinds.HTTP_ROUTE, shop.namespace, NAME) is None)
