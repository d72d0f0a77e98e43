"""Pipelines for the operator's unit tests."""

from collections.abc import Callable
from typing import Any

import pytest

from webevents_operator import kinds
from webevents_operator.config import OperatorConfig
from webevents_operator.kinds import Object
from webevents_operator.names import Key
from webevents_operator.objects.frame import Frame
from webevents_operator.parse import plan_of, read

MakeFrame = Callable[..., Frame]


def resource(spec: Object, name: str = "shop") -> Object:
    """A resource as the API server has it."""
    metadata = {"uid": "u-1", "generation": 3, "resourceVersion": "7"}
    return kinds.PIPELINE.of(name, "web", metadata=metadata | {"name": name, "namespace": "web"},
                             spec=spec)  # fmt: skip


@pytest.fixture
def make_frame() -> MakeFrame:
    """Make a frame from a specification: ``make_frame(spec, **members)``."""

    def make(spec: Object, name: str = "shop", **members: Any) -> Frame:
        config = members.pop("config", OperatorConfig())
        full = {"kafka": {"bootstrapServers": "kafka:9092"}, "index": {"enabled": False}} | spec
        made = read(resource(full, name), config)
        return Frame(
            key=Key("web", name), uid="u-1", pipeline=made, plan=plan_of(made), config=config,
            **members,
        )  # fmt: skip

    return make
