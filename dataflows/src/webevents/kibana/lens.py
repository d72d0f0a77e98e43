"""Panels of Kibana's Lens: from our words to the state that Lens keeps.

The shapes are those of Kibana's own sample data, which every release loads and migrates; see
``docs/decisions/0007-kibana-saved-objects.md``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from webevents.kibana.model import (
    RECORDS,
    Bucket,
    Figure,
    Filters,
    Layer,
    Lens,
    Metric,
    Quotient,
    Shape,
    Share,
    Terms,
    Time,
)
from webevents.kibana.views import View

Json = dict[str, Any]

_TYPES: Mapping[Shape, str] = {
    "number": "lnsMetric",
    "line": "lnsXY",
    "area": "lnsXY",
    "bar": "lnsXY",
    "bars": "lnsXY",
    "bar_horizontal": "lnsXY",
    "donut": "lnsPie",
    "pie": "lnsPie",
    "table": "lnsDatatable",
    "cloud": "lnsTagcloud",
}
_SERIES: Mapping[Shape, str] = {
    "line": "line",
    "area": "area_stacked",
    "bar": "bar",
    "bars": "bar_stacked",
    "bar_horizontal": "bar_horizontal",
}


@dataclass(frozen=True, slots=True)
class _Columns:
    """A layer in Lens: its columns, in the order of aggregation."""

    id: str
    layer: Layer
    columns: dict[str, Json] = field(default_factory=dict)
    buckets: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()

    def state(self) -> Json:
        return {
            "columns": self.columns,
            "columnOrder": list(self.columns),
            "incompleteColumns": {},
            "sampling": 1,
        }


def attributes(panel: Lens, views: Mapping[str, View]) -> Json:
    """The attributes of a Lens object, with its references to data views."""
    layers = [
        _columns(f"layer{number}", layer, views[layer.view])
        for number, layer in enumerate(panel.layers)
    ]
    query = panel.where.kql(views[panel.layers[0].view]) if panel.where else ""
    return {
        "title": panel.title,
        "description": "",
        "visualizationType": _TYPES[panel.shape],
        "type": "lens",
        "references": [
            {
                "type": "index-pattern",
                "id": views[each.layer.view].id,
                "name": f"indexpattern-datasource-layer-{each.id}",
            }
            for each in layers
        ],
        "state": {
            "visualization": _visualization(panel, layers),
            "query": {"query": query, "language": "kuery"},
            "filters": [],
            "datasourceStates": {
                "formBased": {"layers": {each.id: each.state() for each in layers}},
                "textBased": {"layers": {}},
            },
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }


def _columns(name: str, layer: Layer, view: View) -> _Columns:
    figures: dict[str, Json] = {}
    ids = []
    for number, figure in enumerate(layer.figures):
        column = f"{name}-figure{number}"
        figures |= dict(_figure(column, figure, view))
        ids.append(column)
    # What rows are ordered by: the first figure that Elasticsearch itself makes.
    by = next((i for i, f in zip(ids, layer.figures, strict=True) if isinstance(f, Metric)), None)
    buckets = {
        f"{name}-by{number}": _bucket(bucket, view, by) for number, bucket in enumerate(layer.by)
    }
    return _Columns(name, layer, {**buckets, **figures}, tuple(buckets), tuple(ids))


def _bucket(bucket: Bucket, view: View, by: str | None) -> Json:
    common: Json = {"label": bucket.label, "customLabel": True, "isBucketed": True}
    match bucket:
        case Time():
            return common | {
                "dataType": "date",
                "operationType": "date_histogram",
                "sourceField": view.time,
                "scale": "interval",
                "params": {
                    "interval": bucket.interval,
                    "includeEmptyRows": True,
                    "dropPartials": False,
                },
            }
        case Filters():
            return common | {
                "dataType": "string",
                "operationType": "filters",
                "scale": "ordinal",
                "params": {
                    "filters": [
                        {
                            "input": {"query": condition.kql(view), "language": "kuery"},
                            "label": label,
                        }
                        for label, condition in bucket.rows
                    ]
                },
            }
        case Terms():
            found = view.find(bucket.field)
            assert found is not None
            order: Json = {"type": "alphabetical", "fallback": True}
            if by is not None:
                order = {"type": "column", "columnId": by}
            return common | {
                "dataType": found.type,
                "operationType": "terms",
                "scale": "ordinal",
                "sourceField": found.name,
                "params": {
                    "size": bucket.size,
                    # Each day is an index: without it a top list may count too little of them.
                    "accuracyMode": True,
                    "orderBy": order,
                    "orderDirection": "desc" if by is not None else "asc",
                    "otherBucket": False,
                    "missingBucket": False,
                    "parentFormat": {"id": "terms"},
                },
            }


def _figure(name: str, figure: Figure, view: View) -> Iterator[tuple[str, Json]]:
    """The columns of a figure; a formula has columns for its parts before its own."""
    match figure:
        case Metric():
            yield name, _metric(figure, view)
        case Quotient():
            parts = {f"{name}X0": figure.part, f"{name}X1": figure.whole}
            formula = " / ".join(_formula(part, view) for part in parts.values())
            for part, metric in parts.items():
                yield part, _part(_metric(metric, view), figure.label)
            yield from _math(
                name, figure.label, formula, list(parts), figure.percent, figure.decimals
            )
        case Share():
            one = _formula(figure.of, view)
            formula = f"{one} / overall_sum({one})"
            column = _part(_metric(figure.of, view), figure.label)
            yield f"{name}X0", column
            yield f"{name}X1", column
            overall = {
                "label": "",
                "dataType": "number",
                "operationType": "overall_sum",
                "isBucketed": False,
                "scale": "ratio",
                "references": [f"{name}X1"],
            }
            yield f"{name}X2", _part(overall, figure.label)
            operands = [f"{name}X0", f"{name}X2"]
            yield from _math(name, figure.label, formula, operands, True, 1)


def _part(column: Json, of: str) -> Json:
    return {**column, "label": f"Part of {of}", "customLabel": True}


def _math(
    name: str, label: str, formula: str, operands: list[str], percent: bool, decimals: int
) -> Iterator[tuple[str, Json]]:
    location = {"min": 0, "max": len(formula)}
    tree = {
        "type": "function",
        "name": "divide",
        "args": operands,
        "location": location,
        "text": formula,
    }
    math = {
        "dataType": "number",
        "operationType": "math",
        "isBucketed": False,
        "scale": "ratio",
        "params": {"tinymathAst": tree},
        "references": operands,
    }
    number = f"{name}X{int(operands[-1].rpartition('X')[2]) + 1}"
    yield number, _part(math, label)
    shown = {"id": "percent" if percent else "number", "params": {"decimals": decimals}}
    yield (
        name,
        {
            "label": label,
            "customLabel": True,
            "dataType": "number",
            "operationType": "formula",
            "isBucketed": False,
            "scale": "ratio",
            "params": {"formula": formula, "isFormulaBroken": False, "format": shown},
            "references": [number],
        },
    )


def _formula(metric: Metric, view: View) -> str:
    arguments = [view.name_of(metric.field)] if metric.field else []
    if metric.where is not None:
        arguments.append(f"kql='{metric.where.kql(view)}'")
    return f"{metric.operation}({', '.join(arguments)})"


def _metric(metric: Metric, view: View) -> Json:
    found = view.find(metric.field) if metric.field else None
    dates = found is not None and found.type == "date" and metric.operation in ("min", "max")
    params: Json = {}
    if metric.operation in ("count", "sum", "unique_count"):
        # A zero is a zero and not a gap.
        params["emptyAsNull"] = False
    if metric.percentile is not None:
        params["percentile"] = metric.percentile
    if metric.decimals is not None:
        params["format"] = {"id": "number", "params": {"decimals": metric.decimals}}
    column: Json = {
        "label": metric.label,
        "customLabel": True,
        "dataType": "date" if dates else "number",
        "operationType": metric.operation,
        "isBucketed": False,
        "scale": "ratio",
        "sourceField": found.name if found else RECORDS,
        "params": params,
    }
    if metric.where is not None:
        column["filter"] = {"query": metric.where.kql(view), "language": "kuery"}
    return column


def _visualization(panel: Lens, layers: list[_Columns]) -> Json:
    first = layers[0]
    head = {"layerId": first.id, "layerType": "data"}
    match _TYPES[panel.shape]:
        case "lnsMetric":
            made = {**head, "metricAccessor": first.figures[0]}
            if len(first.figures) > 1:
                made["secondaryMetricAccessor"] = first.figures[1]
            return made
        case "lnsPie":
            slices = {
                **head,
                "primaryGroups": list(first.buckets),
                "metrics": list(first.figures),
                "numberDisplay": "percent",
                "categoryDisplay": "default",
                "legendDisplay": "default",
                "nestedLegend": False,
            }
            return {"shape": panel.shape, "layers": [slices]}
        case "lnsDatatable":
            ids = [*first.buckets, *first.figures]
            return {**head, "columns": [{"columnId": column} for column in ids]}
        case "lnsTagcloud":
            return {
                **head,
                "tagAccessor": first.buckets[0],
                "valueAccessor": first.figures[0],
                "maxFontSize": 72,
                "minFontSize": 18,
                "orientation": "single",
                "showLabel": False,
            }
    return _chart(panel, layers)


def _chart(panel: Lens, layers: list[_Columns]) -> Json:
    shown = {"x": True, "yLeft": True, "yRight": True}
    return {
        "legend": {"isVisible": True, "position": "right", "showSingleSeries": len(layers) > 1},
        "valueLabels": "hide",
        "fittingFunction": "None",
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "tickLabelsVisibilitySettings": shown,
        "gridlinesVisibilitySettings": shown,
        "yLeftExtent": {"mode": "full"},
        "yRightExtent": {"mode": "full"},
        "preferredSeriesType": _SERIES[panel.shape],
        "layers": [_series(panel, each) for each in layers],
    }


def _series(panel: Lens, columns: _Columns) -> Json:
    ids = dict(zip(columns.buckets, columns.layer.by, strict=True))
    times = [name for name, bucket in ids.items() if isinstance(bucket, Time)]
    axis = times[0] if times else columns.buckets[0]
    split = [name for name in columns.buckets if name != axis]
    labels = dict(zip(columns.figures, columns.layer.figures, strict=True))
    made = {
        "layerId": columns.id,
        "layerType": "data",
        "seriesType": _SERIES[panel.shape],
        "xAccessor": axis,
        "accessors": list(columns.figures),
        "position": "top",
        "showGridlines": False,
        "yConfig": [
            {"forAccessor": name, "axisMode": "right"}
            for name, figure in labels.items()
            if figure.label in columns.layer.right
        ],
    }
    if split:
        made["splitAccessor"] = split[0]
    return made
