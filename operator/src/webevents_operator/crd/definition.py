"""The CustomResourceDefinition of WebEventPipeline."""

from typing import Any

import yaml

from webevents.spec.pipeline import API_VERSION, KIND
from webevents.spec.reference import schema
from webevents_operator.crd.rules import add_rules
from webevents_operator.crd.schema import structural
from webevents_operator.status import Status

GROUP, VERSION = API_VERSION.split("/")
PLURAL = "webeventpipelines"

_READY = ".status.conditions[?(@.type=='Ready')]"

_COLUMNS = (
    ("Ready", "string", f"{_READY}.status", "Whether the pipeline is as wanted.", 0),
    ("Reason", "string", f"{_READY}.reason", "Why it is or is not ready.", 0),
    ("Events/s", "number", ".status.eventsPerSecond", "Messages in a second, lately.", 0),
    ("Lag", "integer", ".status.lag", "Messages still to be read by some stage.", 0),
    ("Generators", "string", ".status.generators", "Generator pods, ready and wanted.", 0),
    ("Collector", "string", ".status.collector.address", "Where the collector is reached.", 1),
    ("Balanced", "boolean", ".status.ledger.balanced", "Whether all is accounted for.", 1),
    ("Paused", "boolean", ".status.paused", "Whether the operator leaves it alone.", 0),
    ("Message", "string", f"{_READY}.message", "Why, for people.", 1),
    ("Age", "date", ".metadata.creationTimestamp", "Time since it was made.", 0),
)

_HEAD = """\
# The CustomResourceDefinition of WebEventPipeline, made from the code by scripts/make-crd; do not
# edit it.
"""


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
    made["properties"]["status"] = _status()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["wep"],
                "categories": ["all", "webevents"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": made},
                    "additionalPrinterColumns": [
                        {
                            "name": name,
                            "type": kind,
                            "jsonPath": path,
                            "description": meaning,
                            "priority": priority,
                        }
                        for name, kind, path, meaning, priority in _COLUMNS
                    ],
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.generator.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                }
            ],
        },
    }


def _status() -> dict[str, Any]:
    whole = Status.model_json_schema(mode="validation")
    made = structural(whole, whole)
    without_defaults(made)
    for name, key in (("conditions", "type"), ("stages", "name")):
        made["properties"][name] |= {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [key],
        }
    return made


def without_defaults(node: dict[str, Any]) -> None:
    """Take defaults out: a status holds what was seen, nothing that the server filled in."""
    node.pop("default", None)
    for inner in node.get("properties", {}).values():
        without_defaults(inner)
    if "items" in node:
        without_defaults(node["items"])


class Dumper(yaml.SafeDumper):
    """Writes YAML without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def rendered() -> str:
    """The definition as YAML."""
    text = yaml.dump(definition(), Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True)
    return _HEAD + text
