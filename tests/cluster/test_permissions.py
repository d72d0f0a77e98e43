"""The chart's permissions on a real API server: with them and no others the operator does all its
work, they hold nothing beside, and nothing that it writes holds a secret.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer
from kube import Kube, OperatorProcess, condition, eventually, find_kubectl, pipeline
from shop import Shop

from webevents_operator import kinds
from webevents_operator.kinds import Object

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "web-event-pipeline"
ACCOUNT = "web-web-event-pipeline-operator"
VALUES = {
    "kafka": {"create": False, "existing": {"bootstrapServers": "k:9092"}},
    "elasticsearch": {"create": False, "existing": {"urls": ["http://e:9200"]}},
    "kibana": {"create": False},
    "crds": {"create": False},
}
WRITTEN = ("get", "list", "watch", "create", "patch", "delete")
GRANTED: dict[str, tuple[str, ...]] = {
    "webeventpipelines.webevents.dev": ("get", "list", "watch", "patch"),
    "webeventbackfills.webevents.dev": ("get", "list", "watch", "patch"),
    "webeventpipelines.webevents.dev/status": ("patch",),
    "webeventbackfills.webevents.dev/status": ("patch",),
    "webeventpipelines.webevents.dev/finalizers": ("update",),
    "webeventbackfills.webevents.dev/finalizers": ("update",),
    "configmaps": WRITTEN,
    "services": WRITTEN,
    "statefulsets.apps": WRITTEN,
    "deployments.apps": WRITTEN,
    "jobs.batch": WRITTEN,
    "poddisruptionbudgets.policy": WRITTEN,
    "horizontalpodautoscalers.autoscaling": WRITTEN,
    "networkpolicies.networking.k8s.io": WRITTEN,
    "ingresses.networking.k8s.io": WRITTEN,
    "httproutes.gateway.networking.k8s.io": WRITTEN,
    "podmonitors.monitoring.coreos.com": WRITTEN,
    "kafkatopics.kafka.strimzi.io": WRITTEN,
    "kafkausers.kafka.strimzi.io": WRITTEN,
    "kafkaconnectors.kafka.strimzi.io": WRITTEN,
    "kafkas.kafka.strimzi.io": ("get",),
    "secrets": ("get",),
    "pods": ("list", "patch"),
    "events": ("create",),
}
"""What the operator may do in a namespace that it watches (docs/operator.md)."""
OWN = {"webeventpipelines.webevents.dev": ("create", "delete")}
"""And beside in its own, where the canary and the release's pipeline are."""
VERBS = (
    *("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"),
    *("impersonate", "bind", "escalate"),
)
OTHERS = (
    *("pods/exec", "pods/log", "pods/ephemeralcontainers", "serviceaccounts", "namespaces"),
    *("serviceaccounts/token", "nodes", "persistentvolumeclaims", "endpoints", "users"),
    *("roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"),
    *("clusterroles.rbac.authorization.k8s.io", "daemonsets.apps", "replicasets.apps"),
    *("customresourcedefinitions.apiextensions.k8s.io", "kafkaconnects.kafka.strimzi.io"),
    "certificatesigningrequests.certificates.k8s.io",
)
StartOperator = Callable[..., OperatorProcess]


def _install(kube: Kube, namespace: str, folder: Path, **watch: Any) -> Path:
    """Give the release's service account the chart's permissions; a kubeconfig of the account."""
    helm = Path(find_kubectl() or "").with_name("helm")
    if not helm.exists():
        pytest.skip("helm is not beside kubectl")
    values = VALUES | {"operator": {"watch": watch}}
    made = subprocess.run(
        [helm, "template", "web", CHART, "--namespace", namespace, "--kube-version", "1.34.0",
         "--show-only", "templates/rbac.yaml", "--values", "-"],
        input=json.dumps(values), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    file = folder / "rbac.yaml"
    file.write_text(made.stdout)
    done = kube.kubectl("apply", "--filename", str(file))
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(kube.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {}} for user in config["users"]]
    token = kube.kubectl("create", "token", ACCOUNT, "--namespace", namespace).stdout.strip()
    assert token
    for user in config["users"]:
        user["user"]["token"] = token
    own = folder / "kubeconfig"
    own.write_text(yaml.safe_dump(config))
    return own


def _may(
    kube: Kube, namespace: str, where: str | None, resources: list[str]
) -> dict[str, set[str]]:
    """What the account of a namespace may do there or elsewhere (None: in all namespaces), as the
    API server's authorizer says it (SubjectAccessReview)."""
    account = f"system:serviceaccount:{namespace}:{ACCOUNT}"
    found: dict[str, set[str]] = {}
    for resource in resources:
        plain, _, sub = resource.partition("/")
        name, _, group = plain.partition(".")
        for verb in VERBS:
            asked = {"verb": verb, "resource": name, "group": group, "subresource": sub}
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": account,
                    "groups": [
                        "system:authenticated",
                        "system:serviceaccounts",
                        f"system:serviceaccounts:{namespace}",
                    ],
                    "resourceAttributes": asked | ({"namespace": where} if where else {}),
                },
            }
            answer = kube.review(review)
            if answer["status"]["allowed"]:
                found.setdefault(resource, set()).add(verb)
    return found


@pytest.fixture
def elsewhere(kube: Kube) -> Iterator[str]:
    with kube.namespace() as name:
        yield name


def test_one_namespace(kube: Kube, namespace: str, elsewhere: str, tmp_path: Path) -> None:
    _install(kube, namespace, tmp_path, scope="own")
    everything = [*GRANTED, *OTHERS]
    wanted = {name: set(verbs) | set(OWN.get(name, ())) for name, verbs in GRANTED.items()}
    assert _may(kube, namespace, namespace, everything) == wanted
    assert _may(kube, namespace, elsewhere, everything) == {}
    assert _may(kube, namespace, None, everything) == {}
    # As kubectl sees it, by impersonation.
    account = f"--as=system:serviceaccount:{namespace}:{ACCOUNT}"
    for verb, where, answer in (("get", namespace, "yes"), ("list", namespace, "no")):
        said = kube.kubectl("auth", "can-i", verb, "secrets", account, "--namespace", where)
        assert said.stdout.strip() == answer, said.stderr
    refused = kube.kubectl("get", "secrets", account, "--all-namespaces")
    assert "is forbidden" in refused.stderr


def test_listed_and_all_namespaces(
    kube: Kube, namespace: str, elsewhere: str, tmp_path: Path
) -> None:
    watched = {name: set(verbs) for name, verbs in GRANTED.items()}
    sample = [
        "secrets",
        "webeventpipelines.webevents.dev",
        "pods",
        "pods/exec",
        "statefulsets.apps",
    ]
    expected = {name: verbs for name, verbs in watched.items() if name in sample}
    _install(kube, namespace, tmp_path, scope="listed", namespaces=[elsewhere])
    assert _may(kube, namespace, elsewhere, sample) == expected
    assert _may(kube, namespace, "default", sample) == {}
    _install(kube, namespace, tmp_path, scope="all")
    try:
        # Secrets by their names, nowhere as a list.
        assert _may(kube, namespace, None, sample) == expected
    finally:
        for kind in ("clusterrolebinding", "clusterrole"):
            kube.kubectl("delete", kind, f"{ACCOUNT}-{namespace}")


CANARY = "canary-4d1f0c"


def test_the_operator_works_with_them_and_tells_no_secret(
    kube: Kube,
    namespace: str,
    shop: Shop,
    start_operator: StartOperator,
    elasticsearch: str,
    image: str,
    tmp_path: Path,
) -> None:
    own = _install(kube, namespace, tmp_path, scope="own")
    for name in ("keys", "elastic"):
        data = {key: f"{CANARY}-{name}-{key}-0123456789" for key in ("hash", "write", "password")}
        kube.create(kinds.SECRET.of(name, namespace, stringData=data))
    operator = start_operator(kubeconfig=own, image=image, canaryInterval="2s")
    spec: dict[str, Any] = {
        "generator": {"eventsPerSecond": 5},
        "collector": {
            "sites": [{"name": "shop", "writeKeysFile": "secret:keys/write"}],
            "ingress": {"hosts": ["collect.example"]},
            "autoscaling": {},
        },
        "enrich": {"privacy": {"hashFields": ["user_id"], "hashKeyFile": "secret:keys/hash"}},
        "live": {"enabled": True, "tokenFile": "secret:keys/write"},
        "stages": {"enrich": {"replicas": 2}},
        "index": {
            "enabled": True,
            "events": {"prefix": f"{shop.prefix}-events"},
            "sessions": {"prefix": f"{shop.prefix}-sessions"},
        },
        "elasticsearch": {
            "urls": [elasticsearch],
            "username": "ann",
            "passwordFile": "secret:elastic/password",
        },
    }
    shop.create(**spec)
    shop.wait("WorkloadsReady")
    _send_personal_data(shop)
    # Drift, a change, a secret that changes, and a job: all is written with these permissions.
    kube.delete(kinds.STATEFUL_SET, namespace, "shop-sessionize")
    changed = {"hash": f"{CANARY}-other-0123456789"}
    kube.apply(kinds.SECRET.of("keys", namespace, stringData=changed))
    shop.change({"collector": {"sites": [{"name": "b", "writeKeysFile": "secret:keys/write"}]}})
    eventually(lambda: kube.get(kinds.STATEFUL_SET, namespace, "shop-sessionize"))
    shop.wait("WorkloadsReady")
    backfill = {"pipeline": "shop", "firstDay": "2026-03-01", "lastDay": "2026-03-01"}
    kube.create(kinds.BACKFILL.of("march", namespace, spec=backfill))
    eventually(lambda: [j for j in kube.list(kinds.JOB, namespace) if "march" in str(j)])
    # Mistakes: what stands where the name of a file is wanted, and a secret that is refused.
    mistakes = {
        "typed": {"passwordFile": f"{CANARY}-typed-in"},
        "wrong": {"passwordFile": f"secret:{CANARY}/UPPER/{CANARY}"},
    }
    for name, fields in mistakes.items():
        wrong = {"urls": [elasticsearch], "username": "ann", **fields}
        kafka = {"kafka": {"bootstrapServers": "127.0.0.1:9"}}
        kube.create(pipeline(namespace, name, kafka | {"elasticsearch": wrong}))
        eventually(
            lambda name=name: condition(kube.must_get(kinds.PIPELINE, namespace, name), "Ready"),
            lambda c: c.get("reason") == "InvalidSpec",
        )
    assert operator.get("/readyz") == 200
    told = _all_that_is_told(kube, namespace, operator)
    for mark in (CANARY, "canary.ann@mail.example", "203.0.113.213"):
        found = [where for where, text in told.items() if mark in text]
        assert not found, [
            told[where][max(told[where].index(mark) - 300, 0) :][:500] for where in found
        ]
    kube.delete(kinds.BACKFILL, namespace, "march")
    eventually(lambda: kube.get(kinds.BACKFILL, namespace, "march"), lambda found: found is None)
    for name in ("shop", *mistakes):
        kube.delete(kinds.PIPELINE, namespace, name)
        eventually(
            lambda name=name: kube.get(kinds.PIPELINE, namespace, name), lambda found: found is None
        )
    refusals = [line for line in operator.logged() if "forbidden" in json.dumps(line)]
    assert not refusals, refusals[:3]


def _send_personal_data(shop: Shop) -> None:
    """Events that are read, and some that cannot be."""
    producer = Producer({"bootstrap.servers": shop.spec["kafka"]["bootstrapServers"]})
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for kind in ("pageview", 1):
        event = {
            "event_id": f"e-{kind}",
            "event_timestamp": stamp,
            "event_type": kind,
            "user_custom_id": "canary.ann@mail.example",
            "ip_address": "203.0.113.213",
        }
        producer.produce(shop.spec["topics"]["raw"]["name"], json.dumps(event).encode())
    assert producer.flush(60) == 0


def _all_that_is_told(kube: Kube, namespace: str, operator: OperatorProcess) -> dict[str, str]:
    """All objects of the namespace but the Secrets, what the specifications of pipelines hold, and
    the operator's log and metrics."""
    told = {"log": operator.log.read_text(), "metrics": operator.page("/metrics")}
    for kind in (*kinds.CHILDREN, kinds.POD, kinds.EVENT, kinds.PIPELINE, kinds.BACKFILL):
        if kind.optional:
            continue
        for each in kube.list(kind, namespace):
            if kind is kinds.PIPELINE:
                each = {name: value for name, value in each.items() if name != "spec"}
                each["metadata"].pop("managedFields", None)
            told[f"{kind.kind} {each['metadata']['name']}"] = json.dumps(each)
    assert any(where.startswith("Event ") for where in told)
    assert "ConfigMap shop-enrich" in told
    pods = [json.loads(text) for where, text in told.items() if where.startswith("Pod ")]
    assert pods
    for pod in pods:
        _has_no_token(pod)
    return told


def _has_no_token(pod: Object) -> None:
    volumes = pod["spec"]["volumes"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not [volume for volume in volumes if "projected" in volume], pod["metadata"]["name"]
