"""What Kibana would ask Elasticsearch, read from the saved objects themselves.

From a Lens panel's columns come the aggregations that Kibana's Lens makes of them, and the same
columns are worked out naively over documents in memory: two answers that must agree. Both read the
file that ships, not the definition that it was made from.
"""

import json
import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
Document = Mapping[str, Any]
Test = Callable[[Document], bool]

AUTO = "1h"
"""What Lens' interval auto becomes here; in Kibana it depends on the time range."""
INTERVALS = {"1m": 60_000, "10m": 600_000, "1h": 3_600_000, "1d": 86_400_000}
METRICS = {"count", "sum", "average", "median", "min", "max", "unique_count", "percentile"}


@dataclass(frozen=True)
class LensLayer:
    """One layer of a Lens panel."""

    dashboard: str
    panel: str
    view: Json
    """The attributes of its data view."""
    columns: dict[str, Json]
    where: str

    @property
    def index(self) -> str:
        return str(self.view["title"])

    @property
    def buckets(self) -> list[str]:
        return [name for name, column in self.columns.items() if column["isBucketed"]]

    @property
    def metrics(self) -> list[str]:
        """The columns that Elasticsearch works out."""
        return [n for n, column in self.columns.items() if column["operationType"] in METRICS]

    @property
    def figures(self) -> list[str]:
        """The columns that are shown."""
        return [n for n, c in self.columns.items() if not c["isBucketed"] and not _is_part(n)]


def _is_part(column: str) -> bool:
    return re.search(r"X\d+$", column) is not None


def lens_layers(objects: Iterable[Json]) -> Iterator[LensLayer]:
    """The layers of all Lens panels."""
    objects = list(objects)
    views = {each["id"]: each["attributes"] for each in objects if each["type"] == "index-pattern"}
    for board in objects:
        if board["type"] != "dashboard":
            continue
        for panel in json.loads(board["attributes"]["panelsJSON"]):
            if panel["type"] != "lens":
                continue
            attributes = panel["embeddableConfig"]["attributes"]
            state = attributes["state"]
            ids = {each["name"]: each["id"] for each in attributes["references"]}
            for name, layer in state["datasourceStates"]["formBased"]["layers"].items():
                view = views[ids[f"indexpattern-datasource-layer-{name}"]]
                assert list(layer["columns"]) == layer["columnOrder"]
                yield LensLayer(
                    board["id"], panel["title"], view, layer["columns"], state["query"]["query"]
                )


def vega_specs(objects: Iterable[Json]) -> dict[str, Json]:
    """Vega specifications by the identifier of their object."""
    found = {}
    for each in objects:
        if each["type"] == "visualization":
            state = json.loads(each["attributes"]["visState"])
            if state["type"] == "vega":
                found[each["id"]] = json.loads(state["params"]["spec"])
    return found


# The part of Kibana's query language that the dashboards use.


def kql(text: str) -> tuple[Json, Test]:
    """A condition as a query of Elasticsearch, and as a test of a document."""
    tokens = re.findall(r'"[^"]*"|[()*]|>=|<|:|[^\s()":<>*]+', text)
    condition, rest = _all(tokens)
    assert not rest, text
    return condition


def _all(tokens: list[str]) -> tuple[tuple[Json, Test], list[str]]:
    first, tokens = _one(tokens)
    parts = [first]
    while tokens[:1] == ["and"]:
        part, tokens = _one(tokens[1:])
        parts.append(part)
    if len(parts) == 1:
        return first, tokens
    tests = [test for _, test in parts]
    query = {"bool": {"filter": [query for query, _ in parts]}}
    return (query, lambda document: all(test(document) for test in tests)), tokens


def _one(tokens: list[str]) -> tuple[tuple[Json, Test], list[str]]:
    head, tokens = tokens[0], tokens[1:]
    if head == "(":
        inner, tokens = _all(tokens)
        return inner, tokens[1:]
    if head == "not":
        (query, test), tokens = _one(tokens)
        return ({"bool": {"must_not": query}}, lambda document: not test(document)), tokens
    operator, tokens = tokens[0], tokens[1:]
    if operator in (">=", "<"):
        limit = float(tokens[0])
        key = "gte" if operator == ">=" else "lt"

        def compared(document: Document) -> bool:
            return any(
                v >= limit if operator == ">=" else v < limit for v in values(document, head)
            )

        return ({"range": {head: {key: limit}}}, compared), tokens[1:]
    assert operator == ":", operator
    if tokens[0] == "*":
        return (
            {"exists": {"field": head}},
            lambda document: bool(values(document, head)),
        ), tokens[1:]
    assert tokens[0] == "("
    end = tokens.index(")")
    wanted = [each.strip('"') for each in tokens[1:end] if each != "or"]
    query = {"bool": {"should": [{"term": {head: value}} for value in wanted]}}
    return (
        query,
        lambda document: any(_text(value) in wanted for value in values(document, head)),
    ), tokens[end + 1 :]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def values(document: Document, name: str) -> list[Any]:
    """The values of a field, as Elasticsearch sees them."""
    name = name.removesuffix(".keyword")
    found: Any = document.get(name)
    if found is None and "." in name:
        head, _, rest = name.partition(".")
        found = (document.get(head) or {}).get(rest)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def milliseconds(text: str) -> float:
    """A time as Elasticsearch's aggregations give it."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000


# Elasticsearch's answer.


def body(layer: LensLayer, since: str, until: str) -> Json:
    """The request of a layer for a time range."""
    window = {"range": {layer.view["timeFieldName"]: {"gte": since, "lt": until}}}
    filters = [window, *([kql(layer.where)[0]] if layer.where else [])]
    return {
        "size": 0,
        "track_total_hits": True,
        "query": {"bool": {"filter": filters}},
        "aggs": _aggregations(layer, layer.buckets),
    }


def _aggregations(layer: LensLayer, buckets: Sequence[str]) -> Json:
    leaves = {name: _leaf(layer.columns[name]) for name in layer.metrics}
    leaves = {name: leaf for name, leaf in leaves.items() if leaf}
    if not buckets:
        return leaves
    column = layer.columns[buckets[0]]
    made = _bucket(layer, column)
    inner = _aggregations(layer, buckets[1:])
    return {**leaves, "by": {**made, "aggs": inner}}


def _bucket(layer: LensLayer, column: Json) -> Json:
    parameters = column["params"]
    match column["operationType"]:
        case "date_histogram":
            interval = parameters["interval"]
            kind = "calendar_interval" if interval == "1d" else "fixed_interval"
            interval = AUTO if interval == "auto" else interval
            return {
                "date_histogram": {
                    "field": column["sourceField"],
                    kind: interval,
                    "min_doc_count": 1,
                }
            }
        case "filters":
            rows = {f["label"]: kql(f["input"]["query"])[0] for f in parameters["filters"]}
            return {"filters": {"filters": rows}}
        case "terms":
            order: Json = {"_key": parameters["orderDirection"]}
            if parameters["orderBy"]["type"] == "column":
                by = parameters["orderBy"]["columnId"]
                target = layer.columns[by]
                path = by if _leaf(target) else "_count"
                path = (
                    f"{by}>one"
                    if "filter" in target and target["operationType"] != "count"
                    else path
                )
                order = {path: parameters["orderDirection"]}
            return {
                "terms": {
                    "field": column["sourceField"],
                    "size": parameters["size"],
                    # What Lens asks for in its accuracy mode.
                    "shard_size": max(1000, parameters["size"] * 3 // 2 + 10),
                    "order": order,
                }
            }
    raise AssertionError(column["operationType"])


def _leaf(column: Json) -> Json | None:
    """The aggregation of a metric; None for the bucket's own count."""
    name = column.get("sourceField")
    operation = column["operationType"]
    made: Json | None
    match operation:
        case "count":
            made = None
        case "sum" | "min" | "max":
            made = {operation: {"field": name}}
        case "average":
            made = {"avg": {"field": name}}
        case "median":
            made = {"percentiles": {"field": name, "percents": [50]}}
        case "percentile":
            made = {"percentiles": {"field": name, "percents": [column["params"]["percentile"]]}}
        case "unique_count":
            made = {"cardinality": {"field": name}}
        case _:
            raise AssertionError(operation)
    if "filter" not in column:
        return made
    query = kql(column["filter"]["query"])[0]
    return {"filter": query, **({"aggs": {"one": made}} if made else {})}


@dataclass
class Row:
    """A row of a panel's table: the metrics, and the rows below it by their key."""

    metrics: dict[str, float | None] = field(default_factory=dict)
    rows: dict[Any, "Row"] = field(default_factory=dict)


def answer(layer: LensLayer, response: Any) -> Row:
    """Elasticsearch's answer as rows."""
    total = response["hits"]["total"]["value"]
    return _answered(layer, layer.buckets, response.get("aggregations", {}), total)


def _answered(layer: LensLayer, buckets: Sequence[str], found: Any, count: int) -> Row:
    row = Row()
    for name in layer.metrics:
        row.metrics[name] = _value(layer.columns[name], found.get(name), count)
    if buckets:
        below = found["by"]["buckets"]
        pairs = below.items() if isinstance(below, Mapping) else ((b["key"], b) for b in below)
        for key, bucket in pairs:
            row.rows[_key(layer.columns[buckets[0]], key)] = _answered(
                layer, buckets[1:], bucket, bucket["doc_count"]
            )
    return row


def _key(column: Json, key: Any) -> Any:
    return bool(key) if column["dataType"] == "boolean" else key


def _value(column: Json, found: Any, count: int) -> float | None:
    if found is None:
        return float(count)
    if "filter" in column:
        if "one" not in found:
            return float(found["doc_count"])
        found = found["one"]
    if "values" in found:
        [value] = found["values"].values()
        return None if value is None else float(value)
    value = found["value"]
    return None if value is None else float(value)


# The same from documents.


def truth(layer: LensLayer, documents: Iterable[Document]) -> Row:
    """The answer worked out from documents, with every value of a field and not only the first."""
    kept = list(documents)
    if layer.where:
        test = kql(layer.where)[1]
        kept = [document for document in kept if test(document)]
    return _worked_out(layer, layer.buckets, kept)


def _worked_out(layer: LensLayer, buckets: Sequence[str], documents: list[Document]) -> Row:
    row = Row({name: _metric(layer.columns[name], documents) for name in layer.metrics})
    if buckets:
        groups: dict[Any, list[Document]] = {}
        column = layer.columns[buckets[0]]
        if column["operationType"] == "filters":
            groups = {each["label"]: [] for each in column["params"]["filters"]}
        for document in documents:
            for key in _keys(column, document):
                groups.setdefault(key, []).append(document)
        row.rows = {k: _worked_out(layer, buckets[1:], group) for k, group in groups.items()}
    return row


def _keys(column: Json, document: Document) -> list[Any]:
    match column["operationType"]:
        case "terms":
            return sorted(set(values(document, column["sourceField"])), key=str)
        case "filters":
            rows = column["params"]["filters"]
            return [f["label"] for f in rows if kql(f["input"]["query"])[1](document)]
    interval = column["params"]["interval"]
    width = INTERVALS[AUTO if interval == "auto" else interval]
    times = values(document, column["sourceField"])
    return [math.floor(milliseconds(time) / width) * width for time in times]


def _metric(column: Json, documents: list[Document]) -> float | None:
    if "filter" in column:
        test = kql(column["filter"]["query"])[1]
        documents = [document for document in documents if test(document)]
    operation = column["operationType"]
    if operation == "count":
        return float(len(documents))
    found = [v for document in documents for v in values(document, column["sourceField"])]
    if operation == "unique_count":
        return float(len(set(found)))
    if column["dataType"] == "date":
        found = [milliseconds(value) for value in found]
    if operation == "sum":
        return math.fsum(found)
    if not found:
        return None
    match operation:
        case "average":
            return math.fsum(found) / len(found)
        case "median":
            return float(statistics.median(found))
        case "min":
            return float(min(found))
        case "max":
            return float(max(found))
    raise AssertionError(operation)


# Comparing.

APPROXIMATE = {"unique_count": 0.03, "median": 0.1, "percentile": 0.1}
"""Elasticsearch approximates these: cardinality (HyperLogLog++) and percentiles (t-digest)."""


def compare(layer: LensLayer, got: Row, wanted: Row, at: str = "") -> int:
    """Hold an answer against the truth; how many numbers were held.

    A row that is not among the first ones may lack, and where two are equal either may come first.
    """
    where = f"{layer.dashboard} / {layer.panel}{at}"
    held = 0
    for name, value in got.metrics.items():
        _same(layer.columns[name], value, wanted.metrics[name], f"{where} {name}")
        held += 1
    assert set(got.rows) <= set(wanted.rows), (where, set(got.rows) - set(wanted.rows))
    missing = set(wanted.rows) - set(got.rows)
    depth = at.count(" > ")
    if missing:
        column = layer.columns[layer.buckets[depth]]
        assert column["operationType"] == "terms", (where, missing)
        assert len(got.rows) == column["params"]["size"], (where, missing)
        by = column["params"]["orderBy"]["columnId"]
        if layer.columns[by]["operationType"] not in APPROXIMATE:
            least = min(wanted.rows[key].metrics[by] or 0 for key in got.rows)
            assert all((wanted.rows[key].metrics[by] or 0) <= least + 1e-6 for key in missing), (
                where
            )
    for key, row in got.rows.items():
        held += compare(layer, row, wanted.rows[key], f"{at} > {key}")
    return held


def _same(column: Json, got: float | None, wanted: float | None, where: str) -> None:
    if got is None or wanted is None:
        assert got == wanted, (where, got, wanted)
        return
    part = APPROXIMATE.get(column["operationType"], 1e-9)
    slack = 1.0 if column["dataType"] == "date" else 1e-6
    assert math.isclose(got, wanted, rel_tol=part, abs_tol=slack), (where, got, wanted)


def shown(layer: LensLayer, table: Row) -> dict[tuple[Any, ...], dict[str, float | None]]:
    """What the panel shows: by row, the figures by their label, formulas worked out."""
    leaves = dict(_leaves(table, len(layer.buckets)))
    made = {}
    for key, row in leaves.items():
        made[key] = {
            str(layer.columns[name]["label"]): _figure(layer, name, row, list(leaves.values()))
            for name in layer.figures
        }
    return made


def _leaves(row: Row, depth: int, key: tuple[Any, ...] = ()) -> Iterator[tuple[Any, Row]]:
    if depth == 0:
        yield key, row
    for name, below in row.rows.items():
        yield from _leaves(below, depth - 1, (*key, name))


def _figure(layer: LensLayer, name: str, row: Row, rows: Sequence[Row]) -> float | None:
    column = layer.columns[name]
    match column["operationType"]:
        case "formula":
            [math_column] = column["references"]
            return _figure(layer, math_column, row, rows)
        case "math":
            tree = column["params"]["tinymathAst"]
            assert tree["name"] == "divide" and tree["args"] == column["references"]
            part, whole = (_figure(layer, each, row, rows) for each in tree["args"])
            return None if part is None or not whole else part / whole
        case "overall_sum":
            [of] = column["references"]
            return math.fsum(each.metrics[of] or 0 for each in rows)
    return row.metrics[name]
