"""A live page's state in a test's own process, and the messages that it is fed."""

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from webevents.live.settings import LiveSettings, LiveTopics
from webevents.live.state import Message, State
from webevents.spec.kafka import KafkaSpec
from webevents.spec.live import LiveSpec

TOPICS = LiveTopics(raw="raw", enriched="enriched", sessions="sessions", failed="failed")


def live_settings(topics: LiveTopics = TOPICS, **spec: Any) -> LiveSettings:
    return LiveSettings(
        pipeline="shop",
        topics=topics,
        key=("user_domain_id",),
        gap=timedelta(minutes=30),
        kafka=KafkaSpec(bootstrap_servers="127.0.0.1:1"),
        live=LiveSpec(enabled=True, **spec),
        groups={},
    )


def live_state(topics: LiveTopics = TOPICS, **spec: Any) -> State:
    return State(live_settings(topics, **spec))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def event(number: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "event_type": "pageview",
        "event_timestamp": "2026-11-27 12:00:00",
        **fields,
    }


def feed(
    state: State, topic: str, values: Sequence[Any], *, at_ms: int | None = None, fresh: bool = True
) -> None:
    """Have the state take values, JSON or bytes, as messages of a topic."""
    at = now_ms() if at_ms is None else at_ms
    state.take(
        [
            Message(topic, 0, n, at, v if isinstance(v, bytes | None) else json.dumps(v).encode())
            for n, v in enumerate(values)
        ],
        caught_up=fresh,
    )
