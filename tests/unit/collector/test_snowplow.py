"""Snowplow's tracker protocol: what becomes of its events."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from collector_app import CHROME, Collector

PAYLOAD = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
PATH = "/com.snowplowanalytics.snowplow/tp2"


def envelope(*events: Any) -> dict[str, Any]:
    return {"schema": PAYLOAD, "data": list(events)}


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


VIEW = {
    "e": "pv",
    "eid": "0a-1b",
    "aid": "shop",
    "p": "web",
    "tv": "js-4.10.1",
    "tna": "sp",
    "dtm": "1772359200250",
    "duid": "d-1",
    "sid": "s-1",
    "vid": "3",
    "uid": "ann",
    "url": "https://shop.example/mug",
    "page": "A mug",
    "refr": "https://news.example/",
    "lang": "de-DE",
    "tz": "Europe/Berlin",
    "vp": "800x600",
    "res": "1600x900",
}


def test_a_page_view_gets_the_fields_and_keeps_the_rest() -> None:
    collector = Collector()
    reply = collector.post(PATH, envelope(VIEW), {"User-Agent": CHROME})
    assert (reply.status, reply.body) == (200, b"ok")
    [event] = collector.events
    assert event.pop("collected_at")
    assert event == {
        "event_id": "0a-1b",
        "event_timestamp": "2026-03-01T10:00:00.250000Z",
        "event_type": "pageview",
        "user_domain_id": "d-1",
        "user_id": "ann",
        "session_id": "s-1",
        "page_url": "https://shop.example/mug",
        "page_url_path": "/mug",
        "host": "shop.example",
        "page_title": "A mug",
        "referer_url": "https://news.example/",
        "browser_language": "de-DE",
        "os_timezone": "Europe/Berlin",
        "viewport_size": "800x600",
        "tracker": "snowplow js-4.10.1",
        "ip_address": "203.0.113.7",
        "browser_user_agent": CHROME,
        "snowplow": {
            "aid": "shop",
            "p": "web",
            "tv": "js-4.10.1",
            "tna": "sp",
            "vid": "3",
            "res": "1600x900",
        },
    }
    assert collector.delivery.messages[0].key == b"d-1"


def test_a_get_is_the_same_event_and_answers_with_an_image() -> None:
    by_post, by_get = Collector(), Collector()
    by_post.post(PATH, envelope(VIEW))
    reply = by_get.get("/i?" + urlencode(VIEW))
    assert reply.status == 200
    assert reply.body.startswith(b"GIF89a")
    one, other = by_post.events[0], by_get.events[0]
    one.pop("collected_at"), other.pop("collected_at")
    assert one == other


@pytest.mark.parametrize("base64_", [True, False])
def test_self_describing_events_and_contexts_are_put_into_the_open(base64_: bool) -> None:
    link = {
        "schema": "iglu:com.snowplowanalytics.snowplow/link_click/jsonschema/1-0-1",
        "data": {"targetUrl": "https://x.example/", "elementId": "buy"},
    }
    page = {"schema": "iglu:a/web_page/jsonschema/1-0-0", "data": {"id": "w"}}
    event = {"schema": "iglu:a/unstruct_event/jsonschema/1-0-0", "data": link}
    contexts = {"schema": "iglu:a/contexts/jsonschema/1-0-1", "data": [page]}
    parameters = (
        {"ue_px": encoded(event), "cx": encoded(contexts)}
        if base64_
        else {"ue_pr": json.dumps(event), "co": json.dumps(contexts)}
    )
    collector = Collector()
    collector.post(PATH, envelope({"e": "ue", "eid": "1", **parameters}))
    [found] = collector.events
    assert found["event_type"] == "link_click"
    assert found["element_id"] == "buy"
    assert found["snowplow"] == {
        "e": "ue",
        "unstruct_event": {"schema": link["schema"], "data": {"targetUrl": "https://x.example/"}},
        "contexts": [page],
    }


def test_commerce_and_structured_events() -> None:
    collector = Collector({"eventTypes": {"add-to-basket": "add_to_cart"}})
    collector.post(
        PATH,
        envelope(
            {"e": "tr", "tr_id": "o1", "tr_tt": "30.5", "tr_cu": "EUR", "tr_ci": "Bonn"},
            {"e": "ti", "ti_id": "o1", "ti_sk": "mug", "ti_pr": "12", "ti_qu": "2", "ti_ca": "c"},
            {"e": "se", "se_ca": "shop", "se_ac": "add-to-basket", "se_va": "1"},
            {"e": "pp", "pp_may": "300"},
        ),
    )
    order, item, structured, ping = collector.events
    assert (order["event_type"], order["revenue"], order["order_id"]) == ("transaction", 30.5, "o1")
    assert order["snowplow"] == {"tr_ci": "Bonn"}
    assert (item["product_id"], item["price"], item["quantity"]) == ("mug", 12.0, 2)
    assert structured["event_type"] == "add_to_cart"
    assert structured["snowplow"] == {
        "e": "se",
        "se_ca": "shop",
        "se_ac": "add-to-basket",
        "se_va": "1",
    }
    assert (ping["event_type"], ping["snowplow"]) == ("page_ping", {"pp_may": "300"})


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        json.dumps({"schema": "iglu:x/y/jsonschema/1-0-0", "data": []}).encode(),
        json.dumps({"schema": PAYLOAD, "data": {}}).encode(),
        json.dumps(envelope({"e": "xx"})).encode(),
        json.dumps(envelope({"e": "se"})).encode(),
        json.dumps(envelope({"e": "ue"})).encode(),
        json.dumps(envelope({"e": "pv", "cx": "%%%"})).encode(),
        json.dumps(envelope({"e": "pv", "cx": encoded([1])})).encode(),
        json.dumps(envelope({"e": "pv", "dtm": "soon"})).encode(),
        json.dumps(envelope({"e": "pv", "dtm": "9" * 30})).encode(),
        json.dumps(envelope({"e": ["pv"]})).encode(),
        json.dumps(envelope("pv")).encode(),
    ],
)
def test_what_cannot_be_understood_fails_and_is_not_sent_again(body: bytes) -> None:
    collector = Collector()
    assert collector.request("POST", PATH, body).status == 200
    [failed] = collector.failed
    assert failed.original() == body
    assert not collector.events


def test_too_large_is_said_in_a_way_that_the_trackers_understand() -> None:
    collector = Collector({"limits": {"maxBodyBytes": 1000, "maxBatch": 2}})
    assert collector.post(PATH, envelope({"e": "pv", "url": "x" * 2000})).status == 422
    assert collector.post(PATH, envelope(VIEW, VIEW, VIEW)).status == 422
    assert not collector.delivery.messages


def test_the_app_id_is_the_key(tmp_path: Any) -> None:
    spec = {"sites": [{"name": "shop", "writeKeys": ["shop"]}]}
    collector = Collector(spec, folder=tmp_path)
    assert collector.post(PATH, envelope(VIEW)).status == 200
    assert collector.get("/i?e=pv&aid=other").status == 401
    assert collector.get("/i?e=pv").status == 401
    assert collector.post(PATH, envelope(VIEW, {**VIEW, "aid": "other"})).status == 200
    assert [event["site"] for event in collector.events] == ["shop", "shop"]
    assert [failed.reason for failed in collector.failed] == ["invalid_payload"]


def test_a_tracker_on_a_server_does_not_lend_its_own_address() -> None:
    collector = Collector()
    collector.post(PATH, envelope({"e": "pv", "tv": "py-1.1.0", "ua": "Own", "ip": "192.0.2.1"}))
    collector.post(PATH, envelope({"e": "pv", "tv": "py-1.1.0"}))
    first, second = collector.events
    assert (first["browser_user_agent"], first["ip_address"]) == ("Own", "192.0.2.1")
    assert not {"ip_address", "browser_user_agent"} & second.keys()
