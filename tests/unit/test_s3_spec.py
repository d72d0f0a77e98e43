"""spec.s3, spec.archive and spec.loader: what is refused, and how it is said."""

from typing import Any

import pytest

from webevents.errors import UserError
from webevents.plan.make import make_plan
from webevents.spec.load import parse_pipeline
from webevents.spec.pipeline import WebEventPipeline


def parse(spec: dict[str, Any]) -> WebEventPipeline:
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "shop"},
        "spec": spec,
    }
    return parse_pipeline(document, "test")


KEYS = {"accessKeyFile": "/a", "secretKeyEnv": "S"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"s3": {"endpoint": "store:9000"}}, "s3.endpoint"),
        ({"s3": {"endpoint": "https://u:word@store"}}, "no user or password"),
        ({"s3": {"endpoint": "https://store/bucket"}}, "must end after the host"),
        ({"s3": {"bucket": "Not_A_Bucket"}}, "s3.bucket"),
        ({"s3": {"accessKeyFile": "/a"}}, "goes with"),
        ({"s3": {**KEYS, "accessKeyEnv": "A"}}, "only one of accessKeyFile"),
        ({"s3": {"endpoint": "http://store", "tls": {}}}, "write https"),
        ({"s3": {"tls": {"caFile": "/ca", "verify": False}}}, "caFile has no use"),
        ({"archive": {"interval": "2h"}}, "from 1s to 1h"),
        ({"archive": {"prefix": "/raw"}}, "archive.prefix"),
        ({"loader": {"enabled": True}}, "needs archive.enabled"),
        ({"loader": {"every": "0s"}}, "at least 1s"),
        ({"loader": {"eventsTable": "a", "scrollTable": "a"}}, "must differ"),
    ],
)
def test_what_cannot_work_is_refused_with_its_field(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(spec)
    assert words in str(caught.value)


def test_by_default_nothing_is_archived_loaded_or_deleted() -> None:
    spec = parse({}).spec
    assert not spec.archive.enabled
    assert not spec.loader.enabled
    assert not spec.loader.delete_objects
    assert {"archive", "loader"}.isdisjoint(each.name for each in make_plan(parse({})).workloads)


def test_the_archive_reads_the_raw_topic_in_a_group_of_its_own() -> None:
    plan = make_plan(parse({"archive": {"enabled": True, "replicas": 3}}))
    (archive,) = (each for each in plan.workloads if each.name == "archive")
    assert archive.reads == ("raw-web-events",)
    assert archive.group == "shop-archive"
    assert archive.replicas == 3
    assert archive.command == ("stage",)
