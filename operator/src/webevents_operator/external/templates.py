"""Index templates in Elasticsearch, and the removal of indices."""

import re
from collections.abc import Callable
from contextlib import suppress

from elasticsearch import NotFoundError

from webevents.connectors.elasticsearch import connect, ensure_templates
from webevents.connectors.elasticsearch.client import explained
from webevents.errors import UserError
from webevents.plan.model import Plan
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents_operator.outcome import NOT_NEEDED, Outcome
from webevents_operator.status import Reason


def bring_templates(elasticsearch: ElasticsearchSpec, plan: Plan) -> Outcome:
    """Bring the plan's templates about.

    :param elasticsearch: with secrets in files that are there.
    """
    if not plan.templates:
        return NOT_NEEDED
    try:
        client = connect(elasticsearch)
        try:
            written = ensure_templates(client, plan.templates)
        finally:
            client.close()
    except UserError as error:
        return Outcome(False, Reason.ELASTICSEARCH_UNAVAILABLE, str(error))
    message = f"All {len(plan.templates)} templates are there."
    done = tuple(f"wrote template {name}" for name in written)
    return Outcome(True, Reason.AS_WANTED, message, done)


def _ours(pattern: str) -> Callable[[str], bool]:
    """Whether an index that a pattern matches is of the pipeline: another one's prefix may begin
    with ours, so only dated indices count (``<prefix>-YYYY.MM.dd``, analytics ``…-YYYY.MM``)."""
    if not pattern.endswith("-*"):
        return lambda index: True
    dated = re.compile(re.escape(pattern[:-1]) + r"\d{4,}\.\d{2}(\.\d{2})?")
    return lambda index: dated.fullmatch(index) is not None


def delete_indices(elasticsearch: ElasticsearchSpec, plan: Plan) -> Outcome:
    """Remove the pipeline's indices with their data, and its templates."""
    try:
        client = connect(elasticsearch)
        try:
            with explained(client):
                for pattern in plan.indices.values():
                    with suppress(NotFoundError):
                        # By name: clusters mostly refuse to delete by a pattern.
                        found = client.indices.get_alias(index=pattern)
                        for index in filter(_ours(pattern), found):
                            client.indices.delete(index=index)
                for template in reversed(plan.templates):
                    with suppress(NotFoundError):
                        if template.kind == "index":
                            client.indices.delete_index_template(name=template.name)
                        else:
                            client.cluster.delete_component_template(name=template.name)
        finally:
            client.close()
    except UserError as error:
        return Outcome(False, Reason.ELASTICSEARCH_UNAVAILABLE, str(error))
    return Outcome(True, Reason.AS_WANTED, "Removed the indices and templates.")
