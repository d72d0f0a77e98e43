"""Erasing the sessions of a key that can still change."""

import json

from webevents.events.times import parse_time
from webevents.logic.sessions.record import entry_reader
from webevents.logic.sessions.tracker import PartitionSessions
from webevents.spec.stages import SessionsSpec

SPEC = SessionsSpec()
read = entry_reader(SPEC)
RECORD_MS = parse_time("2026-03-01T12:00:00Z") // 1000


def add(sessions: PartitionSessions, key: str, minute: int) -> None:
    event = {
        "event_id": f"{key}-{minute}",
        "event_timestamp": f"2026-03-01T10:{minute:02}:00Z",
        "event_type": "view",
        "user_domain_id": key,
    }
    found, entry = read(json.dumps(event).encode())
    assert found == key
    assert sessions.add(key, entry, RECORD_MS) is None


def test_a_key_is_retracted_and_its_state_is_done_with() -> None:
    sessions = PartitionSessions("p", SPEC, {})
    for minute in range(3):
        add(sessions, "ann", minute)
        add(sessions, "ben", minute)
    before = sessions.commit(publish_open=True)
    known = {key: json.loads(record) for key, record in before.sessions}
    states = {key for key, state in before.state if state is not None}
    sessions.forget("ann", RECORD_MS)
    sessions.forget("nobody", RECORD_MS)
    after = sessions.commit(publish_open=True)
    ((key, record),) = after.sessions
    made = json.loads(record)
    assert (key, made["session_id"], made["retracted"]) == ("ann", known["ann"]["session_id"], True)
    assert made["version"] > known["ann"]["version"]
    assert after.state == [(next(key for key in states if key.endswith("|ann")), None)]
    assert sessions.size == 1
    # The next event begins a session of its own, in a version that readers take.
    add(sessions, "ann", 4)
    (fresh,) = sessions.commit(publish_open=True).sessions
    again = json.loads(fresh[1])
    assert again["total_events"] == 1
    assert again["version"] > made["version"]


def test_a_restored_session_is_forgotten_too() -> None:
    first = PartitionSessions("p", SPEC, {})
    add(first, "ann", 1)
    published = first.commit(publish_open=True)
    second = PartitionSessions("p", SPEC, first.note())
    for _, state in published.state:
        assert state is not None
        second.restore(state)
    second.forget("ann", 0)
    made = second.commit(publish_open=True)
    assert json.loads(made.sessions[0][1])["retracted"]
    assert [state for _, state in made.state] == [None]
    assert second.size == 0


def test_what_no_reader_knows_is_not_retracted() -> None:
    sessions = PartitionSessions("p", SPEC, {})
    add(sessions, "ann", 1)
    sessions.forget("ann", RECORD_MS)
    made = sessions.commit(publish_open=True)
    assert (made.sessions, made.state) == ([], [])
