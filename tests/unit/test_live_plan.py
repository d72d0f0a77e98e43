"""spec.live becomes a workload, and a run opens its page."""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from webevents.errors import UserError
from webevents.live.settings import LiveSettings
from webevents.local.browser import Page, has_desktop
from webevents.plan.make import make_plan
from webevents.plan.model import Workload
from webevents.spec.load import load_pipeline, parse_pipeline

EXAMPLE = Path(__file__).parents[2] / "manifests" / "examples" / "web-events.yaml"


def page_of(spec: dict[str, Any]) -> list[Workload]:
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "shop"},
        "spec": {"kafka": {"bootstrapServers": "k:9092"}, **spec},
    }
    plan = make_plan(parse_pipeline(document, "it"))
    return [each for each in plan.workloads if each.name == "live"]


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert page_of({}) == []
    assert page_of({"live": {"port": 9000}}) == []


def test_it_knows_the_stages_and_the_topics_that_there_are() -> None:
    [page] = page_of({"live": {"enabled": True, "port": 9000}, "alerts": {"enabled": True}})
    assert (page.command, page.port, page.replicas) == (("live",), 9000, 1)
    # No stage: it is not drained, and the ledger does not know it.
    assert (page.group, page.reads, page.writes) == (None, (), ())
    settings = page.settings
    assert isinstance(settings, LiveSettings)
    assert list(settings.groups) == ["enrich", "sessionize", "index", "detect"]
    assert settings.groups["enrich"] == ("shop-enrich", ("raw-web-events",))
    assert settings.topics.alerts == "web-alerts"
    [page] = page_of({"live": {"enabled": True}, "sessions": {"enabled": False}})
    assert isinstance(page.settings, LiveSettings)
    assert (page.settings.topics.sessions, page.settings.topics.alerts) == (None, None)


def test_the_example_has_one_on_a_port_of_its_own() -> None:
    spec = load_pipeline(EXAMPLE).spec
    assert spec.live.enabled
    assert spec.collector
    assert spec.live.port != spec.collector.port


@pytest.mark.parametrize(
    ("live", "told"),
    [
        ({"tokenFile": "a", "tokenEnv": "B"}, "tokenFile and tokenEnv"),
        ({"window": "10s"}, "window"),
        ({"window": "7h"}, "window"),
        ({"port": 0}, "port"),
        ({"personalData": "some"}, "personalData"),
        ({"maxViewers": 0}, "maxViewers"),
    ],
)
def test_what_cannot_be_is_told(live: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        page_of({"live": live})


@pytest.mark.parametrize(
    ("variables", "platform", "there"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "linux", False),
        ({}, "darwin", True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "1 2 3 4"}, "linux", False),
        ({"SSH_CONNECTION": "1 2 3 4"}, "darwin", False),
    ],
)
def test_a_browser_is_for_desktops(
    variables: dict[str, str], platform: str, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("webevents.local.browser.sys.platform", platform)
    assert has_desktop() is there


def test_the_page_is_opened_once_as_soon_as_it_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    done = threading.Event()

    def remember(url: str) -> None:
        opened.append(url)
        done.set()

    monkeypatch.setattr("webevents.local.browser.webbrowser.open", remember)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        page = Page(address, wanted=True)
        page.open_once()
        assert opened == []  # nobody listens yet
        server.listen(10)
        Page(address, wanted=False).open_once()
        page.open_once()
        page.open_once()
        assert done.wait(30)
        assert opened == [f"http://{address}/"]
    Page(None, wanted=True).open_once()
