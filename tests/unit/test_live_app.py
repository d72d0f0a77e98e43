"""The live page's answers, without a server: paths, access, headers, what is pushed."""

import asyncio
import json
import re
import zlib
from collections.abc import Mapping
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from live_state import event, feed, live_state
from structlog.testing import capture_logs

from webevents.live.access import Access
from webevents.live.app import OPEN, App
from webevents.live.assets import load_assets
from webevents.live.hub import Hub
from webevents.live.metrics import LiveMetrics

TOKEN = "a-token-that-is-long-enough"
LOCAL = {"host": "127.0.0.1:8090"}
STATIC = files("webevents.live").joinpath("static")


class Reply:
    """What an application sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]


class Site:
    """An application with a few events in its state."""

    def __init__(self, token: str | None = None, *, max_viewers: int = 10) -> None:
        self.state = live_state()
        feed(self.state, "enriched", [event(n, page_url_path=f"/p{n}") for n in range(5)])
        self.hub = Hub()
        self.metrics = LiveMetrics("shop")
        self.app = App(self.state, self.hub, Access(token), self.metrics, max_viewers)

    def publish(self) -> None:
        self.hub.publish(msgspec.json.encode(self.state.snapshot()))

    async def ask(
        self,
        target: str,
        headers: Mapping[str, str] = LOCAL,
        *,
        method: str = "GET",
        body: bytes = b"",
    ) -> Reply:
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if parts:
                return parts.pop()
            await asyncio.sleep(3600)
            raise AssertionError

        reply = Reply()
        await self.app(scope, receive, reply.send)
        return reply

    def get(self, target: str, headers: Mapping[str, str] = LOCAL, **more: Any) -> Reply:
        return asyncio.run(self.ask(target, headers, **more))


def test_every_answer_forbids_what_the_page_does_not_need() -> None:
    site = Site()
    for target in ("/", "/static/main.js", "/api/events", "/health", "/nothing", "/metrics"):
        headers = site.get(target).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


def test_the_files_keep_to_the_policy() -> None:
    """No script, style or handler inside the markup, nothing from elsewhere, and no code that makes
    markup of text."""

    class Page(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names = dict(attrs)
            assert not any(name == "style" or name.startswith("on") for name in names), (tag, names)
            assert tag != "style"
            assert tag != "script" or names.get("src", "").startswith("/static/")  # type: ignore[union-attr]
            for name in ("src", "href", "action"):
                assert re.match(r"[/#]|$", names.get(name) or ""), names

    for name in ("index.html", "login.html"):
        Page().feed(STATIC.joinpath(name).read_text(encoding="utf-8"))
    for file in STATIC.iterdir():
        if file.name.endswith(".js"):
            text = file.read_text(encoding="utf-8")
            for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
                assert word not in text, (file.name, word)
        if file.name.endswith((".js", ".css", ".html")):
            text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert "://" not in text, file.name


def test_every_control_has_a_name_and_every_section_a_heading() -> None:
    text = STATIC.joinpath("index.html").read_text(encoding="utf-8")
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(set(identifiers)) == len(identifiers)
    for name in re.findall(r'(?:aria-labelledby|for)="([^"]+)"', text):
        assert name in identifiers
    for tag in re.findall(r"<section [^>]*>", text):
        assert "aria-label" in tag
    assert all(
        name in text for name in ("<header", "<main", "<footer", 'lang="en"', 'class="skip"')
    )
    assert len(re.findall("<table", text)) == len(re.findall("<caption", text))


def test_files_are_packed_and_known_again() -> None:
    site = Site()
    plain = site.get("/static/main.js")
    packed = site.get("/static/main.js", LOCAL | {"accept-encoding": "gzip, br"})
    assert packed.headers["content-encoding"] == "gzip"
    assert zlib.decompress(packed.body, 31) == plain.body
    again = site.get("/static/main.js", LOCAL | {"if-none-match": plain.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "target", ["/static/../app.py", "/static/", "/static", "/app.py", "//", "/x"]
)
def test_there_is_nothing_else(target: str) -> None:
    assert Site().get(target).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("target", ["/", "/api/events", "/api/stream", "/login"])
def test_it_is_for_looking_only(target: str, method: str) -> None:
    assert Site().get(target, method=method, body=b"x=1").status == 405


def test_events_are_searched_by_the_query() -> None:
    site = Site()
    found = json.loads(site.get("/api/events?q=%2Fp3").body)
    assert [each["id"] for each in found["events"]] == ["e3"]
    assert found["searched"] == 5
    assert len(json.loads(site.get("/api/events?limit=2&type=pageview").body)["events"]) == 2
    assert json.loads(site.get("/api/events?type=none").body)["events"] == []
    for limit in ("0", "x", "99999", "-1", "1e3"):
        assert site.get(f"/api/events?limit={limit}").status == 400


def test_stats_are_what_is_pushed() -> None:
    site = Site()
    assert site.get("/api/stats").status == 503
    site.publish()
    assert json.loads(site.get("/api/stats").body)["types"]["total"] == 5


def test_health_tells_whether_kafka_answers() -> None:
    site = Site()
    assert json.loads(site.get("/health").body)["status"] == "degraded"
    site.state.look({})
    assert json.loads(site.get("/health").body) == {"status": "ok", "problem": None, "viewers": 0}
    assert site.get("/healthz").status == 200
    assert site.get("/readyz").status == 503
    assert b"webevents_live_requests_total" in site.get("/metrics").body


def test_with_a_token_strangers_get_nothing_of_the_pipeline() -> None:
    site = Site(TOKEN)
    site.publish()
    home = site.get("/")
    assert (home.status, home.headers["location"]) == (303, "/login")
    told = [*sorted(load_assets()), "/metrics", "/api/stats", "/api/events", "/api/stream"]
    for target in told:
        if target not in (*OPEN, "/"):
            assert site.get(target).status == 401, target
    for target in OPEN:
        assert b"/p3" not in site.get(target).body
    bearer = LOCAL | {"authorization": f"Bearer {TOKEN}"}
    assert site.get("/api/stats", bearer).status == 200
    assert site.get("/", bearer).status == 200


def test_the_token_is_exchanged_for_a_cookie() -> None:
    site = Site(TOKEN)
    site.publish()
    wrong = site.get("/login", method="POST", body=b"token=nonsense")
    assert (wrong.status, wrong.headers["location"]) == (303, "/login?wrong")
    assert "set-cookie" not in wrong.headers
    right = site.get("/login", method="POST", body=f"token={TOKEN}".encode())
    assert (right.status, right.headers["location"]) == (303, "/")
    cookie = right.headers["set-cookie"].partition(";")[0]
    assert site.get("/api/stats", LOCAL | {"cookie": cookie}).status == 200
    assert site.get("/login", method="POST", body=b"x" * 5000).status == 413


def test_a_foreign_name_is_refused_without_a_token() -> None:
    site = Site()
    for target in ("/", "/api/stats", "/api/events", "/metrics", "/static/main.js"):
        assert site.get(target, {"host": "evil.example"}).status == 403


async def watch(site: Site, reply: Reply, headers: Mapping[str, str], frames: int) -> None:
    """Look at a stream while snapshots are published."""
    task = asyncio.create_task(site.ask("/api/stream", headers))
    site_ask = site.hub
    for _ in range(frames):
        await asyncio.sleep(0)
        site.publish()
        await asyncio.sleep(0.01)
    site_ask.close()
    found = await task
    reply.status, reply.headers, reply.body = found.status, found.headers, found.body


def frames_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(each) for each in re.findall(r"^event: state\ndata: (.*)$", text, re.M)]


@pytest.mark.parametrize("packed", [False, True])
def test_snapshots_are_pushed_as_they_come(packed: bool) -> None:
    site, reply = Site(), Reply()
    headers = LOCAL | ({"accept-encoding": "gzip"} if packed else {})
    asyncio.run(watch(site, reply, headers, 5))
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/event-stream"
    text = zlib.decompressobj(31).decompress(reply.body) if packed else reply.body
    found = frames_of(text.decode())
    assert len(found) == 5
    assert found[-1]["types"]["total"] == 5
    assert site.hub.viewers == 0


def test_who_comes_late_reads_the_packed_stream_too() -> None:
    """Everybody gets the same packed bytes, whatever was sent before they came."""
    site = Site()
    for _ in range(3):
        site.publish()
    reply = Reply()
    asyncio.run(watch(site, reply, LOCAL | {"accept-encoding": "gzip"}, 2))
    assert frames_of(zlib.decompressobj(31).decompress(reply.body).decode())


def test_who_is_slow_gets_the_newest_and_nothing_piles_up() -> None:
    async def run() -> tuple[int, int]:
        hub = Hub()
        hub.publish(b"{}")
        first = await hub.after(0)
        for _ in range(50):
            hub.publish(b"{}")
        second = await hub.after(first.number if first else 0)
        return (first.number if first else 0), (second.number if second else 0)

    assert asyncio.run(run()) == (1, 51)


def test_who_leaves_disturbs_nobody_who_waits() -> None:
    async def run() -> list[int]:
        hub = Hub()
        waiting = [asyncio.create_task(hub.after(0)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        hub.publish(b"{}")
        return [frame.number for frame in await asyncio.gather(*waiting[1:]) if frame]

    assert asyncio.run(run()) == [1, 1]


def test_one_viewer_too_many_is_asked_to_come_again() -> None:
    site = Site(max_viewers=0)
    reply = site.get("/api/stream")
    assert reply.status == 503
    assert reply.headers["retry-after"]


def test_a_fault_is_answered_and_logged_without_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site()
    monkeypatch.setattr(site.state, "events", lambda *_: 1 / 0)
    with capture_logs() as lines:
        reply = site.get("/api/events?q=jane%40example.com")
    assert reply.status == 500
    [line] = lines
    assert line["path"] == "/api/events"
    assert "jane" not in str(line)
