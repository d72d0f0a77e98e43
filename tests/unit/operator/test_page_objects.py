"""The live page on Kubernetes: a pod that tells nobody, or a Service in front of a token."""

import json
from collections.abc import Callable

from webevents_operator import kinds
from webevents_operator.kinds import Object
from webevents_operator.objects.desired import desired_objects
from webevents_operator.objects.frame import Frame

MakeFrame = Callable[..., Frame]


def page(make_frame: MakeFrame, live: Object) -> dict[str, Object]:
    """The page's objects by their kinds."""
    made = desired_objects(make_frame({"live": live}))
    return {each["kind"]: each for each in made if each["metadata"]["name"] == "shop-live"}


def test_there_is_none_unless_it_is_asked_for(make_frame: MakeFrame) -> None:
    assert page(make_frame, {}) == {}


def test_without_a_token_it_is_a_pod_that_only_a_port_forward_reaches(
    make_frame: MakeFrame,
) -> None:
    found = page(make_frame, {"enabled": True, "port": 8123})
    assert set(found) == {kinds.CONFIG_MAP.kind, kinds.STATEFUL_SET.kind}
    (container,) = found[kinds.STATEFUL_SET.kind]["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "live"
    # No --host: without a token the page then listens to its own pod only.
    assert "--host" not in container["args"]
    assert {"name": "page", "containerPort": 8123, "protocol": "TCP"} in container["ports"]
    assert container["readinessProbe"]["httpGet"]["port"] == "metrics"


def test_with_a_token_a_service_leads_to_it(make_frame: MakeFrame) -> None:
    found = page(make_frame, {"enabled": True, "tokenFile": "secret:page/token"})
    (port,) = found[kinds.SERVICE.kind]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, "page")
    template = found[kinds.STATEFUL_SET.kind]["spec"]["template"]
    selector = found[kinds.SERVICE.kind]["spec"]["selector"]
    assert selector.items() <= template["metadata"]["labels"].items()
    (page_rule, _) = found[kinds.NETWORK_POLICY.kind]["spec"]["ingress"]
    assert page_rule == {"ports": [{"port": "page", "protocol": "TCP"}]}
    settings = json.loads(found[kinds.CONFIG_MAP.kind]["data"]["settings.json"])
    assert settings["live"]["tokenFile"] == "/etc/webevents/secrets/page/token"
    mounts = template["spec"]["containers"][0]["volumeMounts"]
    assert "/etc/webevents/secrets/page" in [each["mountPath"] for each in mounts]
