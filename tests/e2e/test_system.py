"""From ``helm install`` to ``helm uninstall``, while events flow through real pods.

The tests are steps of one life of a release, in the order of the file: each goes on where the one
before has stopped. Kafka, Elasticsearch, PostgreSQL and Prometheus are real; the object store is
moto, which keeps objects in memory and is therefore not killed.
"""

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import server_objects
import yaml
from cluster_shell import OPERATOR, RELEASE, Cluster, is_ready
from node_hands import Hands

Object = dict[str, Any]
Eventually = Callable[..., Any]
Install = Callable[..., str]
ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "web-event-pipeline"
NAME = "web-events"
STAGES = ("enrich", "sessionize", "index", "store", "archive")
STOP, CONTINUE = 19, 18
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def say(text: str) -> None:
    print(f"\n  {text}", end="", flush=True)


def pipeline(cluster: Cluster) -> Object:
    return dict(cluster.json(f"wep/{NAME}"))


def stages(cluster: Cluster) -> dict[str, Object]:
    found = pipeline(cluster).get("status", {}).get("stages", [])
    return {each["name"]: each for each in found}


def received(cluster: Cluster) -> int:
    return int(stages(cluster).get("enrich", {}).get("received") or 0)


def patch(cluster: Cluster, **spec: Any) -> None:
    text = json.dumps({"spec": spec})
    cluster.kubectl("patch", "wep", NAME, "--type=merge", "--patch", text)


def wait_until_ready(cluster: Cluster) -> None:
    cluster.kubectl("wait", f"wep/{NAME}", "--for=condition=Ready", "--timeout=300s")


def operator_pod(cluster: Cluster) -> str:
    found = cluster.json("pods", "--selector", "app.kubernetes.io/component=operator")["items"]
    (pod,) = [each["metadata"]["name"] for each in found if is_ready(each)]
    return str(pod)


def flow(cluster: Cluster, eventually: Eventually, replicas: int = 1) -> None:
    """Have the generator run, and see events arrive."""
    cluster.kubectl("scale", "wep", NAME, f"--replicas={replicas}")
    before = received(cluster)
    eventually(lambda: received(cluster), lambda now: now > before + 100)


def settle(cluster: Cluster, eventually: Eventually) -> None:
    """Stop the generator and let every stage finish; then all counts must agree."""
    cluster.kubectl("scale", "wep", NAME, "--replicas=0")
    eventually(lambda: not cluster.pods("generator"))

    def counts() -> tuple[Any, ...]:
        told = [(s["name"], s.get("lag"), s.get("received")) for s in stages(cluster).values()]
        loaded = cluster.sql("SELECT coalesce(sum(records), 0) FROM loaded_objects")
        return (cluster.documents("web-events-*"), loaded, *told)

    def still() -> tuple[bool, tuple[Any, ...]]:
        """Nothing changes over two looks at the ledger, and nothing waits."""
        before = counts()
        time.sleep(12)
        now = counts()
        lags = [lag for name, lag, _ in now[2:] if name in STAGES]
        return now == before and not any(lags), now

    eventually(still, lambda found: found[0], seconds=400)
    raw, ids = cluster.topic("raw-web-events")
    enriched, enriched_ids = cluster.topic("enriched-web-events")
    documents = cluster.documents("web-events-*")
    rows = int(cluster.sql("SELECT count(*) FROM processed_events"))
    archived = cluster.archived(server_objects.BUCKET, f"raw/{NAME}")
    loaded = cluster.sql(
        "SELECT sum(records), sum(events + scrolls), (SELECT count(*) FROM events) "
        "+ (SELECT coalesce(sum(scroll_count), 0) FROM scroll_events) FROM loaded_objects"
    )
    say(
        f"raw {raw}, enriched {enriched}, documents {documents}, rows {rows}, "
        f"archived {archived[0]}, loaded {loaded.replace('|', ' = ')}"
    )
    assert raw > 0
    assert (ids, enriched, enriched_ids, documents, rows) == (raw,) * 5
    assert archived == (raw, raw)
    assert loaded == f"{raw}|{raw}|{raw}"
    found = stages(cluster)
    for name in STAGES:
        one = found[name]
        if name in ("enrich", "sessionize", "archive"):  # the others read sessions too
            assert one["received"] == raw, one
        assert one["received"] == one["delivered"] + one["failed"] + one["dropped"], one
    assert pipeline(cluster)["status"]["ledger"]["balanced"] is True


@pytest.fixture(scope="module")
def older_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart as an earlier release had it, whose definition lacked a field."""
    folder = tmp_path_factory.mktemp("older") / "web-event-pipeline"
    shutil.copytree(CHART, folder)
    file = folder / "files" / "crd.yaml"
    definition = yaml.safe_load(file.read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec = schema["properties"]["spec"]
    index = spec["properties"]["index"]
    for place in (index["properties"], index.get("default", {}), spec["default"]["index"]):
        place.pop("shards", None)
    file.write_text(yaml.safe_dump(definition))
    file = folder / "Chart.yaml"
    file.write_text(file.read_text().replace("\nversion: ", "\nversion: 0.0.1 # before ", 1))
    return folder


def everything(cluster: Cluster) -> set[str]:
    """Topics, indices and index templates, whoever made them."""
    templates = cluster.elasticsearch("_index_template")["index_templates"]
    return {
        *cluster.topic_folders(),
        *cluster.elasticsearch("_aliases"),
        *(each["name"] for each in templates),
    }


@pytest.fixture(scope="module")
def before(cluster: Cluster) -> set[str]:
    """What other tests have left in the servers."""
    return everything(cluster)


def test_preflight_names_what_is_missing(cluster: Cluster) -> None:
    if "kafka.strimzi.io" in cluster.kubectl("api-versions"):
        pytest.skip("Strimzi is installed here")
    told = cluster.helm("install", "other", str(CHART), "--set", "crds.create=false", check=False)
    assert "kafka.create needs Strimzi 1.0 or newer, which is not installed" in told
    assert "other" not in cluster.helm("list", "--short", "--deployed", "--failed", "--pending")


def test_install(
    cluster: Cluster, eventually: Eventually, install: Install, older_chart: Path, before: set[str]
) -> None:
    began = time.monotonic()
    notes = install("install", chart=older_chart)
    installed = time.monotonic() - began
    assert f"get wep {NAME} --watch" in notes
    wait_until_ready(cluster)
    ready = time.monotonic() - began
    eventually(lambda: cluster.documents("web-events-*"))
    first = time.monotonic() - began
    say(f"helm install {installed:.0f} s, Ready {ready:.0f} s, first document {first:.0f} s")
    assert first < 300  # the goal


def test_helm_test_finds_its_event(cluster: Cluster) -> None:
    told = cluster.helm("test", RELEASE, "--logs", "--timeout", "5m")
    for found in (
        "the event in enriched-web-events",
        "the session in web-sessions",
        "the event in web-events-",
        "the session in web-sessions-",
        "the session in the table public.session_metrics",
        "the event in the table public.processed_events",
        "the event in the table public.events",
        f"the event in raw/{NAME}/",
    ):
        assert f"found {found}" in told
    say("\n  ".join(line for line in told.splitlines() if line.startswith("found")))


def test_counts_are_equal(cluster: Cluster, eventually: Eventually) -> None:
    flow(cluster, eventually)
    settle(cluster, eventually)


def test_prometheus_scrapes_every_pod(cluster: Cluster, eventually: Eventually) -> None:
    flow(cluster, eventually)

    def pods() -> set[str]:
        return {
            each["metadata"]["name"]
            for each in cluster.json("pods")["items"]
            if any(
                port.get("name") == "metrics"
                for container in each["spec"]["containers"]
                for port in container.get("ports", [])
            )
        }

    def scraped() -> dict[str, str]:
        targets = cluster.prometheus("targets", state="active")["activeTargets"]
        return {each["labels"]["pod"]: each["health"] for each in targets}

    found = eventually(scraped, lambda now: now == dict.fromkeys(pods(), "up"))
    assert len(found) >= 2 + len(STAGES)
    say(f"{len(found)} pods scraped: {', '.join(sorted(found))}")
    query = "sum by (stage) (webevents_ledger_in_total)"

    def counted() -> set[str]:
        answer = cluster.prometheus("query", query=query)["result"]
        return {each["metric"]["stage"] for each in answer if float(each["value"][1]) > 0}

    eventually(counted, lambda there: set(STAGES) <= there)
    assert cluster.prometheus("query", query="webevents_operator_reconciles_total")["result"]


def test_generators_share_the_rate(cluster: Cluster, eventually: Eventually) -> None:
    patch(cluster, generator={"eventsPerSecond": 60})
    query = "sum by (pod) (rate(webevents_generated_events_total[30s]))"

    def rates() -> dict[str, float]:
        answer = cluster.prometheus("query", query=query)["result"]
        found = {each["metric"]["pod"]: float(each["value"][1]) for each in answer}
        return {pod: found[pod] for pod in cluster.pods("generator") if pod in found}

    for replicas in (1, 3, 1):
        flow(cluster, eventually, replicas)
        share = 60 / replicas  # the total rate stays whatever the number

        def fair(now: dict[str, float], n: int = replicas, each: float = share) -> bool:
            return len(now) == n and all(0.75 * each < rate < 1.25 * each for rate in now.values())

        found = eventually(rates, fair)
        told = ", ".join(f"{rate:.1f}" for rate in found.values())
        say(f"generator x{replicas}: {told} of 60 events/s")
    patch(cluster, generator={"eventsPerSecond": 20})


def test_enrich_is_scaled_without_a_loss(cluster: Cluster, eventually: Eventually) -> None:
    for replicas in (1, 2, 1):
        patch(cluster, stages={"enrich": {"replicas": replicas}})
        eventually(lambda: cluster.pods("enrich"), lambda pods, n=replicas: len(pods) == n)
        flow(cluster, eventually)
    settle(cluster, eventually)


def test_a_rotated_secret_is_taken_up(cluster: Cluster, eventually: Eventually) -> None:
    flow(cluster, eventually)
    pod = f"pod/{NAME}-store-0"
    before = cluster.json(pod)["metadata"]["uid"]
    cluster.sql("ALTER ROLE webevents PASSWORD 'second'")
    cluster.apply(server_objects.secret(cluster.namespace, "postgres", password="second"))
    eventually(lambda: cluster.json(pod)["metadata"]["uid"], lambda now: now != before)
    eventually(lambda: cluster.pods("store"))
    count = "SELECT count(*) FROM processed_events"
    rows = cluster.sql(count)
    eventually(lambda: cluster.sql(count), lambda now: int(now) > int(rows) + 50)
    settle(cluster, eventually)


def test_drift_is_reverted(cluster: Cluster, eventually: Eventually) -> None:
    scale = f"statefulset/{NAME}-sessionize"
    cluster.kubectl("scale", scale, "--replicas=3")
    cluster.kubectl("delete", f"statefulset/{NAME}-enrich", f"configmap/{NAME}-index")
    eventually(lambda: cluster.pods("enrich"))
    assert cluster.json(f"configmap/{NAME}-index")["data"]["settings.json"]
    eventually(lambda: cluster.json(scale)["spec"]["replicas"], lambda count: count == 1)


def test_a_bad_resource_is_refused(cluster: Cluster) -> None:
    bad = '{"spec": {"generator": {"replicas": -1}}}'
    told = cluster.kubectl("patch", "wep", NAME, "--type=merge", "--patch", bad, check=False)
    assert "spec.generator.replicas" in told and "greater than or equal to 0" in told


def test_what_is_killed_loses_nothing(
    cluster: Cluster, eventually: Eventually, hands: Hands
) -> None:
    flow(cluster, eventually)
    workloads = [f"{NAME}-{each}-0" for each in ("generator", *STAGES, "loader")]
    servers = ["kafka-0", "elasticsearch-0", "postgres-0"]
    for pod in [*workloads, operator_pod(cluster), *servers]:
        seconds = hands.kill(pod)
        before = eventually(lambda: received(cluster))
        eventually(lambda b=before: received(cluster) > b + 20)
        say(f"{pod} killed, ready again after {seconds:.1f} s")
    settle(cluster, eventually)


def test_upgrade_and_rollback_lose_nothing(
    cluster: Cluster, eventually: Eventually, install: Install
) -> None:
    flow(cluster, eventually)
    field = ("explain", "wep.spec.index.shards")
    assert 'field "shards" does not exist' in cluster.kubectl(*field, check=False)
    install("upgrade", "--set", "operator.workers=4", "--set", "pipeline.spec.index.shards=2")
    eventually(lambda: "integer" in cluster.kubectl(*field))
    assert pipeline(cluster)["spec"]["index"]["shards"] == 2
    wait_until_ready(cluster)
    flow(cluster, eventually)
    cluster.helm("rollback", RELEASE, "1", "--wait", "--timeout", "5m")
    assert "shards" not in pipeline(cluster)["spec"].get("index", {})
    wait_until_ready(cluster)
    flow(cluster, eventually)
    settle(cluster, eventually)


def alerts(cluster: Cluster, name: str) -> set[str]:
    """Stages for which an alert fires."""
    return {
        each["labels"].get("stage", "")
        for each in cluster.prometheus("alerts")["alerts"]
        if each["state"] == "firing" and each["labels"]["alertname"] == name
    }


def test_a_stopped_stage_raises_an_alert(
    cluster: Cluster, eventually: Eventually, hands: Hands
) -> None:
    name = "WebeventsStageStopped"
    flow(cluster, eventually)
    eventually(lambda: alerts(cluster, name), lambda now: not now)
    began = time.monotonic()
    hands.signal("elasticsearch-0", STOP)
    try:
        found = eventually(lambda: alerts(cluster, name), seconds=600)
    finally:
        hands.signal("elasticsearch-0", CONTINUE)
    assert found == {"index"}  # nobody else is held up
    say(f"{name} fires for index {time.monotonic() - began:.0f} s after its destination hangs")
    began = time.monotonic()
    eventually(lambda: alerts(cluster, name), lambda now: not now, seconds=400)
    say(f"{name} is resolved {time.monotonic() - began:.0f} s after it goes on")


def test_a_lagging_stage_raises_an_alert(
    cluster: Cluster, eventually: Eventually, hands: Hands
) -> None:
    """The rule judges half minutes here instead of ten (conftest.sooner)."""
    name = "WebeventsLagGrowing"
    flow(cluster, eventually)
    patch(cluster, generator={"eventsPerSecond": 300})
    pod, began = f"{NAME}-enrich-0", time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(hands.slow_down, pod, 240, stopped=3, running=0.05)
        found = eventually(lambda: alerts(cluster, name), lambda now: "enrich" in now, seconds=230)
        say(f"{name} fires for {', '.join(found)} after {time.monotonic() - began:.0f} s")
        patch(cluster, generator={"eventsPerSecond": 20})
        slow.result()
    began = time.monotonic()
    eventually(lambda: alerts(cluster, name), lambda now: not now, seconds=400)
    say(f"{name} is resolved {time.monotonic() - began:.0f} s after it runs as usual")
    settle(cluster, eventually)


def test_a_missing_operator_raises_an_alert(cluster: Cluster, eventually: Eventually) -> None:
    """Here too the rule judges half a minute, instead of five minutes."""
    name = "WebeventsOperatorDown"
    flow(cluster, eventually)
    eventually(lambda: alerts(cluster, name), lambda now: not now)
    began = time.monotonic()
    cluster.kubectl("scale", OPERATOR, "--replicas=0")
    try:
        eventually(lambda: alerts(cluster, name))
        say(f"{name} fires {time.monotonic() - began:.0f} s after the operator is gone")
        before = cluster.documents("web-events-*")  # the stages run on without it
        eventually(lambda: cluster.documents("web-events-*"), lambda now: now > before + 100)
    finally:
        began = time.monotonic()
        cluster.kubectl("scale", OPERATOR, "--replicas=1")
    eventually(lambda: alerts(cluster, name), lambda now: not now)
    say(f"{name} is resolved {time.monotonic() - began:.0f} s after it is back")
    settle(cluster, eventually)


KINDS = (
    "deployments,statefulsets,jobs,pods,services,configmaps,serviceaccounts,roles,rolebindings,"
    "poddisruptionbudgets,networkpolicies,persistentvolumeclaims,leases,ingresses,"
    "horizontalpodautoscalers,secrets"
)
KUBERNETES = {"ServiceAccount/default", "ConfigMap/kube-root-ca.crt"}


def there(cluster: Cluster) -> set[str]:
    found = cluster.json(KINDS)["items"]
    return {f"{each['kind']}/{each['metadata']['name']}" for each in found} - KUBERNETES


def servers_objects(namespace: str, folder: Path) -> set[str]:
    rules = ROOT / "manifests" / "monitoring" / "alerts.yaml"
    made = server_objects.objects(namespace, folder, rules)
    return {f"{each['kind']}/{each['metadata']['name']}" for each in made} | {
        f"Pod/{name}-0" for name in server_objects.PORTS
    }


def tables(cluster: Cluster) -> set[str]:
    told = cluster.sql("SELECT table_name FROM information_schema.tables "
                       "WHERE table_schema = 'public'")  # fmt: skip
    return set(told.split())


def test_uninstall_leaves_only_what_the_policy_retains(
    cluster: Cluster, eventually: Eventually, tmp_path: Path
) -> None:
    topics, made = cluster.topics(), tables(cluster)
    documents = cluster.documents("web-events-*")
    cluster.helm("uninstall", RELEASE, "--wait", "--timeout", "5m")
    left = eventually(
        lambda: there(cluster) - servers_objects(cluster.namespace, tmp_path), lambda now: not now
    )
    assert left == set()
    assert cluster.json("wep")["items"] == []  # and so the definition is still there
    assert cluster.topic_folders() == topics > {"raw-web-events", "web-sessions"}
    assert cluster.documents("web-events-*") == documents > 0
    assert tables(cluster) == made > {"session_metrics", "processed_events"}


def test_uninstall_leaves_nothing_where_the_policy_deletes(
    cluster: Cluster, eventually: Eventually, install: Install, before: set[str], tmp_path: Path
) -> None:
    retained = cluster.documents("web-events-*")
    policy = [
        f"pipeline.spec.deletionPolicy.{each}=Delete" for each in ("topics", "indices", "tables")
    ]
    install("install", *(word for each in policy for word in ("--set", each)))
    wait_until_ready(cluster)
    eventually(lambda: cluster.documents("web-events-*"), lambda now: now > retained)
    settle(cluster, eventually)  # what was retained is gone on with
    cluster.helm("uninstall", RELEASE, "--wait", "--timeout", "5m")
    left = eventually(
        lambda: there(cluster) - servers_objects(cluster.namespace, tmp_path), lambda now: not now
    )
    assert left == set()
    assert eventually(lambda: everything(cluster) - before, lambda now: not now) == set()
    # The loader's are shared by all pipelines of the schema and go with none.
    assert tables(cluster) == {"events", "scroll_events", "loaded_objects", "load_failures"}


def test_the_definition_goes_last(cluster: Cluster) -> None:
    ours = ("webeventpipelines.webevents.dev", "webeventbackfills.webevents.dev")
    cluster.kubectl("delete", "crd", *ours)
    assert "webevents.dev" not in cluster.kubectl("get", "crd", "--output", "name")


def test_strimzi_and_eck_take_the_charts_resources(cluster: Cluster) -> None:
    """Their operators are not here: their definitions are, which judge what is applied."""
    folders = [ROOT.parent / "shared" / "crds" / each for each in ("strimzi", "eck")]
    if not all(folder.is_dir() for folder in folders):
        pytest.skip("the definitions of Strimzi and ECK are not in ../shared/crds")
    for folder in folders:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(folder))
    values = str(CHART / "values" / "laptop.yaml")
    # Without a cluster Helm takes a version for granted that depends on how it was built.
    without = ("--kube-version", "1.34.0", "--set", "preflight=false")
    text = cluster.helm("template", RELEASE, str(CHART), "--values", values, *without)
    groups = ("kafka.strimzi.io", "elasticsearch.k8s.elastic.co", "kibana.k8s.elastic.co")
    theirs = [
        each
        for each in yaml.safe_load_all(text)
        if each and each["apiVersion"].partition("/")[0] in groups
    ]
    told = cluster.apply(*theirs)
    assert told.count(" created") == len(theirs) >= 4, told
    say(told.replace("\n", "\n  ").rstrip())
    for each in theirs:
        kind = f"{each['kind'].lower()}.{each['apiVersion'].partition('/')[0]}"
        cluster.kubectl("delete", kind, each["metadata"]["name"])
    for folder in folders:
        cluster.kubectl("delete", "--wait=false", "--filename", str(folder))
