"""Data views of what the stage analyze derives from sessions."""

from webevents.kibana.views import DataType, DocumentField, View
from webevents.spec.pipeline import WebEventPipeline

_ALL: dict[str, DataType] = {
    "timestamp": "date",
    "session_key": "string",
    **dict.fromkeys(
        (
            *("channel", "source_category", "utm_source", "utm_medium", "utm_campaign"),
            *("device_type", "geo_country", "host"),
        ),
        "string",
    ),
}
_CREDIT: dict[str, DataType] = {
    f"{what}_{model}": "number"
    for what in ("credit", "revenue")
    for model in ("first", "last", "linear", "position")
}
_FIELDS: dict[str, dict[str, DataType]] = {
    "funnels": {
        "session_id": "string",
        "funnel": "string",
        "steps": "number",
        "reached": "number",
        "step": "string",
        "steps_reached": "string",
        "duration_seconds": "number",
        "completed": "boolean",
    },
    "transitions": {"session_id": "string", "step": "number", "from": "string", "to": "string"},
    "retention": {"cohort": "date", "period": "number"},
    "attribution": {
        "conversion": "string",
        "conversion_id": "string",
        "revenue": "number",
        "touches": "number",
        "touch": "number",
        "days_before": "number",
        **_CREDIT,
    },
}
"""The fields that dashboards look at (``docs/analytics.md`` has all of them)."""


def analytics_views(pipeline: WebEventPipeline) -> list[View]:
    """One data view for each kind of document; none where the stage does not run."""
    spec = pipeline.spec
    analytics = getattr(spec, "analytics", None)
    if analytics is None or not analytics.enabled:
        return []
    prefix = getattr(spec.index, "analytics").prefix  # noqa: B009
    return [
        View(
            kind,
            kind,
            f"{prefix}-{kind}-*",
            f"{kind.capitalize()} of {pipeline.name}",
            "timestamp",
            {name: DocumentField(name, type_) for name, type_ in {**_ALL, **fields}.items()},
        )
        for kind, fields in _FIELDS.items()
        if getattr(getattr(analytics, kind), "enabled", bool(getattr(analytics, kind)))
    ]
