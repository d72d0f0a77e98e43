"""docs/reference.md: every field of a WebEventPipeline, from the models themselves."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from webevents.spec.backfill import WebEventBackfill
from webevents.spec.base import DURATION_PATTERN, format_duration
from webevents.spec.pipeline import API_VERSION, KIND, WebEventPipeline

MAX_DEFAULT = 130
"""Characters of a default that a table shows; a longer one is called built in."""

_HEAD = f"""\
# Reference: {KIND}

Every field of the resource (`apiVersion: {API_VERSION}`). This page is made from the code by
`scripts/make-reference`; do not edit it.

- A **duration** is a number with a unit (`ms`, `s`, `m`, `h`, `d`), or several: `30m`, `1h30m`.
- `[]` in a field's name stands for each item of a list, `<name>` for each key of a map.
- A default of – means that the field is absent. *built in* is a default too long for the table.
- A field that is not listed here is refused, with a suggestion.
"""

_JSON_TYPES = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}


class Row(NamedTuple):
    """One field."""

    path: str
    type: str
    default: str
    doc: str


class _Schema(GenerateJsonSchema):
    """Writes defaults of durations as people write them; pydantic's own are ISO 8601."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, tuple | list):
            return [self.encode_default(each) for each in dft]
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True)
        return super().encode_default(dft)


def schema(model: type[BaseModel] = WebEventPipeline) -> dict[str, Any]:
    """The JSON schema of a WebEventPipeline, or of another model."""
    return model.model_json_schema(schema_generator=_Schema)


def reference() -> str:
    """The page, in Markdown."""
    tables = _Tables(schema())
    top = tables.properties(tables.whole)
    rows = _of(tables, top, ("apiVersion", "kind", "metadata"))
    pipeline, _ = tables.resolve(top["spec"])
    parts = tables.properties(pipeline)
    scalars = [
        name for name, node in parts.items() if not tables.properties(tables.resolve(node)[0])
    ]
    for row in _of(tables, parts, tuple(scalars), required=()):
        rows.append(row._replace(path=f"spec.{row.path}"))
    sections = [_section("The resource", "", rows)]
    for name, node in parts.items():
        if name in scalars:
            continue
        resolved, optional = tables.resolve(node)
        doc = _text(node.get("description") or resolved.get("description", ""))
        default = {} if optional else node.get("default", {})
        rows = list(tables.rows(f"spec.{name}", resolved, default))
        sections.append(_section(f"spec.{name}", doc, rows))
    backfill = _Tables(schema(WebEventBackfill))
    doc = "Another resource: days of a pipeline's indices made anew ([docs](backfill.md))."
    rows = list(backfill.rows("", backfill.whole, {}))
    sections.append(_section(WebEventBackfill.__name__, doc, rows))
    return "\n".join([_HEAD, *sections])


def _of(
    tables: "_Tables",
    properties: dict[str, Any],
    names: tuple[str, ...],
    required: tuple[str, ...] | None = None,
) -> list[Row]:
    needed = names if required is None else required
    chosen = {"properties": {name: properties[name] for name in names}, "required": needed}
    return list(tables.rows("", chosen, {}))


def _section(title: str, doc: str, rows: list[Row]) -> str:
    lines = [f"## {title}", "", *([doc, ""] if doc else [])]
    lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{row.path}` | {row.type} | {row.default} | {row.doc} |" for row in rows]
    return "\n".join(lines) + "\n"


class _Tables:
    """Walks a JSON schema."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self.whole = whole

    @staticmethod
    def properties(node: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = node.get("properties", {})
        return found

    def resolve(self, node: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """What a node refers to, and whether it may be null."""
        branches = node.get("anyOf", [node])
        values = [branch for branch in branches if branch.get("type") != "null"]
        if len(values) > 1:
            return node, len(values) < len(branches)
        value = values[0]
        if "$ref" in value:
            value = self.whole["$defs"][value["$ref"].rpartition("/")[2]]
        return value, len(values) < len(branches)

    def rows(self, path: str, node: dict[str, Any], defaults: Any) -> Iterator[Row]:
        """The fields of an object, each followed by those within it.

        :param defaults: the object's default, whose values go before those of its fields' own.
        """
        required = node.get("required", ())
        for name, field in self.properties(node).items():
            at = f"{path}.{name}" if path else name
            resolved, _ = self.resolve(field)
            default = field.get("default")
            if isinstance(defaults, dict) and name in defaults:
                default, needed = defaults[name], False
            else:
                needed = name in required
            inner, mark = self._inner(resolved)
            doc = _text(field.get("description") or resolved.get("description", ""))
            if inner is not None and not mark:
                yield Row(at, "object", "–" if default is None and not needed else "", doc)
            else:
                shown = "required" if needed else _default(default)
                yield Row(at, self._type(field), shown, doc)
            if inner is not None:
                yield from self.rows(at + mark, inner, {} if mark else default)

    def _inner(self, node: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """The object within a node, and what its fields' paths have between."""
        for key, mark in (("items", "[]"), ("additionalProperties", ".<name>")):
            if isinstance(node.get(key), dict):
                inner, _ = self.resolve(node[key])
                return (inner, mark) if self.properties(inner) else (None, "")
        return (node, "") if self.properties(node) else (None, "")

    def _type(self, node: dict[str, Any]) -> str:
        node, _ = self.resolve(node)
        if "anyOf" in node:
            types = [self._type(each) for each in node["anyOf"] if each.get("type") != "null"]
            return _either(list(dict.fromkeys(types)))
        if "const" in node:
            return f"`{node['const']}`"
        if "enum" in node:
            return _either([f"`{value}`" for value in node["enum"]])
        if node.get("pattern") == DURATION_PATTERN:
            return "duration"
        if node.get("format") == "date-time":
            return "time (ISO 8601)"
        kind = node.get("type")
        if kind == "array":
            return f"list of {self._type(node['items'])}" + _bounds(node)
        if kind == "object":
            values = node.get("additionalProperties")
            return f"map of {self._type(values)}" if isinstance(values, dict) else "object"
        return _JSON_TYPES.get(str(kind), "any") + _bounds(node)


def _either(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _bounds(node: dict[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    parts = []
    if low is not None and high is not None:
        parts.append(f"{low:,} to {high:,}")
    elif low is not None:
        parts.append(f"at least {low:,}")
    elif high is not None:
        parts.append(f"at most {high:,}")
    if (above := node.get("exclusiveMinimum")) is not None:
        parts.append(f"above {above:,}")
    if (below := node.get("exclusiveMaximum")) is not None:
        parts.append(f"below {below:,}")
    if (least := node.get("minItems")) is not None:
        parts.append(f"at least {least:,}")
    if (longest := node.get("maxLength")) is not None:
        parts.append(f"up to {longest:,} characters")
    if (pattern := node.get("pattern")) is not None:
        parts.append("`" + pattern.replace("|", "\\|") + "`")
    return ", " + ", ".join(parts) if parts else ""


def _default(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= MAX_DEFAULT else "*built in*"


def _text(doc: str) -> str:
    """A docstring as one line of Markdown, fit for a table's cell."""
    line = " ".join(doc.split()).replace("``", "`").replace("|", "\\|")
    # Outside of code, <prefix> would be taken for an HTML tag.
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(p if p.startswith("`") else p.replace("<", "\\<") for p in parts)
