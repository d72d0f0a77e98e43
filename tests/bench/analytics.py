"""What analytics cost: CPU-seconds per million events in the stages sessionize and analyze.

Simulated events go through the logic of both stages in this process, without Kafka: one partition,
a commit for every 5,000 events, open sessions published at every fifth commit, all as at 5,000
events a second. Run it with ``python tests/bench/analytics.py [EVENTS]``.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from webevents.logic.analytics.tracker import PartitionVisitors
from webevents.logic.analytics.visits import read_record
from webevents.logic.sessions.record import entry_reader
from webevents.logic.sessions.tracker import PartitionSessions
from webevents.sources.simulator import run_simulator
from webevents.spec.analytics import AnalyticsSpec
from webevents.spec.generator import GeneratorSpec
from webevents.spec.stages import SessionsSpec

COMMIT_EVENTS = 5_000
PUBLISH_EVERY = 5
PROFILES = {
    "web-events": (
        ("user_domain_id",),
        {
            "funnels": [
                {
                    "name": "checkout",
                    "within": "7d",
                    "steps": [
                        {"name": "product", "page": "/product_*"},
                        {"name": "cart", "page": "/cart"},
                        {"name": "confirmation", "page": "/confirmation"},
                    ],
                }
            ],
            "attribution": {"conversions": [{"name": "order", "page": "/confirmation"}]},
        },
    ),
    "journeys": (("user_id",), {}),
}


@dataclass
class Messages:
    """An output that keeps what it is given."""

    made: list[tuple[bytes, int]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.made)

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        self.made.append((value, timestamp_ms or 0))

    def flush(self, timeout_s: float = 0) -> None:
        pass

    def close(self) -> None:
        pass


def messages_of(profile: str, key: tuple[str, ...], count: int) -> list[tuple[bytes, int]]:
    """Events of many visitors over four days."""
    output = Messages()
    spec = {
        "profile": profile,
        "seed": 3,
        "users": count // 60,
        "eventsPerSecond": count / (4 * 86_400),
        "time": {"mode": "backdated", "start": "2026-03-02T00:00:00Z"},
    }
    run_simulator(GeneratorSpec.model_validate(spec), output, count=count, key_fields=key)
    return output.made


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def sessionize(
    messages: list[tuple[bytes, int]], spec: SessionsSpec, analytics: AnalyticsSpec | None
) -> list[list[bytes]]:
    """The session records of each commit."""
    sessions = PartitionSessions("bench", spec, {}, analytics)
    read = entry_reader(spec, analytics)
    commits = []
    for number in range(0, len(messages), COMMIT_EVENTS):
        for raw, record_ms in messages[number : number + COMMIT_EVENTS]:
            key, entry = read(raw)
            assert key
            sessions.add(key, entry, record_ms)
        publish = number // COMMIT_EVENTS % PUBLISH_EVERY == 0
        commits.append([value for _, value in sessions.commit(publish_open=publish).sessions])
    return commits


def analyze(
    commits: list[list[bytes]], spec: AnalyticsSpec, sessions: SessionsSpec
) -> tuple[Counter[str], PartitionVisitors, int, int]:
    """Documents by kind, what is remembered, and the bytes of it and of all documents."""
    visitors = PartitionVisitors("bench", spec, sessions, {})
    made: list[bytes] = []
    state: dict[str, bytes] = {}
    for records in commits:
        for raw in records:
            visitors.add(*read_record(raw, bots=spec.bots))
        publication = visitors.commit()
        made += [value for _, value in publication.documents]
        for key, value in publication.state:
            if value is None:
                state.pop(key)
            else:
                state[key] = value
    kinds = Counter(kind_of(raw) for raw in made)
    return kinds, visitors, sum(map(len, state.values())), sum(map(len, made))


class _Kind(msgspec.Struct):
    kind: str


def kind_of(raw: bytes) -> str:
    return _decode_kind(raw).kind


_decode_kind = msgspec.json.Decoder(_Kind).decode


def lines(count: int) -> Iterator[str]:
    for profile, (key, settings) in PROFILES.items():
        sessions = SessionsSpec(key=key)
        spec = AnalyticsSpec.model_validate({"enabled": True, **settings})
        messages = messages_of(profile, key, count)
        per_million = 1e6 / len(messages)
        plain, _ = timed(lambda m=messages, s=sessions: sessionize(m, s, None))
        more, commits = timed(lambda m=messages, s=sessions, a=spec: sessionize(m, s, a))
        own, made = timed(lambda c=commits, s=sessions, a=spec: analyze(c, a, s))
        kinds, visitors, state_bytes, document_bytes = made
        records = sum(map(len, commits))
        yield (
            f"{profile}: {len(messages):,} events, {records:,} session records, "
            f"{visitors.size:,} visitors\n"
            f"  sessionize          {plain * per_million:6.1f} CPU-s per million events\n"
            f"  with analytics      {more * per_million:6.1f}\n"
            f"  analyze             {own * per_million:6.1f}"
            f"  ({own / records * 1e6:.0f} µs per session record)\n"
            f"  documents per event {kinds.total() / len(messages):6.2f}  "
            f"({', '.join(f'{k} {n:,}' for k, n in kinds.most_common())}; "
            f"{document_bytes / max(kinds.total(), 1):.0f} B each)\n"
            f"  state per visitor   {state_bytes / max(visitors.size, 1):6.0f} B"
        )


if __name__ == "__main__":
    for text in lines(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000):
        print(text)
