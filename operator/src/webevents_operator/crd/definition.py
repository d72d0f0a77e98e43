"""The CustomResourceDefinition of WebEventPipeline."""

from typing import Any

from webevents.spec.pipeline import KIND
from webevents.spec.reference import schema
from webevents_operator.crd.frame import Column, frame, render, status_schema
from webevents_operator.crd.rules import add_rules
from webevents_operator.crd.schema import structural
from webevents_operator.status import Status

PLURAL = "webeventpipelines"

_READY = ".status.conditions[?(@.type=='Ready')]"

_COLUMNS = (
    Column("Ready", "string", f"{_READY}.status", "Whether the pipeline is as wanted.", 0),
    Column("Reason", "string", f"{_READY}.reason", "Why it is or is not ready.", 0),
    Column("Events/s", "number", ".status.eventsPerSecond", "Messages in a second, lately.", 0),
    Column("Lag", "integer", ".status.lag", "Messages still to be read by some stage.", 0),
    Column("Generators", "string", ".status.generators", "Generator pods, ready and wanted.", 0),
    Column(
        "Collector", "string", ".status.collector.address", "Where the collector is reached.", 1
    ),
    Column("Balanced", "boolean", ".status.ledger.balanced", "Whether all is accounted for.", 1),
    Column("Paused", "boolean", ".status.paused", "Whether the operator leaves it alone.", 0),
    Column("Message", "string", f"{_READY}.message", "Why, for people.", 1),
    Column("Age", "date", ".metadata.creationTimestamp", "Time since it was made.", 0),
)


def definition() -> dict[str, Any]:
    """The definition as an object."""
    whole = schema()
    properties = structural(whole, whole)["properties"]
    made: dict[str, Any] = {
        "type": "object",
        "description": "A pipeline of web events: sources, topics, stages and destinations.",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": properties["spec"],
        },
    }
    add_rules(made)
    maps = {"conditions": "type", "stages": "name"}
    made["properties"]["status"] = status_schema(Status, maps)
    subresources = {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.generator.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }
    return frame(KIND, PLURAL, "wep", made, _COLUMNS, subresources)


def rendered() -> str:
    """The definition as YAML."""
    return render(KIND, definition())
