"""Labelled incidents of the simulator: what they do, and that their truth says so."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from webevents.sources.output import FileOutput
from webevents.sources.simulator import Simulator
from webevents.sources.simulator.engine import Simulated
from webevents.sources.simulator.incidents import incidents_path, read_incident
from webevents.sources.simulator.run import run_simulator
from webevents.sources.simulator.truth import read_truth
from webevents.spec.generator import GeneratorSpec

START = datetime(2026, 3, 2, tzinfo=UTC)
FLAT = [1.0] * 24


def spec_of(incidents: list[dict[str, Any]], **more: Any) -> GeneratorSpec:
    faults = {"incidents": incidents, **more.pop("faults", {})}
    return GeneratorSpec.model_validate(
        {
            "profile": "journeys",
            "eventsPerSecond": 2,
            "users": 500,
            "seed": 3,
            "visits": {"hourlyWeights": FLAT},
            "time": {"mode": "backdated", "start": START, "duration": "6h"},
            "faults": faults,
            **more,
        }
    )


def by_hour(spec: GeneratorSpec) -> tuple[Counter[int], list[Simulated]]:
    simulator = Simulator(spec)
    messages = list(simulator)
    hours = Counter((m.event_time_us - simulator.start_us) // 3_600_000_000 for m in messages)
    return hours, messages


INCIDENT = {"start": "3h", "duration": "1h"}
CALM = by_hour(spec_of([]))[0]


def test_nothing_happens_during_an_outage() -> None:
    hours, messages = by_hour(spec_of([{"kind": "outage", **INCIDENT}]))
    assert hours[3] == 0
    assert hours[5] > 0.8 * CALM[5]
    assert {m.incident for m in messages} == {None}


def test_a_drop_takes_its_share() -> None:
    hours, messages = by_hour(spec_of([{"kind": "drop", "share": 0.6, **INCIDENT}]))
    assert 0.25 < hours[3] / CALM[3] < 0.55
    assert hours[1] == CALM[1]
    labels = Counter(m.incident for m in messages)
    assert labels["drop-1"] == hours[3]
    assert labels[None] == len(messages) - hours[3]


def test_a_surge_adds_its_share() -> None:
    hours, _ = by_hour(spec_of([{"kind": "surge", "share": 1.5, **INCIDENT}]))
    assert 1.8 < hours[3] / CALM[3] < 3.2
    assert hours[1] == CALM[1]


def test_orders_fail_while_all_else_goes_on() -> None:
    def orders(messages: list[Simulated], base: int) -> Counter[int]:
        bought = [m for m in messages if b'"event_type":"purchase"' in m.value]
        return Counter((m.event_time_us - base) // 3_600_000_000 for m in bought)

    spec = spec_of([{"kind": "conversion", **INCIDENT}])
    hours, messages = by_hour(spec)
    base = Simulator(spec).start_us
    bought = orders(messages, base)
    assert bought[3] == 0
    assert min(bought[hour] for hour in (1, 2, 5)) > 20
    assert hours[3] > 0.8 * CALM[3]


def test_a_surge_of_errors_spoils_its_share() -> None:
    _, messages = by_hour(spec_of([{"kind": "errors", "share": 0.4, **INCIDENT}]))
    within = [m for m in messages if m.incident == "errors-1"]
    assert 0.33 < sum(m.fault == "corrupt" for m in within) / len(within) < 0.47
    assert not any(m.fault == "corrupt" for m in messages if m.incident is None)


def test_visits_can_be_found_again() -> None:
    incidents = [
        {"kind": kind, "start": f"{number}h", "duration": "40m", "share": share}
        for number, (kind, share) in enumerate(
            [("drop", 0.5), ("outage", 1), ("conversion", 0.9), ("errors", 0.9), ("surge", 2)]
        )
    ]
    last: dict[tuple[str, str], int] = {}
    ends: dict[str, tuple[str, int]] = {}
    for message in Simulator(spec_of(incidents)):
        if message.fault == "corrupt":
            continue
        truth = message.truth
        visit = (truth.visitor, truth.session)
        if visit in last:
            assert truth.event_time_us - last[visit] <= 20 * 60_000_000
        elif truth.visitor in ends:
            assert truth.event_time_us - ends[truth.visitor][1] >= 40 * 60_000_000 - 1
        last[visit] = truth.event_time_us
        ends[truth.visitor] = (truth.session, truth.event_time_us)


def test_wall_clock_time_has_incidents_too() -> None:
    def counted(kind: str, share: float) -> Counter[int]:
        spec = spec_of(
            [{"kind": kind, "share": share, "start": "2m", "duration": "1m"}],
            time={"mode": "wallClock", "duration": "4m"},
            eventsPerSecond=10,
        )
        simulator = Simulator(spec)
        return Counter((m.arrival_us - simulator.start_us) // 60_000_000 for m in simulator)

    assert counted("outage", 1.0) == {0: 600, 1: 600, 3: 600}
    assert 200 < counted("drop", 0.5)[2] < 400
    assert counted("surge", 2.0) == {0: 600, 1: 600, 2: 1800, 3: 600}


def test_the_same_again_and_nothing_changes_before(tmp_path: Path) -> None:
    incident = {"kind": "surge", "share": 1.3, "start": "1h", "duration": "30m"}
    spec = spec_of([incident], time={"mode": "backdated", "start": START, "duration": "2h"})
    texts = []
    for name in ("one", "two"):
        output = FileOutput(tmp_path / f"{name}.ndjson")
        run_simulator(spec, output, truth_path=tmp_path / f"{name}-truth.ndjson")
        output.close()
        texts.append((tmp_path / f"{name}.ndjson").read_bytes())
    assert texts[0] == texts[1]
    until = Simulator(spec).start_us + 3_590_000_000
    calm = [m.value for m in Simulator(spec_of([])) if m.event_time_us < until]
    assert texts[0].splitlines()[: len(calm)] == calm
    lines = incidents_path(tmp_path / "one-truth.ndjson").read_text().splitlines()
    assert len(lines) == 1
    truth = read_incident(lines[0])
    assert (truth.name, truth.kind, truth.share) == ("surge-1", "surge", 1.3)
    assert truth.end_us - truth.start_us == 1_800_000_000
    labelled = {
        line.incident
        for line in map(read_truth, (tmp_path / "one-truth.ndjson").read_bytes().splitlines())
        if truth.start_us <= line.arrival_us < truth.end_us
    }
    assert labelled == {"surge-1"}


@pytest.mark.parametrize(
    ("incidents", "words"),
    [
        ([{"kind": "drop", "share": 2, **INCIDENT}], "must not exceed 1"),
        ([{"kind": "outage", "share": 0.5, **INCIDENT}], "use kind drop"),
        ([{"kind": "outage", "start": "1h", "duration": "0s"}], "longer than 0s"),
        ([{"kind": "drop", **INCIDENT}, {"kind": "surge", **INCIDENT}], "overlap"),
    ],
)
def test_what_makes_no_sense_is_refused(incidents: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec_of(incidents)


def test_page_views_have_no_orders() -> None:
    with pytest.raises(ValidationError, match="profile journeys"):
        spec_of([{"kind": "conversion", **INCIDENT}], profile="web-events")


def test_incidents_are_named_in_the_order_of_their_times() -> None:
    later = {"kind": "surge", "start": timedelta(hours=4), "duration": "10m"}
    names = [i.name for i in Simulator(spec_of([later, {"kind": "drop", **INCIDENT}])).incidents]
    assert names == ["drop-1", "surge-2"]
