"""How many pods of a workload may be taken away at once."""

from webevents.plan.model import Workload
from webevents_operator import names
from webevents_operator.kinds import DISRUPTION_BUDGET, Object
from webevents_operator.objects.frame import Frame


def disruption_budget(frame: Frame, workload: Workload) -> Object:
    """The PodDisruptionBudget of a workload with several pods: one at a time."""
    return DISRUPTION_BUDGET.of(
        names.workload_name(frame.key.name, workload.name),
        frame.key.namespace,
        metadata=frame.metadata(workload.name),
        spec={
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.selector(frame.key, workload.name)},
        },
    )
