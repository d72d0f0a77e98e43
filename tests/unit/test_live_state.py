"""The live page's figures: what each topic's messages make of them."""

from typing import Any

import msgspec
import pytest
from live_state import TOPICS, event, feed, live_state, now_ms

from webevents.connectors.kafka_observe import GroupView
from webevents.events.alert import Alert, encode_alert
from webevents.events.event import InvalidEvent
from webevents.events.failed import failed_record
from webevents.events.ledger import Counts, PartitionLedger
from webevents.live.state import LOG_HELD, LOG_PUSHED, State
from webevents.live.worldmap import project

PERSON: dict[str, Any] = {
    "user_domain_id": "cookie-of-jane",
    "user_custom_id": "jane@example.com",
    "ip_address": "203.0.113.77",
    "page_url": "https://shop.example/account/jane@example.com?token=secret",
    "page_url_path": "/account/jane@example.com",
}


def failed(reason: str, detail: str, payload: bytes = b"{broken", offset: int = 7) -> bytes:
    return failed_record(
        InvalidEvent(reason, detail),
        pipeline="shop",
        stage="enrich",
        topic="raw",
        partition=3,
        offset=offset,
        key=None,
        value=payload,
        now_us=now_ms() * 1000,
    )


def alert(name: str, status: str, **more: Any) -> bytes:
    return encode_alert(
        Alert(
            alert_id=name,
            pipeline="shop",
            rule="lag",
            series="index",
            severity="warning",
            status=status,  # type: ignore[arg-type]
            started_at="2026-11-27T12:00:00Z",
            summary=f"{name} is behind",
            value=1.0,
            **more,
        )
    )


def test_events_are_counted_by_type_page_and_place() -> None:
    state = live_state()
    here = {"geo_country": "DE", "geo_location": "52.5,13.4"}
    feed(
        state,
        "enriched",
        [
            event(0, page_url_path="/home", **here),
            event(1, page_url_path="/home", **here),
            event(2, event_type="purchase", page_url="/cart?step=2#pay", geo_country="FR"),
            event(3, event_type="purchase"),
        ],
    )
    seen = state.snapshot()
    assert seen["types"]["total"] == 4
    assert seen["types"]["top"] == [
        {"name": "pageview", "count": 2},
        {"name": "purchase", "count": 2},
    ]
    assert seen["pages"]["top"] == [{"name": "/home", "count": 2}, {"name": "/cart", "count": 1}]
    assert seen["places"]["countries"] == [
        {"name": "DE", "count": 2},
        {"name": "FR", "count": 1},
    ]
    x, y, count = seen["places"]["points"][0]
    assert count == 2
    assert (x, y) == pytest.approx(project(52, 13), abs=1)
    assert len(seen["places"]["points"]) == 2  # France's middle is the other


def test_the_rate_is_that_of_the_raw_topic_by_the_messages_own_seconds() -> None:
    state = live_state()
    second = now_ms() // 1000 * 1000
    feed(state, "raw", [b"whatever"] * 30, at_ms=second - 2_500)
    feed(state, "raw", [b"whatever"] * 10, at_ms=second - 1_500)
    rate = state.snapshot()["rate"]
    assert rate["in"][-6:].count(30) == 1
    assert rate["in"][rate["in"].index(30) + 1] == 10


def test_a_replay_with_times_of_its_own_counts_as_of_now() -> None:
    state = live_state()
    feed(state, "raw", [b"{}"], at_ms=0)
    feed(state, "enriched", [event()], at_ms=0)
    assert state.snapshot()["types"]["total"] == 1
    # What was there before the page is as old as it says.
    feed(state, "enriched", [event()], at_ms=0, fresh=False)
    assert state.snapshot()["types"]["total"] == 1


def test_rows_beyond_the_first_are_summed_up() -> None:
    state = live_state()
    feed(state, "enriched", [event(n, event_type=f"t{n % 20:02}") for n in range(100)])
    types = state.snapshot()["types"]
    assert (len(types["top"]), types["distinct"], types["total"]) == (8, 20, 100)
    assert types["rest"] == 100 - 8 * 5


def test_the_stages_figures_are_their_ledgers() -> None:
    state = live_state()
    view = GroupView("g")
    view.ledgers["raw", 0] = PartitionLedger(
        0, 100, Counts(100, 90, 7, {"duplicate": 3}), emitted=90
    )
    view.lags["raw", 0] = 42
    other = GroupView("h")
    other.ledgers["enriched", 0] = PartitionLedger(0, 9, Counts(9, 7, 1, {}))
    state.look({"enrich": view, "index": other})
    seen = state.snapshot()
    first, second = seen["stages"]
    assert first == {
        "name": "enrich",
        "in": 100,
        "out": 90,
        "failed": 7,
        "dropped": {"duplicate": 3},
        "lag": 42,
        "records": 90,
        "balanced": True,
        "rate": 0,
    }
    assert not second["balanced"]  # 9 came, 8 are accounted for
    assert seen["totals"] == {"in": 100, "out": 90, "failed": 8, "dropped": 3, "lag": 42}


def test_open_sessions_are_those_that_are_not_closed_retracted_or_silent() -> None:
    state = live_state()
    now = now_ms()
    for name, ago_s, more in (
        ("silent", 3_600, {"open": True}),
        ("a while ago", 120, {"open": True}),
        ("closed", 10, {"open": True}),
        ("closed", 5, {"open": False}),
        ("merged", 4, {"open": True}),
        ("merged", 3, {"open": True, "retracted": True}),
        ("now", 2, {"open": True}),
        ("now", 1, {"open": True}),
    ):
        record = {"session_id": name, **more}
        feed(state, "sessions", [record], at_ms=now - ago_s * 1000, fresh=False)
    assert state.snapshot()["sessions"] == {"open": 2, "active": 1}


def test_failed_events_come_by_reason_with_the_newest_as_example() -> None:
    state = live_state()
    feed(state, "failed", [failed("invalid_json", "not JSON", offset=n) for n in range(3)])
    feed(state, "failed", [failed("wrong_type", "Expected `str`")])
    seen = state.snapshot()["failed"]
    assert seen["total"] == 4
    assert [(each["name"], each["count"]) for each in seen["reasons"]] == [
        ("invalid_json", 3),
        ("wrong_type", 1),
    ]
    example = seen["reasons"][0]["example"]
    assert (example["topic"], example["partition"], example["offset"]) == ("raw", 3, 2)
    assert example["detail"] == "not JSON"
    assert seen["reasons"][0]["meaning"]


def test_personal_data_is_masked_everywhere() -> None:
    state = live_state()
    feed(state, "enriched", [event(0, **PERSON), event(1, **PERSON)])
    feed(state, "failed", [failed("invalid_json", "not JSON", b'{"mail": "jane@example.com"')])
    told = msgspec.json.encode([state.snapshot(), state.events()]).decode()
    for secret in ("jane", "cookie-of", "203.0.113", "secret", "mail"):
        assert secret not in told, secret
    first, second = state.events()["events"]
    assert first["visitor"] == second["visitor"]  # still told apart from others
    assert first["page"] == "/account/•••"
    assert live_state().rows.visitor(state._log[0].event) != first["visitor"]


def test_personal_data_is_shown_where_it_is_asked_for() -> None:
    state = live_state(personal_data="shown")
    feed(state, "enriched", [event(0, **PERSON)])
    feed(state, "failed", [failed("invalid_json", "not JSON", b'{"mail": "jane')])
    [row] = state.events()["events"]
    assert row["visitor"] == "cookie-of-jane"
    assert row["user"] == "jane@example.com"
    assert row["address"] == "203.0.113.77"
    assert row["page"] == PERSON["page_url"]
    [reason] = state.snapshot()["failed"]["reasons"]
    assert reason["example"]["payload"] == '{"mail": "jane'


def test_the_log_is_searched_newest_first() -> None:
    state = live_state()
    feed(
        state,
        "enriched",
        [
            event(n, page_url_path=f"/p{n}", event_type="click" if n % 2 else "view")
            for n in range(9)
        ],
    )
    assert [each["id"] for each in state.events(limit=3)["events"]] == ["e8", "e7", "e6"]
    assert [each["id"] for each in state.events("/P3")["events"]] == ["e3"]
    assert len(state.events(event_type="click")["events"]) == 4
    assert state.events("nothing") == {"events": [], "searched": 9}


def test_what_is_held_is_bounded() -> None:
    state = live_state()
    feed(state, "enriched", [event(n, page_url_path=f"/{n}") for n in range(LOG_HELD + 500)])
    assert state.events()["searched"] == LOG_HELD
    seen = state.snapshot()
    assert len(seen["log"]) == LOG_PUSHED
    assert seen["types"]["total"] == LOG_HELD + 500
    assert seen["pages"]["distinct"] <= 2_001
    assert len(msgspec.json.encode(seen)) < 30_000


def test_alerts_are_their_newest_records_firing_first() -> None:
    topics = TOPICS.model_copy(update={"alerts": "alerts"})
    state = live_state(topics)
    feed(state, "alerts", [alert("a", "firing"), alert("b", "firing"), alert("a", "resolved")])
    seen = state.snapshot()["alerts"]
    assert [each["alert_id"] for each in seen["firing"]] == ["b"]
    assert [each["alert_id"] for each in seen["resolved"]] == ["a"]
    # A firing one is not forgotten for the sake of many that are over.
    feed(state, "alerts", [alert(f"r{n}", "resolved") for n in range(500)])
    assert [each["alert_id"] for each in state.snapshot()["alerts"]["firing"]] == ["b"]
    assert live_state().snapshot()["alerts"] is None


@pytest.mark.parametrize("topic", ["enriched", "sessions", "failed"])
@pytest.mark.parametrize(
    "value", [b"", b"null", b"[]", b"{}", b"\xff", b'{"event_id":1}', b"[" * 9999]
)
def test_what_is_no_record_is_counted_and_left_out(topic: str, value: bytes) -> None:
    state = live_state()
    feed(state, topic, [value, None])
    assert state.snapshot()["unreadable"] == 1


def test_events_of_any_content_make_a_snapshot() -> None:
    """Values of other types in optional fields are enrich's to refuse; odd ones of the right type
    are shown."""
    state = live_state()
    odd = [
        event(0, geo_location="NaN,1e999", geo_country=""),
        event(1, geo_latitude="95", geo_longitude="x"),
        event(2, geo_country="Ünbekannt", page_url_path="x" * 5000, event_type="t" * 5000),
        event(3, page_url_path="?", is_bot=True, user_domain_id=12.5),
        event(4, geo_latitude=None, geo_longitude=None, page_url=None),
    ]
    feed(state, "enriched", odd)
    seen = state.snapshot()
    assert seen["types"]["total"] == len(odd)
    assert all(len(str(value)) <= 200 for row in seen["log"] for value in row.values())
    msgspec.json.encode(seen)


def test_figures_say_when_they_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    state = live_state()
    assert state.snapshot()["kafka"]["up"] is False
    state.look({})
    assert state.snapshot()["kafka"] == {"up": True, "problem": None, "age_seconds": 0.0}
    real = __import__("time").monotonic()
    monkeypatch.setattr("webevents.live.state.time.monotonic", lambda: real + 60)
    old = state.snapshot()["kafka"]
    assert not old["up"]
    assert "60 s" in old["problem"]


def test_what_was_left_out_is_told() -> None:
    state: State = live_state()
    state.skip("enriched", 1234)
    assert state.snapshot()["skipped"] == 1234
