"""The Job of a backfill, and what its name and settings depend on."""

from typing import Any

from webevents.operations.backfill.settings import BackfillSettings
from webevents.plan.make import make_plan
from webevents.spec.backfill import WebEventBackfill
from webevents.spec.load import parse_pipeline
from webevents_operator import names
from webevents_operator.config import OperatorConfig
from webevents_operator.kinds import Object
from webevents_operator.names import Key
from webevents_operator.objects.backfill import backfill_objects
from webevents_operator.objects.frame import Frame

HEAD = {"apiVersion": "webevents.dev/v1alpha1"}
MADE_AT = "2026-03-05T00:00:00Z"


def objects(pipeline: dict[str, Any], made_at: str = MADE_AT, **spec: Any) -> list[Object]:
    sasl = {"mechanism": "SCRAM-SHA-512", "username": "u", "passwordFile": "secret:kafka/password"}
    values = {"kafka": {"bootstrapServers": "k:1", "sasl": sasl}, **pipeline}
    document = {**HEAD, "kind": "WebEventPipeline", "metadata": {"name": "shop"}, "spec": values}
    shop = parse_pipeline(document, "here")
    days = {"pipeline": "shop", "firstDay": "2026-03-01", "lastDay": "2026-03-02"}
    backfill = WebEventBackfill.model_validate(
        {**HEAD, "kind": "WebEventBackfill", "metadata": {"name": "fix"}, "spec": days | spec}
    )
    frame = Frame(Key("space", "shop"), "uid", shop, make_plan(shop), OperatorConfig())
    return backfill_objects(frame, backfill, made_at)


def test_the_job_runs_with_the_settings_and_secrets_of_its_config_map() -> None:
    config, job = objects({})
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == [
        *("backfill", "job", "--settings", "/etc/webevents/config/settings.json")
    ]
    assert not [name for name in container if name.endswith("Probe") or name == "ports"]
    assert pod["restartPolicy"] == "OnFailure"
    mounted = {volume["name"]: volume for volume in pod["volumes"]}
    assert mounted["config"]["configMap"]["name"] == config["metadata"]["name"]
    read = BackfillSettings.model_validate_json(config["data"]["settings.json"])
    assert read.pipeline.spec.kafka.sasl
    assert read.pipeline.spec.kafka.sasl.password_file == "/etc/webevents/secrets/kafka/password"
    assert read.made_at == MADE_AT


def test_they_are_the_backfills_and_not_the_pipelines() -> None:
    """The operator removes objects of a pipeline that the pipeline does not want."""
    for each in objects({}):
        assert names.PIPELINE not in each["metadata"]["labels"]
        (owner,) = each["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("WebEventBackfill", "fix", "uid")
    template = objects({})[1]["spec"]["template"]
    assert names.PIPELINE not in template["metadata"]["labels"]


def test_a_job_is_another_where_the_backfill_is_and_not_where_the_pipeline_changes() -> None:
    first = objects({})[1]["metadata"]["name"]
    assert len(first) <= 63
    assert objects({"sessions": {"gap": "2h"}})[1]["metadata"]["name"] == first
    assert objects({}, missing="keep")[1]["metadata"]["name"] != first
    assert objects({}, made_at="2026-03-06T00:00:00Z")[1]["metadata"]["name"] != first
