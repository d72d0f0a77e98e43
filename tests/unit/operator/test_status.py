"""What is said of a pipeline: conditions, their times, and the counts that the ledgers give."""

import asyncio
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from webevents.connectors.kafka_observe import GroupView
from webevents.events.ledger import Counts, PartitionLedger
from webevents.plan.ledger import PipelineLedger
from webevents.plan.model import Plan, Workload
from webevents.spec.base import Model
from webevents.spec.kafka import KafkaSpec
from webevents_operator import conditions, ledgers
from webevents_operator.conditions import LedgerLook, Seen, make_status
from webevents_operator.kinds import Object
from webevents_operator.names import Key
from webevents_operator.outcome import Outcome
from webevents_operator.status import ConditionType, Reason

A = Key("n", "a")


def _seen(**members: Any) -> Seen:
    return Seen(key=Key("web", "shop"), generation=4, now="2026-01-02T00:00:00Z", **members)


def test_what_is_wrong_goes_before_what_is_on_its_way() -> None:
    away = Outcome(False, Reason.ELASTICSEARCH_UNAVAILABLE, "away")
    coming = Outcome(False, Reason.PROGRESSING, "coming")
    found = dict(conditions.conditions(_seen(topics=coming, templates=away)))
    assert found[ConditionType.READY] == away
    assert found[ConditionType.DEGRADED].ok
    assert found[ConditionType.PROGRESSING].ok
    assert found[ConditionType.TABLES_READY].ok


@pytest.mark.parametrize("reason", [Reason.KIBANA_UNAVAILABLE, Reason.PROGRESSING])
def test_a_kibana_that_is_away_stops_nothing(reason: Reason) -> None:
    away = Outcome(False, reason, "Kibana at https://k:5601 does not answer")
    found = dict(conditions.conditions(_seen(dashboards=away)))
    ready = found[ConditionType.READY]
    assert (ready.ok, ready.message) == (True, "Everything is as wanted but the dashboards.")
    assert found[ConditionType.DASHBOARDS_READY] == away
    wrong = reason is Reason.KIBANA_UNAVAILABLE
    assert found[ConditionType.DEGRADED].ok == wrong
    assert found[ConditionType.PROGRESSING].ok != wrong
    if wrong:
        assert found[ConditionType.DEGRADED].reason == reason
        assert "does not answer" in found[ConditionType.DEGRADED].message
    # Where something else is wrong too, that is why it is not ready.
    coming = Outcome(False, Reason.PROGRESSING, "topics are coming")
    both = dict(conditions.conditions(_seen(dashboards=away, topics=coming)))
    assert both[ConditionType.READY] == coming
    assert dict(conditions.conditions(_seen()))[ConditionType.READY].message.endswith("wanted.")


def test_a_transition_keeps_its_time_until_the_status_changes() -> None:
    first = make_status(_seen(), {})
    assert all(c["observedGeneration"] == 4 for c in first["conditions"])
    for each in first["conditions"]:
        each["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    again = make_status(_seen(), first)
    assert again == first
    failing = Outcome(False, Reason.KAFKA_UNAVAILABLE, "away")
    after = {c["type"]: c for c in make_status(_seen(topics=failing), first)["conditions"]}
    assert after["TopicsReady"]["lastTransitionTime"] == "2026-01-02T00:00:00Z"
    assert after["TemplatesReady"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def _look(lag: int, received: int, **rates: float) -> LedgerLook:
    counts = PartitionLedger(0, received, Counts(received, received), received)
    group = GroupView("shop-enrich", {("raw", 0): counts}, {("raw", 0): lag})
    return LedgerLook(PipelineLedger(_ENRICHING, {"enrich": group}), rates)


_ENRICHING = Plan("shop", topics=(), templates=(), workloads=[
    Workload("enrich", (), Model(), 1, group="shop-enrich", reads=("raw",))
])  # fmt: skip


def test_what_was_counted_holds_until_it_is_counted_again() -> None:
    def told(look: LedgerLook | None, before: Object, **members: Any) -> Object:
        return make_status(_seen(workloads=_ENRICHING.workloads, look=look, **members), before)

    first = told(_look(3, 10), {})
    assert first["lag"] == 3
    assert "eventsPerSecond" not in first  # it takes two looks
    known = told(_look(3, 20, enrich=5.04), first)
    assert (known["eventsPerSecond"], known["stages"][0]["received"]) == (5.0, 20)
    # As after a restart: not looked at yet, then looked at once.
    assert told(None, known) == known
    again = told(_look(3, 20), known)
    assert again == known
    blocked = Outcome(False, Reason.SECRET_MISSING, "none")
    assert "lag" not in told(None, known, blocked=blocked)


def test_a_look_that_shows_nothing_new_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [_look(3, 10), _look(3, 10), _look(3, 10), _look(4, 10)]
    monkeypatch.setattr(ledgers, "_read", lambda kafka, plan: found.pop(0).ledger)
    told: list[Key] = []

    async def run() -> None:
        looks = ledgers.Ledgers(0.0, told.append)
        for news in (1, 2, 2, 3):  # the second one is the first with rates
            if news == 1:
                looks.ask(A, KafkaSpec(), _ENRICHING)
            else:
                looks.again(A)  # what was asked is remembered
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
            assert len(told) == news
        looks.forget(A)
        looks.again(A)
        looks.close()

    asyncio.run(run())
    assert found == []


def test_a_kafka_that_is_away_is_asked_for_one_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """`_read` is a stand-in, so that an answer and an outage come when they are to."""
    asked: list[Key] = []
    fault: KafkaException | None = KafkaException(KafkaError(KafkaError._TRANSPORT))

    def read(kafka: KafkaSpec, plan: Plan) -> PipelineLedger:
        asked.append(Key("n", plan.pipeline))
        if fault:
            raise fault
        return _look(0, 1).ledger

    monkeypatch.setattr(ledgers, "_read", read)
    keys = [Key("n", f"p{number}") for number in range(50)]
    kafka = KafkaSpec(bootstrap_servers="kafka:9092")

    async def run() -> None:
        nonlocal fault
        looks = ledgers.Ledgers(0.2, lambda _: None)

        async def ask_all() -> int:
            asked.clear()
            for key in keys:
                looks.ask(key, kafka, Plan(key.name, (), (), ()))
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
            return len(asked)

        assert await ask_all() <= 4  # those that were under way when the first one failed
        assert await ask_all() == 0
        await asyncio.sleep(0.9)  # the longest pause
        assert await ask_all() == 1
        await asyncio.sleep(0.9)
        fault = None
        assert await ask_all() == 1
        assert await ask_all() == 49  # it is there again, so the others are asked for at once
        # One whose own log-in is refused keeps nobody else from looking.
        fault = KafkaException(KafkaError(KafkaError._AUTHENTICATION))
        await asyncio.sleep(0.3)
        looks.again(keys[0])
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        fault = None
        assert await ask_all() == 49
        looks.close()

    asyncio.run(run())


def test_a_status_fits_its_schema() -> None:
    status = make_status(_seen(paused=True), {})
    assert status["selector"] == "webevents.dev/pipeline=shop,webevents.dev/workload=generator"
    assert {each["reason"] for each in status["conditions"]} <= set(Reason)
    assert {each["type"] for each in status["conditions"]} == set(ConditionType)
