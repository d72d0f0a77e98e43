"""Panels that Vega draws: what Lens has no picture for.

Each specification asks Elasticsearch by itself (``data.url`` is Kibana's own extension: the
dashboard's time range, filters and query are put in where it says ``%context%`` and
``%timefield%``).
"""

from collections.abc import Mapping
from typing import Any

from webevents.kibana.views import View

Json = dict[str, Any]

LITE = "https://vega.github.io/schema/vega-lite/v5.json"
FIT = {"type": "fit", "contains": "padding"}


def ask(view: View, aggregations: Mapping[str, Any], answer: str) -> Json:
    """Vega's data from aggregations over the dashboard's documents.

    :param answer: the part of the answer that is the data, such as ``aggregations.x.buckets``.
    """
    return {
        "url": {
            "%context%": True,
            "%timefield%": view.time,
            "index": view.title,
            "body": {"size": 0, "aggs": aggregations},
        },
        "format": {"property": answer},
    }


def newest(view: View) -> Json:
    """How old the newest document is."""
    return {
        "$schema": LITE,
        "autosize": FIT,
        "data": ask(view, {"newest": {"max": {"field": view.time}}}, "aggregations"),
        "transform": [
            {
                "calculate": "isValid(datum.newest.value) ? "
                "max(0, (now() - datum.newest.value) / 1000) : null",
                "as": "age",
            },
            {
                "calculate": "!isValid(datum.age) ? 'none' : datum.age < 120 ? "
                "format(datum.age, '.0f') + ' s' : datum.age < 7200 ? "
                "format(datum.age / 60, '.0f') + ' min' : format(datum.age / 3600, ',.0f') + ' h'",
                "as": "shown",
            },
        ],
        "mark": {"type": "text", "fontSize": 44, "tooltip": {"content": "data"}},
        "encoding": {"text": {"field": "shown", "type": "nominal"}},
        "config": {"view": {"stroke": None}},
    }


def by_hour(view: View) -> Json:
    """Documents by the hour of the day (UTC), with each hour's share of them."""
    hours = {"date_histogram": {"field": view.time, "fixed_interval": "1h", "min_doc_count": 1}}
    x = {"field": "hour", "type": "ordinal", "title": "Hour of the day (UTC)"}
    y = {"field": "events", "type": "quantitative", "title": "Events"}
    return {
        "$schema": LITE,
        "autosize": FIT,
        "data": ask(view, {"hours": hours}, "aggregations.hours.buckets"),
        "transform": [
            {"calculate": "utchours(datum.key)", "as": "hour"},
            {
                "aggregate": [{"op": "sum", "field": "doc_count", "as": "events"}],
                "groupby": ["hour"],
            },
            {"joinaggregate": [{"op": "sum", "field": "events", "as": "all"}]},
            {"calculate": "datum.events / datum.all", "as": "share"},
        ],
        "encoding": {"x": {**x, "axis": {"labelAngle": 0}}, "y": y},
        "layer": [
            {
                "mark": {"type": "bar", "color": "#54b399"},
                "encoding": {
                    "tooltip": [
                        x,
                        {**y, "format": ","},
                        {"field": "share", "type": "quantitative", "format": ".1%"},
                    ]
                },
            },
            {
                "mark": {"type": "text", "dy": -6, "fontSize": 10},
                "encoding": {"text": {"field": "share", "type": "quantitative", "format": ".1%"}},
            },
        ],
    }


def funnel(view: View) -> Json:
    """Attempts at each funnel by the steps that they reached, with their share of all attempts."""
    steps = {"steps": {"terms": {"field": view.name_of("steps_reached"), "size": 100}}}
    funnels = {"terms": {"field": view.name_of("funnel"), "size": 20}, "aggs": steps}
    y = {
        "field": "label",
        "type": "nominal",
        "title": None,
        "sort": {"field": "order", "op": "min"},
    }
    x = {"field": "reached", "type": "quantitative", "title": "Attempts that reached the step"}
    return {
        "$schema": LITE,
        "autosize": FIT,
        "data": ask(view, {"funnels": funnels}, "aggregations.funnels.buckets"),
        "transform": [
            {"calculate": "datum.key", "as": "funnel"},
            {"calculate": "datum.doc_count", "as": "attempts"},
            {"window": [{"op": "row_number", "as": "rank"}]},
            {"flatten": ["steps.buckets"], "as": ["step"]},
            {"calculate": "datum.funnel + ': ' + datum.step.key", "as": "label"},
            # Names begin with the step's number: "2. cart".
            {
                "calculate": "datum.rank * 100 + toNumber(split(datum.step.key, '.')[0])",
                "as": "order",
            },
            {"calculate": "datum.step.doc_count", "as": "reached"},
            {"calculate": "datum.reached / datum.attempts", "as": "share"},
            {
                "calculate": "format(datum.reached, ',') + ' (' + format(datum.share, '.1%') + ')'",
                "as": "shown",
            },
        ],
        "encoding": {"y": {**y, "axis": {"labelLimit": 260}}, "x": x},
        "layer": [
            {
                "mark": {"type": "bar", "tooltip": {"content": "encoding"}},
                "encoding": {"color": {"field": "funnel", "type": "nominal", "legend": None}},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 4},
                "encoding": {"text": {"field": "shown", "type": "nominal"}},
            },
        ],
    }


def retention(view: View) -> Json:
    """Of the visitors who were first seen in a period, how many came in the periods after it."""
    periods = {"periods": {"terms": {"field": view.name_of("period"), "size": 400}}}
    cohorts = {
        "terms": {"field": view.name_of("cohort"), "size": 60, "order": {"_key": "desc"}},
        "aggs": periods,
    }
    share = {"field": "share", "type": "quantitative", "title": "Came back"}
    return {
        "$schema": LITE,
        "autosize": FIT,
        "data": ask(view, {"cohorts": cohorts}, "aggregations.cohorts.buckets"),
        "transform": [
            {"calculate": "utcFormat(datum.key, '%Y-%m-%d')", "as": "cohort"},
            {"flatten": ["periods.buckets"], "as": ["cell"]},
            {"calculate": "datum.cell.key", "as": "period"},
            {"calculate": "datum.cell.doc_count", "as": "visitors"},
            {"calculate": "datum.period == 0 ? datum.visitors : 0", "as": "first"},
            {
                "joinaggregate": [{"op": "max", "field": "first", "as": "size"}],
                "groupby": ["cohort"],
            },
            {"filter": "datum.size > 0"},
            {"calculate": "datum.visitors / datum.size", "as": "share"},
        ],
        "encoding": {
            "x": {
                "field": "period",
                "type": "ordinal",
                "title": "Periods after the first visit",
                "axis": {"labelAngle": 0, "orient": "top"},
            },
            "y": {"field": "cohort", "type": "ordinal", "title": "First seen"},
        },
        "layer": [
            {
                "mark": {"type": "rect", "tooltip": {"content": "data"}},
                "encoding": {"color": {**share, "scale": {"scheme": "blues", "domain": [0, 1]}}},
            },
            {
                "mark": {"type": "text"},
                "encoding": {
                    "text": {**share, "format": ".0%"},
                    "color": {
                        "condition": {"test": "datum.share > 0.55", "value": "white"},
                        "value": "black",
                    },
                },
            },
        ],
    }
