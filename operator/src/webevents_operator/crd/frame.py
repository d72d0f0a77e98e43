"""What the project's CustomResourceDefinitions have in common."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from webevents.spec.pipeline import API_VERSION
from webevents_operator.crd.schema import structural
from webevents_operator.kinds import Object

GROUP, VERSION = API_VERSION.split("/")


class Column(NamedTuple):
    """What ``kubectl get`` shows of a resource."""

    name: str
    kind: str
    path: str
    meaning: str
    priority: int
    """1: only with ``--output wide``."""


def frame(
    kind: str,
    plural: str,
    short_name: str,
    schema: Mapping[str, Any],
    columns: Sequence[Column],
    subresources: Mapping[str, Any],
) -> Object:
    """The definition of a kind.

    :param schema: of the whole resource, structural.
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short_name],
                "categories": ["all", "webevents"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "additionalPrinterColumns": [
                        {
                            "name": column.name,
                            "type": column.kind,
                            "jsonPath": column.path,
                            "description": column.meaning,
                            "priority": column.priority,
                        }
                        for column in columns
                    ],
                    "subresources": subresources,
                }
            ],
        },
    }


def status_schema(model: Any, maps: Mapping[str, str]) -> Object:
    """The schema of a status.

    :param maps: its lists whose members have a key, and that key.
    """
    whole = model.model_json_schema(mode="validation")
    made = structural(whole, whole)
    _without_defaults(made)
    for name, key in maps.items():
        made["properties"][name] |= {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [key],
        }
    return made


def _without_defaults(node: Object) -> None:
    """Take defaults out: a status holds what was seen, nothing that the server filled in."""
    node.pop("default", None)
    for inner in node.get("properties", {}).values():
        _without_defaults(inner)
    if "items" in node:
        _without_defaults(node["items"])


class _Dumper(yaml.SafeDumper):
    """Writes YAML without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(kind: str, made: Object) -> str:
    """A definition as YAML."""
    head = (
        f"# The CustomResourceDefinition of {kind}, made from the code by scripts/make-crd; "
        "do not\n# edit it.\n"
    )
    return head + yaml.dump(made, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
