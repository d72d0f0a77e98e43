"""The live page in Chromium: what it shows, that events stay text, and that everybody can use it.

`make test-collector` installs what is needed from npm; without it these tests are skipped.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from live_pages import RunningPage, live_page
from live_state import event

from webevents.events.alert import Alert, encode_alert
from webevents.events.event import InvalidEvent
from webevents.events.failed import failed_record

NPM = Path(__file__).parents[1] / "collector"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = [
    what
    for what, there in [
        (
            "npm's packages (run `make test-collector`)",
            (NPM / "node_modules" / "axe-core" / "package.json").is_file(),
        ),
        ("Node (on Debian: apt install nodejs npm)", shutil.which("node")),
        ("Chromium (on Debian: apt install chromium)", CHROMIUM),
    ]
    if not there
]
TOKEN = "a-token-that-is-long-enough"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}"),
]

EVIL = '<script>window.hacked="yes"</script><img src=x onerror="window.hacked=1"><b>bold</b>'
"""What must be shown as it is written."""


def look(page: RunningPage, **task: Any) -> dict[str, Any]:
    """Look at the page in Chromium; what was seen."""
    task |= {"chromium": CHROMIUM, "url": f"http://127.0.0.1:{page.port}", "script": "hacked"}
    done = subprocess.run(
        ["node", "look.mjs", json.dumps(task)],
        cwd=NPM,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def fill(page: RunningPage) -> None:
    """Events of every kind that the page shows, with markup wherever text may come from."""
    place = {"geo_country": "DE", "geo_location": "52.5,13.4", "geo_city": EVIL}
    events = [
        event(n, page_url_path=f"/page{n}", user_domain_id=f"v{n}", **place) for n in range(20)
    ]
    evil = event(
        99,
        event_type=EVIL,
        page_url_path=EVIL,
        browser_name=EVIL,
        channel=EVIL,
        geo_country="<b",
        user_domain_id=EVIL,
    )
    page.send("raw", [b"{}"] * 21)
    page.send("enriched", [*events, evil])
    record = failed_record(
        InvalidEvent("wrong_type", f"Expected `str` at {EVIL}"),
        pipeline=EVIL,
        stage=EVIL,
        topic=EVIL,
        partition=0,
        offset=5,
        key=None,
        value=EVIL.encode(),
        now_us=1_800_000_000_000_000,
    )
    page.send("failed", [record])
    alert = Alert(
        alert_id="a",
        pipeline=page.name,
        rule="lag",
        series=EVIL,
        severity="critical",
        status="firing",
        started_at="2026-11-27T12:00:00Z",
        summary=EVIL,
        value=1.0,
    )
    page.send("alerts", [encode_alert(alert)])
    page.wait_for(
        lambda seen: (
            seen["types"]["total"] == 21 and seen["failed"]["total"] and seen["kafka"]["up"]
        )
    )


def test_the_page_shows_events_as_text_and_can_be_used_by_everybody(
    kafka: str, tmp_path: Path
) -> None:
    with live_page(kafka, tmp_path, {"personalData": "shown"}) as page:
        fill(page)
        seen = look(page, filter="page7")
        assert page.stop() == 0
    assert seen["problems"] == []  # the content security policy's complaints are among them
    assert seen["foreign"] == []
    assert seen["title"] == page.name

    assert set(seen["log"]) == {EVIL, *(f"/page{n}" for n in range(20))}
    assert EVIL in seen["types"]
    assert seen["alerts"] == [EVIL]
    assert seen["reasons"] == ["wrong_type"]
    assert f"Expected `str` at {EVIL}" in seen["example"]
    assert seen["marks"] is None
    assert seen["bold"] == 0

    assert "Germany" in seen["countries"]
    assert seen["points"] == 1
    assert seen["land"] > 10_000
    assert seen["filtered"] == ["/page7"]
    assert seen["nothing"] == "None of the latest events matches."
    assert seen["paused"] == "paused"
    assert seen["tableRows"] >= 4
    assert seen["stillOpen"]

    assert seen["width"] <= 0
    assert seen["phoneWidth"] <= 0
    assert seen["background"] != seen["darkBackground"]
    assert seen["animation"] == "none"
    assert seen["tabs"][0]["what"] == "skip"
    assert [each for each in seen["tabs"] if not each["outline"]] == []
    assert {"pause", "q", "type"} <= {each["what"] for each in seen["tabs"]}
    assert seen["axe"] == {"light": [], "dark": []}


def test_the_token_is_asked_for_once(kafka: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with live_page(kafka, tmp_path, {"tokenFile": str(token)}) as page:
        page.wait_for_ready()
        seen = look(page, token=TOKEN)
    assert (seen["before"], seen["after"]) == ("/login", "/")
    assert seen["wrong"] == "This is not the token."
    assert seen["cookies"] == [{"httpOnly": True, "sameSite": "Strict"}]
    assert TOKEN not in seen["url"]
    assert seen["problems"] == []
