"""Enriching whole messages: what is added, kept, replaced, removed; and the specification."""

import hashlib
import hmac
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from webevents.errors import UserError
from webevents.events.event import EventDecoder, decode_event
from webevents.events.fields import BY_NAME, FIELDS, Kind
from webevents.logic.enrich.cache import MAX_KEY_TEXT, Cache
from webevents.logic.enrich.enricher import Enricher
from webevents.logic.enrich.privacy import read_hash_key
from webevents.spec.enrich import (
    ENRICHED_FIELDS,
    NOT_TEXT_FIELDS,
    REQUIRED_FIELDS,
    EnrichSpec,
    PrivacySpec,
)

KEY = b"0123456789abcdef"
GOOD = {"event_id": "1", "event_timestamp": "2020-07-05 14:32:45.407110", "event_type": "pageview"}
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)
VISIT = GOOD | {
    "page_url": "https://shop.example/red-shoes?utm_source=Instagram&utm_medium=cpc&utm_term=a+b",
    "referer_url": "www.instagram.com",
    "referer_medium": "internal",
    "browser_user_agent": SAFARI,
    "user_custom_id": "Jane@Example.com",
    "ip_address": "8.8.8.8",
}


def spec_of(**fields: Any) -> EnrichSpec:
    return EnrichSpec.model_validate(fields)


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert Counter(name for name, _ in pairs).total() == len({name for name, _ in pairs})
    return dict(pairs)


def run(enricher: Enricher, event: dict[str, Any] | bytes) -> dict[str, Any]:
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    enriched = enricher.enrich(raw, decode_event(raw))
    decode_event(enriched)  # what is added has the types of the table of fields
    found: dict[str, Any] = json.loads(enriched, object_pairs_hook=no_duplicates)
    return found


DEFAULT = Enricher(EnrichSpec())


def test_what_is_added_to_a_visit() -> None:
    added = {name: value for name, value in run(DEFAULT, VISIT).items() if name not in VISIT}
    assert added == {
        "utm_source": "Instagram",
        "utm_medium": "cpc",
        "utm_term": "a b",
        "page_host": "shop.example",
        "page_url_path": "/red-shoes",
        "referer_host": "www.instagram.com",
        "referer_name": "Instagram",
        "source_category": "social_media",
        "channel": "Paid Social",
        "user_email_domain": "example.com",
        "browser_name": "Safari",
        "browser_version": "17.5",
        "os_name": "iOS",
        "os_version": "17.5",
        "device_type": "mobile",
        "device_is_mobile": True,
        "device_brand": "Apple",
        "device_model": "iPhone",
        "is_bot": False,
        "geo_country": "US",
        "geo_source": "registry",
    }


def test_the_example_of_the_docs() -> None:
    page = Path(__file__).parents[2] / "docs" / "enrichment.md"
    given, added = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    event = json.loads(given)
    assert run(DEFAULT, event) == event | json.loads(added)


def test_the_settings_of_the_docs_are_valid() -> None:
    page = Path(__file__).parents[2] / "docs" / "enrichment.md"
    settings = re.search(r"```yaml\n(spec:.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert settings
    spec_of(**yaml.safe_load(settings[1])["spec"]["enrich"])


def test_the_least_event() -> None:
    assert run(DEFAULT, GOOD) == GOOD | {
        "source_category": "other/unknown",
        "channel": "Direct",
        "referer_medium": "none",
        "user_email_domain": "n/a",
    }


@pytest.mark.parametrize(
    ("event", "channel"),
    [
        ({"referer_url": "https://www.google.de/"}, "Organic Search"),
        ({"referer_url": "https://chatgpt.com/", "referer_medium": "internal"}, "AI Assistants"),
        ({"page_url": "https://a.example/", "referer_url": "https://www.a.example/"}, "Internal"),
        ({"host": "a.example", "referer_url": "https://a.example/x"}, "Internal"),
        ({"page_url": "https://a.example/?gclid=1"}, "Paid Search"),
        ({"page_url": "https://a.example/?gclid=1", "utm_source": "google"}, "Paid Search"),
        ({"click_id": "abc"}, "Direct"),
        ({"referer_medium": "search"}, "Organic Search"),
        ({"referer_medium": "internal"}, "Internal"),
        ({"utm_source": "x", "page_url": "https://a.example/?utm_source=bing"}, "Organic Social"),
    ],
)
def test_channels_of_events(event: dict[str, Any], channel: str) -> None:
    assert run(DEFAULT, GOOD | event)["channel"] == channel


def test_bytes_are_kept_where_nothing_is_replaced() -> None:
    raw = (
        b'\n { "event_id":"1", "event_timestamp":"2020-07-05 14:32:45",\t"event_type": "p",'
        b'"huge": 12345678901234567890123, "exact": 1.10, "far": 1E400, "\\u0061": "\\u00e9"}'
        b" \n"
    )
    enriched = DEFAULT.enrich(raw, decode_event(raw))
    assert enriched.startswith(raw.rstrip()[:-1] + b",")


def test_numbers_keep_their_digits_where_fields_are_replaced() -> None:
    raw = json.dumps(GOOD | {"channel": None}).encode()[:-1] + b', "exact": 1.10, "far": 1E400}'
    enriched = DEFAULT.enrich(raw, decode_event(raw))
    assert b'"exact":1.10,"far":1E400' in enriched
    assert b'"channel":"Direct"' in enriched


CARRIED: dict[str, Any] = {
    name: {Kind.BOOLEAN: True, Kind.GEO_POINT: "1,2"}.get(BY_NAME[name].kind, f"my {name}")
    for name in ENRICHED_FIELDS
}


@pytest.mark.parametrize("name", ENRICHED_FIELDS)
def test_carried_fields_are_not_overwritten(name: str) -> None:
    assert run(DEFAULT, VISIT | {name: CARRIED[name]})[name] == CARRIED[name]


def test_an_event_with_all_fields_stays_as_it_is() -> None:
    event = VISIT | CARRIED
    assert run(DEFAULT, event) == event


@pytest.mark.parametrize("empty", [None, "", " "])
def test_null_and_empty_text_are_filled(empty: Any) -> None:
    event = VISIT | {"channel": empty, "geo_country": empty, "browser_name": empty}
    found = run(DEFAULT, event)
    assert (found["channel"], found["geo_country"], found["browser_name"]) == (
        "Paid Social",
        "US",
        "Safari",
    )
    assert run(DEFAULT, GOOD | {"geo_city": empty})["geo_city"] == empty


def test_overwriting_chosen_fields() -> None:
    enricher = Enricher(spec_of(overwrite=["browser_name", "utm_source", "referer_medium"]))
    event = VISIT | {"browser_name": "Opera", "os_name": "Windows", "utm_source": "bing"}
    found = run(enricher, event)
    assert (found["browser_name"], found["browser_version"]) == ("Safari", "17.5")
    assert (found["os_name"], "os_version" in found) == ("Windows", False)
    assert (found["utm_source"], found["source_category"]) == ("Instagram", "social_media")
    assert found["referer_medium"] == "social"


def test_overwriting_everything_keeps_what_cannot_be_computed() -> None:
    enricher = Enricher(spec_of(overwrite=["*"]))
    event = VISIT | CARRIED | {"geo_city": "Munich"}
    found = run(enricher, event)
    assert found["channel"] == "Paid Social"
    assert (found["geo_country"], found["geo_city"]) == ("US", "Munich")
    assert found["utm_content"] == "my utm_content"
    assert found["is_bot"] is False


def test_parts_can_be_switched_off() -> None:
    found = run(Enricher(spec_of(userAgent={"enabled": False}, geo={"enabled": False})), VISIT)
    assert not any(name.startswith(("geo_", "os_", "is_bot", "device_")) for name in found)
    assert found["channel"] == "Paid Social"


def test_fields_are_dropped_last() -> None:
    drop = ["ip_address", "browser_user_agent", "geo_source", "unknown", "absent"]
    found = run(Enricher(spec_of(dropFields=drop)), VISIT | {"unknown": {"a": 1}})
    assert not set(drop) & found.keys()
    assert (found["geo_country"], found["browser_name"]) == ("US", "Safari")


def test_an_address_is_masked_after_its_place_was_found() -> None:
    found = run(Enricher(spec_of(privacy={"maskIp": "lastOctet"})), VISIT)
    assert (found["ip_address"], found["geo_country"]) == ("8.8.8.0", "US")
    masker = Enricher(spec_of(privacy={"maskIp": "lastTwoOctets"}))
    assert run(masker, VISIT)["ip_address"] == "8.8.0.0"
    assert "ip_address" not in run(masker, VISIT | {"ip_address": "8.8.8.8, 10.0.0.1"})
    assert run(masker, VISIT | {"ip_address": None})["ip_address"] is None
    assert "ip_address" not in run(masker, GOOD)


def keyed(text: str) -> str:
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


def test_fields_are_hashed_with_the_key() -> None:
    privacy = {
        "hashFields": ["user_custom_id", "user_id", "mine", "nested", "nothing", "empty", "absent"],
        "hashKeyEnv": "UNUSED",
    }
    enricher = Enricher(spec_of(privacy=privacy), hash_key=KEY)
    more = {"user_id": 7, "mine": "ä", "nested": {"a": [1]}, "nothing": None, "empty": ""}
    found = run(enricher, VISIT | more)
    assert found["user_custom_id"] == keyed("Jane@Example.com")
    assert found["user_email_domain"] == "example.com"
    assert (found["user_id"], found["mine"]) == (keyed("7"), keyed("ä"))
    assert len(found["nested"]) == 64
    assert (found["nothing"], found["empty"], "absent" in found) == (None, "", False)
    assert run(enricher, VISIT | {"user_id": "7"})["user_id"] == keyed("7")


def test_a_value_is_hashed_however_it_is_escaped() -> None:
    enricher = Enricher(
        spec_of(privacy={"hashFields": ["user_id"], "hashKeyEnv": "UNUSED"}), hash_key=KEY
    )
    raw = json.dumps(GOOD).encode()[:-1] + b', "user_id": "\\u0061", "user_id": "\\u0062"}'
    assert run(enricher, raw)["user_id"] == keyed("b")


def test_the_key_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_bytes(KEY + b"\n")
    from_file = PrivacySpec(hash_fields=("user_id",), hash_key_file=str(file))
    assert read_hash_key(from_file) == KEY
    from_env = PrivacySpec(hash_fields=("user_id",), hash_key_env="WEBEVENTS_TEST_KEY")
    with pytest.raises(UserError, match=r"WEBEVENTS_TEST_KEY .* is not set"):
        read_hash_key(from_env)
    monkeypatch.setenv("WEBEVENTS_TEST_KEY", KEY.decode())
    assert read_hash_key(from_env) == KEY
    assert run(Enricher(EnrichSpec(privacy=from_env)), GOOD | {"user_id": "7"})["user_id"] == keyed(
        "7"
    )
    file.write_bytes(b"short")
    with pytest.raises(UserError, match="shorter than 16 bytes") as caught:
        read_hash_key(from_file)
    assert "short\n" not in str(caught.value)
    file.unlink()
    with pytest.raises(UserError, match="No such file"):
        Enricher(EnrichSpec(privacy=from_file))
    assert read_hash_key(PrivacySpec()) is None


def test_which_fields_enrichment_changes() -> None:
    assert not DEFAULT.changes(["user_domain_id", "ip_address"])
    assert DEFAULT.changes(["ip_address", "page_host"])
    assert Enricher(spec_of(privacy={"maskIp": "lastOctet"})).changes(["ip_address"])
    assert Enricher(spec_of(dropFields=["user_id"])).changes(["user_id"])
    hashing = spec_of(privacy={"hashFields": ["user_id"], "hashKeyEnv": "UNUSED"})
    assert Enricher(hashing, hash_key=KEY).changes(["user_id"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(({"dropFields": [name]}, f"{name} cannot be dropped") for name in REQUIRED_FIELDS),
        *(
            ({"privacy": {"hashFields": [name], "hashKeyEnv": "X"}}, f"{name} cannot be hashed")
            for name in (*REQUIRED_FIELDS, *NOT_TEXT_FIELDS)
        ),
        ({"dropFields": [""]}, "at least 1 character"),
        ({"privacy": {"hashFields": ["user_id"]}}, "set hashKeyFile or hashKeyEnv"),
        ({"privacy": {"hashKeyFile": "a", "hashKeyEnv": "b"}}, "only one of"),
        ({"privacy": {"maskIp": "all"}}, "lastOctet"),
        ({"privacy": {"hashKey": "secret"}}, "Extra inputs"),
        ({"overwrite": ["event_id"]}, "event_id is not a field that enrichment can make"),
        ({"referrers": {"https://a.example/": {"medium": "search"}}}, "is not a host name"),
        ({"referrers": {"A.example": {"medium": "search"}}}, "is not a host name"),
        ({"referrers": {"a.example": {"medium": "friends"}}}, "medium"),
        ({"sourceCategories": {"a": ["x"], "b": ["X"]}}, "X is in two categories: a and b"),
    ],
)
def test_what_the_specification_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec_of(**fields)


def test_the_specification_knows_which_fields_are_no_text() -> None:
    text = (Kind.KEYWORD, Kind.ID, Kind.TEXT)
    others = {field.name for field in FIELDS if field.kind not in text}
    assert set(NOT_TEXT_FIELDS) == others
    assert EnrichSpec.model_validate(json.loads(EnrichSpec().model_dump_json(by_alias=True)))


def test_a_cache_forgets_what_is_no_longer_asked_for() -> None:
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key.upper()

    cache = Cache(make, 2)
    assert [cache[key] for key in ("a", "b", "a", "c", "a", "d", "a", "b")] == list("ABACADAB")
    assert made == ["a", "b", "c", "d", "b"]
    assert len(cache) <= 2
    long = "x" * (MAX_KEY_TEXT + 1)
    assert cache[long] == long.upper()
    assert long not in cache


_texts = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "",
            " ",
            "https://www.google.com/search?q=a",
            "https://a.example/?utm_source=x&gclid=1",
            "www.a.example",
            SAFARI,
            "curl/8",
            "8.8.8.8",
            "::1",
            "DE",
            "48.1",
            "cpc",
            "facebook",
            "a@b.example",
        ]
    ),
)
_values: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.ID: st.one_of(_texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    Kind.BOOLEAN: st.booleans(),
    Kind.LONG: st.integers(-(2**63), 2**63 - 1),
    Kind.DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
}
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), _texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)
EVENTS = st.builds(
    lambda unknown, known: {**unknown, **known, **GOOD},
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: name not in BY_NAME), _json, max_size=3
    ),
    st.fixed_dictionaries(
        {},
        optional={
            field.name: st.one_of(st.none(), _values.get(field.kind, _texts))
            for field in FIELDS
            if field.name not in GOOD
        },
    ),
)
REMOVING = spec_of(
    dropFields=["page_title", "absent"],
    overwrite=["*"],
    privacy={
        "maskIp": "lastOctet",
        "hashFields": ["user_id", "user_custom_id", "page_url", "absent"],
        "hashKeyEnv": "UNUSED",
    },
)
EDITING = Enricher(spec_of(dropFields=["no such field"]))
REMOVER = Enricher(REMOVING, hash_key=KEY)


@given(EVENTS, st.booleans())
def test_any_event_is_enriched(event: dict[str, Any], ascii_only: bool) -> None:
    raw = json.dumps(event, ensure_ascii=ascii_only).encode()
    found = run(DEFAULT, raw)
    # The way by splicing bytes and the way by editing fields lead to the same event.
    assert run(EDITING, raw) == found
    assert event.keys() <= found.keys()
    for name, value in event.items():
        if value is not None and not (isinstance(value, str) and not value.strip()):
            assert found[name] == value
    assert found.keys() - event.keys() <= set(ENRICHED_FIELDS)
    assert {"channel", "source_category", "user_email_domain"} <= found.keys()
    # What was added once is carried, so that it stays.
    assert run(DEFAULT, json.dumps(found).encode()) == found

    changed = run(REMOVER, raw)
    assert "page_title" not in changed
    for name in ("user_id", "user_custom_id", "page_url"):
        if event.get(name) not in (None, "") and str(event[name]).strip():
            assert len(changed[name]) == 64
    assert all(changed[name] == value for name, value in GOOD.items())


def test_an_event_decoded_with_further_fields_is_enriched_alike() -> None:
    raw = json.dumps(VISIT | {"visitor": "v"}).encode()
    decoded = EventDecoder(extra=["visitor"]).decode(raw)
    assert DEFAULT.enrich(raw, decoded) == DEFAULT.enrich(raw, decode_event(raw))
