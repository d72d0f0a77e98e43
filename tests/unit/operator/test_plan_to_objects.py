"""A plan becomes objects, and once they are applied nothing is left to do."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webevents.spec.secrets import SecretRef
from webevents_operator import kinds, names
from webevents_operator.diff import Apply, Delete, Ref, diff, marked, ref_of
from webevents_operator.kinds import Object
from webevents_operator.objects.desired import desired_objects
from webevents_operator.objects.frame import Frame
from webevents_operator.objects.workloads import scaled

MakeFrame = Callable[..., Frame]

specs = st.fixed_dictionaries(
    {
        "generator": st.none()
        | st.fixed_dictionaries(
            {"replicas": st.integers(0, 4), "eventsPerSecond": st.integers(0, 500)}
        ),
        "collector": st.none()
        | st.fixed_dictionaries(
            {
                "replicas": st.integers(0, 3),
                "onOutage": st.sampled_from(["refuse", "spool"]),
                "ingress": st.none() | st.just({"hosts": ["a.example", "b.example"]}),
            }
        )
        | st.just({"autoscaling": {}, "service": {"type": "LoadBalancer"}}),
        "sessions": st.fixed_dictionaries({"enabled": st.booleans()}),
        "stages": st.fixed_dictionaries(
            {"enrich": st.fixed_dictionaries({"replicas": st.integers(0, 9)})}
        ),
        "pods": st.fixed_dictionaries(
            {
                "nodeSelector": st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz")),
                "resources": st.dictionaries(
                    st.sampled_from(["enrich", "sessionize"]),
                    st.fixed_dictionaries(
                        {"limits": st.fixed_dictionaries({"memory": st.just("1024Mi")})}
                    ),
                ),
            }
        ),
    }
)


def _server(objects: list[Object]) -> dict[Ref, Object]:
    """What the API server would hold: what was applied, with defaults of its own."""
    held = {}
    for each in objects:
        made = copy.deepcopy(each)
        made["metadata"] |= {"uid": "x", "resourceVersion": "1", "generation": 1}
        made.setdefault("spec", {})["serverDefault"] = True
        held[ref_of(made)] = made
    return held


@given(spec=specs)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_after_applying_there_is_nothing_to_do(make_frame: MakeFrame, spec: Object) -> None:
    wanted = desired_objects(make_frame(spec))
    actions = diff(wanted, {}, retain_topics=True)
    assert all(isinstance(each, Apply) and each.created for each in actions)
    found = _server([each.object for each in actions if isinstance(each, Apply)])
    assert diff(wanted, found, retain_topics=True) == []
    assert wanted == desired_objects(make_frame(spec))


@given(one=specs, other=specs)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_from_any_specification_to_any_other(
    make_frame: MakeFrame, one: Object, other: Object
) -> None:
    found = _server([marked(each) for each in desired_objects(make_frame(one))])
    wanted = desired_objects(make_frame(other))
    for action in diff(wanted, found, retain_topics=True):
        if isinstance(action, Delete):
            del found[action.ref]
        else:
            found |= _server([action.object])
    assert diff(wanted, found, retain_topics=True) == []
    assert found.keys() == {ref_of(each) for each in wanted}


@given(spec=specs, data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_value_that_drifts_is_noticed(
    make_frame: MakeFrame, spec: Object, data: st.DataObject
) -> None:
    wanted = desired_objects(make_frame(spec))
    found = _server([marked(each) for each in wanted])
    ref = data.draw(st.sampled_from(sorted(found)))
    leaves = list(_leaves(marked(next(each for each in wanted if ref_of(each) == ref))))
    path = data.draw(st.sampled_from([leaf for leaf in leaves if leaf[0] in ("spec", "data")]))
    node: Any = found[ref]
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = "drifted"
    (action,) = diff(wanted, found, retain_topics=True)
    assert isinstance(action, Apply)
    assert ref_of(action.object) == ref


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(node, dict):
        return [leaf for key, value in node.items() for leaf in _leaves(value, (*path, key))]
    if isinstance(node, list):
        return [leaf for at, value in enumerate(node) for leaf in _leaves(value, (*path, at))]
    return [path]


def _template(frame: Frame, workload: str) -> Object:
    name = f"shop-{workload}"
    (found,) = [
        each
        for each in desired_objects(frame)
        if each["kind"] == "StatefulSet" and each["metadata"]["name"] == name
    ]
    template: Object = found["spec"]["template"]
    return template


@pytest.mark.parametrize(
    ("change", "rolled"),
    [
        ({"enrich": {"dropFields": ["a"]}}, {"enrich"}),
        ({"stages": {"sessionize": {"chunkSize": 10}}}, {"sessionize"}),
        ({"generator": {"eventsPerSecond": 7}}, set()),
        ({"generator": {"seed": 7}}, {"generator"}),
        ({"stages": {"enrich": {"replicas": 3}}}, set()),
        ({"pods": {"labels": {"team": "a"}}}, {"generator", "enrich", "sessionize"}),
        ({"events": {"maxBytes": 5000}}, {"enrich", "sessionize"}),
    ],
)
def test_a_change_rolls_only_whom_it_concerns(
    make_frame: MakeFrame, change: Object, rolled: set[str]
) -> None:
    before, after = make_frame({"generator": {}}), make_frame({"generator": {}} | change)
    changed = {
        workload
        for workload in ("generator", "enrich", "sessionize")
        if _template(before, workload) != _template(after, workload)
    }
    assert changed == rolled


def test_a_rotated_secret_rolls_only_who_uses_it(make_frame: MakeFrame) -> None:
    spec = {
        "generator": {},
        "enrich": {"privacy": {"hashFields": ["user_id"], "hashKeyFile": "secret:hash/key"}},
    }
    ref = SecretRef("hash", "key")
    before = make_frame(spec, secrets={ref: "one"})
    after = make_frame(spec, secrets={ref: "two"})
    assert _template(before, "enrich") != _template(after, "enrich")
    assert _template(before, "sessionize") == _template(after, "sessionize")
    assert "secret:" not in json.dumps(desired_objects(before))


def test_partitions_on_the_cluster_count(make_frame: MakeFrame) -> None:
    spec = {"stages": {"enrich": {"replicas": 9}}}
    frame = make_frame(spec, partitions={"raw-web-events": 6})
    (enrich,) = [each for each in frame.plan.workloads if each.name == "enrich"]
    assert scaled(frame, enrich) == (6, 6)
    assert scaled(make_frame(spec), enrich) == (4, 4)
    assert _template(frame, "enrich") != _template(make_frame(spec), "enrich")


def test_pods_are_restricted(make_frame: MakeFrame) -> None:
    """The rules of the Pod Security Standards' level "restricted"."""
    for workload in ("generator", "enrich", "sessionize"):
        pod = _template(make_frame({"generator": {}}), workload)["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert {"name": "WEBEVENTS_METRICS_PORT", "value": "9090"} in container["env"]


def test_a_connector_never_holds_the_password(make_frame: MakeFrame) -> None:
    database = {"host": "db", "passwordFile": "secret:shop-db/password"}
    debezium = {
        "postgres": database | {"tls": {"caFile": "secret:shop-db/ca.crt"}},
        "tables": [{"name": "public.clicks"}],
        "connect": {"cluster": "connect"},
    }
    frame = make_frame({"source": {"debezium": debezium}})
    (found,) = [each for each in desired_objects(frame) if each["kind"] == "KafkaConnector"]
    assert found["metadata"]["labels"]["strimzi.io/cluster"] == "connect"
    assert found["spec"]["class"].endswith("PostgresConnector")
    config = found["spec"]["config"]
    assert config["database.password"] == "${secrets:web/shop-db:password}"
    assert config["database.sslrootcert"] == "/mnt/shop-db/ca.crt"
    assert not {"connector.class", "tasks.max"} & config.keys()


def test_topics_that_are_retained_are_not_deleted(make_frame: MakeFrame) -> None:
    topic = kinds.KAFKA_TOPIC.of("old", "web", metadata={"labels": {}, "uid": "x"})
    found = {ref_of(topic): topic}
    assert diff([], found, retain_topics=True) == []
    assert diff([], found, retain_topics=False) == [Delete(ref_of(topic), "x")]


def test_what_is_on_its_way_out_is_not_deleted_again() -> None:
    going = kinds.SERVICE.of("a", "web", metadata={"uid": "x", "deletionTimestamp": "now"})
    assert diff([], {ref_of(going): going}, retain_topics=True) == []


@pytest.mark.parametrize("length", [5, 41, 52])
def test_names_fit(make_frame: MakeFrame, length: int) -> None:
    name = "a" * length
    made = [ref_of(each) for each in desired_objects(make_frame({}, name))]
    assert max(len(ref.name) for ref in made) <= names.MAX_NAME
    assert len(set(made)) == len(made)
    other = names.workload_name("a" * 51 + "b", "sessionize")
    assert other != names.workload_name("a" * 52, "sessionize")
