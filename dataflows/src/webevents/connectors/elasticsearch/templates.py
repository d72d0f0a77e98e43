"""Bringing index templates about: only what differs is written."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import structlog
from elasticsearch import BadRequestError, NotFoundError

from webevents.connectors.elasticsearch.client import SearchClient, explained

log = structlog.get_logger()


class TemplateLike(Protocol):
    """A template as the plan has it."""

    @property
    def kind(self) -> Literal["component", "index"]:
        """A component template or a composable index template."""
        ...

    @property
    def name(self) -> str: ...

    @property
    def body(self) -> Mapping[str, Any]: ...


def ensure_templates(client: SearchClient, templates: Sequence[TemplateLike]) -> list[str]:
    """Create or update the templates that are absent or different.

    Indices that exist already get the fields that a changed template added, because their
    mapping would refuse them; no other part of an index or a mapping is changed.

    :param templates: component templates before the index templates that name them.
    :returns: names of what was written, in order; empty where all was as wanted.
    :raises UserError: when Elasticsearch does not answer or refuses a template.
    """
    with explained(client):
        written = [template for template in templates if _differs(client, template)]
        for template in written:
            _put(client, template)
        names = {template.name for template in written}
        for template in templates:
            if template.kind == "index" and names & {template.name, *_parts(template)}:
                _extend(client, template, templates)
    return [template.name for template in written]


def _parts(template: TemplateLike) -> Iterable[str]:
    parts: list[str] = template.body.get("composed_of", [])
    return parts


def _differs(client: SearchClient, template: TemplateLike) -> bool:
    try:
        if template.kind == "component":
            found = client.cluster.get_component_template(name=template.name)
            stored = found["component_templates"][0]["component_template"]
        else:
            found = client.indices.get_index_template(name=template.name)
            stored = found["index_templates"][0]["index_template"]
    except NotFoundError:
        return True
    # Elasticsearch adds keys of its own, such as dates; what we set is what is compared.
    return any(
        _as_stored(stored.get(key)) != _as_stored(value) for key, value in template.body.items()
    )


def _as_stored(value: Any) -> Any:
    """A member of a template in the form that Elasticsearch gives it back in."""
    if isinstance(value, Mapping) and "settings" in value:
        return {**value, "settings": _as_text(value["settings"])}
    return value


def _as_text(setting: Any) -> Any:
    """Settings come back with every value as text."""
    if isinstance(setting, Mapping):
        return {name: _as_text(value) for name, value in setting.items()}
    if isinstance(setting, bool):
        return "true" if setting else "false"
    return str(setting)


def _put(client: SearchClient, template: TemplateLike) -> None:
    if template.kind == "component":
        client.cluster.put_component_template(name=template.name, body=dict(template.body))
    else:
        client.indices.put_index_template(name=template.name, body=dict(template.body))
    log.info("template written", kind=template.kind, name=template.name)


def _extend(
    client: SearchClient, template: TemplateLike, templates: Sequence[TemplateLike]
) -> None:
    """Add the fields of a template to the mappings of the indices that its patterns match."""
    properties: dict[str, Any] = {}
    for part in templates:
        if part.kind == "component" and part.name in _parts(template):
            mappings = part.body["template"].get("mappings", {})
            properties.update(mappings.get("properties", {}))
    try:
        client.indices.put_mapping(
            index=template.body["index_patterns"],
            body={"properties": properties},
            allow_no_indices=True,
            ignore_unavailable=True,
        )
    except NotFoundError:
        return  # no such index yet
    except BadRequestError as error:
        # A field's type cannot change in an index: the next daily index has the new one.
        log.warning(
            "mappings of existing indices stay", template=template.name, error=error.message
        )
