"""The files of the chart that are made: values, schema, the table of the README, CRD, alerts."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

from pydantic import BaseModel

from webevents.spec.reference import schema
from webevents_operator.chart.values import ChartValues
from webevents_operator.crd.backfill import rendered_backfill
from webevents_operator.crd.definition import rendered

_HEAD = """\
# Values of the chart, each with its default. Made from the code by scripts/make-chart.
"""
_BEGIN, _END = "<!-- values: made by scripts/make-chart -->", "<!-- end of values -->"


def chart_files(chart: Path, alerts: Path) -> dict[Path, str]:
    """The files and what they hold.

    :param chart: the chart's folder.
    :param alerts: Prometheus' alert rules.
    """
    readme = chart / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    return {
        chart / "values.yaml": values_yaml(),
        chart / "values.schema.json": json.dumps(values_schema(), indent=1) + "\n",
        readme: f"{head}{_BEGIN}\n{values_table()}{_END}{tail}",
        chart / "files" / "crd.yaml": rendered(),
        chart / "files" / "crd-backfills.yaml": rendered_backfill(),
        chart / "files" / "alerts.yaml": alerts.read_text(encoding="utf-8"),
    }


def values_schema() -> dict[str, Any]:
    """The JSON schema of the values."""
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema(ChartValues)}


def defaults() -> dict[str, Any]:
    """The values as they are when nobody sets one."""
    made: dict[str, Any] = ChartValues().model_dump(mode="json", by_alias=True, exclude_none=True)
    for part in ("kafka", "elasticsearch", "postgres", "s3"):
        made[part]["existing"] = {}
    made["pipeline"]["spec"] = {}
    return {name: value for name, value in made.items() if name != "global"}


def values_yaml() -> str:
    """The defaults with a comment each."""
    lines = [_HEAD]
    for value in _values(ChartValues, defaults(), ""):
        indent = "  " * value.path.count(".")
        comment = wrap(value.meaning, 96 - len(indent))
        lines += ["\n"] if not indent else []
        lines += [f"{indent}# {line}\n" for line in comment]
        shown = "" if value.is_group else f" {_json(value.default)}"
        lines.append(f"{indent}{value.path.rpartition('.')[2]}:{shown}\n")
    return "".join(lines)


def values_table() -> str:
    """The values as a table in Markdown."""
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for value in _values(ChartValues, defaults(), ""):
        if not value.is_group:
            meaning = value.meaning.replace("|", "\\|")
            rows.append(f"| `{value.path}` | `{_json(value.default)}` | {meaning} |")
    return "\n".join(rows) + "\n"


class _Value(NamedTuple):
    path: str
    default: Any
    meaning: str
    is_group: bool
    """Whether it is only the name of those that follow."""


def _values(model: type[BaseModel], document: Mapping[str, Any], path: str) -> Iterator[_Value]:
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key not in document:
            continue
        at, value = f"{path}.{key}" if path else key, document[key]
        inner = type(field.default) if isinstance(field.default, BaseModel) else None
        is_group = inner is not None and value != {}
        yield _Value(at, value, " ".join((field.description or "").split()), is_group)
        if inner is not None and is_group:
            yield from _values(inner, value, at)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
