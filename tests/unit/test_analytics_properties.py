"""Analytics are a function of the sessions: however they come, readers end up with the same."""

import random
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_analytics import analyze, journey_of
from reference_sessions import from_log, revenue_of
from session_streams import PIPELINE, Action, Message, Partition, actions, streams
from visitor_streams import Visitors

from webevents.spec.analytics import AnalyticsSpec
from webevents.spec.stages import SessionsSpec

PROPERTY = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
HOUR = timedelta(hours=1)
SESSIONS = [
    SessionsSpec(gap=gap, max_length=length, allowed_lateness=lateness)
    for gap, length, lateness in (
        (timedelta(seconds=10), timedelta(seconds=30), timedelta(seconds=25)),
        (2 * HOUR, 12 * HOUR, 6 * HOUR),
        (9 * HOUR, 20 * HOUR, timedelta(0)),
        (30 * HOUR, 100 * HOUR, 90 * HOUR),
    )
]


def spec_of(**update: Any) -> AnalyticsSpec:
    document: dict[str, Any] = {
        "bots": True,
        "funnels": [
            {"name": "visit", "steps": [
                {"name": "any", "eventTypes": ["pageview", "page_view", "click"]},
                {"name": "search", "eventTypes": ["search"]},
                {"name": "second", "page": "/[12]", "eventTypes": ["pageview", "click"]},
            ]},
            {"name": "days", "within": "2d", "steps": [
                {"name": "page", "page": "/*"},
                {"name": "again", "page": "/2"},
                {"name": "once more", "fields": {"channel": "Direct"}},
                {"name": "buy", "eventTypes": ["purchase"]},
            ]},
            {"name": "short", "within": "15s", "steps": [
                {"name": "click", "eventTypes": ["click", "pageview"]},
                {"name": "buy", "eventTypes": ["purchase", "click"]},
            ]},
        ],
        "transitions": {"maxPerSession": 5},
        "retention": {"period": "day", "periods": 2},
        "attribution": {
            "lookback": "36h",
            "maxTouches": 4,
            "conversions": [
                {"name": "purchase", "eventTypes": ["purchase"]},
                {"name": "red", "fields": {"search_query": "red"}},
            ],
        },
    }  # fmt: skip
    return AnalyticsSpec.model_validate(document | update)


SPECS = [
    spec_of(),
    spec_of(bots=False, retention={"period": "week", "periods": 3}),
    spec_of(transitions={"by": "eventType"}, attribution={"enabled": False}),
    spec_of(transitions={"enabled": False}, retention={"enabled": False}),
    spec_of(
        funnels=spec_of().model_dump(mode="json", by_alias=True)["funnels"][:1],
        retention={"period": "day", "periods": 20},
        attribution={"models": ["position"], "lookback": "20s", "maxTouches": 1},
    ),
]
Case = tuple[AnalyticsSpec, Partition, list[Message], list[Action]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """What the sessionize stage made of a log, and how it is read."""
    spec, sessions = draw(st.sampled_from(SPECS)), draw(st.sampled_from(SESSIONS))
    log = draw(streams(sessions, max_size=60))
    partition = Partition(sessions, analytics=spec)
    partition.run(log, draw(actions(len(log))))
    partition.commit()
    return spec, partition, log, draw(actions(40))


def expected(spec: AnalyticsSpec, partition: Partition, log: list[Message]) -> Any:
    journey = journey_of(spec, lambda event: revenue_of(event, partition.spec))
    sessions = from_log(log, partition.spec, PIPELINE, more=journey)
    return analyze(sessions.values(), spec, PIPELINE)


@PROPERTY
@given(cases())
def test_readers_have_what_a_computation_over_all_events_gives(case: Case) -> None:
    """The stage drops nothing as late although it waits no longer than the rules of sessions say,
    and lets go of what is past."""
    spec, partition, log, what = case
    visitors = Visitors(spec, partition.spec)
    visitors.run(partition.published, what)
    assert set(visitors.counts) <= {"accepted"}
    assert visitors.documents == expected(spec, partition, log)


@PROPERTY
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_records_does_not_matter(case: Case, chance: random.Random) -> None:
    spec, partition, log, what = case
    records = partition.published * 2
    chance.shuffle(records)
    visitors = Visitors(spec, partition.spec, slack=timedelta(days=10_000))
    visitors.run(records, what)
    assert set(visitors.counts) <= {"accepted", "superseded"}
    assert visitors.documents == expected(spec, partition, log)


@PROPERTY
@given(cases())
def test_nothing_is_remembered_for_ever(case: Case) -> None:
    spec, partition, _, what = case
    before = len(partition.published)
    partition.pass_by()
    visitors = Visitors(spec, partition.spec)
    visitors.run(partition.published[:before], what)
    visitors.run(partition.published[before:])
    found = visitors.documents
    assert found == expected(spec, partition, partition.log)
    if spec.bots:
        assert visitors.state.keys() == {"zoe"}


@PROPERTY
@given(cases())
def test_shares_of_a_conversion_are_the_whole(case: Case) -> None:
    spec, partition, _, _ = case
    visitors = Visitors(spec, partition.spec)
    visitors.run(partition.published)
    conversions: dict[str, list[Any]] = {}
    for (index, _), document in visitors.documents.items():
        if index.startswith("attribution"):
            conversions.setdefault(document["conversion_id"], []).append(document)
    for touches in conversions.values():
        assert sorted(each["touch"] for each in touches) == list(range(1, len(touches) + 1))
        assert {each["touches"] for each in touches} == {len(touches)}
        for model in spec.attribution.models:
            assert sum(round(each[f"credit_{model}"] * 10**6) for each in touches) == 10**6
            shares = sum(round(each[f"revenue_{model}"] * 10**4) for each in touches)
            assert shares == round(touches[0]["revenue"] * 10**4)
