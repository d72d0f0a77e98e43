"""Sessions are a function of the log: however it is read, readers end up with the same."""

import json
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_sessions import from_log, recompute
from session_streams import (
    PIPELINE,
    SPECS,
    Action,
    Message,
    Partition,
    actions,
    streams,
    without_version,
)

from webevents.spec.stages import SessionsSpec

PROPERTY = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@st.composite
def cases(
    draw: st.DrawFn, *, idle: bool = False, max_size: int = 50, **update: Any
) -> tuple[SessionsSpec, list[Message], list[Action]]:
    spec = draw(st.sampled_from(SPECS)).model_copy(update=update)
    log = draw(streams(spec, max_size=max_size))
    return spec, log, draw(actions(len(log), idle=idle))


def ran(spec: SessionsSpec, log: list[Message], what: list[Action], seed: int = 0) -> Partition:
    partition = Partition(spec, random.Random(seed))
    partition.run(log, what)
    partition.commit()
    return partition


@PROPERTY
@given(cases())
def test_readers_have_what_a_computation_over_the_whole_log_gives(
    case: tuple[SessionsSpec, list[Message], list[Action]],
) -> None:
    spec, log, what = case
    partition = ran(spec, log, what)
    assert without_version(partition.readers.values()) == from_log(log, spec, PIPELINE)


@PROPERTY
@given(cases())
def test_versions_too_do_not_depend_on_how_the_log_was_read(
    case: tuple[SessionsSpec, list[Message], list[Action]],
) -> None:
    spec, log, what = case
    one = ran(spec, log, what)
    assert one.readers == ran(spec, log, ["publish"] * len(log)).readers
    assert one.readers == ran(spec, log, []).readers
    assert one.note == ran(spec, log, ["restart"] * len(log), seed=1).note


@PROPERTY
@given(cases(idle=True))
def test_when_all_is_past_sessions_are_closed_and_no_state_is_left(
    case: tuple[SessionsSpec, list[Message], list[Action]],
) -> None:
    spec, log, what = case
    partition = ran(spec, log, what)
    partition.pass_by()
    assert partition.sessions.size == 1
    assert [key.rpartition("|")[2] for key in partition.state] == ["zoe"]
    found = without_version(partition.readers.values())
    assert found == from_log(partition.log, spec, PIPELINE)
    assert [r["session_key"] for r in found.values() if r["open"]] == ["zoe"]
    plain = ran(spec, log, [])
    plain.pass_by()
    assert partition.readers == plain.readers
    assert partition.counts == plain.counts


@PROPERTY
@given(cases())
def test_every_event_is_accepted_or_dropped_for_a_known_reason(
    case: tuple[SessionsSpec, list[Message], list[Action]],
) -> None:
    spec, log, what = case
    partition = ran(spec, log, what)
    assert set(partition.counts) <= {"accepted", "late", "duplicate", "no_session_key"}
    assert partition.counts.total() == len(log)
    total = sum(record["total_events"] for record in partition.readers.values())
    assert total == partition.counts["accepted"]


@PROPERTY
@given(cases(max_events=3, max_size=60))
def test_full_sessions_drop_events_alike_however_the_log_is_read(
    case: tuple[SessionsSpec, list[Message], list[Action]],
) -> None:
    spec, log, what = case
    partition = ran(spec, log, what)
    assert partition.counts.total() == len(log)
    records = partition.readers.values()
    assert sum(record["total_events"] for record in records) == partition.counts["accepted"]
    assert all(record["total_events"] <= 3 for record in records)
    # A session that had to drop an event may merge into no other, so each leaves its mark.
    assert any(r["truncated"] for r in records) or not partition.counts["session_full"]
    other = ran(spec, log, ["restart"] * len(log), seed=1)
    assert partition.readers == other.readers
    assert partition.counts == other.counts


@PROPERTY
@given(cases(max_values=2))
def test_lists_are_bounded_alike_however_the_log_is_read(
    case: tuple[SessionsSpec, list[Message], list[Action]],
) -> None:
    spec, log, what = case
    partition = ran(spec, log, what)
    assert without_version(partition.readers.values()) == from_log(log, spec, PIPELINE)
    for record in partition.readers.values():
        for name in ("unique_pages", "products_viewed", "search_queries", "referrers"):
            assert len(record[name]) <= 2
        assert len(record["event_type_counts"]) <= 2


@PROPERTY
@given(cases(), st.randoms(use_true_random=False))
def test_without_lateness_the_order_of_the_events_does_not_matter(
    case: tuple[SessionsSpec, list[Message], list[Action]], chance: random.Random
) -> None:
    spec, log, what = case
    spec = spec.model_copy(update={"allowed_lateness": SPECS[3].max_length * 1000})
    chance.shuffle(log)
    partition = ran(spec, log, what)
    records = without_version(partition.readers.values())
    for record in records.values():
        del record["open"]
    events = [json.loads(raw) for raw, _ in log]
    assert records == recompute(events, spec, PIPELINE)
