"""Segment's HTTP API: what becomes of its calls."""

import base64
import json
from typing import Any

import pytest
from collector_app import CHROME, Collector

TRACK: dict[str, Any] = {
    "type": "track",
    "event": "Product Added",
    "messageId": "ajs-next-1",
    "anonymousId": "anon-1",
    "userId": "user-1",
    "timestamp": "2026-03-01T10:00:00.250Z",
    "context": {
        "ip": "198.51.100.4",
        "userAgent": CHROME,
        "locale": "de-DE",
        "timezone": "Europe/Berlin",
        "page": {
            "url": "https://shop.example/mug?utm_source=x",
            "path": "/mug",
            "title": "A mug",
            "referrer": "https://www.google.com/",
            "search": "?utm_source=x",
        },
        "campaign": {"name": "spring", "source": "newsletter", "medium": "email"},
        "library": {"name": "analytics.js", "version": "npm:next-1.84.3"},
        "traits": {"email": "ann@example.org", "plan": "gold"},
    },
    "properties": {
        "product_id": 17,
        "price": "12.50",
        "quantity": 2,
        "currency": "EUR",
        "colour": "red",
    },
    "integrations": {"All": True},
}


def test_every_value_that_has_a_field_gets_it_and_the_rest_is_kept() -> None:
    collector = Collector()
    reply = collector.post("/v1/track", TRACK)
    assert (reply.status, reply.json()) == (200, {"success": True})
    [event] = collector.events
    assert event.pop("collected_at").endswith("Z")
    assert event == {
        "event_id": "ajs-next-1",
        "event_timestamp": "2026-03-01T10:00:00.250Z",
        "event_type": "product_added",
        "user_domain_id": "anon-1",
        "user_id": "user-1",
        "user_custom_id": "ann@example.org",
        "page_url": "https://shop.example/mug?utm_source=x",
        "page_url_path": "/mug",
        "page_title": "A mug",
        "host": "shop.example",
        "referer_url": "https://www.google.com/",
        "utm_source": "newsletter",
        "utm_medium": "email",
        "utm_campaign": "spring",
        "ip_address": "198.51.100.4",
        "browser_user_agent": CHROME,
        "browser_language": "de-DE",
        "os_timezone": "Europe/Berlin",
        "product_id": 17,
        "price": 12.5,
        "quantity": 2,
        "currency": "EUR",
        "tracker": "analytics.js npm:next-1.84.3",
        "segment": {
            "event": "Product Added",
            "context": {
                "page": {"search": "?utm_source=x"},
                "library": {"name": "analytics.js", "version": "npm:next-1.84.3"},
                "traits": {"plan": "gold"},
            },
            "properties": {"colour": "red"},
            "integrations": {"All": True},
        },
    }
    assert collector.delivery.messages[0].key == b"anon-1"


@pytest.mark.parametrize(
    ("path", "call", "event_type"),
    [
        ("/v1/page", {"name": "Home"}, "pageview"),
        ("/v1/p", {"name": "Home"}, "pageview"),
        ("/v1/t", {"event": "signedUp"}, "signed_up"),
        ("/v1/i", {"traits": {"a": 1}}, "identify"),
        ("/v1/identify", {"traits": {"a": 1}}, "identify"),
        ("/v1/screen", {"name": "Start"}, "screen"),
        ("/v1/group", {"groupId": "g"}, "group"),
        ("/v1/alias", {"previousId": "p"}, "alias"),
    ],
)
def test_the_path_names_the_call(path: str, call: dict[str, Any], event_type: str) -> None:
    collector = Collector()
    assert collector.post(path, {"anonymousId": "a", **call}).status == 200
    [event] = collector.events
    assert event["event_type"] == event_type
    assert event["segment"].items() >= {k: v for k, v in call.items() if k != "event"}.items()


def test_an_alias_belongs_to_the_visitor_who_was_anonymous_until_then() -> None:
    collector = Collector()
    call = {"previousId": "visitor-1", "userId": "user-1"}
    assert collector.post("/v1/alias", call).status == 200
    assert collector.post("/v1/alias", call | {"anonymousId": "visitor-2"}).status == 200
    one, two = collector.events
    assert (one["user_domain_id"], one["user_id"]) == ("visitor-1", "user-1")
    assert "previousId" not in one.get("segment", {})
    assert (two["user_domain_id"], two["segment"]["previousId"]) == ("visitor-2", "visitor-1")
    # In other calls it means nothing, and is kept.
    assert collector.post("/v1/identify", call).status == 200
    assert collector.events[2]["segment"]["previousId"] == "visitor-1"


def test_a_batch_shares_its_context_and_its_clock() -> None:
    collector = Collector()
    batch = {
        "batch": [
            {"type": "track", "event": "A", "messageId": "1", "userId": "u"},
            {"type": "page", "messageId": "2", "userId": "u", "context": {"locale": "fr"}},
        ],
        "context": {"locale": "en", "app": {"name": "till"}},
    }
    assert collector.post("/v1/batch", batch).status == 200
    first, second = collector.events
    assert (first["browser_language"], second["browser_language"]) == ("en", "fr")
    assert first["segment"]["context"] == second["segment"]["context"] == {"app": {"name": "till"}}


def test_one_bad_message_fails_alone_and_keeps_what_was_sent() -> None:
    collector = Collector()
    bad = {"type": "dance", "messageId": "2", "properties": {"price": "1"}}
    batch = {"batch": [{**TRACK}, bad, 7, {"type": "track", "messageId": "4"}]}
    assert collector.post("/v1/batch", batch).status == 200
    assert [event["event_id"] for event in collector.events] == ["ajs-next-1"]

    assert [json.loads(failed.original()) for failed in collector.failed] == batch["batch"][1:]
    assert [failed.reason for failed in collector.failed] == [
        "invalid_payload",
        "invalid_json",
        "invalid_payload",
    ]
    assert {(f.stage, f.topic, f.pipeline) for f in collector.failed} == {
        ("collector", "http:segment", "shop")
    }


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b'{"batch": 3}', b"\xff\xfe", b"[" * 5000]
)
def test_a_body_that_cannot_be_read_is_one_failed_event(body: bytes) -> None:
    collector = Collector()
    assert collector.request("POST", "/v1/batch", body).status == 400
    [failed] = collector.failed
    assert failed.reason in ("invalid_json", "invalid_payload")
    assert failed.original() == body


def test_values_of_the_wrong_type_stay_where_they_were() -> None:
    collector = Collector()
    properties = {"price": "cheap", "quantity": 1.5, "product_id": [1], "currency": 3, "url": {}}
    collector.post(
        "/v1/track",
        {"event": "x", "context": {"ip": "not one", "locale": 5}, "properties": properties},
    )
    [event] = collector.events
    assert event["segment"]["properties"] == properties
    assert event["segment"]["context"] == {"ip": "not one", "locale": 5}
    assert not {"price", "quantity", "product_id", "currency", "page_url"} & event.keys()


def test_a_second_value_for_one_field_is_kept() -> None:
    collector = Collector()
    collector.post(
        "/v1/page",
        {
            "context": {"page": {"url": "https://a.example/1"}},
            "properties": {"url": "https://a.example/2"},
        },
    )
    [event] = collector.events
    assert event["page_url"] == "https://a.example/1"
    assert event["segment"]["properties"] == {"url": "https://a.example/2"}


def test_revenue_counts_for_purchases_only() -> None:
    collector = Collector()
    for name in ("Checkout Started", "Order Completed"):
        collector.post("/v1/track", {"event": name, "properties": {"total": 30, "revenue": "25"}})
    started, completed = collector.events
    assert "revenue" not in started
    assert started["segment"]["properties"] == {"total": 30, "revenue": "25"}
    assert completed["revenue"] == 25.0
    assert completed["segment"]["properties"] == {"total": 30}


def test_names_can_be_given_types() -> None:
    collector = Collector({"eventTypes": {"Product Added": "add_to_cart"}})
    collector.post("/v1/track", {"event": "Product Added"})
    collector.post("/v1/track", {"event": "Überweisung geklickt"})
    assert [event["event_type"] for event in collector.events] == [
        "add_to_cart",
        "überweisung_geklickt",
    ]


@pytest.mark.parametrize("name", ["", "  ", "!!", "x" * 300, 5, None])
def test_a_track_call_without_a_usable_name_fails(name: Any) -> None:
    collector = Collector()
    reply = collector.post("/v1/track", {"event": name})
    assert (reply.status, reply.json()["reason"]) == (400, "invalid_payload")
    assert [failed.reason for failed in collector.failed] == ["invalid_payload"]


def test_a_library_on_a_server_does_not_lend_the_visitor_its_own_address() -> None:
    collector = Collector()
    headers = {"User-Agent": "analytics-python/2.4.0", "Accept-Language": "xx"}
    message = {"event": "x", "userId": "u", "context": {"library": {"name": "analytics-python"}}}
    reply = collector.post("/v1/track", message, headers)
    [event] = collector.events
    assert not {"ip_address", "browser_user_agent", "browser_language", "user_domain_id"} & set(
        event
    )
    assert reply.header("set-cookie") is None


def test_the_settings_that_analytics_js_asks_for_name_this_collector() -> None:
    collector = Collector()
    reply = collector.get("/v1/projects/KEY/settings", {"Host": "c.example:81"})
    destination = reply.json()["integrations"]["Segment.io"]
    assert destination == {"apiKey": "KEY", "apiHost": "c.example:81/v1", "protocol": "http"}


def test_the_write_key_comes_in_each_of_its_ways(tmp_path: Any) -> None:
    spec = {"sites": [{"name": "shop", "writeKeys": ["KEY"]}]}
    basic = "Basic " + base64.b64encode(b"KEY:").decode()
    for headers, path, body in [
        ({"Authorization": basic}, "/v1/t", {"event": "x"}),
        ({"Authorization": "Bearer KEY"}, "/v1/t", {"event": "x"}),
        ({}, "/v1/t?key=KEY", {"event": "x"}),
        ({}, "/v1/t", {"event": "x", "writeKey": "KEY"}),
    ]:
        collector = Collector(spec, folder=tmp_path)
        assert collector.post(path, body, headers).status == 200
        [event] = collector.events
        assert event["site"] == "shop"
        assert "writeKey" not in event.get("segment", {})
