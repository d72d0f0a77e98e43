"""The rules of docs/analytics.md, each by its example; times are in hours after BASE."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError
from reference_sessions import session_id, time_text
from session_streams import PIPELINE, SECOND, Partition, message
from visitor_streams import Visitors

from webevents.events.analytics import JOURNEY_FIELDS, KINDS, VISIT_FIELDS
from webevents.events.event import InvalidEvent
from webevents.events.session import SESSION_FIELDS
from webevents.logic.analytics.attribution import MODELS, WHOLE, shares
from webevents.logic.analytics.tracker import PartitionVisitors
from webevents.logic.analytics.visits import read_record
from webevents.logic.documents import AnalyticsDocuments
from webevents.spec.analytics import AnalyticsSpec
from webevents.spec.load import parse_pipeline
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.stages import SessionsSpec

HOUR = 3600 * SECOND
BASE = 1_767_600_000_000_000
"""2026-01-05T08:00:00Z, a Monday."""
SESSIONS = SessionsSpec()
FUNNEL = {
    "name": "buy",
    "steps": [
        {"name": "product", "page": "/p/*"},
        {"name": "cart", "eventTypes": ["add_to_cart"]},
        {"name": "order", "eventTypes": ["purchase"]},
    ],
}


def spec_of(**update: Any) -> AnalyticsSpec:
    return AnalyticsSpec.model_validate({"enabled": True, "funnels": [FUNNEL]} | update)


def at(hour: float) -> str:
    return time_text(BASE + round(hour * HOUR))


def step(hour: float, number: int, funnel: str = "buy") -> dict[str, Any]:
    return {"time": at(hour), "steps": [f"{funnel}/{number}"]}


def sale(hour: float, revenue: float = 10.0, event_id: str = "e") -> dict[str, Any]:
    conversion = {"conversions": ["purchase"], "event_id": event_id, "revenue": revenue}
    return step(hour, 3) | conversion


def session(
    start: float, end: float, *milestones: Mapping[str, Any], version: int = 1, **more: Any
) -> dict[str, Any]:
    """A session of the visitor ann."""
    return {
        "session_id": session_id(PIPELINE, "ann", BASE + round(start * HOUR)),
        "session_key": "ann",
        "version": version,
        "open": False,
        "first_event_timestamp": at(start),
        "last_event_timestamp": at(end),
        "path": [],
        "path_truncated": False,
        "milestones": list(milestones),
        **more,
    }


def ran(spec: AnalyticsSpec, *records: Mapping[str, Any]) -> Visitors:
    visitors = Visitors(spec, SESSIONS)
    visitors.run(records)
    return visitors


def of(visitors: Visitors, kind: str) -> list[dict[str, Any]]:
    found = [d for (index, _), d in visitors.documents.items() if index.startswith(kind)]
    return sorted(found, key=lambda d: (d["timestamp"], d.get("step", 0), d.get("touch", 0)))


def reached(visitors: Visitors) -> list[tuple[str, int]]:
    return [(d["timestamp"], d["reached"]) for d in of(visitors, "funnels")]


# Funnels.


def test_steps_count_in_their_order_only() -> None:
    made = ran(spec_of(), session(0, 0.4, step(0, 2), step(0.1, 1), step(0.2, 3), step(0.3, 2)))
    assert reached(made) == [(at(0.1), 2)]
    (document,) = of(made, "funnels")
    assert document["steps_reached"] == ["1. product", "2. cart"]
    assert document["step_timestamps"] == [at(0.1), at(0.3)]
    assert document["duration_seconds"] == 720
    assert document["step"] == "2. cart"
    assert not document["completed"]


def test_within_a_session_each_session_is_an_attempt() -> None:
    made = ran(spec_of(), session(0, 0.2, step(0, 1), step(0.2, 2)), session(2, 2.1, step(2, 3)))
    assert reached(made) == [(at(0), 2)]
    made.run([session(2, 2.2, step(2, 1), sale(2.2), version=2)])
    assert reached(made) == [(at(0), 2), (at(2), 1)]


def test_within_days_a_later_session_goes_on() -> None:
    spec = spec_of(funnels=[FUNNEL | {"within": "2d"}])
    made = ran(
        spec,
        session(0, 1, step(0, 1), step(1, 1)),
        session(24, 25, step(24, 1), step(25, 2)),
        session(47, 48, sale(48)),
    )
    assert reached(made) == [(at(0), 3)]
    (document,) = of(made, "funnels")
    assert document["completed"]
    assert document["session_id"] == session_id(PIPELINE, "ann", BASE)
    # After it is completed, the next session with step 1 is an attempt of its own.
    made.run([session(60, 61, step(60, 1))])
    assert reached(made) == [(at(0), 3), (at(60), 1)]


def test_what_comes_too_late_is_not_reached() -> None:
    spec = spec_of(funnels=[FUNNEL | {"within": "2d"}])
    made = ran(spec, session(0, 0, step(0, 1)), session(48, 49, step(48, 2), sale(48.001)))
    assert reached(made) == [(at(0), 2)]


def test_a_late_session_joins_two_attempts_into_one() -> None:
    spec = spec_of(funnels=[FUNNEL | {"within": "1d"}])
    made = ran(spec, session(5, 5, step(5, 1)), session(7, 7, step(7, 2)))
    assert reached(made) == [(at(5), 2)]
    made.run([session(2, 2, step(2, 1))])
    assert reached(made) == [(at(2), 2)]


def test_an_attempt_that_begins_earlier_moves_to_the_index_of_its_month() -> None:
    february = 24 * 27 - 8  # hours from BASE
    visit = session(february - 0.2, february + 0.2, step(february + 0.1, 1))
    made = ran(spec_of(), visit)
    assert [index for index, _ in made.documents if "funnels" in index] == ["funnels-2026.02"]
    earlier = step(february - 0.1, 1)
    made.run([visit | {"version": 2, "milestones": [earlier, *visit["milestones"]]}])
    assert [index for index, _ in made.documents if "funnels" in index] == ["funnels-2026.01"]


# Transitions.


def pairs(visitors: Visitors) -> list[tuple[int, str, str]]:
    return [(d["step"], d["from"], d["to"]) for d in of(visitors, "transitions")]


def test_a_path_is_told_step_by_step_and_ends_when_the_session_does() -> None:
    made = ran(spec_of(), session(0, 1, path=["/", "/a"], open=True))
    assert pairs(made) == [(1, "/", "/a")]
    before = made.messages
    made.run([session(0, 1, path=["/", "/a", "/"], version=2)])
    assert pairs(made) == [(1, "/", "/a"), (2, "/a", "/"), (3, "/", "(exit)")]
    assert made.messages == before + 2, "what is known is not told again"
    assert of(made, "transitions")[0]["timestamp"] == at(0)


def test_a_late_page_moves_those_after_it() -> None:
    made = ran(spec_of(), session(0, 1, path=["/", "/b"]))
    made.run([session(0, 1, path=["/", "/a", "/b"], version=2)])
    assert pairs(made) == [(1, "/", "/a"), (2, "/a", "/b"), (3, "/b", "(exit)")]
    made.run([session(0, 1, path=["/"], version=3)])
    assert pairs(made) == [(1, "/", "(exit)")]


def test_a_long_path_is_cut() -> None:
    spec = spec_of(transitions={"maxPerSession": 2})
    assert pairs(ran(spec, session(0, 1, path=["/", "/a"]))) == [
        (1, "/", "/a"),
        (2, "/a", "(exit)"),
    ]
    cut = session(0, 1, path=["/", "/a", "/b"], path_truncated=True)
    assert pairs(ran(spec, cut)) == [(1, "/", "/a"), (2, "/a", "/b")]


# Retention.


def test_a_visitor_is_in_each_period_once() -> None:
    spec = spec_of(retention={"period": "week", "periods": 3})
    made = ran(
        spec,
        session(0, 1, channel="Email"),
        session(5, 6, channel="Direct"),
        session(24 * 7, 24 * 7, channel="Direct"),
        session(24 * 21, 24 * 21),  # the fourth week: not looked at
    )
    found = [
        (d["timestamp"], d["cohort"], d["period"], d["channel"]) for d in of(made, "retention")
    ]
    monday = "2026-01-05T00:00:00.000000Z"
    assert found == [
        (monday, monday, 0, "Email"),
        ("2026-01-12T00:00:00.000000Z", monday, 1, "Email"),
    ]


def test_the_cohort_is_remembered_when_its_session_is_not() -> None:
    spec = spec_of(retention={"period": "day", "periods": 30}, attribution={"lookback": "1d"})
    made = ran(spec, session(0, 1), session(24 * 10, 24 * 10) | {"session_key": "bob"})
    made.run([session(24 * 11, 24 * 11)])
    found = [(d["cohort"], d["period"]) for d in of(made, "retention") if d["session_key"] == "ann"]
    monday = "2026-01-05T00:00:00.000000Z"
    assert found == [(monday, 0), (monday, 11)]


def test_a_period_keeps_its_visitor_when_the_later_of_two_sessions_is_retracted() -> None:
    spec = spec_of(attribution={"enabled": False})
    thursday = session(72, 72)
    made = ran(spec, session(0, 1), session(71, 71) | {"session_key": "bob"}, thursday)
    made.run([thursday | {"version": 2, "retracted": True}])
    assert [d["session_key"] for d in of(made, "retention")].count("ann") == 1


def test_who_was_away_for_too_long_is_new() -> None:
    spec = spec_of(retention={"period": "day", "periods": 2})
    made = ran(spec, session(0, 1), session(1 + 48, 50), session(50 + 48.01, 99))
    assert [d["period"] for d in of(made, "retention")] == [0, 0]
    assert [d["cohort"] for d in of(made, "retention")] == [
        "2026-01-05T00:00:00.000000Z",
        "2026-01-09T00:00:00.000000Z",
    ]


# Attribution.


def test_credit_is_shared_by_each_model() -> None:
    visits = [session(24 * n, 24 * n, channel=name) for n, name in enumerate("ABCD")]
    visits[3]["milestones"] = [sale(72, 0.1)]
    touches = of(ran(spec_of(), *visits), "attribution")
    assert [t["channel"] for t in touches] == ["A", "B", "C", "D"]
    assert [t["days_before"] for t in touches] == [3, 2, 1, 0]

    def column(name: str) -> list[float]:
        return [t[name] for t in touches]

    assert column("credit_first") == [1, 0, 0, 0]
    assert column("credit_last") == [0, 0, 0, 1]
    assert column("credit_linear") == [0.25] * 4
    assert column("credit_position") == [0.4, 0.1, 0.1, 0.4]
    assert column("revenue") == [0.1] * 4
    assert column("revenue_position") == [0.04, 0.01, 0.01, 0.04]
    assert column("touches") == [4] * 4


def test_a_touch_before_the_look_back_has_no_part() -> None:
    spec = spec_of(attribution={"lookback": "2d"})
    made = ran(spec, session(0, 1), session(30, 31), session(48.1, 49, sale(49)))
    assert [t["touch_timestamp"] for t in of(made, "attribution")] == [at(30), at(48.1)]


def test_of_many_touches_the_first_and_the_latest_count() -> None:
    spec = spec_of(attribution={"maxTouches": 3})
    made = ran(spec, *(session(n, n) for n in range(5)), session(5, 5, sale(5)))
    assert [t["touch_timestamp"] for t in of(made, "attribution")] == [at(0), at(4), at(5)]


def test_a_late_touch_changes_the_shares_and_a_retraction_takes_it_back() -> None:
    made = ran(spec_of(), session(5, 5, sale(5)))
    assert [t["credit_linear"] for t in of(made, "attribution")] == [1]
    made.run([session(2, 2)])
    assert [t["credit_linear"] for t in of(made, "attribution")] == [0.5, 0.5]
    gone = session(2, 2, version=2)
    made.run([{k: v for k, v in gone.items() if "last" not in k} | {"retracted": True}])
    assert [t["credit_linear"] for t in of(made, "attribution")] == [1]
    made.run([session(2, 2)])
    assert made.counts["superseded"] == 1
    assert [t["credit_linear"] for t in of(made, "attribution")] == [1]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 100])
def test_shares_are_the_whole(model: str, count: int) -> None:
    credits = MODELS[model](count)
    assert sum(credits) == WHOLE
    assert len(credits) == count
    for revenue in (0, 1, 99, -5, 10**18 + 1):
        assert sum(shares(revenue, credits)) == revenue
        parts = zip(shares(revenue, credits), credits, strict=True)
        assert not any(share for share, credit in parts if not credit)


# Sessions that do not count, and limits.


def test_bots_do_not_count_unless_asked_for() -> None:
    bot = session(0, 1, step(0, 1), path=["/"], is_bot=True)
    assert not ran(spec_of(), bot).documents
    assert ran(spec_of(bots=True), bot).documents
    made = ran(spec_of(), bot | {"is_bot": False}, bot | {"version": 2})
    assert not made.documents


def test_a_record_of_long_ago_is_late_and_what_is_past_is_let_go_of() -> None:
    spec = spec_of(retention={"enabled": False}, attribution={"lookback": "1d"})
    made = ran(spec, session(0, 1, step(0, 1)), session(100, 100))
    assert made.state
    made.run([session(100 - 15, 100 - 15), session(100 - 13, 100 - 13)])
    assert (made.counts["late"], made.counts["accepted"]) == (1, 3)
    made.run([session(1000, 1000) | {"session_key": "bob"}])
    assert made.state.keys() == {"bob"}
    assert len(of(made, "funnels")) == 1, "documents stay"


def test_a_visitor_with_too_many_sessions_is_full_until_some_are_past() -> None:
    spec = spec_of(maxSessions=10, attribution={"lookback": "1d"}, retention={"enabled": False})
    made = ran(spec, *(session(n, n) for n in range(12)))
    assert (made.counts["accepted"], made.counts["visitor_full"]) == (10, 2)
    made.run([session(9, 9, version=2), session(60, 60)])
    assert made.counts["accepted"] == 12


def test_a_visitor_who_is_erased_is_new() -> None:
    made = ran(spec_of(), session(0, 1, step(0, 1), path=["/"]))
    assert made.state
    made.visitors.add(*read_record(json.dumps(session(3, 3)).encode(), bots=False))
    made.visitors.forget("ann")
    made.commit()
    assert not made.state
    made.run([session(24 * 8, 24 * 8, version=9)])
    assert [d["period"] for d in of(made, "retention")] == [0, 0]


def test_state_of_another_format_is_refused() -> None:
    visitors = PartitionVisitors(PIPELINE, spec_of(), SESSIONS, {})
    with pytest.raises(ValueError, match="incompatible version"):
        visitors.restore(msgspec.msgpack.encode((0, "ann", 0, [])))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "invalid_json"),
        (b"{}", "wrong_type"),
        (json.dumps(session(0, 1) | {"session_key": ""}).encode(), "missing_field"),
        (json.dumps(session(0, 1) | {"last_event_timestamp": "x"}).encode(), "invalid_timestamp"),
        (json.dumps(session(0, 1, {"time": "x"})).encode(), "invalid_timestamp"),
    ],
)
def test_what_is_no_session_record_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        read_record(raw, bots=False)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "invalid_json"),
        (b"{}", "wrong_type"),
        (b'{"kind":"x","id":"1","version":1,"timestamp":"2026-01-01T00:00:00Z"}', "missing_field"),
        (
            b'{"kind":"funnels","id":"1","version":1,"timestamp":"2026-01-01T00:00:00Z"}',
            "missing_field",
        ),
        (
            b'{"kind":"funnels","id":"1","version":1,"timestamp":"x","document":{}}',
            "invalid_timestamp",
        ),
    ],
)
def test_what_is_no_document_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        AnalyticsDocuments("a").build(raw)
    assert refused.value.reason == reason


def test_a_document_goes_to_the_index_of_its_month() -> None:
    raw = (
        b'{"kind":"funnels","id":"1","version":7,"timestamp":"2026-01-31T00:00:00Z","document":{}}'
    )
    document = AnalyticsDocuments("web-analytics").build(raw)
    assert document.index == "web-analytics-funnels-2026.01"
    assert (document.id, document.body, document.version) == ("1", b"{}", 7)


# What the sessionize stage adds to a session's record.


def test_a_session_record_has_path_and_milestones() -> None:
    partition = Partition(SESSIONS, analytics=spec_of())
    view = {"page_url_path": None, "event_type": "pageview"}
    log = [
        message(BASE, "e1", page_url="https://shop/p/1?x=1", **view),
        message(BASE + SECOND, "e2", page_url="https://shop/p/1", **view),
        message(BASE + 2 * SECOND, "e3", page_url="https://shop/p/2", **view),
        message(BASE + 3 * SECOND, "e4", event_type="add_to_cart"),
        message(BASE + 4 * SECOND, "e5", event_type="purchase", revenue=1.5),
        message(BASE + 5 * SECOND, "e6", page_url="https://shop", **view),
    ]
    partition.run(log[::-1], [])
    partition.commit()
    (record,) = partition.readers.values()
    assert record["path"] == ["/p/1", "/p/2", "/"]
    assert not record["path_truncated"]
    times = [time_text(BASE + n * SECOND) for n in (0, 3, 4)]
    assert record["milestones"] == [
        {"time": times[0], "steps": ["buy/1"]},
        {"time": times[1], "steps": ["buy/2"]},
        {
            "time": times[2],
            "steps": ["buy/3"],
            "conversions": ["purchase"],
            "event_id": "e5",
            "revenue": 1.5,
        },
    ]
    fields = {field.name for field in (*SESSION_FIELDS, *JOURNEY_FIELDS)}
    assert record.keys() | {"retracted"} == fields
    plain = Partition(SESSIONS)
    plain.run(log[::-1], [])
    plain.commit()
    (without,) = plain.readers.values()
    assert without == {
        k: v for k, v in record.items() if k not in ("path", "path_truncated", "milestones")
    }


def test_records_are_published_in_the_order_of_time() -> None:
    """Whatever one commit holds, as here a long visit beside one in the middle of it."""
    sessions = SessionsSpec(
        gap=timedelta(seconds=10),
        max_length=timedelta(seconds=30),
        allowed_lateness=timedelta(seconds=5),
    )
    partition = Partition(sessions, analytics=spec_of())
    log = [message(BASE + 9 * n * SECOND, f"a{n}") for n in range(100)]
    log.insert(50, message(BASE + 449 * SECOND, "b", user_domain_id="bob"))
    partition.run(log, [])
    partition.commit()
    visitors = Visitors(spec_of(), sessions)
    visitors.run(partition.published)
    assert visitors.counts.keys() == {"accepted"}


# The specification.


def pipeline_of(**spec: Any) -> WebEventPipeline:
    document = {
        "apiVersion": "webevents.dev/v1alpha1",
        "kind": "WebEventPipeline",
        "metadata": {"name": "shop"},
        "spec": {"analytics": {"enabled": True}} | spec,
    }
    return parse_pipeline(document, "test")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"funnels": [{"name": "a", "steps": [{"name": "x", "page": "/"}]}]}, "at least 2"),
        ({"funnels": [FUNNEL, FUNNEL]}, "rename one"),
        ({"funnels": [FUNNEL | {"within": "soon"}]}, "within"),
        ({"funnels": [FUNNEL | {"within": "500d"}]}, "at most 400d"),
        ({"funnels": [FUNNEL | {"within": "0s"}]}, "longer than 0s"),
        ({"funnels": [FUNNEL | {"steps": [{"name": "x"}, {"name": "y"}]}]}, "set eventTypes, page"),
        (
            {"funnels": [FUNNEL | {"steps": [{"name": "x", "page": "/"}] * 2}]},
            "two steps have the same name",
        ),
        ({"funnels": [FUNNEL | {"name": "a/b"}]}, "pattern"),
        ({"attribution": {"models": ["last", "last"]}}, "names one twice"),
        ({"attribution": {"models": ["best"]}}, "first"),
        ({"attribution": {"conversions": []}}, "at least 1"),
        ({"attribution": {"lookback": "2y"}}, "duration"),
        ({"attribution": {"conversions": [{"name": "x", "fields": {"a.b": "1"}}]}}, "fields.a.b"),
        ({"retention": {"periods": 1}}, "greater than or equal to 2"),
        ({"transitions": {"by": "title"}}, "page"),
    ],
)
def test_what_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        spec_of(**given)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"sessions": {"enabled": False}}, "sessions.enabled"),
        ({"topics": {"sessions": {"partitions": 6}}}, "topics.sessions.partitions"),
        ({"index": {"analytics": {"prefix": "web-events"}}}, "must differ"),
        ({"topics": {"analytics": {"name": "web-sessions-state"}}}, "own names"),
        (
            {
                "enrich": {"dropFields": ["plan"]},
                "analytics": {
                    "enabled": True,
                    "attribution": {"conversions": [{"name": "a", "fields": {"plan": "pro"}}]},
                },
            },
            "dropFields names plan",
        ),
    ],
)
def test_what_does_not_go_together(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(Exception, match=says):
        pipeline_of(**spec)


def test_documents_take_from_sessions_what_these_have() -> None:
    names = {field.name for field in SESSION_FIELDS}
    assert names.issuperset(VISIT_FIELDS)
    for fields in KINDS.values():
        assert len({field.name for field in fields}) == len(fields)
