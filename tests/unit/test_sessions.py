"""The rules of docs/sessions.md, each by its example; times are in seconds after BASE."""

import json
import random
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from reference_sessions import from_log, session_id
from session_streams import (
    BASE,
    PIPELINE,
    SECOND,
    Message,
    Partition,
    message,
    without_version,
)

from webevents.events.session import SESSION_FIELDS
from webevents.logic.sessions.chain import Chain
from webevents.logic.sessions.tracker import MAX_CLOCK, MAX_STATE_BYTES, VERSIONS_PER_MS
from webevents.spec.stages import SessionsSpec

SPEC = SessionsSpec(
    gap=timedelta(seconds=10),
    max_length=timedelta(seconds=60),
    allowed_lateness=timedelta(seconds=100),
)


def at(second: float, event_id: str | None = None, **fields: Any) -> Message:
    return message(BASE + round(second * SECOND), event_id or f"e{second}", **fields)


def clock(second: float) -> Message:
    """An event of nobody's session here: it only moves stream time."""
    return at(second, f"clock{second}", user_domain_id="clock")


def partition(*log: Message, spec: SessionsSpec = SPEC) -> Partition:
    made = Partition(spec)
    made.run(log, [])
    made.commit()
    return made


def then(to: Partition, *log: Message, publish_open: bool = True) -> list[dict[str, Any]]:
    """Run more events and commit: the records about ann."""
    to.run(log, [])
    return [r for r in to.commit(publish_open=publish_open) if r["session_key"] == "ann"]


def then_at(to: Partition, second: float) -> Partition:
    """Have stream time reach a second."""
    then(to, clock(second))
    return to


def of_ann(of: Partition) -> dict[float, tuple[int, float, bool]]:
    """What readers know of ann: start -> (events, seconds, open)."""
    starts = {session_id(PIPELINE, "ann", BASE + n * SECOND): n for n in range(-200, 2000)}
    return {
        starts[known]: (
            record["total_events"],
            round(record["session_duration_minutes"] * 60, 3),
            record["open"],
        )
        for known, record in of.readers.items()
        if record["session_key"] == "ann"
    }


def test_a_pause_longer_than_the_gap_ends_a_session() -> None:
    made = partition(at(0), at(10), at(20.000001))
    assert [r["total_events"] for r in made.readers.values()] == [2, 1]
    assert [r["open"] for r in made.readers.values()] == [False, True]
    assert from_log(made.log, SPEC, PIPELINE) == without_version(made.readers.values())


def test_events_out_of_order_make_the_same_session() -> None:
    assert of_ann(partition(at(12), at(0), at(6))) == {0: (3, 12, True)}
    assert of_ann(partition(at(0), at(6), at(12))) == {0: (3, 12, True)}


def test_an_earlier_event_moves_the_start_and_retracts_the_old_session() -> None:
    made = partition(at(5))
    (old,) = made.readers.values()
    new, gone = then(made, at(0))
    assert of_ann(made) == {0: (2, 5, True)}
    assert gone == {
        "session_id": old["session_id"],
        "pipeline": PIPELINE,
        "session_key": "ann",
        "version": new["version"],
        "first_event_timestamp": old["first_event_timestamp"],
        "retracted": True,
    }
    assert new["version"] > old["version"]


def test_a_late_event_corrects_a_closed_session_with_a_higher_version() -> None:
    made = partition(at(0), clock(50))
    (first,) = (r for r in made.readers.values() if r["session_key"] == "ann")
    assert not first["open"]
    (second,) = then(made, at(3))
    assert (second["session_id"], second["total_events"]) == (first["session_id"], 2)
    assert second["version"] > first["version"]
    assert not second["open"]


def test_an_event_between_two_sessions_makes_them_one() -> None:
    made = partition(at(0), at(15), clock(80))
    assert of_ann(made) == {0: (1, 0, False), 15: (1, 0, False)}
    records = then(made, at(8))
    assert [bool(r.get("retracted")) for r in records] == [False, True]
    assert of_ann(made) == {0: (3, 15, False)}
    assert sum(key.endswith("|ann") for key in made.state) == 1


@pytest.mark.parametrize("order", [(0, 15), (15, 0)])
def test_the_state_of_a_merged_chain_outlives_the_tombstone_of_its_other_half(
    order: tuple[int, int],
) -> None:
    made = partition(*(at(second) for second in order))
    then(made, at(8))
    made.run([at(9)], ["restart"])
    made.commit()
    assert of_ann(made) == {0: (4, 15, True)}


def test_an_event_too_old_is_late_and_one_just_in_time_is_not() -> None:
    made = partition(clock(100), at(0), at(-0.000001))
    assert made.counts == {"accepted": 2, "late": 1}
    assert of_ann(made) == {0: (1, 0, False)}


def test_the_same_id_at_the_same_time_counts_once_and_at_another_time_again() -> None:
    made = partition(at(0, "a"), at(0, "a", event_type="click"), at(1, "a"), at(0, "b"))
    assert made.counts == {"accepted": 3, "duplicate": 1}
    (record,) = made.readers.values()
    assert record["event_type_counts"] == {"pageview": 3}
    then(made, clock(60))
    made.run([at(0, "b")], ["restart"])
    made.commit()
    assert made.counts["duplicate"] == 2


def test_a_chain_longer_than_max_length_is_cut_at_fixed_multiples() -> None:
    made = partition(*(at(second) for second in range(50, 110, 10)))
    assert of_ann(made) == {50: (6, 50, True)}, "60 s or less is never cut, wherever it lies"
    records = then(made, at(110))
    assert of_ann(made) == {50: (7, 60, True)}
    records = then(made, at(120))
    assert [bool(r.get("retracted")) for r in records] == [False] * 3
    assert of_ann(made) == {50: (1, 0, False), 60: (6, 50, False), 120: (1, 0, True)}


def test_a_cut_closes_when_it_is_past_though_its_chain_goes_on() -> None:
    made = partition(*(at(second) for second in range(0, 120, 9)))
    assert of_ann(made)[63] == (7, 54, True)
    then(made, clock(119.999999))
    assert of_ann(made)[63] == (7, 54, True)
    then(made, clock(120))
    assert of_ann(made)[63] == (7, 54, False)


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param([*range(5, 70, 10), 1, *range(69, 119, 9)], id="longer by an earlier event"),
        pytest.param([*range(30, 55, 8), *range(65, 119, 9), 58], id="longer by a bridge"),
    ],
)
@pytest.mark.parametrize("restart", [False, True])
def test_the_newest_cut_closes_however_its_chain_became_long(
    seconds: list[int], restart: bool
) -> None:
    made = partition(*(at(second) for second in seconds))
    made.run([clock(117)], ["restart"] if restart else [])
    made.commit()
    (newest,) = (opened for start, (_, _, opened) in of_ann(made).items() if start >= 60)
    assert newest
    (record,) = then(made, clock(120))
    assert not record["open"]


def test_each_newest_cut_of_a_chain_closes_in_its_turn() -> None:
    made = partition(*(at(second) for second in range(0, 120, 9)))
    assert not any(opened for *_, opened in of_ann(then_at(made, 120)).values())
    then(made, *(at(second) for second in range(124, 180, 9)))
    assert of_ann(made)[124][2]
    assert not any(opened for *_, opened in of_ann(then_at(made, 180)).values())


@pytest.mark.parametrize("seed", range(6))
def test_an_event_that_would_bridge_too_many_leaves_two_sessions(seed: int) -> None:
    spec = SPEC.model_copy(update={"max_events": 10})
    log = [*(at(n) for n in range(5)), *(at(20 + n) for n in range(5)), at(12)]
    made = Partition(spec, random.Random(seed))
    made.run(log, ["restart"] * len(log))
    made.commit()
    assert of_ann(made) == {0: (5, 4, False), 20: (5, 4, True)}
    assert made.counts == {"accepted": 10, "session_full": 1}
    assert [r["truncated"] for r in made.readers.values()] == [True, False]


def test_a_full_session_may_go_on_where_the_next_cut_begins() -> None:
    spec = SPEC.model_copy(update={"max_events": 10})
    made = partition(*(at(6 * n) for n in range(10)), at(59), at(60), at(61), spec=spec)
    assert made.counts == {"accepted": 11, "session_full": 2}, "0 to 60 s is still one session"
    assert of_ann(made) == {0: (10, 54, False), 61: (1, 0, True)}


def test_a_visitor_that_never_pauses_keeps_a_bounded_state() -> None:
    made = Partition(SPEC)
    sizes = []
    for minute in range(60):
        made.run([at(minute * 60 + second) for second in range(0, 60, 6)], [])
        made.commit()
        (state,) = made.state.values()
        sizes.append(len(state))
    assert max(sizes) < 1.5 * sizes[5]
    assert len(made.readers) == 60
    assert without_version(made.readers.values()) == from_log(made.log, SPEC, PIPELINE)


def test_a_visitor_with_half_of_all_events_keeps_a_bounded_state() -> None:
    spec = SPEC.model_copy(update={"max_events": 500})
    made = Partition(spec)
    largest = 0
    for first in range(0, 20_000, 2_000):
        numbers = range(first, first + 2_000)
        made.run(
            [at(n / 100, user_domain_id="hot" if n % 2 else f"visitor-{n}") for n in numbers], []
        )
        made.commit()
        hot = [len(state) for key, state in made.state.items() if key.endswith("|hot")]
        largest = max(largest, *hot)
    then_at(made, 300)
    # 10 s fill a session; what is dropped in the next 10 s does not keep it open.
    assert made.counts == {"accepted": 15_001, "session_full": 5_000}
    sessions = [record for record in made.readers.values() if record["session_key"] == "hot"]
    assert [record["total_events"] for record in sessions] == 10 * [500]
    assert largest < 500 * 60, "about a digest for each event that is kept"
    others = [record for record in made.readers.values() if record["session_key"] != "hot"]
    assert {record["total_events"] for record in others} == {1}
    assert len(others) == 10_000 + 1


def test_many_cuts_full_of_long_values_stay_within_one_message() -> None:
    """The state of all cuts that can still change is one Kafka message."""
    spec = SPEC.model_copy(update={"allowed_lateness": timedelta(seconds=600), "max_values": 280})
    made = Partition(spec)
    wide = "\u4e00" * 997
    log = [
        at(
            second / 5,
            page_url=f"{second:03}p{wide}",
            referer_url=f"{second:03}r{wide}",
            product_id=f"{second:03}d{wide}",
            search_query=f"{second:03}q{wide}",
            event_type=f"{second:03}t{wide}",
        )
        for second in range(1_000)
    ]
    made.run(log[:600], [])
    made.commit()
    made.run(log[600:], ["restart"])
    made.commit()
    assert 8_900_000 < max(map(len, made.state.values())) <= MAX_STATE_BYTES
    assert made.counts["session_full"] > 20
    assert made.counts.total() == len(log)
    assert any(record["truncated"] for record in made.readers.values())
    assert all(len(json.dumps(record)) < MAX_STATE_BYTES for record in made.readers.values())
    then_at(made, 1_500)
    (record,) = then(made, at(1_501))
    assert (record["total_events"], record["open"]) == (1, True), "the visitor has room again"


def test_open_sessions_are_published_only_when_asked() -> None:
    made = partition(clock(0))
    assert then(made, at(0), publish_open=False) == []
    assert then(made, at(1), publish_open=False) == []
    (record,) = then(made)
    assert record["total_events"] == 2
    assert then(made) == [], "nothing changed"


def test_a_session_closes_without_an_event_of_its_own_exactly_at_the_gap() -> None:
    made = partition(at(0))
    assert then(made, clock(10)) == []
    (record,) = then(made, clock(10.000001))
    assert not record["open"]


def test_a_session_that_opened_again_closes_as_soon_as_its_gap_is_over() -> None:
    made = partition(at(0), clock(15))
    assert of_ann(made) == {0: (1, 0, False)}
    then(made, at(9))
    assert of_ann(made) == {0: (2, 9, True)}
    then(made, clock(20))
    assert of_ann(made) == {0: (2, 9, False)}


def test_idle_time_closes_sessions_but_makes_nothing_late() -> None:
    made = partition(at(0))
    made.sessions.idle(10 * SECOND)
    assert then(made) == []
    made.sessions.idle(3600 * SECOND)
    (record,) = then(made)
    assert not record["open"]
    assert made.sessions.size == 1, "it can still change"
    (record,) = then(made, at(5))
    assert (record["open"], record["total_events"]) == (True, 2)
    made.sessions.idle(3600 * SECOND)
    then(made)
    made.run([at(6)], ["restart"])
    made.commit()
    assert made.counts == {"accepted": 3}
    assert of_ann(made) == {0: (3, 6, True)}


def test_a_full_session_drops_events_and_says_so_once() -> None:
    spec = SPEC.model_copy(update={"max_events": 10})
    made = partition(*(at(n / 2) for n in range(10)), spec=spec)
    (record,) = made.readers.values()
    assert not record["truncated"]
    (record,) = then(made, at(6), at(7))
    assert record["truncated"]
    assert record["total_events"] == 10
    assert then(made, at(8)) == []
    assert made.counts == {"accepted": 10, "session_full": 3}
    assert of_ann(made)[0] == (10, 4.5, True)


def test_values_beyond_all_reason_stop_nothing() -> None:
    made = partition(
        at(0, "a", revenue=9.9e13),
        at(1, "b", revenue=9.9e13),
        at(2, "c", revenue=-1e15, product_id=10**25),
        at(3, "d", event_type="purchase", price=1e300, quantity=10**18),
        message(BASE, "e" * 100_000, record_ms=2**62),
        message(BASE + SECOND, "f", record_ms=-1),
    )
    (record,) = made.readers.values()
    assert record["total_revenue"] == 1.98e14
    assert record["version"] <= MAX_CLOCK
    made.run([at(4)], ["restart"])
    made.commit()
    (record,) = made.readers.values()
    assert (record["total_events"], record["total_revenue"]) == (7, 1.98e14)


def test_versions_follow_the_records_time_and_always_grow() -> None:
    made = partition(at(0))
    (record,) = made.readers.values()
    assert record["version"] == BASE // 1000 * VERSIONS_PER_MS
    (record,) = then(made, message(BASE + SECOND, "x", record_ms=0))
    assert record["version"] == BASE // 1000 * VERSIONS_PER_MS + 2


@pytest.mark.parametrize("text", ["\x01", "\U0001f600", "a"])
def test_no_session_outgrows_a_kafka_message(text: str) -> None:
    spec = SessionsSpec()
    log = []
    for n in range(spec.max_values + 20):
        long = f"{n:04}" + text * 3000
        fields = {"page_url": long, "referer_url": long, "product_id": long, "search_query": long}
        log.append(at(n / 10, f"{n}" + text * 500, event_type=long, **fields))
    made = partition(*log, spec=spec)
    (record,) = made.readers.values()
    assert record["truncated"]
    assert record["unique_pages_count"] == spec.max_values
    assert len(record["event_type_counts"]) == spec.max_values
    assert len(msgspec.json.encode(record)) < 9_000_000
    assert all(len(state) < 10_000_000 for state in made.state.values())


def test_state_of_another_format_is_refused() -> None:
    for state in ([2, "ann", 0, 0, 0, []], [1, "ann"]):
        with pytest.raises(ValueError, match="format 1"):
            Chain.load(msgspec.msgpack.encode(state))


def test_resting_chains_are_packed_and_go_on_as_they_were() -> None:
    spec = SessionsSpec()
    made = partition(at(0, page_url="a"), at(1, page_url="b"), spec=spec)
    for minute in range(1, 5):
        then(made, clock(minute * 61))
    (ann,) = (c for c in made.sessions._chains.values() if isinstance(c, Chain) and c.key == "ann")
    assert ann.parts == []
    (record,) = then(made, at(200, page_url="c"))
    assert record["unique_pages"] == ["a", "b", "c"]
    assert without_version(made.readers.values()) == from_log(made.log, spec, PIPELINE)


def test_memory_per_resting_session_stays_small() -> None:
    spec = SessionsSpec()
    made = Partition(spec)
    agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"
    visitors, events = 2000, 5
    log = [
        at(
            n / 100,
            f"{n:032x}",
            user_domain_id=f"{n % visitors:032x}",
            page_url=f"https://www.example.com/page/{n % 37}",
            browser_user_agent=agent,
        )
        for n in range(visitors * events)
    ]
    tracemalloc.start()
    try:
        for raw, record_ms in log:
            key, entry = made.read(raw)
            assert key is not None
            made.sessions.add(key, entry, record_ms)
        del raw, key, entry
        made.sessions.commit(publish_open=True)
        for minute in range(1, 5):
            _, entry = made.read(clock(100 + minute * 61)[0])
            made.sessions.add("clock", entry, 0)
            made.sessions.commit(publish_open=True)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert made.sessions.size == visitors + 1
    assert used / visitors < 1500


def test_a_record_has_the_fields_of_the_table() -> None:
    made = partition(at(0))
    (record,) = made.readers.values()
    assert record.keys() | {"retracted"} == {field.name for field in SESSION_FIELDS}


def test_the_page_about_sessions_names_every_field_and_setting() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sessions.md").read_text()
    for field in SESSION_FIELDS:
        assert f"| `{field.name}` |" in page, field.name
    for name, setting in SessionsSpec.model_fields.items():
        assert f"| `{setting.alias}` |" in page, name
    defaults = json.loads(SessionsSpec().model_dump_json(by_alias=True))
    for name, value in defaults.items():
        if isinstance(value, str | int) and not isinstance(value, bool):
            assert f"| `{name}` | `{value}` |" in page, name
