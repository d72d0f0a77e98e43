"""Index templates made from the field tables: strict types, unknown keys in one flattened field.

The types and limits are explained in ``docs/indices.md``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from webevents.events.analytics import JOURNEY_FIELDS, KINDS
from webevents.events.event import MAX_DEPTH
from webevents.events.failed import FAILED_FIELDS
from webevents.events.fields import FIELDS, Field, Kind
from webevents.events.samples import SAMPLE_FIELDS
from webevents.events.session import SESSION_FIELDS
from webevents.plan.model import Template
from webevents.spec.elasticsearch import DocumentType, EventIndexSpec, IndexSpec
from webevents.spec.pipeline import WebEventPipeline

FAILED, SAMPLES = "failed", "samples"
"""What the indices of failed events, and those of the stages' samples, hold."""

EXTRA = "extra"
"""The field that takes what the event model does not know."""

IGNORE_ABOVE = 8191
"""Characters of a keyword that are indexed; a longer value is kept, but cannot be searched.

Lucene's limit is 32,766 bytes a term, and a character takes at most 4 bytes in UTF-8.
"""

_FRACTION = "".join(f"[.{'S' * digits}]" for digits in range(9, 0, -1))
DATE_FORMAT = f"strict_date_optional_time_nanos||uuuu-MM-dd HH:mm:ss{_FRACTION}[XXX][XX][X]"
"""Formats of a time, as documents bring it and as queries may write it.

:mod:`webevents.logic.documents` rewrites what Python reads as a time and these formats do not.
"""

PRIORITY = 300
"""Priority of an index template, to which the prefix's length is added; above Elastic's own."""

KEYWORD: dict[str, Any] = {"type": "keyword", "ignore_above": IGNORE_ABOVE}
FLATTENED: dict[str, Any] = {
    "type": "flattened",
    "depth_limit": MAX_DEPTH,
    "ignore_above": IGNORE_ABOVE,
}

_MAPPINGS: dict[Kind, dict[str, Any]] = {
    Kind.KEYWORD: KEYWORD,
    Kind.ID: KEYWORD,
    Kind.TEXT: {"type": "text", "fields": {"keyword": KEYWORD}},
    Kind.DATE: {"type": "date_nanos", "format": DATE_FORMAT},
    # An address that is masked, hashed or malformed is no reason to lose the event: it stays in
    # the document, is listed in _ignored and found by its keyword.
    Kind.IP: {"type": "ip", "ignore_malformed": True, "fields": {"keyword": KEYWORD}},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.LONG: {"type": "long", "coerce": False},
    Kind.DOUBLE: {"type": "double", "coerce": False},
    Kind.GEO_POINT: {"type": "geo_point"},
    Kind.STRINGS: KEYWORD,
    Kind.COUNTS: FLATTENED,
    Kind.STORED: {"type": "object", "enabled": False},
}


TYPES: dict[DocumentType, dict[str, Any]] = {
    "keyword": KEYWORD,
    "text": {"type": "text", "fields": {"keyword": KEYWORD}},
    "date": {"type": "date", "format": DATE_FORMAT},
    "boolean": {"type": "boolean"},
    "long": {"type": "long"},
    "double": {"type": "double"},
    "float": {"type": "float"},
    "ip": {"type": "ip", "ignore_malformed": True, "fields": {"keyword": KEYWORD}},
    "geo_point": {"type": "geo_point"},
    "flattened": FLATTENED,
}
"""The mapping of a field whose type a person chose."""


def properties(fields: Sequence[Field]) -> dict[str, Any]:
    """The mapping of each field, by name."""
    return {field.name: _MAPPINGS[field.kind] for field in fields}


def mappings(fields: Sequence[Field]) -> dict[str, Any]:
    """The mapping of a document with these fields; any other field is refused."""
    return {"dynamic": "strict", "properties": properties(fields)}


def event_mappings(spec: EventIndexSpec) -> dict[str, Any]:
    """The mapping of an event's document: the fields that were chosen; or the table's, and
    ``extra`` for all others."""
    if spec.fields is not None:
        chosen = {name: TYPES[field.type] for name, field in spec.fields.items()}
        return {"dynamic": "strict", "properties": chosen}
    made = mappings(FIELDS)
    made["properties"][EXTRA] = FLATTENED
    return made


def component_templates(pipeline: WebEventPipeline) -> list[Template]:
    """The building blocks of the pipeline's index templates: settings and mappings.

    They come before the index templates that name them.
    """
    spec = pipeline.spec
    base = base_name(pipeline)
    made = [
        component(f"{base}-settings", {"settings": _settings(spec.index)}),
        component(f"{base}-events", {"mappings": event_mappings(spec.index.events)}),
    ]
    if spec.sessions.enabled:
        fields = (*SESSION_FIELDS, *(JOURNEY_FIELDS if spec.analytics.enabled else ()))
        template = {"settings": VERSIONED_SETTINGS, "mappings": mappings(fields)}
        made.append(component(f"{base}-sessions", template))
    for kind, fields in analytics_kinds(pipeline).items():
        template = {"settings": VERSIONED_SETTINGS, "mappings": mappings(fields)}
        made.append(component(f"{base}-{kind}", template))
    for kind, fields in operation_kinds(pipeline).items():
        made.append(component(f"{base}-{kind}", {"mappings": mappings(fields)}))
    return made


def index_templates(pipeline: WebEventPipeline) -> list[Template]:
    """The templates that new indices take, one for events, one for sessions and one for each kind
    of analytics and of what tells how the pipeline does."""
    spec = pipeline.spec
    made = [_daily(pipeline, "events", spec.index.events.prefix)]
    if spec.sessions.enabled:
        made.append(_daily(pipeline, "sessions", spec.index.sessions.prefix))
    prefix = spec.index.analytics.prefix
    made += [_daily(pipeline, kind, f"{prefix}-{kind}") for kind in analytics_kinds(pipeline)]
    prefixes = operation_prefixes(pipeline)
    made += [_daily(pipeline, kind, prefixes[kind]) for kind in operation_kinds(pipeline)]
    return made


def analytics_kinds(pipeline: WebEventPipeline) -> dict[str, tuple[Field, ...]]:
    """The kinds of documents of analytics that the pipeline makes, each with its fields."""
    return {kind: KINDS[kind] for kind in pipeline.spec.analytics.kinds}


def operation_kinds(pipeline: WebEventPipeline) -> dict[str, tuple[Field, ...]]:
    """The kinds of documents that tell how the pipeline does, each with its fields."""
    index = pipeline.spec.index
    return {
        **({FAILED: FAILED_FIELDS} if index.failed.enabled else {}),
        **({SAMPLES: SAMPLE_FIELDS} if index.samples.enabled else {}),
    }


def operation_prefixes(pipeline: WebEventPipeline) -> dict[str, str]:
    """What the names of their indices begin with."""
    return {FAILED: pipeline.failed_prefix, SAMPLES: pipeline.samples_prefix}


def _daily(pipeline: WebEventPipeline, what: str, prefix: str) -> Template:
    # Where two pipelines' patterns overlap, the longer prefix is the one that is meant.
    return index_template(pipeline, what, f"{prefix}-*", len(prefix))


def base_name(pipeline: WebEventPipeline) -> str:
    """What the names of the pipeline's templates begin with."""
    return f"webevents-{pipeline.name}"


_META = {"managed_by": "webevents"}

VERSIONED_SETTINGS = {
    "index": {
        # How long a deleted document's version is remembered, so that an older record that is
        # delivered late does not bring it back; the default is 60s.
        "gc_deletes": "1h",
    }
}


def component(name: str, template: Mapping[str, Any]) -> Template:
    """A component template."""
    return Template("component", name, {"template": template, "_meta": _META})


def index_template(pipeline: WebEventPipeline, what: str, pattern: str, weight: int) -> Template:
    """An index template that is composed of the pipeline's settings and the mapping of ``what``.

    :param weight: the greater of two holds where their patterns overlap.
    """
    base = base_name(pipeline)
    custom = f"{base}@custom"
    body = {
        "index_patterns": [pattern],
        "priority": PRIORITY + weight,
        "composed_of": [f"{base}-settings", f"{base}-{what}", custom],
        "ignore_missing_component_templates": [custom],
        "_meta": {**_META, "pipeline": pipeline.name, "content": what},
    }
    return Template("index", f"{base}-{what}", body)


def _settings(spec: IndexSpec) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "number_of_shards": spec.shards,
        "refresh_interval": f"{round(spec.refresh_interval.total_seconds() * 1000)}ms",
    }
    if spec.replicas is None:
        settings["auto_expand_replicas"] = "0-1"
    else:
        settings["number_of_replicas"] = spec.replicas
    if spec.lifecycle_policy is not None:
        settings["lifecycle"] = {"name": spec.lifecycle_policy}
    return {"index": settings}


def for_opensearch(template: Template) -> Template:
    """The template as OpenSearch takes it.

    It calls ``flattened`` ``flat_object``, without limits, and has no component templates that may
    be absent: there is no ``@custom``.
    """
    body = _for_opensearch(template.body)
    if body.pop("ignore_missing_component_templates", None):
        body["composed_of"] = [n for n in body["composed_of"] if not n.endswith("@custom")]
    return Template(template.kind, template.name, body)


def _for_opensearch(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.get("type") == "flattened":
            return {"type": "flat_object"}
        return {name: _for_opensearch(member) for name, member in value.items()}
    return value
