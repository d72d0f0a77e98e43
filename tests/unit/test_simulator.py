"""The simulator's web-events profile: its events, its walk, its volume, its truth."""

import subprocess
import sys
from collections import Counter, defaultdict
from datetime import timedelta
from hashlib import sha256
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import iptocc
import msgspec
import pytest
from crawleruseragents import is_crawler
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ua_parser import parse

from webevents.errors import UserError
from webevents.events.event import decode_event, event_time_us
from webevents.events.key import key_reader
from webevents.logic.enrich.channel import channel_of
from webevents.logic.enrich.referrer import Referrers
from webevents.logic.enrich.urls import split_url
from webevents.sources.simulator import Simulated, Simulator
from webevents.sources.simulator.agents import AGENTS, CRAWLERS
from webevents.sources.simulator.places import PLACES, public_address, reserved_address
from webevents.spec.base import format_duration
from webevents.spec.generator import HOURLY_WEIGHTS, SESSION_END, TRANSITIONS, GeneratorSpec

HOUR_US = 3_600_000_000
MINUTE_US = 60_000_000
GAP_US = 30 * MINUTE_US
FIELDS = tuple(
    """event_id event_timestamp event_type page_url page_url_path referer_url
    referer_url_scheme referer_url_port referer_medium utm_medium utm_source utm_content
    utm_campaign click_id geo_latitude geo_longitude geo_country geo_timezone geo_region_name
    ip_address browser_name browser_user_agent browser_language os os_name os_timezone device_type
    device_is_mobile user_custom_id user_domain_id""".split()  # noqa: SIM905
)
FAULTS = {"duplicates": 0.02, "late": 0.05, "outOfOrder": 0.2, "corrupt": 0.01, "bots": 0.1}


def spec(**fields: Any) -> GeneratorSpec:
    return GeneratorSpec.model_validate({"seed": 11, "time": {"mode": "backdated"}, **fields})


def take(count: int, /, replica: int = 0, replicas: int = 1, **fields: Any) -> list[Simulated]:
    return list(islice(Simulator(spec(**fields), replica=replica, replicas=replicas), count))


@pytest.fixture(scope="module")
def clean() -> list[tuple[Simulated, dict[str, Any]]]:
    return [(m, msgspec.json.decode(m.value)) for m in take(20_000)]


def digest(messages: list[Simulated]) -> str:
    parts = sha256()
    for m in messages:
        parts.update(m.key or b"")
        parts.update(m.value)
        parts.update(msgspec.json.encode((m.arrival_us, m.truth)))
    return parts.hexdigest()


# One seed, one stream


RUNS = [
    (profile, mode) for profile in ("web-events", "journeys") for mode in ("backdated", "wallClock")
]
PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from test_simulator import RUNS, digest_of
print(*(digest_of(*run) for run in RUNS))
"""


def digest_of(profile: str, mode: str, seed: int = 11) -> str:
    return digest(take(3000, profile=profile, faults=FAULTS, time={"mode": mode}, seed=seed))


def test_a_seed_gives_the_same_bytes_in_another_process() -> None:
    program = PROGRAM.format(folder=str(Path(__file__).parent))
    there = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77"},
    )  # fmt: skip
    assert there.stdout.split() == [digest_of(*run) for run in RUNS]
    assert len({*there.stdout.split(), digest_of(*RUNS[0], seed=12)}) == len(RUNS) + 1


def test_the_pace_does_not_change_events() -> None:
    fast = take(2000, time={"mode": "accelerated", "speed": 1000})
    assert digest(fast) == digest(take(2000, time={"mode": "backdated"}))


def test_another_start_moves_times_and_changes_identifiers_only() -> None:
    moved = {"event_id", "event_timestamp", "user_domain_id", "click_id"}
    one = take(2000, time={"mode": "wallClock", "start": "2026-03-01T00:00:00Z"})
    other = take(2000, time={"mode": "wallClock", "start": "2026-03-01T00:00:07Z"})
    for a, b in zip(one, other, strict=True):
        assert b.arrival_us - a.arrival_us == 7_000_000
        first, second = msgspec.json.decode(a.value), msgspec.json.decode(b.value)
        assert first["event_id"] != second["event_id"]
        assert [first[f] for f in FIELDS if f not in moved] == [
            second[f] for f in FIELDS if f not in moved
        ]


@pytest.mark.parametrize("profile", ["web-events", "journeys"])
def test_replicas_share_the_volume_and_nothing_else(profile: str) -> None:
    duration = {"mode": "backdated", "duration": "1h"}
    fields: dict[str, Any] = {"profile": profile, "faults": FAULTS, "time": duration}
    runs = [take(10**6, i, 3, eventsPerSecond=6, **fields) for i in range(3)]
    ids = [{m.truth.event_id for m in run} for run in runs]
    visitors = [{m.truth.visitor for m in run} for run in runs]
    for many in (ids, visitors):
        assert len(set.union(*many)) == sum(map(len, many))
    whole = len(take(10**6, eventsPerSecond=6, **fields))
    assert sum(map(len, runs)) == pytest.approx(whole, rel=0.15)


def test_event_ids_are_version_4_uuids_and_unique() -> None:
    from uuid import UUID

    messages = take(20_000)
    assert len({m.event_id for m in messages}) == len(messages)
    assert all(UUID(m.event_id.decode()).version == 4 for m in messages[:200])
    assert all(UUID(m.truth.visitor).version == 4 for m in messages[:200])


# The events


def test_events_have_the_30_fields_in_their_order_and_decode(clean: Any) -> None:
    for m, event in clean:
        assert tuple(event) == FIELDS
        decoded = decode_event(m.value)
        assert event_time_us(decoded) == m.event_time_us == m.arrival_us
        assert m.key == event["user_domain_id"].encode() == m.truth.visitor.encode()
        assert event["event_id"] == m.truth.event_id
        assert event["event_type"] == "pageview"
        assert event["page_url"] == "https://www.example.com" + event["page_url_path"]
        assert isinstance(event["geo_latitude"], str) and isinstance(event["geo_longitude"], str)
        assert "@" in event["user_custom_id"]


@pytest.mark.parametrize("agent", AGENTS + CRAWLERS, ids=lambda a: f"{a.os}-{a.browser_name}")
def test_user_agents_say_what_the_fields_say(agent: Any) -> None:
    seen = parse(agent.user_agent).with_defaults()
    assert seen.user_agent.family == agent.browser_name
    assert seen.os.family == agent.os_name
    version = ".".join(part for part in (seen.os.major, seen.os.minor, seen.os.patch) if part)
    assert f"{seen.os.family} {version}".strip() == agent.os
    device = seen.device.family
    if agent.device_type == "bot":
        assert device == "Spider"
    elif agent.device_type == "desktop":
        assert device in ("Other", "Mac")
    elif agent.platform == "iOS":
        assert device == ("iPad" if agent.device_type == "tablet" else "iPhone")
    else:
        phone = "Mobile" in agent.user_agent
        assert phone == (agent.device_type == "mobile")


def test_fields_of_one_event_agree(clean: Any) -> None:
    agents = {a.user_agent: a for a in AGENTS}
    places = {(p.latitude, p.longitude): p for p in PLACES}
    for _, event in clean:
        agent = agents[event["browser_user_agent"]]
        assert event["browser_name"] == agent.browser_name
        assert (event["os_name"], event["os"]) == (agent.os_name, agent.os)
        assert event["device_type"] == agent.device_type
        assert event["device_is_mobile"] is (agent.device_type in ("mobile", "tablet"))
        place = places[event["geo_latitude"], event["geo_longitude"]]
        assert event["geo_country"] == place.country
        assert event["geo_region_name"] == place.region
        assert event["geo_timezone"] == event["os_timezone"] == place.timezone
        assert event["browser_language"] == place.language


def test_referrers_fit_the_source_and_then_the_page_before(clean: Any) -> None:
    sources = {(s.source, s.medium, s.referrer): s for s in spec().traffic}
    before: dict[str, str] = {}
    for m, event in clean:
        url, visit = event["referer_url"], m.truth.session
        if visit in before:
            assert url == before[visit] and event["referer_medium"] == "internal"
        else:
            source = sources[event["utm_source"], event["utm_medium"], url]
            assert m.truth.channel == source.channel
            assert event["referer_medium"] == source.referrer_medium
            assert (event["utm_campaign"] is not None) == source.campaign
            assert (event["click_id"] is not None) == source.click_id
        parts = urlsplit(url or "")
        assert (event["referer_url_scheme"] or "") == parts.scheme
        assert event["referer_url_port"] == {"https": "443", "http": "80", "": None}[parts.scheme]
        before[visit] = event["page_url"]


@pytest.mark.parametrize("source", spec().traffic, ids=lambda s: f"{s.source}-{s.medium}")
def test_true_channels_are_those_of_the_enrich_stage(source: Any) -> None:
    known = Referrers()
    medium = known.of_url(split_url(source.referrer or ""), "www.example.com").medium
    assert medium == source.referrer_medium
    campaign = "campaign_1" if source.campaign else None
    channel = channel_of(
        known, source=source.source, medium=source.medium, campaign=campaign,
        referrer_medium=medium,
    )  # fmt: skip
    assert channel == source.channel


@pytest.mark.parametrize("agent", CRAWLERS, ids=lambda a: a.browser_name)
def test_crawlers_are_known_as_such(agent: Any) -> None:
    assert is_crawler(agent.user_agent)
    assert not any(is_crawler(a.user_agent) for a in AGENTS)


def test_addresses_are_reserved_or_of_the_visitors_country() -> None:
    import ipaddress

    reserved = [ipaddress.ip_address(reserved_address(n)) for n in range(20_000)]
    nets = [ipaddress.ip_network(net) for net in ("198.18.0.0/15", "2001:db8::/32")]
    assert all(any(a in net for net in nets) for a in reserved)
    assert len(set(reserved)) == len(reserved)
    for place in PLACES:
        for number in (0, 1, 77, 65_535):
            assert iptocc.country_code(public_address(place, number)) == place.country
    for m in take(500, addresses="public"):
        event = msgspec.json.decode(m.value)
        assert iptocc.country_code(event["ip_address"]) == event["geo_country"]


# The walk and the volume


def test_the_walk_has_the_weights_of_the_matrix() -> None:
    walks: dict[str, list[str]] = defaultdict(list)
    began: dict[str, int] = {}
    simulator = Simulator(spec(time={"mode": "backdated", "duration": "1d"}, eventsPerSecond=0.5))
    for m in simulator:
        event = msgspec.json.decode(m.value)
        walks[m.truth.session].append(event["page_url_path"][1:])
        began.setdefault(m.truth.session, m.arrival_us)
    # The ends of the last visits may not be in the sample.
    cut = {visit for visit, us in began.items() if us > simulator.end_us - 4 * HOUR_US}
    landing = Counter(walk[0] for walk in walks.values())
    total = landing.total()
    for page, share in {"home": 0.60, "product_a": 0.25, "product_b": 0.15}.items():
        assert landing[page] / total == pytest.approx(share, abs=0.015)
    steps: dict[str, Counter[str]] = defaultdict(Counter)
    for visit, walk in walks.items():
        if visit not in cut:
            for page, following in pairwise([*walk, SESSION_END]):
                steps[page][following] += 1
    for page, targets in TRANSITIONS.items():
        moving = 1 - targets[page]
        for target, weight in targets.items():
            if target != page:
                seen = steps[page][target] / steps[page].total()
                bound = 4 * (0.25 / steps[page].total()) ** 0.5
                assert seen == pytest.approx(weight / moving, abs=bound), (page, target)


def test_visits_follow_the_hours_and_the_volume_is_as_asked() -> None:
    fields = {"time": {"mode": "backdated", "duration": "2d"}, "sessionsPerDay": 20_000}
    hours: Counter[int] = Counter()
    seen: set[str] = set()
    for m in Simulator(spec(**fields)):
        truth = m.truth
        if truth.session not in seen:
            seen.add(truth.session)
            hours[m.arrival_us // HOUR_US % 24] += 1
    assert len(seen) == pytest.approx(40_000, rel=0.03)
    for hour, weight in enumerate(HOURLY_WEIGHTS):
        expected = len(seen) * weight / sum(HOURLY_WEIGHTS)
        assert hours[hour] == pytest.approx(expected, abs=4 * expected**0.5), hour
    assert max(hours, key=hours.__getitem__) == 18 and min(hours, key=hours.__getitem__) == 4


def test_events_per_second_is_the_mean_of_the_day() -> None:
    fields = {"eventsPerSecond": 0.5, "faults": FAULTS}
    messages = take(10**6, time={"mode": "backdated", "duration": "1d"}, **fields)
    assert len(messages) == pytest.approx(43_200, rel=0.05)
    bots = sum(m.truth.is_bot for m in messages)
    assert bots / len(messages) == pytest.approx(0.1, abs=0.02)


def test_wall_clock_has_one_message_a_slot() -> None:
    simulator = Simulator(spec(time={"mode": "wallClock"}, eventsPerSecond=250, faults=FAULTS))
    messages = list(islice(simulator, 5000))
    assert [m.arrival_us for m in messages] == [
        simulator.start_us + i * 4000 for i in range(5000)
    ]  # fmt: skip


def test_hosts_and_keys() -> None:
    hosts = ("a.example.com", "b.example.com")
    simulator = Simulator(spec(hosts=hosts), key_fields=("ip_address", "host"))
    seen = set()
    read_key = key_reader(("ip_address", "host"))
    for m in islice(simulator, 2000):
        event = msgspec.json.decode(m.value)
        assert m.key == f"{event['ip_address']}|{event['host']}".encode()
        assert m.key.decode() == read_key(decode_event(m.value))
        assert event["page_url"].startswith(f"https://{event['host']}/")
        assert set(event) == {*FIELDS, "host"}
        seen.add(event["host"])
    assert seen == set(hosts)
    with pytest.raises(UserError, match=r"user_domain_id, user_custom_id, ip_address, host"):
        Simulator(spec(), key_fields=("user_id",))
    mail = next(iter(Simulator(spec(), key_fields=("user_custom_id",))))
    assert mail.key == msgspec.json.decode(mail.value)["user_custom_id"].encode()


# Visits


def visits_of(messages: list[Simulated]) -> dict[str, list[tuple[int, str]]]:
    """The valid, distinct events of each visitor in order of time, with their true sessions."""
    events: dict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
    for m in messages:
        truth = m.truth
        if truth.fault != "corrupt":
            events[truth.visitor][truth.event_id] = (truth.event_time_us, truth.session)
    return {visitor: sorted(known.values()) for visitor, known in events.items()}


def check_recoverable(messages: list[Simulated], gap_us: int) -> int:
    visits = 0
    for events in visits_of(messages).values():
        visits += 1
        for (t1, s1), (t2, s2) in pairwise(events):
            assert (t2 - t1 > gap_us) == (s1 != s2)
            visits += s1 != s2
    return visits


@given(
    seed=st.integers(0, 2**32),
    profile=st.sampled_from(["web-events", "journeys"]),
    mode=st.sampled_from(["backdated", "wallClock"]),
    users=st.integers(1, 30),
    rate=st.sampled_from([0.02, 0.3, 5.0]),
    gap=st.sampled_from([5, 30]),
    corrupt=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=30, deadline=None)
def test_a_sessioniser_by_gap_finds_the_true_sessions(
    seed: int, profile: str, mode: str, users: int, rate: float, gap: int, corrupt: float
) -> None:
    pauses = {"maxPause": format_duration(timedelta(minutes=gap - 1)), "minBreak": f"{gap + 1}m"}
    messages = take(
        2000, seed=seed, profile=profile, users=users, eventsPerSecond=rate, visits=pauses,
        time={"mode": mode}, faults={**FAULTS, "corrupt": corrupt},
    )  # fmt: skip
    assert check_recoverable(messages, gap * MINUTE_US) > 1
    assert [m.arrival_us for m in messages] == sorted(m.arrival_us for m in messages)


def test_visitors_come_back() -> None:
    messages = take(20_000, users=20, eventsPerSecond=0.05)
    assert check_recoverable(messages, GAP_US) > 5000
    visitors = {m.truth.visitor for m in messages}
    assert 20 <= len(visitors) <= 150
    tails = defaultdict(set)
    for m in messages:
        event = msgspec.json.decode(m.value)
        tails[event["user_domain_id"]].add((event["ip_address"], event["browser_user_agent"]))
    assert all(len(tail) == 1 for tail in tails.values())


# What the spec refuses


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"site": {"pages": {"a": {"b": 1}}, "landing": {"a": 1}}}, "there is no page b"),
        ({"site": {"pages": {"a": {"a": 1}}, "landing": {"a": 1}}}, "no way leads from here"),
        ({"site": {"landing": {"shop": 1}}}, "there is no page shop"),
        ({"site": {"landing": {"home": 0}}}, "at least one weight above 0"),
        ({"visits": {"hourlyWeights": [1, 2]}}, "24 weights"),
        ({"visits": {"maxPause": "1h"}}, "shorter than minBreak"),
        ({"faults": {"late": 0.6, "corrupt": 0.6}}, "must not exceed 1"),
        ({"faults": {"corrupt": 0.1, "corruptKinds": []}}, "corruptKinds is empty"),
        ({"eventsPerSecond": 0}, "eventsPerSecond must be above 0"),
        ({"platforms": {"BeOS": 1}}, "BeOS is none of"),
        ({"journeys": {"eventTypes": {"page_view": {"weight": 0}}}}, "page_view"),
        ({"hosts": ["https://a.example"]}, "pattern"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
)
def test_bad_specs_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**fields)


def test_a_spec_survives_being_written_and_read() -> None:
    before = spec(faults=FAULTS, time={"start": "2026-01-01 00:00:00"})
    assert GeneratorSpec.model_validate_json(before.model_dump_json(by_alias=True)) == before
    assert before.time.start is not None and before.time.start.utcoffset() == timedelta(0)
