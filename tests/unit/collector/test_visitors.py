"""Whose event it is: address, cookie, cookieless hash, consent, opt-outs, client hints, clocks."""

import re
from datetime import timedelta
from typing import Any

import pytest
from collector_app import CHROME, Collector
from pydantic import ValidationError

from webevents.events.times import parse_time
from webevents.sources.collector.addresses import Addresses
from webevents.sources.collector.skew import ClockSkew
from webevents.spec.collector import CollectorSpec, ProxiesSpec

PAGE = {"Origin": "https://shop.example", "User-Agent": CHROME}
CLICK = {"event_type": "click", "event_id": "1"}


def only(collector: Collector) -> dict[str, Any]:
    [event] = collector.events
    return event


# --- addresses ---


@pytest.mark.parametrize(
    ("peer", "header", "address"),
    [
        ("203.0.113.7:80", "198.51.100.1", "203.0.113.7"),  # a stranger may say what it likes
        ("10.0.0.1:80", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1:80", "1.2.3.4, 198.51.100.1", "198.51.100.1"),  # 1.2.3.4 is made up
        ("10.0.0.1:80", "198.51.100.1, 10.0.0.9", "198.51.100.1"),
        ("10.0.0.1:80", "198.51.100.1:5511", "198.51.100.1"),
        ("10.0.0.1:80", "[2001:db8::1]:99", "2001:db8::1"),
        ("10.0.0.1:80", "unknown, 10.0.0.9", "10.0.0.9"),
        ("10.0.0.1:80", "", "10.0.0.1"),
        ("10.0.0.1:80", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("[::ffff:10.0.0.1]:80", "198.51.100.1", "198.51.100.1"),
        ("[2001:db8::9]:80", "198.51.100.1", "2001:db8::9"),
    ],
)
def test_the_address_behind_trusted_proxies(peer: str, header: str, address: str) -> None:
    addresses = Addresses(ProxiesSpec(trusted=("10.0.0.0/8",)))
    assert addresses.client(peer, {"x-forwarded-for": header} if header else {}) == address


def test_the_header_forwarded() -> None:
    spec = ProxiesSpec(trusted=("10.0.0.0/8",), header="Forwarded")
    header = 'for=1.1.1.1, proto=https;For="[2001:db8::1]:4711";by=10.0.0.5, for=10.0.0.2'
    assert Addresses(spec).client("10.0.0.1:1", {"forwarded": header}) == "2001:db8::1"


def test_the_specification_refuses_what_cannot_work() -> None:
    for spec in (
        {"proxies": {"trusted": ["10.0.0.1/8"]}},
        {"visitor": {"cookie": {"sameSite": "None", "secure": False}}},
        {"allowedOrigins": ["shop.example"]},
        {"sites": [{"name": "a"}]},
        {"sites": [{"name": "a", "writeKeys": ["k"]}, {"name": "b", "writeKeys": ["k"]}]},
        {"visitor": {"cookie": {"name": "a;b"}}},
    ):
        with pytest.raises(ValidationError):
            CollectorSpec.model_validate(spec)


# --- the cookie ---


def test_a_new_visitor_gets_a_cookie_and_keeps_it() -> None:
    collector = Collector(
        {"visitor": {"cookie": {"name": "v", "domain": "shop.example", "maxAge": "1h"}}}
    )
    reply = collector.post("/v1/events", CLICK, PAGE)
    cookie = reply.header("set-cookie") or ""
    match = re.fullmatch(
        r"v=([\w-]{24}); Max-Age=3600; Path=/; Domain=shop\.example; SameSite=Lax; "
        r"Secure; HttpOnly",
        cookie,
    )
    assert match
    assert only(collector)["user_domain_id"] == match[1]
    reply = collector.post("/v1/events", CLICK, PAGE | {"Cookie": f"a=b; v={match[1]}; c"})
    assert collector.events[1]["user_domain_id"] == match[1]
    assert f"v={match[1]};" in (reply.header("set-cookie") or "")


@pytest.mark.parametrize("value", ["", "short", "a" * 65, "x'; DROP", "ü" * 20])
def test_a_cookie_that_is_not_ours_is_replaced(value: str) -> None:
    collector = Collector()
    collector.post("/v1/events", CLICK, PAGE | {"Cookie": f"webevents_id={value}"})
    assert only(collector)["user_domain_id"] != value


def test_the_trackers_identifier_holds_unless_the_collectors_is_preferred() -> None:
    for prefer, expected in (("tracker", "theirs"), ("collector", "cookie-of-ours")):
        collector = Collector({"visitor": {"prefer": prefer}})
        headers = PAGE | {"Cookie": "webevents_id=cookie-of-ours"}
        collector.post("/v1/events", {**CLICK, "user_domain_id": "theirs"}, headers)
        assert only(collector)["user_domain_id"] == expected


def test_without_cookies_a_visitor_is_known_for_a_day() -> None:
    collector = Collector({"visitor": {"mode": "cookieless"}})
    for headers in (PAGE, PAGE, PAGE | {"User-Agent": "Other"}):
        reply = collector.post("/v1/events", CLICK, headers)
        assert reply.header("set-cookie") is None
    first, again, other = (event["user_domain_id"] for event in collector.events)
    assert first == again != other
    assert "203.0.113.7" not in first


def test_the_cookieless_hash_is_the_same_for_all_replicas_and_another_tomorrow(
    tmp_path: Any,
) -> None:
    from webevents.sources.collector.visitor import Visitors
    from webevents.spec.collector import VisitorSpec

    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    spec = VisitorSpec(mode="cookieless", hash_key_file=str(secret))
    day = 86_400_000_000
    one, two = Visitors(spec), Visitors(spec)
    today = one.visitor(None, "shop", "192.0.2.1", "agent", day)
    assert today == two.visitor(None, "shop", "192.0.2.1", "agent", day + 5)
    assert today != one.visitor(None, "shop", "192.0.2.1", "agent", 2 * day)
    assert today != one.visitor(None, "blog", "192.0.2.1", "agent", day)


# --- opting out ---

PERSONAL = {
    "event_type": "click",
    "user_id": "ann",
    "user_custom_id": "ann@example.org",
    "user_domain_id": "v",
    "session_id": "s",
}


@pytest.mark.parametrize(
    ("signal", "name"),
    [({"DNT": "1"}, "doNotTrack"), ({"Sec-GPC": "1"}, "globalPrivacyControl")],
)
def test_signals_are_respected_as_configured(signal: dict[str, str], name: str) -> None:
    kept, anonymous, dropped = (
        Collector({"privacy": {name: how}}) for how in ("ignore", "anonymous", "drop")
    )
    replies = [c.post("/v1/events", PERSONAL, PAGE | signal) for c in (kept, anonymous, dropped)]
    assert [reply.json()["accepted"] for reply in replies] == [1, 1, 1]
    assert only(kept).items() >= PERSONAL.items()
    assert not (PERSONAL.keys() - {"event_type"}) & only(anonymous).keys()
    assert only(anonymous)["ip_address"] == "203.0.113.0"
    assert anonymous.delivery.messages[0].key is None
    assert replies[1].header("set-cookie") is None
    assert not dropped.delivery.messages
    assert dropped.counted("events_total", protocol="json", site="", fate="opted_out") == 1


def test_an_anonymous_event_keeps_no_identifier_in_the_rest_either() -> None:
    collector = Collector({"privacy": {"anonymous": True}})
    secret = "ann-0815"
    collector.post(
        "/v1/identify",
        {
            "anonymousId": secret,
            "userId": secret,
            "previousId": secret,
            "traits": {"email": secret, "nickname": secret},
            "context": {
                "traits": {"name": secret},
                "ip": "2001:db8:1:2:3::4",
                "app": "x",
                "device": {"id": secret, "advertisingId": secret, "type": "ios"},
            },
        },
    )
    event = only(collector)
    assert event["segment"] == {"context": {"app": "x", "device": {"type": "ios"}}}
    assert event["ip_address"] == "2001:db8:1::"
    assert secret.encode() not in collector.delivery.messages[0].value
    collector.get(
        f"/i?e=pv&duid={secret}&uid={secret}&fp={secret}&nuid={secret}&sid={secret}&p=web"
    )
    assert secret.encode() not in collector.delivery.messages[1].value
    assert collector.events[1]["snowplow"] == {"p": "web"}


def test_an_anonymous_payload_that_fails_is_not_kept() -> None:
    collector = Collector()
    collector.request("POST", "/v1/events", b'{"user_id": "ann"', PAGE | {"DNT": "1"})
    [failed] = collector.failed
    assert failed.original() == b""
    assert "payload not kept" in failed.detail


def test_snowplows_own_header_asks_for_anonymity() -> None:
    collector = Collector()
    reply = collector.get("/i?e=pv&url=https://a.example/", PAGE | {"SP-Anonymous": "*"})
    assert "user_domain_id" not in only(collector)
    assert reply.header("set-cookie") is None


@pytest.mark.parametrize(
    ("cookie", "category", "kept"),
    [
        (None, None, False),
        ("granted", None, True),
        ("denied", None, False),
        (None, True, True),
        (None, False, False),
        ("granted", False, False),
        ("denied", True, True),
    ],
)
def test_consent_is_asked_of_the_event_and_of_the_cookie(
    cookie: str | None, category: bool | None, kept: bool
) -> None:
    consent = {"cookie": "cmp", "category": "Analytics", "without": "drop"}
    collector = Collector({"privacy": {"consent": consent}})
    context = (
        {}
        if category is None
        else {"context": {"consent": {"categoryPreferences": {"analytics": category}}}}
    )
    headers = PAGE | ({"Cookie": f"cmp={cookie}"} if cookie else {})
    assert collector.post("/v1/track", {"event": "x", **context}, headers).status == 200
    assert len(collector.events) == kept


def test_a_payload_that_cannot_tell_of_consent_is_kept_only_where_the_cookie_does() -> None:
    for required in (True, False):
        collector = Collector({"privacy": {"consent": {"cookie": "cmp", "required": required}}})
        for cookie in ("x=y", "cmp=denied", "cmp=granted"):
            collector.post("/v1/track", {"userId": "ann"}, PAGE | {"Cookie": cookie})
        assert [bool(failed.original()) for failed in collector.failed] == [False, False, True]


def test_no_cookie_is_set_where_the_trackers_identifier_holds() -> None:
    collector = Collector()
    headers = PAGE | {"Cookie": "webevents_id=cookie-of-ours"}
    for event in (CLICK, {**CLICK, "user_domain_id": "theirs"}):
        reply = collector.post("/v1/events", event, headers)
        assert (reply.header("set-cookie") is None) == ("user_domain_id" in event)


def test_consent_that_is_not_required_is_assumed() -> None:
    collector = Collector({"privacy": {"consent": {"cookie": "cmp", "required": False}}})
    collector.post("/v1/events", PERSONAL, PAGE)
    collector.post("/v1/events", PERSONAL, PAGE | {"Cookie": "cmp=no"})
    kept, anonymous = collector.events
    assert kept["user_id"] == "ann"
    assert "user_id" not in anonymous


# --- client hints ---


def test_client_hints_say_what_the_user_agent_keeps_vague() -> None:
    collector = Collector()
    hints = {
        "Sec-CH-UA-Platform": '"Windows"',
        "Sec-CH-UA-Platform-Version": '"15.0.0"',
        "Sec-CH-UA-Full-Version-List": '"Not A;Brand";v="99.0", "Chromium";v="141.0.7390.54", '
        '"Google Chrome";v="141.0.7390.55"',
        "Sec-CH-UA-Model": '""',
    }
    collector.post("/v1/events", CLICK, PAGE | hints)
    event = only(collector)
    assert (event["os_name"], event["os_version"]) == ("Windows", "11")
    assert (event["browser_name"], event["browser_version"]) == ("Chrome", "141.0.7390.55")
    assert "device_model" not in event


# --- clocks ---


@pytest.mark.parametrize(
    ("skew_s", "corrected_s"),
    [(0.4, 0), (29, 0), (-29, 0), (3605, 3600), (-3605, -3600), (95, 120)],
)
def test_a_clock_is_corrected_by_whole_steps(skew_s: float, corrected_s: int) -> None:
    skew = ClockSkew(timedelta(minutes=1))
    sent = 1_000_000_000_000
    received = sent + int(skew_s * 1e6)
    assert skew.correct(sent - 7, sent, received) == sent - 7 + corrected_s * 1_000_000
    assert skew.correct(sent, None, received) == sent
    assert ClockSkew(timedelta(0)).correct(sent, sent, received) == sent


def test_what_is_sent_again_gets_the_same_time() -> None:
    collector = Collector()
    for sent_at in ("2020-01-01T00:00:10Z", "2020-01-01T00:00:10.400Z"):
        event = {**CLICK, "event_timestamp": "2020-01-01T00:00:05Z"}
        collector.post("/v1/events", {"events": [event], "sent_at": sent_at})
    first, second = collector.events
    assert first["event_timestamp"] == second["event_timestamp"]
    assert first["event_timestamp_original"] == "2020-01-01T00:00:05Z"
    happened, collected = map(parse_time, (first["event_timestamp"], first["collected_at"]))
    assert abs(collected - 5_000_000 - happened) <= 31_000_000


def test_a_true_timestamp_of_snowplow_is_not_corrected() -> None:
    collector = Collector()
    collector.get("/i?e=pv&ttm=1577836800000&stm=1577836900000&dtm=1577836800000")
    assert only(collector)["event_timestamp"] == "2020-01-01T00:00:00.000000Z"
