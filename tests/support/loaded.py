"""What the object-store example's tables hold, and what its raw topic does, by other means."""

import json
from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple

from pipelines import TestPipeline

from webevents.connectors.kafka_observe import Observer
from webevents.connectors.postgres import connect
from webevents.spec.postgres import PostgresSpec


class Loaded(NamedTuple):
    """Figures of what was loaded."""

    events: Counter[str]
    """By type."""
    scrolls: Counter[str]
    """By URL."""
    failures: int


def loaded_tables(database: PostgresSpec, schema: str = "public") -> Loaded:
    """The figures of the tables."""
    with connect(database) as connection:
        connection.execute(f"SET search_path = {schema}")  # type: ignore[arg-type]

        def rows(query: str) -> list[Any]:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

        events = rows("SELECT event_type, count(*) FROM events GROUP BY event_type")
        scrolls = rows("SELECT url, scroll_count FROM scroll_events")
        (failures,) = rows("SELECT count(*) FROM load_failures")
    return Loaded(Counter(dict(events)), Counter(dict(scrolls)), failures[0])


def raw_messages(pipeline: TestPipeline) -> Loaded:
    """The same of the raw topic."""
    events, scrolls, failures = Counter[str](), Counter[str](), 0
    observer = Observer(pipeline.servers.config)
    for message in observer.messages(pipeline.raw_topic):
        event = _event(message.value())
        if event is None:
            failures += 1
        elif event["event_type"] == "scroll":
            scrolls[event["page_url"]] += 1
        else:
            events[event["event_type"]] += 1
    observer.close()
    return Loaded(events, scrolls, failures)


def _event(raw: bytes) -> dict[str, Any] | None:
    """The event, where it is none of those that the simulator spoils."""
    try:
        text = raw.decode()
        event: dict[str, Any] = json.loads(text, parse_constant=lambda _: 1 / 0)
        datetime.fromisoformat(event["event_timestamp"])
    except (ValueError, KeyError, ZeroDivisionError):
        return None
    valid = event.get("event_id") and isinstance(event["event_type"], str) and "[[[[" not in text
    return event if valid else None
