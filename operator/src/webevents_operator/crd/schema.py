"""JSON schema as pydantic writes it -> structural schema as the API server takes it.

The rules of structural schemas are those of the Kubernetes documentation ("Specifying a structural
schema"): one type each, no references, no ``additionalProperties`` beside ``properties``, and the
bounds of OpenAPI 3.0, where ``exclusiveMinimum`` is a boolean.
"""

import json
from collections.abc import Mapping
from typing import Any

from webevents.spec.reference import MAX_DEFAULT

_KEPT = (
    *("type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength"),
    *("minItems", "maxItems"),
)


def structural(whole: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    """A node of a JSON schema as a structural schema, with all that it refers to.

    A default that is longer than the reference shows is left to the code.

    :param whole: the schema that holds the ``$defs``.
    """
    resolved, optional = _resolve(whole, node)
    made: dict[str, Any] = {}
    if description := node.get("description") or resolved.get("description"):
        made["description"] = " ".join(str(description).split()).replace("``", "`")
    made |= {key: resolved[key] for key in _KEPT if key in resolved}
    if "const" in resolved:
        made["enum"] = [resolved["const"]]
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in resolved:
            made |= {bound: resolved[exclusive], exclusive: True}
    if "items" in resolved:
        made["items"] = structural(whole, resolved["items"])
    if "properties" in resolved:
        made["properties"] = {
            name: structural(whole, field) for name, field in resolved["properties"].items()
        }
        if "required" in resolved:
            made["required"] = list(resolved["required"])
    elif made.get("type") == "object":
        values = resolved.get("additionalProperties")
        if isinstance(values, Mapping):
            made["additionalProperties"] = structural(whole, values)
            names = resolved.get("propertyNames", {})
            if "enum" in names:
                # Known names are written out: explained, and others refused.
                value = made.pop("additionalProperties")
                made["properties"] = dict.fromkeys(names["enum"], value)
    if not optional and "default" in node:
        default = node["default"]
        if "properties" in resolved:
            # Written out with all that is within: the API server's rules look at it as it stands.
            made["default"] = {
                name: field["default"]
                for name, field in made["properties"].items()
                if "default" in field
            }
        elif len(json.dumps(default, ensure_ascii=False)) <= MAX_DEFAULT:
            made["default"] = _present(default)
    return made


def _present(value: Any) -> Any:
    """A default without members that are null: what is optional is absent to the API server."""
    if isinstance(value, Mapping):
        return {name: _present(each) for name, each in value.items() if each is not None}
    return [_present(each) for each in value] if isinstance(value, list) else value


def _resolve(whole: Mapping[str, Any], node: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """What a node refers to, and whether it may be null."""
    branches = node.get("anyOf", [node])
    values = [branch for branch in branches if branch.get("type") != "null"]
    if len(values) != 1:
        raise ValueError(f"a structural schema has one type, not {values}")
    value = values[0]
    if "$ref" in value:
        value = whole["$defs"][value["$ref"].rpartition("/")[2]]
    return value, len(values) < len(branches)
