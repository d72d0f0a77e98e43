"""The simulator's journeys profile: weights, context, money, the ends of visits."""

from collections import Counter, defaultdict
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from webevents.events.event import decode_event
from webevents.events.fields import BY_NAME
from webevents.sources.simulator import Simulator
from webevents.spec.generator import EVENT_TYPES, GeneratorSpec

MINUTE_US = 60_000_000


def simulate(count: int, **fields: Any) -> list[tuple[Any, dict[str, Any]]]:
    spec = GeneratorSpec.model_validate(
        {"seed": 3, "profile": "journeys", "time": {"mode": "backdated"}, **fields}
    )
    return [(m, msgspec.json.decode(m.value)) for m in islice(Simulator(spec), count)]


@pytest.fixture(scope="module")
def events() -> list[tuple[Any, dict[str, Any]]]:
    return simulate(40_000, eventsPerSecond=5)


@pytest.fixture(scope="module")
def visits(events: Any) -> list[list[tuple[Any, dict[str, Any]]]]:
    """The visits that had certainly ended."""
    known: dict[str, list[Any]] = defaultdict(list)
    for m, event in events:
        known[m.truth.session].append((m, event))
    last_us = events[-1][0].arrival_us
    return [visit for visit in known.values() if last_us - visit[0][0].arrival_us > 31 * MINUTE_US]


def test_types_have_their_weights(events: Any) -> None:
    seen = Counter(event["event_type"] for _, event in events)
    total = sum(kind.weight for kind in EVENT_TYPES.values())
    assert total == pytest.approx(92.3)
    assert set(seen) == set(EVENT_TYPES)
    for name, kind in EVENT_TYPES.items():
        share = kind.weight / total
        assert seen[name] / len(events) == pytest.approx(share, rel=0.15), name


def test_events_decode_with_known_fields_only(events: Any) -> None:
    for m, event in events[:5000]:
        decode_event(m.value)
        assert event.keys() <= BY_NAME.keys()
        assert m.key == event["user_id"].encode() == m.truth.visitor.encode()
        assert event["device_type"] in ("desktop", "mobile", "tablet")
    assert {event["device_type"] for _, event in events} == {"desktop", "mobile", "tablet"}


def test_events_happen_where_they_belong(visits: Any) -> None:
    assert len(visits) > 500
    for visit in visits:
        cart, cents, page, signed_in = 0, 0, None, False
        for index, (_, event) in enumerate(visit):
            path, kind = event["page_url_path"], event["event_type"]
            if index == 0:
                assert kind == "page_view"
            if kind == "page_view":
                if page is not None:
                    assert event["referer_url"] == page and event["referer_medium"] == "internal"
                page = event["page_url"]
            assert event["page_url"] == page, "every page begins with its page view"
            assert (path.startswith("/product/")) == ("product_id" in event)
            if kind == "search":
                assert path == "/search"
                assert [event["search_query"]] == parse_qs(urlsplit(page).query)["q"]
            elif kind == "add_to_cart":
                assert "product_id" in event and event["quantity"] >= 1
                cart += event["quantity"]
                cents += event["quantity"] * round(event["price"] * 100)
            elif kind == "purchase":
                assert path == "/checkout" and cart > 0
                assert (round(event["revenue"] * 100), event["quantity"]) == (cents, cart)
                assert event["currency"] == "USD" and event["order_id"]
                cart = cents = 0
            elif kind == "login":
                assert path == "/account/login" and not signed_in
                signed_in = True
            elif kind == "share":
                assert path.startswith("/product/")
            elif kind in ("click", "hover"):
                assert event["element_id"]
            elif kind == "scroll":
                assert 10 <= event["scroll_depth"] <= 100


def test_orders_are_unique(events: Any) -> None:
    orders = [event["order_id"] for _, event in events if event["event_type"] == "purchase"]
    assert len(orders) > 200 and len(set(orders)) == len(orders)


def test_visits_end_at_ten_pages_or_thirty_minutes(visits: Any) -> None:
    by_pages = by_time = 0
    for visit in visits:
        pages = sum(event["event_type"] == "page_view" for _, event in visit)
        length_us = visit[-1][0].event_time_us - visit[0][0].event_time_us
        assert pages <= 10 and length_us <= 30 * MINUTE_US
        by_pages += pages == 10
        by_time += pages < 10
        assert len({event["session_id"] for _, event in visit}) == 1
    assert by_pages > 0.5 * len(visits) and by_time > 0.01 * len(visits)


def test_there_are_50_users_unless_more_are_needed() -> None:
    assert len({event["user_id"] for _, event in simulate(5000, eventsPerSecond=0.1)}) == 50
    assert len({event["user_id"] for _, event in simulate(2000, eventsPerSecond=50)}) > 50


def test_new_event_types_come_by_configuration() -> None:
    types = {
        "wishlist": {"weight": 10, "pages": ["product"], "fields": {"list": "birthday"}},
        "hover": {"weight": 0},
    }
    events = simulate(15_000, journeys={"eventTypes": types}, eventsPerSecond=5)
    seen = Counter(event["event_type"] for _, event in events)
    assert "hover" not in seen
    assert seen["wishlist"] / len(events) == pytest.approx(10 / 94.3, abs=0.01)
    for _, event in events:
        if event["event_type"] == "wishlist":
            assert event["list"] == "birthday" and "product_id" in event
