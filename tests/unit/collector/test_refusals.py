"""What is refused, with which status; keys, origins, limits, rates."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from collector_app import Collector

from webevents.errors import UserError
from webevents.sources.collector.origins import Origins
from webevents.sources.collector.rates import Bucket, Buckets
from webevents.sources.collector.refusal import Refused
from webevents.sources.collector.sites import Sites
from webevents.spec.collector import CollectorSpec
from webevents.spec.secrets import references, with_secrets_in

CLICK = {"event_type": "click"}


def reason(reply: Any) -> tuple[int, str]:
    return reply.status, reply.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", (404, "not_found")),
        ("POST", "/v1/nothing", (404, "not_found")),
        ("GET", "/v1/events", (405, "wrong_method")),
        ("DELETE", "/v1/track", (405, "wrong_method")),
        ("POST", "/pixel.gif", (405, "wrong_method")),
        ("GET", "/demo", (404, "not_found")),
        ("GET", "/v1/projects/settings", (404, "not_found")),
    ],
)
def test_paths_and_methods(method: str, path: str, expected: tuple[int, str]) -> None:
    collector = Collector()
    assert reason(collector.request(method, path)) == expected
    assert collector.counted("refused_requests_total", reason=expected[1]) == 1


@pytest.mark.parametrize(
    ("body", "headers", "length", "expected"),
    [
        (b"x" * 2000, {}, "", (413, "body_too_large")),
        (b"x" * 2000, {}, None, (413, "body_too_large")),
        (b"{}", {}, "99", (400, "body_incomplete")),
        (gzip.compress(b" " * 100_000, mtime=0), {}, "", (413, "body_too_large")),
        (
            gzip.compress(b" " * 100_000, mtime=0),
            {"Content-Encoding": "gzip"},
            "",
            (413, "body_too_large"),
        ),
        (b"{}", {"Content-Encoding": "gzip"}, "", (400, "body_incomplete")),
        (gzip.compress(b"{}", mtime=0)[:-4], {}, "", (400, "body_incomplete")),
        (b"\x1f\x8b" + b"\0" * 20, {}, "", (400, "body_incomplete")),
        (zlib.compress(b"{}"), {"Content-Encoding": "deflate"}, "", (415, "encoding")),
        (b"{}", {"Content-Encoding": "br"}, "", (415, "encoding")),
    ],
)
def test_bodies(body: bytes, headers: Any, length: str | None, expected: tuple[int, str]) -> None:
    collector = Collector({"limits": {"maxBodyBytes": 1000}})
    reply = collector.request("POST", "/v1/events", body, headers, length=length)
    assert reason(reply) == expected
    assert not collector.delivery.messages


def test_several_members_of_gzip_are_one_body() -> None:
    collector = Collector()
    body = gzip.compress(b'{"event_type":') + gzip.compress(b'"x"}')
    assert collector.request("POST", "/v1/events", body).status == 200


@pytest.mark.parametrize("length", ["", None])
def test_a_slow_body_is_given_up(length: str | None) -> None:
    collector = Collector({"limits": {"bodyTimeout": "50ms"}})
    reply = collector.request(
        "POST", "/v1/events", b"x" * 50, length=length, pause=0.03 if length is None else 1
    )
    assert reason(reply) == (408, "body_too_slow")


def test_a_batch_that_is_too_large_is_refused_whole() -> None:
    collector = Collector({"limits": {"maxBatch": 2}})
    assert reason(collector.post("/v1/events", [CLICK] * 3)) == (413, "batch_too_large")
    assert collector.post("/v1/events", [CLICK] * 2).status == 200
    assert len(collector.events) == 2


def test_when_kafka_is_away_the_tracker_is_told_when_to_come_back() -> None:
    collector = Collector()
    collector.delivery.refusal = Refused("kafka_away", "Kafka does not answer", retry_after=5)
    for path, body in (("/v1/events", CLICK), ("/v1/t", {"event": "x"})):
        reply = collector.post(path, body)
        assert (*reason(reply), reply.header("retry-after")) == (503, "kafka_away", "5")
    assert collector.get("/i?e=pv").status == 503
    assert collector.get("/readyz").status == 503
    assert collector.get("/healthz").status == 200


def test_a_fault_of_ours_is_a_500_that_shows_nothing(monkeypatch: Any) -> None:
    collector = Collector()

    async def burst(messages: Any) -> str:
        raise ValueError("secret")

    monkeypatch.setattr(collector.delivery, "deliver", burst)
    reply = collector.post("/v1/events", CLICK)
    assert reason(reply) == (500, "internal_error")
    assert b"secret" not in reply.body


# --- keys ---


def site(name: str, *keys: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "writeKeys": list(keys), **more}


def test_only_those_with_a_key_may_send(tmp_path: Path) -> None:
    spec = {"sites": [site("shop", "K1", "K2"), site("blog", "K3")]}
    collector = Collector(spec, folder=tmp_path)
    replies = [collector.post(f"/v1/events?key={key}", CLICK) for key in ("K1", "K2", "K3", "K4")]
    assert [reply.status for reply in replies] == [200, 200, 200, 401]
    assert collector.post("/v1/events", CLICK).status == 401
    assert [event["site"] for event in collector.events] == ["shop", "shop", "blog"]
    assert collector.post("/v1/events", CLICK, {"Authorization": "Basic %%"}).status == 401


def test_keys_and_sites_change_without_a_restart(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("old\n")
    live = tmp_path / "live.json"

    def write(*sites: Any) -> None:
        live.write_text(json.dumps({"sites": sites}))

    write({"name": "shop", "writeKeysFile": str(keys), "eventsPerSecond": 5})
    sites = Sites(live, ("*",))
    bucket = sites.find("old").bucket
    keys.write_text("old\nnew\n")
    sites.refresh()
    assert sites.find("new") is sites.find("old")
    keys.write_text("new\n")
    sites.refresh()
    with pytest.raises(Refused):
        sites.find("old")
    assert sites.find("new").bucket is bucket, "what a site has used up stays used up"
    write({"name": "shop", "writeKeysFile": str(keys), "eventsPerSecond": 5}, site("blog", "B"))
    sites.refresh()
    assert sites.find("B").name == "blog"


def test_sites_share_their_rate_with_as_many_copies_as_there_are(tmp_path: Path) -> None:
    live = tmp_path / "live.json"

    def write(replicas: int) -> None:
        sites = [site("shop", "K", eventsPerSecond=40)]
        live.write_text(json.dumps({"sites": sites, "replicas": replicas}))

    write(2)
    sites = Sites(live, ("*",))
    bucket = sites.find("K").bucket
    assert bucket is not None
    bucket.take(200 + 40)  # ten seconds' worth of half the rate, and as much as two seconds bring
    assert bucket.wait() == 2
    write(4)
    sites.refresh()
    assert sites.find("K").bucket is bucket
    assert bucket.wait() == 4


def test_a_file_of_keys_can_be_a_secret(tmp_path: Path) -> None:
    spec = CollectorSpec.model_validate(
        {"sites": [{"name": "shop", "writeKeysFile": "secret:keys/shop"}, site("blog", "B")]}
    )
    [reference] = references(spec)
    assert reference == ("keys", "shop")
    first, second = with_secrets_in(spec, tmp_path).sites
    assert first.write_keys_file == str(tmp_path / "keys" / "shop")
    assert second == spec.sites[1]


@pytest.mark.parametrize("broken", ["", "{", '{"sites": 5}', '{"sites": [{"name": "x"}]}', None])
def test_a_broken_file_changes_nothing(tmp_path: Path, broken: str | None) -> None:
    live = tmp_path / "live.json"
    live.write_text(json.dumps({"sites": [site("shop", "K")]}))
    sites = Sites(live, ("*",))
    if broken is None:
        live.unlink()
    else:
        live.write_text(broken)
    sites.refresh()
    assert sites.find("K").name == "shop"
    live.write_text(json.dumps({"sites": [site("shop", "L")]}))
    sites.refresh()
    assert sites.find("L").name == "shop"


def test_a_broken_file_at_the_start_is_an_error_with_its_name(tmp_path: Path) -> None:
    live = tmp_path / "live.json"
    live.write_text(json.dumps({"sites": [{"name": "shop", "writeKeysFile": "/nowhere"}]}))
    with pytest.raises(UserError, match="/nowhere"):
        Sites(live, ("*",))
    live.write_text(json.dumps({"sites": [site("a", "K"), site("b", "K")]}))
    with pytest.raises(UserError, match="same write key"):
        Sites(live, ("*",))


# --- origins ---


@pytest.mark.parametrize(
    ("patterns", "origin", "allowed"),
    [
        (["*"], "null", True),
        (["https://a.example"], "https://a.example", True),
        (["https://a.example"], "HTTPS://A.example", True),
        (["https://a.example"], "http://a.example", False),
        (["https://a.example"], "https://a.example.evil.example", False),
        (["https://a.example"], "https://a.example:8443", False),
        (["https://*.a.example"], "https://b.a.example", True),
        (["https://*.a.example"], "https://a.example", False),
        (["https://*.a.example"], "https://evila.example", False),
        (["https://*.a.example:81"], "https://b.a.example:81", True),
        ([], "https://a.example", False),
    ],
)
def test_origins(patterns: list[str], origin: str, allowed: bool) -> None:
    assert Origins(patterns).allow(origin) is allowed


def test_a_preflight_request_is_answered_for_allowed_origins_only() -> None:
    collector = Collector({"allowedOrigins": ["https://shop.example"]})
    asked = {"Access-Control-Request-Headers": "authorization,x-retry-count"}
    reply = collector.request("OPTIONS", "/v1/t", b"", {"Origin": "https://shop.example"} | asked)
    assert reply.status == 204
    assert reply.header("access-control-allow-origin") == "https://shop.example"
    assert reply.header("access-control-allow-credentials") == "true"
    assert reply.header("access-control-allow-headers") == "authorization,x-retry-count"
    reply = collector.request("OPTIONS", "/v1/t", b"", {"Origin": "https://evil.example"} | asked)
    assert reply.status == 403
    assert reply.header("access-control-allow-origin") is None


def test_each_site_has_its_origins(tmp_path: Path) -> None:
    spec = {
        "sites": [
            site("shop", "S", allowedOrigins=["https://shop.example"]),
            site("blog", "B", allowedOrigins=["https://blog.example"]),
            site("app", "A"),
        ],
        "allowedOrigins": ["https://app.example"],
    }
    collector = Collector(spec, folder=tmp_path)

    def status(key: str, origin: str) -> int:
        return collector.post(f"/v1/events?key={key}", CLICK, {"Origin": origin}).status

    assert status("S", "https://shop.example") == 200
    assert status("S", "https://blog.example") == 403
    assert status("B", "https://blog.example") == 200
    assert status("A", "https://app.example") == 200
    assert status("A", "https://shop.example") == 403
    assert len(collector.events) == 3


# --- rates ---


def test_a_bucket_lends_and_waits() -> None:
    now = 0.0
    bucket = Bucket(2.0, lambda: now)
    assert bucket.wait() == 0
    bucket.take(24)
    assert bucket.wait() == 2
    now = 1.9
    assert bucket.wait() == 1
    now = 2.1
    assert bucket.wait() == 0
    now = 1000.0
    assert bucket.wait() == 0
    bucket.take(20)
    assert bucket.wait() == 1, "no more than ten seconds' worth is saved up"


def test_addresses_have_buckets_of_their_own_and_are_forgotten(monkeypatch: Any) -> None:
    monkeypatch.setattr("webevents.sources.collector.rates.MAX_BUCKETS", 2)
    buckets = Buckets(1.0)
    one = buckets.of("a")
    buckets.of("b")
    assert buckets.of("a") is one
    buckets.of("c")
    assert buckets.of("a") is one
    assert buckets.of("b") is not one


def test_rates_of_a_site_and_of_an_address(tmp_path: Path) -> None:
    spec = {
        "sites": [site("shop", "S", eventsPerSecond=1), site("blog", "B")],
        "limits": {"eventsPerSecondPerAddress": 2},
    }
    collector = Collector(spec, folder=tmp_path)

    def send(key: str, count: int, client: str) -> Any:
        return collector.request("POST", f"/v1/events?key={key}", [CLICK] * count, client=client)

    assert send("S", 11, "192.0.2.1:1").status == 200
    reply = send("S", 1, "192.0.2.2:1")
    assert reason(reply) == (429, "rate_of_site")
    assert int(reply.header("retry-after")) >= 1
    assert send("B", 21, "192.0.2.3:1").status == 200
    assert reason(send("B", 1, "192.0.2.3:2")) == (429, "rate_of_address")
    assert send("B", 1, "192.0.2.4:1").status == 200
    assert len(collector.events) == 33
