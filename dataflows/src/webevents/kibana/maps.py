"""The map: Kibana's ``map`` object, which needs no paid licence.

The base map comes from Elastic's map service, where browsers reach it; without it the circles stand
on an empty ground.
"""

import json
from typing import Any

from webevents.kibana.views import View

Json = dict[str, Any]

_COUNT = {"name": "doc_count", "origin": "source"}
_META = {"isEnabled": True, "sigma": 3}


def map_attributes(title: str, view: View, field: str) -> tuple[Json, list[Json]]:
    """Attributes and references of a map with a circle for each tile, as large as it has documents.

    :param field: a place (``geo_point``).
    """
    reference = "layer_1_source_index_pattern"
    layers = [_ground(), _circles(view, field, reference)]
    attributes = {
        "title": title,
        "description": "",
        "layerListJSON": json.dumps(layers),
        "mapStateJSON": json.dumps(
            {
                "zoom": 1.5,
                "center": {"lon": 10, "lat": 25},
                "timeFilters": {"from": "now-24h", "to": "now"},
                "refreshConfig": {"isPaused": True, "interval": 0},
                "query": {"query": "", "language": "kuery"},
                "filters": [],
            }
        ),
        "uiStateJSON": json.dumps({"isLayerTOCOpen": False, "openTOCDetails": []}),
    }
    return attributes, [{"type": "index-pattern", "id": view.id, "name": reference}]


def _ground() -> Json:
    return {
        "id": "ground",
        "label": None,
        "type": "EMS_VECTOR_TILE",
        "sourceDescriptor": {"type": "EMS_TMS", "isAutoSelect": True},
        "style": {"type": "EMS_VECTOR_TILE", "color": ""},
        "visible": True,
        "alpha": 1,
        "minZoom": 0,
        "maxZoom": 24,
    }


def _circles(view: View, field: str, reference: str) -> Json:
    return {
        "id": "circles",
        "label": view.name,
        "type": "GEOJSON_VECTOR",
        "sourceDescriptor": {
            "id": "circles-source",
            "type": "ES_GEO_GRID",
            "geoField": view.name_of(field),
            "requestType": "point",
            "resolution": "MOST_FINE",
            "metrics": [{"type": "count"}],
            "indexPatternRefName": reference,
            "applyGlobalQuery": True,
            "applyGlobalTime": True,
            "applyForceRefresh": True,
        },
        "style": {
            "type": "VECTOR",
            "isTimeAware": True,
            "properties": {
                "fillColor": {
                    "type": "DYNAMIC",
                    "options": {
                        "type": "ORDINAL",
                        "color": "Blues",
                        "field": _COUNT,
                        "fieldMetaOptions": _META,
                    },
                },
                "lineColor": {"type": "STATIC", "options": {"color": "#FFF"}},
                "lineWidth": {"type": "STATIC", "options": {"size": 1}},
                "iconSize": {
                    "type": "DYNAMIC",
                    "options": {
                        "minSize": 6,
                        "maxSize": 32,
                        "field": _COUNT,
                        "fieldMetaOptions": _META,
                    },
                },
            },
        },
        "joins": [],
        "visible": True,
        "alpha": 0.75,
        "minZoom": 0,
        "maxZoom": 24,
    }
