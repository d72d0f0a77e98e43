"""The JSON endpoint and the pixel."""

import gzip
import json
from typing import Any

import pytest
from collector_app import CHROME, Collector

EVENT = {
    "event_id": "e1",
    "event_timestamp": "2026-03-01T10:00:00Z",
    "event_type": "pageview",
    "page_url": "https://shop.example/mug",
    "user_domain_id": "v1",
    "colour": {"deep": [1, 2]},
}


def test_an_event_is_taken_as_it_is() -> None:
    collector = Collector()
    reply = collector.post("/v1/events", EVENT)
    assert (reply.status, reply.json()) == (200, {"accepted": 1, "failed": []})
    [event] = collector.events
    assert event.items() >= EVENT.items()
    # Nothing says that a browser sent it: the address is a server's.
    assert "ip_address" not in event


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([EVENT, {**EVENT, "event_id": "e2"}]).encode(),
        b"\n".join(json.dumps({**EVENT, "event_id": i}).encode() for i in ("e1", "e2")) + b"\r\n",
        json.dumps({"events": [EVENT, {**EVENT, "event_id": "e2"}]}).encode(),
    ],
    ids=["array", "lines", "envelope"],
)
@pytest.mark.parametrize("how", ["plain", "gzip", "beacon"])
def test_several_events_in_each_form(body: bytes, how: str) -> None:
    collector = Collector()
    headers = {"Content-Encoding": "gzip"} if how == "gzip" else {}
    sent = body if how == "plain" else gzip.compress(body)
    assert collector.request("POST", "/v1/events", sent, headers).json()["accepted"] == 2
    assert [event["event_id"] for event in collector.events] == ["e1", "e2"]


def test_each_bad_event_is_named_and_the_good_ones_are_taken() -> None:
    collector = Collector()
    events = [EVENT, {"event_type": 5}, {}, {**EVENT, "event_id": "e2", "event_timestamp": "soon"}]
    reply = collector.post("/v1/events", events)
    assert reply.status == 200
    answer = reply.json()
    assert answer["accepted"] == 1
    assert [(each["index"], each["reason"]) for each in answer["failed"]] == [
        (1, "wrong_type"),
        (2, "missing_field"),
        (3, "invalid_timestamp"),
    ]
    assert [json.loads(failed.original()) for failed in collector.failed] == events[1:]


def test_a_broken_line_fails_alone() -> None:
    collector = Collector()
    body = json.dumps(EVENT).encode() + b'\n{"event_id": \n' + json.dumps(EVENT).encode()
    assert collector.request("POST", "/v1/events", body).json()["accepted"] == 2
    assert [failed.original() for failed in collector.failed] == [b'{"event_id": ']


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"event_type": ""}, "missing_field"),
        ({"event_type": "x", "event_id": {"a": 1}}, "wrong_type"),
        ({"event_type": "x", "price": "1"}, "wrong_type"),
        ({"event_type": "x", "event_timestamp": 5}, "wrong_type"),
        ({"event_type": "x", "event_timestamp": ["now"]}, "wrong_type"),
        ({"event_type": "x", "event_timestamp": "9999-01-01T00:00:00Z"}, "invalid_timestamp"),
        ({"event_type": "x", "blob": "y" * 200_000}, "too_large"),
        ({"event_type": "x", "deep": json.loads("[" * 30 + "]" * 30)}, "too_deep"),
    ],
)
def test_what_no_stage_could_process_is_refused_at_the_door(event: Any, reason: str) -> None:
    collector = Collector()
    reply = collector.post("/v1/events", event)
    assert reply.status == 400
    assert [failed.reason for failed in collector.failed] == [reason]
    assert not collector.events


def test_what_is_missing_is_filled_in() -> None:
    collector = Collector()
    collector.post("/v1/events", {"event_type": "click"})
    collector.post("/v1/events", {"event_type": "click"})
    first, second = collector.events
    assert first["event_timestamp"] == first["collected_at"]
    assert first["event_id"] != second["event_id"]
    assert first["tracker"] == "json"


def test_a_pixel_is_a_page_view_unless_it_says_otherwise() -> None:
    collector = Collector()
    reply = collector.get(
        "/pixel.gif?event_type=email_open&campaign=may&price=2.5&device_is_mobile=true"
        "&user_custom_id=ann%40example.org",
        {"User-Agent": CHROME, "Referer": "https://shop.example/mug?a=b"},
    )
    assert (reply.status, reply.header("content-type")) == (200, "image/gif")
    assert reply.header("cache-control") == "no-store"
    collector.get("/pixel.gif", {"Referer": "https://shop.example/mug?a=b"})
    mail, page = collector.events
    assert mail["event_type"] == "email_open"
    assert mail["pixel"] == {"campaign": "may"}
    assert (mail["price"], mail["device_is_mobile"]) == (2.5, True)
    assert mail["ip_address"] == "203.0.113.7"
    assert (page["event_type"], page["page_url"]) == ("pageview", "https://shop.example/mug?a=b")
    assert page["host"] == "shop.example"


def test_a_pixel_that_is_looked_at_is_no_event() -> None:
    collector = Collector()
    assert collector.request("HEAD", "/pixel.gif").status == 200
    assert not collector.delivery.messages


def test_a_pixel_with_a_wrong_value_fails_with_its_query() -> None:
    collector = Collector()
    assert collector.get("/pixel.gif?price=cheap").status == 400
    [failed] = collector.failed
    assert (failed.reason, failed.original()) == ("wrong_type", b"price=cheap")
    assert collector.get("/pixel.gif?" + "a=1&" * 300).status == 400
