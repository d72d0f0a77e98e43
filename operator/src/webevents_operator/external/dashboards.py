"""Data views and dashboards in Kibana."""

from webevents.connectors.kibana import bring_dashboards
from webevents.errors import UserError
from webevents.kibana.objects import saved_objects, space_of
from webevents.spec.pipeline import WebEventPipeline
from webevents_operator.outcome import NOT_NEEDED, Outcome
from webevents_operator.status import Reason


def bring_kibana(pipeline: WebEventPipeline) -> Outcome:
    """Bring the pipeline's data views and dashboards about.

    :param pipeline: with secrets in files that are there.
    """
    objects = saved_objects(pipeline)
    if not objects:
        return NOT_NEEDED
    space = space_of(pipeline)
    try:
        done = bring_dashboards(pipeline.spec.kibana, space, pipeline.name, objects)
    except UserError as error:
        return Outcome(False, Reason.KIBANA_UNAVAILABLE, str(error))
    boards = sum(1 for each in objects if each["type"] == "dashboard")
    message = f"All {boards} dashboards are in Kibana's space {space}."
    return Outcome(True, Reason.AS_WANTED, message, tuple(done))
