"""The plan against what the API server makes of it: once applied, nothing is left to do."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kube import Kube, pipeline

from webevents_operator import kinds, names
from webevents_operator.apply import Applier
from webevents_operator.config import OperatorConfig
from webevents_operator.diff import Apply, Ref, diff, ref_of
from webevents_operator.kinds import Object
from webevents_operator.kube import Cluster
from webevents_operator.names import Key
from webevents_operator.objects.desired import desired_objects
from webevents_operator.objects.frame import Frame
from webevents_operator.parse import plan_of, read
from webevents_operator.store import Store

_words = st.sampled_from(["a", "b", "c-d"])
_amounts = st.fixed_dictionaries(
    {},
    optional={
        "requests": st.fixed_dictionaries(
            {"cpu": st.sampled_from(["0.1", "100m", "1"]), "memory": st.just("256Mi")}
        ),
        "limits": st.fixed_dictionaries({"memory": st.sampled_from(["1024Mi", "1.5Gi", "2G"])}),
    },
)
_tolerations = st.fixed_dictionaries(
    {"key": _words},
    optional={"effect": st.sampled_from(["NoSchedule", "PreferNoSchedule"]), "value": _words},
)
_pods = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(_words, _words),
        "annotations": st.dictionaries(_words, _words),
        "nodeSelector": st.dictionaries(_words, _words),
        "tolerations": st.lists(_tolerations, max_size=3),
        "imagePullSecrets": st.lists(_words, max_size=2, unique=True),
        "serviceAccount": _words,
        "image": st.just("webevents.test/another:2"),
        "resources": st.dictionaries(st.sampled_from(["enrich", "generator"]), _amounts),
    },
)


def _specs(replicas: st.SearchStrategy[int]) -> st.SearchStrategy[Object]:
    stage = st.fixed_dictionaries({"replicas": replicas})
    return st.fixed_dictionaries(
        {
            "pods": _pods,
            "sessions": st.fixed_dictionaries({"enabled": st.booleans()}),
            "stages": st.fixed_dictionaries({"enrich": stage, "sessionize": stage}),
            "generator": st.none()
            | st.fixed_dictionaries({"replicas": replicas, "eventsPerSecond": st.integers(0, 500)})
            | st.fixed_dictionaries(
                {
                    "replicas": replicas,
                    "eventsPerSecond": st.integers(1, 500),  # without events it would never end
                    "time": st.just({"mode": "backdated", "duration": "1h"}),
                }
            ),
            "enrich": st.fixed_dictionaries(
                {},
                optional={
                    "privacy": st.just(
                        {"hashFields": ["user_id"], "hashKeyFile": "secret:hash/key"}
                    )
                },
            ),
        }
    )


class _Server:
    """The operator's way of writing to the API server, a step at a time."""

    def __init__(self, owner: Object) -> None:
        self._namespace = owner["metadata"]["namespace"]
        self._uid = owner["metadata"]["uid"]
        self._cluster = Cluster()
        self._store = Store()
        self._applier = Applier(self._cluster, self._store)
        self._runner = asyncio.Runner()
        self._runner.get_loop()

    def frame(self, spec: Object) -> Frame:
        """The frame of a pipeline with this specification."""
        config = OperatorConfig(image="webevents.test/none:1", image_pull_policy="Never")
        full = {"kafka": {"bootstrapServers": "kafka:9092"}, "index": {"enabled": False}} | spec
        made = read(kinds.PIPELINE.of("shop", self._namespace, spec=full), config)
        key = Key(self._namespace, "shop")
        return Frame(key=key, uid=self._uid, pipeline=made, plan=plan_of(made),
                     config=config)  # fmt: skip

    def observe(self) -> dict[Ref, Object]:
        """What is there."""
        return self._runner.run(self._observe())

    async def _observe(self) -> dict[Ref, Object]:
        found = {}
        for kind in kinds.CHILDREN:
            if kind.optional:
                continue
            ours = {names.MANAGED_BY: names.FIELD_MANAGER}
            there, _ = await self._cluster.list(kind, self._namespace, ours)
            for each in there:
                made = each | {"apiVersion": kind.api_version, "kind": kind.kind}
                if not each["metadata"].get("deletionTimestamp"):
                    found[ref_of(made)] = made
                    self._store.put_child(made)
        return found

    def bring_about(self, frame: Frame) -> None:
        """Write what differs."""
        actions = diff(desired_objects(frame), self.observe(), retain_topics=True)
        assert self._runner.run(self._applier.carry_out(frame, actions)) is None

    def close(self) -> None:
        """Let go of the connections."""
        self._runner.run(self._cluster.close())
        self._runner.close()


@pytest.fixture
def server(kube: Kube, namespace: str, kubeconfig: Path, monkeypatch: Any) -> Iterator[_Server]:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    # What has no owner is collected by the server; nobody reconciles this one.
    made = _Server(kube.create(pipeline(namespace, "shop", {"paused": True})))
    yield made
    made.close()


_REAL = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(spec=_specs(st.integers(0, 6)))
@_REAL
def test_what_the_server_would_hold_is_what_is_wanted(
    kube: Kube, server: _Server, spec: Object
) -> None:
    wanted = desired_objects(server.frame(spec))
    found = {}
    for action in diff(wanted, {}, retain_topics=True):
        assert isinstance(action, Apply)
        written = kube.apply_as(names.FIELD_MANAGER, action.object, dry_run=True)
        found[ref_of(action.object)] = written
    assert diff(wanted, found, retain_topics=True) == []


@given(steps=st.lists(_specs(st.just(0)), min_size=2, max_size=3))
@_REAL
def test_from_any_specification_to_any_other(server: _Server, steps: list[Object]) -> None:
    """Without replicas, so that no pods come and go."""
    for spec in steps:
        frame = server.frame(spec)
        server.bring_about(frame)
        wanted, found = desired_objects(frame), server.observe()
        assert diff(wanted, found, retain_topics=True) == []
        assert found.keys() == {ref_of(each) for each in wanted}
