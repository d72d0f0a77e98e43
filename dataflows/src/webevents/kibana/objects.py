"""The saved objects of a pipeline, as Kibana's import API takes them: one JSON object a line.

Identifiers never change from run to run: they are made of the pipeline's name and our keys.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from webevents.kibana import lens
from webevents.kibana.dashboards import DASHBOARDS
from webevents.kibana.maps import map_attributes
from webevents.kibana.model import Dashboard, Lens, Map, Panel, Records, Row, Vega
from webevents.kibana.views import View, views_of
from webevents.spec.pipeline import WebEventPipeline

Json = dict[str, Any]

CORE_VERSION = "8.8.0"
"""The newest format of the frame of saved objects (Kibana 8.8 to 9.x)."""
TYPE_VERSIONS = {
    "index-pattern": "8.0.0",
    "search": "7.9.3",
    "visualization": "8.0.0",
    "map": "8.4.0",
    "dashboard": "8.7.0",
}
"""The format of each type's attributes that we write; a newer Kibana migrates them when it imports
them, and an older one refuses what is newer than itself."""
PANEL_VERSION = "8.11.0"
COLUMNS = 48
"""Width of a dashboard."""


def saved_objects(pipeline: WebEventPipeline) -> list[Json]:
    """The data views and dashboards of a pipeline; those come first that others refer to.

    A panel whose fields the pipeline's documents lack is left out, and so is a dashboard that would
    have none.
    """
    views = all_views(pipeline)
    if not views:
        return []
    parts: list[Json] = []
    boards: list[Json] = []
    for dashboard in DASHBOARDS:
        if found := _that_fit(dashboard, views):
            board = _Board(pipeline, found, views)
            boards.append(board.object())
            parts += board.parts
    made = [*map(_data_view, views.values()), *parts, *boards]
    return [_about(pipeline, made), *made]


def all_views(pipeline: WebEventPipeline) -> dict[str, View]:
    """The data views of a pipeline, by key."""
    prefix = base_name(pipeline)
    return {
        key: replace(view, id=f"{prefix}-view-{key}") for key, view in views_of(pipeline).items()
    }


def digest(objects: Sequence[Json]) -> str:
    """Tells definitions apart: 12 hexadecimal digits."""
    text = json.dumps(objects, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=6).hexdigest()


def ndjson(objects: Sequence[Mapping[str, Any]]) -> str:
    """The file that Kibana imports."""
    lines = (json.dumps(each, sort_keys=True, ensure_ascii=False) for each in objects)
    return "".join(f"{line}\n" for line in lines)


def marked(objects: Sequence[Mapping[str, Any]], kibana: str) -> list[Json]:
    """The objects, of which the first tells into which Kibana they are loaded.

    :param kibana: its version.
    """
    first = objects[0]["attributes"]
    about = {**first, "description": f"{first['description']}, loaded into Kibana {kibana}"}
    return [{**objects[0], "attributes": about}, *map(dict, objects[1:])]


def space_of(pipeline: WebEventPipeline) -> str:
    """The space of Kibana that a pipeline's objects belong into."""
    return pipeline.spec.kibana.space or pipeline.name


def base_name(pipeline: WebEventPipeline) -> str:
    """What the identifiers of a pipeline's objects begin with: they hold for all spaces."""
    space = space_of(pipeline)
    return pipeline.name if space == pipeline.name else f"{space}-{pipeline.name}"


def _object(kind: str, name: str, attributes: Json, references: Sequence[Json] = ()) -> Json:
    return {
        "type": kind,
        "id": name,
        "attributes": attributes,
        "references": list(references),
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": TYPE_VERSIONS[kind],
        "managed": False,
    }


def _data_view(view: View) -> Json:
    attributes = {
        "title": view.title,
        "name": view.name,
        "timeFieldName": view.time,
        "fields": "[]",
        "fieldAttrs": "{}",
        "fieldFormatMap": "{}",
        "runtimeFieldMap": "{}",
        "sourceFilters": "[]",
        "typeMeta": "{}",
        # Dashboards can be loaded before there is a document.
        "allowNoIndex": True,
    }
    return _object("index-pattern", view.id, attributes)


def _visualization(name: str, title: str, description: str, kind: str, params: Json) -> Json:
    state = {"title": title, "type": kind, "params": params, "aggs": []}
    attributes = {
        "title": title,
        "description": description,
        "uiStateJSON": "{}",
        "version": 1,
        "visState": json.dumps(state),
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(_search())},
    }
    return _object("visualization", name, attributes)


def _search() -> Json:
    return {"query": {"query": "", "language": "kuery"}, "filter": []}


def _about(pipeline: WebEventPipeline, made: Sequence[Json]) -> Json:
    text = (
        f"## {pipeline.name}\nThese dashboards belong to the pipeline **{pipeline.name}** and are "
        "loaded again when their definition changes. To change one, copy it under another name."
    )
    return _visualization(
        f"{base_name(pipeline)}-about",
        f"About the dashboards of {pipeline.name}",
        f"Definition {digest(made)}",
        "markdown",
        {"markdown": text, "fontSize": 12, "openLinksInNewTab": False},
    )


def _that_fit(dashboard: Dashboard, views: Mapping[str, View]) -> Dashboard | None:
    """The dashboard with what the documents have the fields of."""
    if any(view not in views for view in dashboard.only_with):
        return None

    def fits(panel: Panel) -> bool:
        if isinstance(panel, Records):
            return panel.view in views
        return all(
            view in views and views[view].find(field) is not None for view, field in panel.needs()
        ) and all(view in views for view in _views(panel))

    rows = [replace(row, panels=tuple(filter(fits, row.panels))) for row in dashboard.rows]
    controls = tuple(
        each
        for each in dashboard.controls
        if each.view in views and views[each.view].find(each.field)
    )
    kept = tuple(row for row in rows if row.panels)
    return replace(dashboard, rows=kept, controls=controls) if kept else None


def _views(panel: Panel) -> Iterator[str]:
    if isinstance(panel, Lens):
        yield from (layer.view for layer in panel.layers)
    else:
        yield panel.view


class _Board:
    """One dashboard on its way to a saved object.

    ``parts`` are the objects that it refers to.
    """

    def __init__(
        self, pipeline: WebEventPipeline, dashboard: Dashboard, views: Mapping[str, View]
    ) -> None:
        self.id = f"{base_name(pipeline)}-{dashboard.key}"
        self.dashboard = dashboard
        self.views = views
        self.parts: list[Json] = []
        self.references: list[Json] = []
        self.title = f"{dashboard.title} ({pipeline.name})"

    def object(self) -> Json:
        panels = list(self._panels())
        board = self.dashboard
        controls = self._controls()
        attributes: Json = {
            "title": self.title,
            "description": board.description,
            "panelsJSON": json.dumps(panels, ensure_ascii=False),
            "optionsJSON": json.dumps(
                {
                    "useMargins": True,
                    "syncColors": True,
                    "syncCursor": True,
                    "syncTooltips": False,
                    "hidePanelTitles": False,
                }
            ),
            "version": 1,
            "timeRestore": True,
            "timeFrom": board.since,
            "timeTo": "now",
            "refreshInterval": {
                "pause": board.refresh_s == 0,
                "value": (board.refresh_s or 60) * 1000,
            },
            "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(_search())},
        }
        if controls:
            attributes["controlGroupInput"] = controls
        return _object("dashboard", self.id, attributes, self.references)

    def _panels(self) -> Iterator[Json]:
        top = 0
        for row in self.dashboard.rows:
            left = 0
            for panel, width in zip(row.panels, _widths(row), strict=True):
                name = slug(panel.title)
                place = {"x": left, "y": top, "w": width, "h": row.height, "i": name}
                yield self._panel(name, panel, place)
                left += width
            top += row.height

    def _panel(self, name: str, panel: Panel, place: Json) -> Json:
        made = {
            "version": PANEL_VERSION,
            "gridData": place,
            "panelIndex": name,
            "title": panel.title,
        }
        if isinstance(panel, Lens):
            attributes = lens.attributes(panel, self.views)
            for each in attributes["references"]:
                self.references.append({**each, "name": f"{name}:{each['name']}"})
            shown = {"attributes": attributes, "enhancements": {}}
            return {**made, "type": "lens", "embeddableConfig": shown}
        part = self._part(name, panel)
        self.parts.append(part)
        reference = f"panel_{name}"
        self.references.append(
            {"type": part["type"], "id": part["id"], "name": f"{name}:{reference}"}
        )
        config: Json = {"enhancements": {}}
        if isinstance(panel, Map):
            config |= {"isLayerTOCOpen": False, "hiddenLayers": [], "openTOCDetails": []}
        return {**made, "type": part["type"], "embeddableConfig": config, "panelRefName": reference}

    def _part(self, name: str, panel: Vega | Map | Records) -> Json:
        view = self.views[panel.view]
        title, part = f"{panel.title} ({self.id})", f"{self.id}-{name}"
        match panel:
            case Vega():
                spec = json.dumps(panel.draw(view), indent=2, ensure_ascii=False)
                return _visualization(part, title, "", "vega", {"spec": spec})
            case Map():
                attributes, references = map_attributes(title, view, panel.field)
                return _object("map", part, attributes, references)
            case Records():
                return _records(part, title, view, panel)

    def _controls(self) -> Json | None:
        if not self.dashboard.controls:
            return None
        panels = {}
        for order, control in enumerate(self.dashboard.controls):
            name = slug(control.label)
            view = self.views[control.view]
            panels[name] = {
                "order": order,
                "width": "small",
                "grow": True,
                "type": "optionsListControl",
                "explicitInput": {
                    "id": name,
                    "title": control.label,
                    "fieldName": view.name_of(control.field),
                    "enhancements": {},
                },
            }
            self.references.append(
                {
                    "type": "index-pattern",
                    "id": view.id,
                    "name": f"controlGroup_{name}:optionsListDataView",
                }
            )
        ignore = ("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations")
        return {
            "controlStyle": "oneLine",
            "chainingSystem": "HIERARCHICAL",
            "panelsJSON": json.dumps(panels),
            "ignoreParentSettingsJSON": json.dumps(dict.fromkeys(ignore, False)),
        }


def _records(part: str, title: str, view: View, panel: Records) -> Json:
    found = (view.find(column) for column in panel.columns)
    source = {**_search(), "indexRefName": "kibanaSavedObjectMeta.searchSourceJSON.index"}
    attributes = {
        "title": title,
        "description": "",
        "columns": [column.name.removesuffix(".keyword") for column in found if column],
        "sort": [[view.time, "desc"]],
        "hits": 0,
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    reference = {"type": "index-pattern", "id": view.id, "name": source["indexRefName"]}
    return _object("search", part, attributes, [reference])


def _widths(row: Row) -> list[int]:
    """Widths of a row's panels, which fill it."""
    fixed = [panel.width for panel in row.panels]
    rest = COLUMNS - sum(width or 0 for width in fixed)
    free = fixed.count(None)
    if not free:
        # A panel was left out: the others take its place.
        fixed, rest, free = [None] * len(fixed), COLUMNS, len(fixed)
    widths = [width or rest // free for width in fixed]
    widths[-1] += COLUMNS - sum(widths)
    return widths


def slug(title: str) -> str:
    """A title as part of an identifier."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
