"""A backfill -> the ConfigMap with its settings, and the Job that runs it."""

import json

from webevents.operations.backfill.settings import BackfillSettings
from webevents.plan.model import Workload
from webevents.spec.backfill import WebEventBackfill
from webevents.spec.kafka import TOOLS
from webevents_operator import names
from webevents_operator.kinds import BACKFILL, CONFIG_MAP, JOB, Object
from webevents_operator.objects.frame import Frame, digest
from webevents_operator.objects.pods import pod_template
from webevents_operator.objects.settings import settings_of


def backfill_objects(frame: Frame, backfill: WebEventBackfill, made_at: str) -> list[Object]:
    """The objects in the order in which they are made.

    Their labels name the backfill and not its pipeline, whose own objects they are not. A Job's
    template cannot change: other settings are another Job, with settings of its own.

    :param frame: of the pipeline, with the backfill's uid.
    :param made_at: when the resource was made.
    """
    settings = BackfillSettings(
        pipeline=frame.pipeline.logged_in_as(TOOLS), backfill=backfill, made_at=made_at
    )
    workload = Workload("backfill", ("backfill", "job"), settings, replicas=1, group="backfill")
    # Not of the pipeline's settings: they hold as they were when the backfill began.
    asked = backfill.spec.model_dump(mode="json", by_alias=True)
    name = f"{backfill.name}-backfill-{digest([asked, made_at])[:8]}"
    template = pod_template(frame, workload, name)
    labels = {
        names.MANAGED_BY: names.FIELD_MANAGER,
        "app.kubernetes.io/name": "webevents",
        "app.kubernetes.io/component": "backfill",
        names.BACKFILL: backfill.name,
    }
    template["metadata"]["labels"] = dict(frame.pipeline.spec.pods.labels) | labels
    pod = template["spec"]
    pod["restartPolicy"] = "OnFailure"
    pod.pop("topologySpreadConstraints", None)
    (container,) = pod["containers"]
    # It ends by itself, and serves nothing.
    for unused in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "env"):
        container.pop(unused, None)
    metadata: Object = {
        "labels": labels,
        "ownerReferences": [
            {
                "apiVersion": BACKFILL.api_version,
                "kind": BACKFILL.kind,
                "name": backfill.name,
                "uid": frame.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    data = {"settings.json": json.dumps(settings_of(workload), indent=1, sort_keys=True)}
    return [
        CONFIG_MAP.of(name, frame.key.namespace, metadata=metadata, data=data),
        JOB.of(
            name,
            frame.key.namespace,
            metadata=metadata,
            spec={"backoffLimit": 20, "template": template},
        ),
    ]
