"""The Sankey diagram of visitors' paths, in Vega: pages as bars in columns, one column for each
step of a session, and bands between them as wide as there are sessions that went that way."""

from typing import Any

from webevents.kibana.vega import FIT, ask
from webevents.kibana.views import View

Json = dict[str, Any]

STEPS = 4
"""Transitions that are shown, from the session's first one on."""
PAGES = 8
"""Pages that are told apart in each column; others are one bar, and so is the end."""
_ASKED = 40
"""Pages that are asked for in each step, and pages after each of them."""
EXIT, OTHERS = "(exit)", "(others)"
_GAP = 8
"""Pixels between two pages of a column."""


def sankey(view: View) -> Json:
    """Sessions by the pages that they went through, step by step."""
    terms: Json = {"size": _ASKED}
    aggregations = {
        "steps": {
            "filter": {"range": {view.name_of("step"): {"lte": STEPS}}},
            "aggs": {
                "step": {
                    "terms": {
                        "field": view.name_of("step"),
                        "size": STEPS,
                        "order": {"_key": "asc"},
                    },
                    "aggs": {
                        "from": {
                            "terms": {"field": view.name_of("from"), **terms},
                            "aggs": {"to": {"terms": {"field": view.name_of("to"), **terms}}},
                        }
                    },
                }
            },
        }
    }
    return {
        "$schema": "https://vega.github.io/schema/vega/v5.json",
        "description": "Paths of sessions",
        "autosize": FIT,
        "padding": 10,
        "data": [
            {
                "name": "all",
                **ask(view, aggregations, "aggregations.steps.step.buckets"),
                "transform": [*_rows(), *_keys()],
            },
            _ends("allStarts", "all", "from", "datum.step - 1"),
            _ends("allTargets", "all", "to", "datum.step"),
            {
                "name": "ranked",
                "source": ["allStarts", "allTargets"],
                "transform": [*_pages(), *_ranked()],
            },
            {"name": "ways", "source": "all", "transform": [*_merged(), *_keys()]},
            _ends("starts", "ways", "from", "datum.step - 1"),
            _ends("targets", "ways", "to", "datum.step"),
            {"name": "pages", "source": ["starts", "targets"], "transform": _pages()},
            {
                "name": "columns",
                "source": "pages",
                "transform": [
                    {
                        "type": "aggregate",
                        "groupby": ["column"],
                        "ops": ["sum", "count"],
                        "fields": ["sessions", "sessions"],
                        "as": ["sessions", "pages"],
                    }
                ],
            },
            {
                "name": "limits",
                "source": "columns",
                "transform": [
                    {
                        "type": "aggregate",
                        "ops": ["max", "max", "max"],
                        "fields": ["sessions", "pages", "column"],
                        "as": ["sessions", "pages", "column"],
                    }
                ],
            },
            {"name": "placed", "source": "pages", "transform": _placed()},
            {"name": "bands", "source": "ways", "transform": _bands()},
        ],
        "signals": [
            {"name": "most", "update": "length(data('limits')) ? data('limits')[0].sessions : 1"},
            {"name": "rows", "update": "length(data('limits')) ? data('limits')[0].pages : 1"},
            {"name": "last", "update": "length(data('limits')) ? data('limits')[0].column : 1"},
            {"name": "unit", "update": f"max(0, height - rows * {_GAP}) / max(1, most)"},
            {"name": "bar", "value": 14},
            {"name": "stride", "update": "(width - 130) / max(1, last)"},
        ],
        "scales": [
            {
                "name": "colour",
                "type": "ordinal",
                "domain": {"data": "pages", "field": "page", "sort": True},
                "range": {"scheme": "tableau20"},
            }
        ],
        "marks": _marks(),
    }


def _rows() -> list[Json]:
    """A row for each step, page and next page."""
    return [
        {"type": "formula", "as": "step", "expr": "datum.key"},
        {"type": "flatten", "fields": ["from.buckets"], "as": ["left"]},
        {"type": "flatten", "fields": ["left.to.buckets"], "as": ["right"]},
        {"type": "formula", "as": "from", "expr": "datum.left.key"},
        {"type": "formula", "as": "to", "expr": "datum.right.key"},
        {"type": "formula", "as": "sessions", "expr": "datum.right.doc_count"},
        {"type": "project", "fields": ["step", "from", "to", "sessions"]},
    ]


def _keys() -> list[Json]:
    """Where a way begins and ends: column and page."""
    return [
        {"type": "formula", "as": "source", "expr": "(datum.step - 1) + '|' + datum.from"},
        {"type": "formula", "as": "target", "expr": "datum.step + '|' + datum.to"},
    ]


def _ranked() -> list[Json]:
    """What each page is called in its column: itself, or one of the others."""
    called = f"datum.rank <= {PAGES} || datum.page == '{EXIT}' ? datum.page : '{OTHERS}'"
    rank = {"type": "window", "groupby": ["column"], "sort": _LARGEST_FIRST}
    return [
        {**rank, "ops": ["row_number"], "as": ["rank"]},
        {"type": "formula", "as": "called", "expr": called},
    ]


def _merged() -> list[Json]:
    """The ways between the pages that are told apart."""
    return [
        {
            "type": "lookup",
            "from": "ranked",
            "key": "key",
            "fields": ["source", "target"],
            "values": ["called"],
            "as": ["fromCalled", "toCalled"],
        },
        {
            "type": "aggregate",
            "groupby": ["step", "fromCalled", "toCalled"],
            "ops": ["sum"],
            "fields": ["sessions"],
            "as": ["sessions"],
        },
        {"type": "formula", "as": "from", "expr": "datum.fromCalled"},
        {"type": "formula", "as": "to", "expr": "datum.toCalled"},
    ]


_LARGEST_FIRST = {"field": ["sessions", "page"], "order": ["descending", "ascending"]}


def _ends(name: str, source: str, page: str, column: str) -> Json:
    """The pages on one side of the ways, with the sessions that come or go there."""
    return {
        "name": name,
        "source": source,
        "transform": [
            {"type": "formula", "as": "column", "expr": column},
            {"type": "formula", "as": "page", "expr": f"datum.{page}"},
            {
                "type": "aggregate",
                "groupby": ["column", "page"],
                "ops": ["sum"],
                "fields": ["sessions"],
                "as": ["sessions"],
            },
        ],
    }


def _pages() -> list[Json]:
    """Each page of each column once; who comes there and does not go on counts too."""
    return [
        {
            "type": "aggregate",
            "groupby": ["column", "page"],
            "ops": ["max"],
            "fields": ["sessions"],
            "as": ["sessions"],
        },
        {"type": "formula", "as": "key", "expr": "datum.column + '|' + datum.page"},
    ]


def _placed() -> list[Json]:
    return [
        {
            "type": "stack",
            "groupby": ["column"],
            "sort": _LARGEST_FIRST,
            "field": "sessions",
            "as": ["top", "bottom"],
        },
        {
            "type": "window",
            "groupby": ["column"],
            "sort": _LARGEST_FIRST,
            "ops": ["row_number"],
            "as": ["row"],
        },
        {"type": "formula", "as": "x", "expr": "datum.column * stride"},
        {"type": "formula", "as": "y0", "expr": f"datum.top * unit + (datum.row - 1) * {_GAP}"},
        {"type": "formula", "as": "y1", "expr": f"datum.bottom * unit + (datum.row - 1) * {_GAP}"},
    ]


def _bands() -> list[Json]:
    def stack(end: str, other: str) -> Json:
        return {
            "type": "stack",
            "groupby": [end],
            "sort": {"field": [f"{other}Page.y0", other], "order": ["ascending", "ascending"]},
            "field": "sessions",
            "as": [f"{end}Top", f"{end}Bottom"],
        }

    def middle(end: str) -> str:
        return f"datum.{end}Page.y0 + (datum.{end}Top + datum.{end}Bottom) / 2 * unit"

    return [
        {
            "type": "lookup",
            "from": "placed",
            "key": "key",
            "fields": ["source", "target"],
            "as": ["sourcePage", "targetPage"],
        },
        stack("source", "target"),
        stack("target", "source"),
        {"type": "formula", "as": "x0", "expr": "datum.sourcePage.x + bar"},
        {"type": "formula", "as": "y0", "expr": middle("source")},
        {"type": "formula", "as": "x1", "expr": "datum.targetPage.x"},
        {"type": "formula", "as": "y1", "expr": middle("target")},
        {
            "type": "linkpath",
            "orient": "horizontal",
            "shape": "diagonal",
            "sourceX": "x0",
            "sourceY": "y0",
            "targetX": "x1",
            "targetY": "y1",
        },
        {"type": "formula", "as": "wide", "expr": "max(0.5, datum.sessions * unit)"},
    ]


def _marks() -> list[Json]:
    # Clipped, so that the panel's size does not follow from what is drawn.
    area = {"width": {"signal": "width"}, "height": {"signal": "height"}, "clip": {"value": True}}
    return [{"type": "group", "encode": {"update": area}, "marks": _shapes()}]


def _shapes() -> list[Json]:
    sessions = "format(datum.sessions, ',') + ' sessions'"
    return [
        {
            "type": "path",
            "from": {"data": "bands"},
            "encode": {
                "update": {
                    "path": {"field": "path"},
                    "stroke": {"scale": "colour", "field": "from"},
                    "strokeWidth": {"field": "wide"},
                    "strokeOpacity": {"value": 0.35},
                    "tooltip": {"signal": f"datum.from + ' → ' + datum.to + ': ' + {sessions}"},
                },
                "hover": {"strokeOpacity": {"value": 0.7}},
            },
        },
        {
            "type": "rect",
            "from": {"data": "placed"},
            "encode": {
                "update": {
                    "x": {"field": "x"},
                    "width": {"signal": "bar"},
                    "y": {"field": "y0"},
                    "y2": {"field": "y1"},
                    "fill": {"scale": "colour", "field": "page"},
                    "tooltip": {"signal": f"datum.page + ': ' + {sessions}"},
                }
            },
        },
        {
            "type": "text",
            "interactive": False,
            "from": {"data": "placed"},
            "encode": {
                "update": {
                    "x": {"signal": "datum.x + bar + 4"},
                    "y": {"signal": "(datum.y0 + datum.y1) / 2"},
                    "baseline": {"value": "middle"},
                    "fontSize": {"value": 11},
                    "limit": {"value": 120},
                    "text": {"signal": "datum.page + ' ' + format(datum.sessions, ',')"},
                }
            },
        },
    ]
