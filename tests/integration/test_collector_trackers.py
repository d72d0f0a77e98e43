"""The vendors' own trackers, unchanged, against a whole pipeline.

Steps: a page for each tracker of docs/collect.md, with the very snippet that stands there, is
visited in Chromium, and the vendors' libraries for servers send too; then the same while the
brokers are stopped for a minute and the collector is killed in between.
Expected: every event is one document; each visitor's events are one session, with the channel of
the page that the visitor landed on.

`make test-collector` installs what is needed from npm; without it these tests are skipped.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from accounts import check_everything
from collectors import collector
from pipelines import Run, Servers, TestPipeline, children

from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.ports import LOOPBACK, free_port, is_listening

ROOT = Path(__file__).parents[2]
NPM = ROOT / "tests" / "collector"
MODULES = NPM / "node_modules"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = [
    what
    for what, there in [
        ("npm's packages (run `make test-collector`)", (MODULES / ".package-lock.json").is_file()),
        ("Node (on Debian: apt install nodejs npm)", shutil.which("node")),
        ("Chromium (on Debian: apt install chromium)", CHROMIUM),
    ]
    if not there
]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}"),
]

SPEC: dict[str, Any] = {
    "collector": {
        "sites": [{"name": "shop", "writeKeys": ["YOUR_WRITE_KEY"]}],
        "onOutage": "spool",
        "acknowledgeWithin": "2s",
    },
    "sessions": {"publishOpenEvery": "2s"},
}
ASSETS = {
    "/assets/analytics-next.js": "@segment/analytics-next/dist/umd/index.js",
    "/assets/snowplow.js": "@snowplow/browser-tracker/dist/index.umd.js",
}
CHANNELS = {
    "segment": "Email",
    "snowplow": "Organic Search",
    "plain": "Paid Search",
}
LANDINGS = {
    "segment": "?utm_source=newsletter&utm_medium=email&utm_campaign=may",
    "snowplow": "",
    "plain": "?gclid=abc123",
}
CLICKS = {
    "segment": 'analytics.track("Clicked", { product_id: "mug", price: 12 })',
    "snowplow": 'snowplowBrowserTracking.trackStructEvent({ category: "b", action: "clicked" })',
    "plain": 'track("clicked", { product_id: "mug" })',
}


def snippets(language: str) -> list[str]:
    """The code blocks of docs/collect.md in one language."""
    text = (ROOT / "docs" / "collect.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def snippet(language: str, mark: str, collector: str) -> str:
    """The one snippet with some text in it, with the collector's address put in."""
    [found] = [text for text in snippets(language) if mark in text]
    return found.replace("https://collect.example", collector)


@contextmanager
def website(collector: str) -> Iterator[str]:
    """A site with a page for each tracker; its address."""
    plain = snippet("html", "navigator.sendBeacon", collector).replace(
        "const body =", "(window.sent ??= []).push(event.event_id); const body ="
    )
    pages = {
        "/segment": snippet("html", "analytics-next", collector),
        "/snowplow": snippet("html", "snowplow.js", collector),
        "/plain": plain,
        "/pixel": snippet("html", "<noscript>", collector),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0].removesuffix("/next")
            body, kind = b"", "text/plain"
            if path in ASSETS:
                body, kind = (MODULES / ASSETS[path]).read_bytes(), "text/javascript"
            elif path in pages:
                page = f"<!doctype html><title>A page</title>{pages[path]}"
                body, kind = page.encode(), "text/html"
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Clients:
    """Trackers that send at the same time, each in a process of its own."""

    collector: str
    site: str
    folder: Path
    seconds: float
    pages: Sequence[str] = tuple(CHANNELS)
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def start(self) -> None:
        """Start all of them."""
        visits = [
            {
                "name": name,
                "landing": f"{self.site}/{name}{LANDINGS[name]}",
                "referrer": "https://www.google.com/" if name == "snowplow" else None,
                "next": f"{self.site}/{name}/next",
                "click": CLICKS[name],
                "ids": "window.sent ?? []",
            }
            for name in self.pages
        ]
        task = {"chromium": CHROMIUM, "visits": visits, "clicks": 10, "pauseMs": self.seconds * 100}
        self._run("browser", "node", str(NPM / "visit.mjs"), json.dumps(task))
        self._run("node", "node", str(NPM / "send.mjs"), self.collector, str(self.seconds))
        self._run("python", sys.executable, str(NPM / "send.py"), self.collector, str(self.seconds))

    def _run(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.err").open("w") as errors:
            self.processes[name] = subprocess.Popen(
                command, cwd=NPM, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def finish(self) -> dict[str, list[str]]:
        """Wait for them; the identifiers of the events that each has made."""
        reports = {}
        for name, process in self.processes.items():
            output, _ = process.communicate(timeout=900)
            errors = (self.folder / f"{name}.err").read_text()
            assert process.returncode == 0, f"{name}: {errors[-3000:]}"
            reports[name] = json.loads(output)
        made: dict[str, list[str]] = {"node": reports["node"]["made"], **reports["python"]["made"]}
        assert not reports["node"]["missing"], reports["node"]
        assert not reports["python"]["problems"]
        for name, report in reports["browser"].items():
            assert not report["missing"], (name, report)
            made[name] = report["made"]
        self.browser = reports["browser"]
        return made

    def end(self) -> None:
        """End whatever still runs."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def check(pipeline: TestPipeline, report: dict[str, Any], made: dict[str, list[str]]) -> None:
    """Every event exactly once, each visitor's in one session, with its channel."""
    check_everything(pipeline, report)
    events = pipeline.documents("events")
    assert Counter(events.keys()) == Counter(id_ for ids in made.values() for id_ in ids)
    assert {event["site"] for event in events.values()} == {"shop"}
    sessions = {each["session_key"]: each for each in pipeline.documents("sessions").values()}
    visitors = set()
    for name, ids in made.items():
        assert len(ids) >= 10, (name, ids)
        [visitor] = {events[id_]["user_domain_id"] for id_ in ids}
        visitors.add(visitor)
        session = sessions[visitor]
        assert session["total_events"] == len(ids)
        if name in CHANNELS:
            assert session["channel"] == CHANNELS[name], name
            assert session["page_views"] == 2
            assert session["event_type_counts"]["clicked"] == 10
            assert session["browser_name"] == "Chrome"
    assert len(visitors) == len(made)
    assert sessions.keys() == visitors


@contextmanager
def collecting(pipeline: TestPipeline, port: int) -> Iterator[Run]:
    """A pipeline whose collector takes events."""
    with pipeline.running() as run:
        deadline = time.monotonic() + 120
        while not is_listening(port):
            assert run.process.poll() is None, run.log.read_text()[-3000:]
            assert time.monotonic() < deadline, run.log.read_text()[-3000:]
            time.sleep(0.1)
        yield run


def spec(port: int) -> dict[str, Any]:
    return SPEC | {"collector": SPEC["collector"] | {"port": port}}


def test_every_tracker_delivers_once_and_in_its_session(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    port = free_port()
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, spec(port))
    address = f"http://{LOOPBACK}:{port}"
    with collecting(pipeline, port) as run, website(address) as site:
        clients = Clients(address, site, tmp_path, 5)
        try:
            clients.start()
            made = clients.finish()
        finally:
            clients.end()
        run.interrupt()
        report = run.finish()
    check(pipeline, report, made)
    for name, page in clients.browser.items():
        assert not page["problems"], (name, page["problems"])
        assert page["statuses"].keys() == {"200"}


def test_every_tracker_through_an_outage_and_a_kill(
    elasticsearch: str, kafka_server: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    server = kafka_server()
    port = free_port()
    pipeline = TestPipeline(Servers(server.bootstrap, elasticsearch), tmp_path, spec(port))
    address = f"http://{LOOPBACK}:{port}"
    with collecting(pipeline, port) as run, website(address) as site:
        # Not the beacons: nobody sends those again that find no collector while it starts anew.
        clients = Clients(address, site, tmp_path, 80, ("segment", "snowplow"))
        try:
            clients.start()
            time.sleep(10)
            server.kill()
            # Long before browsers go to their next page, at 40 s or later: what a page is sending
            # while it is left is the tracker's to lose.
            time.sleep(10)
            [collector] = [
                pid for pid, command in children(run.process.pid) if "collect" in command
            ]
            os.kill(collector, signal.SIGKILL)
            time.sleep(50)
            server.start()
            made = clients.finish()
        finally:
            clients.end()
        run.interrupt()
        report = run.finish()
    assert report["restarts"] >= 1
    check(pipeline, report, made)


def test_every_method_of_every_tracker(kafka: str, tmp_path: Path) -> None:
    sites = [{"name": "shop", "writeKeys": ["YOUR_WRITE_KEY"]}]
    with collector(kafka, tmp_path, {"sites": sites}) as running, website(running.url) as site:
        command = ["node", str(NPM / "methods.mjs"), running.url, site, str(CHROMIUM)]
        told = subprocess.run(command, cwd=NPM, check=True, timeout=240, stdout=subprocess.PIPE)
        subprocess.run(
            [sys.executable, str(NPM / "methods.py"), running.url], check=True, timeout=120
        )
        events, failed = running.events(), running.failed()
    assert not failed
    answers = Counter(map(tuple, json.loads(told.stdout)))
    assert {status for _, _, status in answers} == {200}
    assert {(method, path) for method, path, _ in answers} >= {
        *(("POST", f"/v1/{letter}") for letter in "tpisga"),
        ("GET", "/i"),
        ("POST", "/com.snowplowanalytics.snowplow/tp2"),
    }
    types: dict[str, Counter[str]] = {}
    for event in events:
        name = event["tracker"].partition(" ")[0]
        types.setdefault(name, Counter())[event["event_type"]] += 1
    calls = ("pageview", "clicked", "identify", "screen", "group", "alias")
    assert types.pop("analytics.js") == Counter(calls)
    assert types.pop("@segment/analytics-node") == Counter(calls)
    assert types.pop("analytics-python") == Counter(calls)
    snowplow = sum(types.values(), Counter())
    # Each twice from the browser, by POST and by GET, and twice from Python.
    assert snowplow == Counter(dict.fromkeys(("pageview", "clicked", "added"), 4) | {"pageview": 5})
    for event in events:
        if event["event_type"] in ("identify", "alias") or "group" in event["event_type"]:
            assert event["user_id"] == "user-1", event
            assert event["user_domain_id"], event
        if event["event_type"] == "identify":
            assert event["segment"]["traits"] == {"plan": "gold"}
        if event["event_type"] == "added":
            data = event["snowplow"]["unstruct_event"]["data"]
            assert data == {"sku": "mug"}


def test_the_snippets_for_servers_run_as_they_stand(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    port = free_port()
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, spec(port))
    address = f"http://{LOOPBACK}:{port}"
    with collecting(pipeline, port) as run:
        for text in snippets("python"):
            code = text.replace("https://collect.example", address)
            subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
        script = NPM / f"snippet-{os.getpid()}.mjs"  # beside the packages that it imports
        try:
            script.write_text(snippet("js", "analytics-node", address))
            subprocess.run(["node", str(script)], cwd=NPM, check=True, timeout=120)
        finally:
            script.unlink(missing_ok=True)
        console = snippet("console", "curl", address)
        command = textwrap.dedent(console.split("$ ", 1)[1].rpartition("\n{")[0])
        shell = subprocess.run(
            ["bash", "-c", command.replace("curl ", "curl -s ", 1)], capture_output=True, timeout=60
        )
        assert shell.stdout == console.strip().splitlines()[-1].encode()
        run.interrupt()
        run.finish()
    types = {
        each["user_domain_id"]: each["event_type"] for each in pipeline.documents("events").values()
    }
    assert types == {
        "visitor-1": "order_completed",
        "visitor-2": "pageview",
        "visitor-3": "order_completed",
        "visitor-4": "signup",
    }
    revenue = {
        each["session_key"]: each["total_revenue"]
        for each in pipeline.documents("sessions").values()
    }
    assert (revenue["visitor-1"], revenue["visitor-3"]) == (30, 30)


def test_the_demo_shop_sends_what_its_visitor_does(
    kafka: str, elasticsearch: str, tmp_path: Path
) -> None:
    port = free_port()
    demo = {"collector": {"port": port, "demoPage": True}}
    pipeline = TestPipeline(Servers(kafka, elasticsearch), tmp_path, SPEC | demo)
    visit = {
        "name": "demo",
        "landing": f"http://{LOOPBACK}:{port}/demo/product/mug",
        "next": f"http://{LOOPBACK}:{port}/demo/cart",
        "click": 'document.querySelector("main button")?.click()',
        "ids": 'Array.from(document.getElementById("log").textContent'
        '.matchAll(/"event_id": "(\\w+)"/g), (found) => found[1])',
    }
    task = {"chromium": CHROMIUM, "visits": [visit], "clicks": 10, "pauseMs": 50}
    with collecting(pipeline, port) as run:
        output = subprocess.run(
            ["node", str(NPM / "visit.mjs"), json.dumps(task)],
            cwd=NPM,
            check=True,
            timeout=120,
            stdout=subprocess.PIPE,
        ).stdout
        address = f"collector http://{LOOPBACK}:{port}/demo (a shop whose visitor is you)"
        assert address in run.log.read_text()
        run.interrupt()
        run.finish()
    [page] = json.loads(output).values()
    assert not page["problems"]
    events = pipeline.documents("events")
    assert events.keys() == set(page["made"])
    [session] = pipeline.documents("sessions").values()
    assert session["event_type_counts"] == {"pageview": 2, "add_to_cart": 5, "purchase": 1}
    assert session["total_revenue"] == 60
    [cookie] = page["cookies"]
    assert cookie == {"name": "webevents_id", "httpOnly": True, "secure": True, "sameSite": "Lax"}
