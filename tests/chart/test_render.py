"""What the chart renders, from every values file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from webevents_operator import kinds
from webevents_operator.chart.files import chart_files
from webevents_operator.config import OperatorConfig
from webevents_operator.connections import with_defaults
from webevents_operator.parse import plan_of, read

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "web-event-pipeline"
FILES = sorted(path.stem for path in (CHART / "values").glob("*.yaml"))
EXISTING = {
    "kafka": {"create": False, "existing": {"bootstrapServers": "k:9092"}},
    "elasticsearch": {"create": False, "existing": {"urls": ["http://e:9200"]}},
    "kibana": {"create": False},
}

Object = dict[str, Any]
Render = Callable[..., list[Object]]


def of(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The one object of a kind, or of a kind and a name."""
    (found,) = [
        each
        for each in objects
        if each["kind"] == kind and name in (None, each["metadata"]["name"])
    ]
    return found


def pod_specs(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for each in objects:
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each["spec"]
        elif each["kind"] in ("Deployment", "Job"):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def test_the_made_files_are_those_of_the_code() -> None:
    for path, text in chart_files(CHART, ROOT / "manifests/monitoring/alerts.yaml").items():
        assert path.read_text() == text, f"{path.name}: run make chart-files"


@pytest.mark.parametrize("file", FILES)
def test_dashboards_go_into_the_kibana_that_the_chart_makes(render: Render, file: str) -> None:
    objects = render(file)
    text = of(objects, "ConfigMap", "web-web-event-pipeline-operator")["data"]["operator.yaml"]
    connection = OperatorConfig.model_validate(yaml.safe_load(text)).connections.kibana
    made = [each["metadata"]["name"] for each in objects if each["kind"] == "Kibana"]
    assert bool(connection) == bool(made)
    if connection:
        # ECK's names: of the service, and of the Secret with the certificate.
        assert connection.url and connection.url.startswith(f"https://{made[0]}-kb-http.")
        assert connection.tls and connection.tls.ca_file == (
            f"secret:{made[0]}-kb-http-certs-public/ca.crt"
        )


@pytest.mark.parametrize("file", FILES)
def test_operator_and_pipeline_understand_what_they_are_given(render: Render, file: str) -> None:
    objects = render(file)
    text = of(objects, "ConfigMap", "web-web-event-pipeline-operator")["data"]["operator.yaml"]
    config = OperatorConfig.model_validate(yaml.safe_load(text))
    text = of(objects, "ConfigMap", "web-web-event-pipeline-pipeline")["data"]["pipeline.yaml"]
    resource = yaml.safe_load(text)
    pipeline = read(resource, config)
    assert plan_of(pipeline).workloads
    assert pipeline == with_defaults(pipeline, config.connections)
    if file == "existing":
        assert pipeline.spec.kafka.bootstrap_servers == "kafka.example.com:9093"
    else:
        strimzi = pipeline.spec.kafka.strimzi
        kafka = of(objects, "Kafka")
        assert strimzi and strimzi.cluster == kafka["metadata"]["name"]
        listeners = [each["name"] for each in kafka["spec"]["kafka"]["listeners"]]
        assert strimzi.listener in listeners
        name = of(objects, "Elasticsearch")["metadata"]["name"]
        assert pipeline.spec.elasticsearch.urls == (f"https://{name}-es-http.shop.svc:9200",)


@pytest.mark.parametrize("file", FILES)
def test_pods_are_restricted(render: Render, file: str) -> None:
    found = dict(pod_specs(render(file)))
    assert len(found) == 4  # operator, two jobs, the test
    for name, spec in found.items():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"]["memory"], name


@pytest.mark.parametrize("file", FILES)
def test_objects_carry_namespace_and_labels(render: Render, file: str) -> None:
    for each in render(file):
        metadata = each["metadata"]
        labels = metadata["labels"]
        assert labels["app.kubernetes.io/instance"] == "web", each["kind"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        if each["kind"] not in ("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"):
            assert metadata["namespace"] == "shop", each["kind"]


@pytest.mark.parametrize("scope", ["own", "listed", "all"])
def test_roles_reach_as_far_as_the_watch(render: Render, scope: str) -> None:
    watch: Object = {"scope": scope}
    if scope == "listed":
        watch["namespaces"] = ["one", "two"]
    objects = render(operator={"watch": watch}, **EXISTING)
    roles = [each for each in objects if each["kind"] in ("Role", "ClusterRole")]
    bindings = [each for each in objects if each["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    places = [(each["kind"], each["metadata"].get("namespace")) for each in roles]
    assert (
        places
        == {
            "own": [("Role", "shop")],
            "listed": [("Role", "shop"), ("Role", "one"), ("Role", "two")],
            "all": [("ClusterRole", None), ("Role", "shop")],
        }[scope]
    )
    assert {each["roleRef"]["name"] for each in bindings} == {
        each["metadata"]["name"] for each in roles
    }
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if rule["resources"] == ["secrets"]:
                assert rule["verbs"] == ["get"]
    arguments = of(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    watched = [each for each in arguments if each.startswith("--namespace")]
    wanted = {"own": ["shop"], "listed": ["shop", "one", "two"], "all": []}[scope]
    assert watched == [f"--namespace={name}" for name in wanted]


def test_roles_hold_every_kind_that_the_operator_makes(render: Render) -> None:
    objects = render(**EXISTING)
    allowed = {
        (group, resource): set(rule["verbs"])
        for rule in of(objects, "Role")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    for kind in kinds.CHILDREN:
        verbs = {"get", "list", "watch", "create", "patch", "delete"}
        assert verbs <= allowed[kind.group, kind.plural], kind.kind


def test_images_follow_registry_tag_and_digest(render: Render) -> None:
    digest = "sha256:" + "a" * 64
    objects = render(
        images={"registry": "mirror.example.com/web", "pullSecrets": ["mirror"]},
        operator={"image": {"tag": "9.9"}},
        dataflows={"image": {"tag": "ignored", "digest": digest}},
        **EXISTING,
    )
    for name, spec in pod_specs(objects):
        assert spec["containers"][0]["image"] == "mirror.example.com/web/operator:9.9", name
        assert spec["imagePullSecrets"] == [{"name": "mirror"}], name
    config = of(objects, "ConfigMap", "web-web-event-pipeline-operator")["data"]["operator.yaml"]
    image = yaml.safe_load(config)["image"]
    assert image == f"mirror.example.com/web/dataflows@{digest}"


def test_another_setting_rolls_the_operator(render: Render) -> None:
    def checksum(**values: Any) -> str:
        template = of(render(**values, **EXISTING), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum(pipeline={"name": "other"})
    assert checksum() != checksum(operator={"workers": 3})


def definitions(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The definitions of a release, those of pipelines first."""
    found = [each for each in objects if each["kind"] == "CustomResourceDefinition"]
    return sorted(found, key=lambda each: str(each["metadata"]["name"]), reverse=True)


def test_the_definition_outlives_the_release_unless_told_otherwise(render: Render) -> None:
    crd, backfills = definitions(render(**EXISTING))
    assert crd["metadata"]["annotations"] == backfills["metadata"]["annotations"]
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    crd, _ = definitions(render(crds={"keep": False}, **EXISTING))
    assert "annotations" not in crd["metadata"]
    committed = yaml.safe_load((ROOT / "manifests/crd/webeventpipelines.yaml").read_text())
    assert crd["spec"] == committed["spec"]
    committed = yaml.safe_load((ROOT / "manifests/crd/webeventbackfills.yaml").read_text())
    assert backfills["spec"] == committed["spec"]
    kinds_made = [each["kind"] for each in render(crds={"create": False}, **EXISTING)]
    assert "CustomResourceDefinition" not in kinds_made


def test_large_has_controllers_and_masters_of_their_own(render: Render) -> None:
    objects = render("large")
    pools = {
        each["metadata"]["name"]: (each["spec"]["roles"], each["spec"]["replicas"])
        for each in objects
        if each["kind"] == "KafkaNodePool"
    }
    assert pools == {
        "web-kafka-brokers": (["broker"], 6),
        "web-kafka-controllers": (["controller"], 3),
    }
    sets = of(objects, "Elasticsearch")["spec"]["nodeSets"]
    roles = {each["name"]: (each["count"], each["config"].get("node.roles")) for each in sets}
    assert roles["masters"] == (3, ["master"])
    assert roles["data"][0] == 6 and "master" not in roles["data"][1]
    config = of(objects, "Kafka")["spec"]["kafka"]["config"]
    assert config["default.replication.factor"] == 3 and config["min.insync.replicas"] == 2


def test_data_stays_behind_in_production_and_goes_on_a_laptop(render: Render) -> None:
    for file, goes in (("small", False), ("large", False), ("laptop", True)):
        objects = render(file)
        policy = of(objects, "Elasticsearch")["spec"]["volumeClaimDeletePolicy"]
        assert (policy == "DeleteOnScaledownAndClusterDeletion") is goes
        for each in objects:
            if each["kind"] == "KafkaNodePool" and "brokers" in each["metadata"]["name"]:
                assert each["spec"]["storage"]["volumes"][0]["deleteClaim"] is goes


def test_alerts_have_runbooks_that_exist(render: Render) -> None:
    monitoring = {
        "prometheusRule": True,
        "labels": {"release": "prometheus"},
        "runbookBaseUrl": "https://example.com/web/",
    }
    rule = of(render(monitoring=monitoring, **EXISTING), "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    alerts = [each for group in rule["spec"]["groups"] for each in group["rules"]]
    assert len(alerts) >= 9
    for alert in alerts:
        annotations = alert["annotations"]
        assert (ROOT / annotations["runbook"]).is_file()
        assert annotations["runbook_url"] == f"https://example.com/web/{annotations['runbook']}"


def test_the_operators_job_is_that_of_its_alert(render: Render) -> None:
    monitoring = {"podMonitors": True, "prometheusRule": True}
    objects = render(monitoring=monitoring, nameOverride="other", **EXISTING)
    (relabeling,) = of(objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["relabelings"]
    assert relabeling["targetLabel"] == "job"
    alerts = {
        each["alert"]: each["expr"]
        for group in of(objects, "PrometheusRule")["spec"]["groups"]
        for each in group["rules"]
    }
    assert f'up{{job="{relabeling["replacement"]}"}}' in alerts["WebeventsOperatorDown"]
    assert f'job!="{relabeling["replacement"]}"' in alerts["WebeventsTargetDown"]


def test_connect_logs_in_with_the_existing_secrets(render: Render) -> None:
    kafka = {
        "create": False,
        "existing": {
            "bootstrapServers": "k:9093",
            "tls": {"caFile": "secret:ca/ca.pem"},
            "sasl": {"username": "me", "passwordFile": "secret:login/pass"},
        },
    }
    connect = {"create": True, "image": "example.com/debezium:3"}
    objects = render(**(EXISTING | {"kafka": kafka}), connect=connect)
    spec = of(objects, "KafkaConnect")["spec"]
    assert spec["tls"]["trustedCertificates"] == [{"secretName": "ca", "certificate": "ca.pem"}]
    assert spec["authentication"] == {
        "type": "scram-sha-512",
        "username": "me",
        "passwordSecret": {"secretName": "login", "password": "pass"},
    }
    assert not [each for each in objects if each["kind"] == "KafkaUser"]
    objects = render(connect=connect)
    user = of(objects, "KafkaUser")
    prefixes = [
        acl["resource"]["name"]
        for acl in user["spec"]["authorization"]["acls"]
        if acl["resource"]["type"] == "topic"
    ]
    assert prefixes == ["web-connect", "streaming"]
    annotations = of(objects, "KafkaConnect")["metadata"]["annotations"]
    assert annotations == {"strimzi.io/use-connector-resources": "true"}


def test_uninstall_waits_as_long_as_it_is_told(render: Render) -> None:
    job = of(
        render(pipeline={"removalTimeout": "1h2m3s"}, **EXISTING),
        "Job",
        "web-web-event-pipeline-pipeline-remove",
    )
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == [
        "remove", "web-events", "--seconds=3723", "--pod=web-web-event-pipeline-test",
    ]  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_every_connection_is_encrypted_and_logged_in(render: Render, file: str) -> None:
    """Of all values files: what goes to a server goes over TLS whose authority is checked, with a
    log-in, and each workload logs in to Kafka as itself."""
    objects = render(file)
    text = of(objects, "ConfigMap", "web-web-event-pipeline-operator")["data"]["operator.yaml"]
    connections = OperatorConfig.model_validate(yaml.safe_load(text)).connections
    kafka = connections.kafka
    assert kafka
    if kafka.strimzi:
        made = of(objects, "Kafka")["spec"]["kafka"]
        assert made["authorization"] == {"type": "simple"}
        assert all(each["tls"] for each in made["listeners"])
        assert {each["authentication"]["type"] for each in made["listeners"]} <= {
            "tls",
            "scram-sha-512",
        }
    else:
        assert kafka.tls and kafka.tls.verify
        logged_in = {kafka.logged_in_as(name).model_dump_json() for name in ("enrich", "index")}
        assert len(logged_in) == 2
    elastic = connections.elasticsearch
    assert elastic and elastic.urls and all(url.startswith("https:") for url in elastic.urls)
    assert elastic.tls and elastic.tls.verify and elastic.tls.ca_file
    assert elastic.api_key_file or elastic.password_file
    for made in (each for each in objects if each["kind"] in ("Elasticsearch", "Kibana")):
        assert "http" not in made["spec"], "ECK's own TLS stays on"
        assert "xpack.security.enabled" not in str(made)
    if file == "existing":
        postgres, store = connections.postgres, connections.s3
        assert postgres and postgres.tls and postgres.tls.mode == "verify-full"
        assert postgres.password_file
        assert store and store.endpoint and store.endpoint.startswith("https:")
        assert store.secret_key_file


def test_connect_logs_in_as_itself(render: Render) -> None:
    objects = render("existing", connect={"create": True, "image": "example.com/debezium:3"})
    login = of(objects, "KafkaConnect")["spec"]["authentication"]
    assert login["username"] == "web-events-connect"
    assert login["passwordSecret"] == {"secretName": "kafka-connect", "password": "password"}
