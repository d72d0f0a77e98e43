"""A resource of the API server -> a pipeline with the operator's connections; pure."""

from webevents.errors import UserError
from webevents.plan.make import make_plan
from webevents.plan.model import Plan
from webevents.spec.load import parse_pipeline
from webevents.spec.pipeline import WebEventPipeline
from webevents_operator import names
from webevents_operator.config import OperatorConfig
from webevents_operator.connections import check_secrets, used, with_defaults
from webevents_operator.kinds import Object
from webevents_operator.outcome import Blocked
from webevents_operator.status import Reason


def read(resource: Object, config: OperatorConfig) -> WebEventPipeline:
    """The pipeline of a resource.

    :raises Blocked: where it contradicts itself, has no meaning in pods, or needs a server that
        nobody names.
    """
    document = {name: resource[name] for name in ("apiVersion", "kind", "metadata", "spec") if
                name in resource}  # fmt: skip
    try:
        pipeline = parse_pipeline(document, resource["metadata"]["name"])
    except UserError as error:
        lines = str(error).splitlines()
        told = "; ".join(line.strip() for line in lines[1:]) or lines[0]
        raise Blocked(Reason.INVALID_SPEC, told) from None
    pipeline = with_defaults(pipeline, config.connections)
    pipeline = pipeline.model_copy(update={"spec": used(pipeline.spec)})
    check_secrets(pipeline.spec)
    return pipeline


def plan_of(pipeline: WebEventPipeline) -> Plan:
    """The plan of a pipeline.

    :raises Blocked: where the specification cannot be planned.
    """
    try:
        return make_plan(pipeline)
    except UserError as error:
        raise Blocked(Reason.INVALID_SPEC, str(error)) from None


def is_paused(resource: Object) -> bool:
    """Whether the operator leaves everything as it is."""
    annotations = resource["metadata"].get("annotations") or {}
    asked = annotations.get(names.PAUSED, "").lower() == "true"
    return asked or bool((resource.get("spec") or {}).get("paused"))
