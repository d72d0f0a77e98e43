"""The CustomResourceDefinition of WebEventBackfill, and the models of its status."""

from typing import Any

from pydantic import Field

from webevents.spec.backfill import KIND, WebEventBackfill
from webevents.spec.base import Model
from webevents.spec.reference import schema
from webevents_operator.crd.frame import Column, frame, render, status_schema
from webevents_operator.crd.schema import structural
from webevents_operator.status import Condition

PLURAL = "webeventbackfills"


class BackfillIndexStatus(Model):
    """One daily index."""

    name: str
    """The day's name."""
    index: str
    """The new index that stands, or is to stand, for it."""
    swapped: bool = False
    """Whether the name means the new index."""
    old: int | None = None
    """Documents of the old index."""
    new: int | None = None
    """Documents of the new index."""
    changed: int | None = None
    """Documents that are in both and differ."""
    missing: int | None = None
    """Documents that only the old index has."""
    extra: int | None = None
    """Documents that only the new index has."""


class BackfillStatus(Model):
    """The state of a backfill as the operator last saw it."""

    observed_generation: int | None = None
    """The generation of the resource that this is about."""
    phase: str | None = None
    """planned, reading, read, compared, swapping, done or aborted."""
    conditions: tuple[Condition, ...] = ()
    """Complete: whether the new indices stand in the old ones' places; its reason tells more."""
    started_at: str | None = None
    """When it was planned."""
    ended_at: str | None = None
    """When it was done."""
    indices: tuple[BackfillIndexStatus, ...] = Field(default=(), max_length=800)
    """The daily indices one by one."""


_COMPLETE = ".status.conditions[?(@.type=='Complete')]"
_COLUMNS = (
    Column("Pipeline", "string", ".spec.pipeline", "Whose days are made anew.", 0),
    Column("From", "string", ".spec.firstDay", "The first day.", 0),
    Column("To", "string", ".spec.lastDay", "The last day.", 0),
    Column("Complete", "string", f"{_COMPLETE}.status", "Whether it is done.", 0),
    Column("Reason", "string", f"{_COMPLETE}.reason", "Why it is, or is not.", 0),
    Column("Message", "string", f"{_COMPLETE}.message", "Why, for people.", 1),
    Column("Age", "date", ".metadata.creationTimestamp", "Time since it was made.", 0),
)
_FIXED = ("pipeline", "firstDay", "lastDay", "contents", "source.type")
_RULES = (
    ("self.firstDay <= self.lastDay", "lastDay is before firstDay"),
    (
        " && ".join(
            [
                *(f"self.{name} == oldSelf.{name}" for name in _FIXED),
                *(
                    f"has(self.source.{name}) == has(oldSelf.source.{name}) && "
                    f"(!has(self.source.{name}) || self.source.{name} == oldSelf.source.{name})"
                    for name in ("since", "until")
                ),
            ]
        ),
        "only missing and swap may change: make another backfill for other days or another source",
    ),
)


def backfill_definition() -> dict[str, Any]:
    """The definition as an object."""
    whole = schema(WebEventBackfill)
    spec = structural(whole, whole)["properties"]["spec"]
    spec["x-kubernetes-validations"] = [{"rule": r, "message": m} for r, m in _RULES]
    made: dict[str, Any] = {
        "type": "object",
        "description": "Days of a pipeline's indices, made anew and swapped.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status_schema(BackfillStatus, {"conditions": "type", "indices": "name"}),
        },
        "x-kubernetes-validations": [
            {
                "rule": "self.metadata.name.size() <= 40 && !self.metadata.name.contains('.')",
                "message": "the name has up to 40 characters and no dot: indices are named so",
            }
        ],
    }
    return frame(KIND, PLURAL, "webf", made, _COLUMNS, {"status": {}})


def rendered_backfill() -> str:
    """The definition as YAML."""
    return render(KIND, backfill_definition())
