"""Whose events are whose: what an erasure takes for a person's."""

import json
from typing import Any

import pytest

from webevents.errors import UserError
from webevents.operations.erase.person import Person, parse_field
from webevents.spec.load import parse_pipeline


def person(*pairs: tuple[str, str], **spec: Any) -> Person:
    head = {"apiVersion": "webevents.dev/v1alpha1", "kind": "WebEventPipeline"}
    document = {**head, "metadata": {"name": "shop"}, "spec": spec}
    return Person(parse_pipeline(document, "here").spec, set(pairs))


def event(**fields: Any) -> bytes:
    base = {"event_id": "e", "event_timestamp": "2026-03-01T10:00:00Z", "event_type": "view"}
    return json.dumps(base | fields).encode()


def test_an_event_is_the_persons_by_the_field_and_not_by_the_text() -> None:
    ann = person(("user_id", "4711"))
    assert ann.of_message(event(user_id="4711"))
    assert ann.of_message(event(user_id=4711)), "numbers are identifiers too"
    assert not ann.of_message(event(user_id="14711"))
    assert not ann.of_message(event(user_domain_id="4711"))
    assert not ann.of_message(event(page_url="https://shop.example/?user=4711"))
    assert not ann.of_message(event(user_id=None))
    assert not ann.of_message(None)
    assert ann.of_message(b'{"user_id": "4711", broken')
    assert not ann.of_message(b'{"user_id": "47", broken')
    for nobody in ("null", "None", "true"):
        assert not person(("user_id", nobody)).of_message(event(user_id=None))


def test_letters_of_all_kinds_are_found_however_json_writes_them() -> None:
    ann = person(("user_custom_id", 'zoë "z"'))
    for ascii_ in (False, True):
        text = json.dumps({"event_id": "e", "user_custom_id": 'zoë "z"'}, ensure_ascii=ascii_)
        assert ann.of_message(text.encode())


def test_other_identifiers_are_shown_and_followed_when_told() -> None:
    ann = person(("user_id", "ann"))
    assert ann.of_message(event(user_id="ann", user_domain_id="cookie"))
    assert ann.linked == {("user_domain_id", "cookie")}
    assert not ann.of_message(event(user_domain_id="cookie"))
    ann.add(set(ann.linked))
    assert ann.linked == set()
    assert ann.of_message(event(user_domain_id="cookie"))
    assert ann.keys == {"cookie"}


def test_hashes_are_found_and_a_key_in_clear_is_not_taken_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HASH_KEY", "k" * 32)
    privacy = {"hashFields": ["user_domain_id"], "hashKeyEnv": "HASH_KEY"}
    ann = person(("user_domain_id", "cookie"), enrich={"privacy": privacy})
    (hashed,) = {value for _, value in ann.pairs} - {"cookie"}
    assert ann.of_message(event(user_domain_id="cookie"))
    assert "e" in ann.event_ids
    assert ann.of_message(event(user_domain_id=hashed), enriched=True)
    assert hashed in ann.keys
    assert ann.linked == set()


def test_sessions_are_the_persons_by_user_by_key_and_by_time() -> None:
    session = {
        "session_id": "s",
        "user_id": None,
        "session_key": "cookie",
        "first_event_timestamp": "2026-03-01T10:00:00Z",
        "last_event_timestamp": "2026-03-01T11:00:00Z",
    }
    assert person(("user_domain_id", "cookie")).has_session(session)
    assert person(("user_id", "ann")).has_session(session | {"user_id": "ann"})
    assert not person(("user_id", "null")).has_session(session)
    # A key that several persons share, such as an address: only where events lie within.
    shared = person(("user_id", "ann"), sessions={"key": ["ip_address", "host"]})
    assert shared.of_message(event(user_id="ann", ip_address="192.0.2.1", host="shop.example"))
    of_address = session | {"session_key": "192.0.2.1|shop.example"}
    assert shared.has_session(of_address)
    later = {"first_event_timestamp": "2026-03-01T10:30:00Z"}
    assert not shared.has_session(of_address | later)


@pytest.mark.parametrize("wrong", ["user_id", "user_id=", "ip_address=1.2.3.4", "=x"])
def test_what_is_no_identifier_is_refused(wrong: str) -> None:
    with pytest.raises(UserError, match="--field"):
        parse_field(wrong)
