"""What is fuzzed: each takes any bytes, and either takes them or says in a word why it does not.

Any other exception is a fault; so is a word that is not in the list of reasons.
"""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from collector_app import Collector

from webevents.errors import UserError
from webevents.events.event import REASONS, InvalidEvent, decode_event, event_time_us
from webevents.logic.changes.envelope import ChangeDecoder
from webevents.logic.changes.events import ChangeDocuments, ChangeEvents
from webevents.logic.documents import EventDocuments
from webevents.logic.enrich.enricher import Enricher
from webevents.logic.rows.events import EventRows
from webevents.logic.rows.tables import TABLES
from webevents.plan.make import make_plan
from webevents.sources.replay import replay, replay_settings
from webevents.spec.enrich import EnrichSpec
from webevents.spec.load import load_pipeline
from webevents.spec.source import CapturedTable

TAKEN = "taken"
"""The word for an input that is sound after all."""
ROOT = Path(__file__).parents[2]
COLUMNS = [
    {"type": "int64", "optional": False, "field": "id"},
    {"type": "string", "optional": True, "field": "session_id"},
    {
        "type": "bytes",
        "optional": True,
        "name": "org.apache.kafka.connect.data.Decimal",
        "parameters": {"scale": "2"},
        "field": "price",
    },
    {
        "type": "struct",
        "optional": True,
        "name": "io.debezium.data.VariableScaleDecimal",
        "fields": [{"type": "int32", "field": "scale"}, {"type": "bytes", "field": "value"}],
        "field": "free",
    },
    {"type": "int64", "optional": True, "name": "io.debezium.time.MicroTimestamp", "field": "at"},
    {"type": "string", "optional": True, "name": "io.debezium.time.ZonedTimestamp", "field": "z"},
    {"type": "int32", "optional": True, "name": "io.debezium.time.Date", "field": "day"},
    {"type": "array", "optional": True, "items": {"type": "string"}, "field": "flags"},
]
ROW = {
    "id": 7,
    "session_id": "s",
    "price": "AMg=",
    "free": {"scale": 3, "value": "AMg="},
    "at": 1_700_000_000_000_000,
    "z": "2026-03-01T12:00:00.5+02:00",
    "day": 20_000,
    "flags": ["x", None],
}


@dataclass(frozen=True)
class Target:
    """Something that takes bytes from outside."""

    seeds: Sequence[Any]
    """Sound inputs: bytes, or JSON values."""
    run: Callable[[bytes], str]
    """The reason, or :data:`TAKEN`."""
    share: float
    """Its part of all inputs."""
    encode: Callable[[Any], bytes] = lambda value: json.dumps(value).encode()
    """How a JSON value becomes an input."""


@cache
def _stages() -> tuple[Enricher, EventDocuments, EventRows, ChangeDocuments]:
    table = CapturedTable(name="public.t", index="t", timestamp="at", fields={"session_id": "z"})
    documents = EventDocuments("shop")
    return (
        Enricher(EnrichSpec()),
        documents,
        EventRows(list(TABLES.values())),
        ChangeDocuments({table.name: "t"}, "mark", documents),
    )


def event(raw: bytes) -> str:
    """An event: decoded, enriched, made a document and a row."""
    enricher, documents, rows, _ = _stages()
    try:
        found = decode_event(raw)
        event_time_us(found)
        enriched = enricher.enrich(raw, found)
        decode_event(enriched)
        json.loads(documents.build(enriched).body or b"null")
        rows.build(enriched)
    except InvalidEvent as error:
        return error.reason
    return TAKEN


def change(raw: bytes) -> str:
    """A message of Debezium, its key in the first line: decoded, made an event and a document."""
    key, _, value = raw.partition(b"\n")
    table = CapturedTable(
        name="public.t",
        timestamp="z",
        event_type="session_id",
        fields={"session_id": "session_id", "price": "price", "quantity": "id"},
    )
    enricher, _, _, documents = _stages()
    try:
        found = ChangeDecoder().decode(key, value, 5)
        _, made = ChangeEvents([table], ["session_id"]).make(found)
        event_ = decode_event(made)
        event_time_us(event_)
        documents.build(enricher.enrich(made, event_))
    except InvalidEvent as error:
        return error.reason
    return TAKEN


class _Kept:
    """An output of a replay that keeps what it gets."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    @property
    def count(self) -> int:
        return len(self.values)

    def send(self, key: bytes | None, value: bytes, timestamp_ms: int | None) -> None:
        self.values.append(value)

    def flush(self, timeout_s: float) -> None: ...

    def close(self) -> None: ...


@cache
def _file() -> Path:
    """A file of this process, in memory where there is such a place."""
    memory = Path("/dev/shm")
    folder = memory if os.access(memory, os.W_OK) else None
    handle, name = tempfile.mkstemp(prefix="webevents-fuzz-", dir=folder)
    os.close(handle)
    return Path(name)


def remove_file() -> None:
    """Remove what :func:`_file` has made."""
    _file().unlink(missing_ok=True)
    _file.cache_clear()


def _replay(raw: bytes, kind: str) -> str:
    path, out = _file(), _Kept()
    path.write_bytes(raw)
    mapping = {
        "constants": {"event_type": "view", "event_timestamp": "2026-03-01T00:00:00Z"},
        "types": {} if kind == "ndjson" else {"quantity": "int"},
    }
    settings = replay_settings(
        {"path": str(path), "format": kind, "speed": None, "mapping": mapping}
    )
    try:
        result = replay(settings, out)
    except UserError as error:
        assert str(error)
        return "file"
    told = result.skipped + result.broken_sent
    assert len(result.issues) == min(20, told), "a row was skipped without a reason"
    assert all(issue.reason for issue in result.issues)
    assert result.sent == len(out.values)
    for value in out.values:
        assert isinstance(json.loads(value), dict)
    return "row" if told else TAKEN


def _parquet() -> list[bytes]:
    made = []
    table = pa.table(
        {
            "event_id": ["a", "b", None],
            "quantity": [1, 2, None],
            "price": [1.5, float("nan"), None],
            "at": pa.array([0, 1, None], pa.timestamp("us", tz="UTC")),
            "tags": [["x"], [], None],
        }
    )
    for compression in ("none", "zstd", "snappy"):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression=compression)
        made.append(sink.getvalue().to_pybytes())
    return made


def spec(raw: bytes) -> str:
    """A pipeline's file: read, checked, planned."""
    path = _file()
    path.write_bytes(raw)
    try:
        make_plan(load_pipeline(path))
    except UserError as error:
        assert str(error)
        return "refused"
    return TAKEN


def _examples() -> list[Any]:
    folder = ROOT / "manifests" / "examples"
    return [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]


PATHS = (
    *("/v1/events", "/v1/track", "/v1/batch", "/v1/page", "/v1/identify"),
    "/com.snowplowanalytics.snowplow/tp2",
)


@cache
def _collector() -> Collector:
    return Collector()


def collected(raw: bytes) -> str:
    """A request to the collector: the path's number in the first byte, then the body."""
    if not raw:
        return TAKEN
    collector = _collector()
    collector.delivery.messages.clear()
    reply = collector.post(PATHS[raw[0] % len(PATHS)], raw[1:])
    assert 200 <= reply.status < 500, reply.status
    if reply.status != 200:
        return f"status {reply.status}"
    for made in collector.events:
        assert made["event_id"]
    reasons = {failed.reason for failed in collector.failed}
    assert reasons <= REASONS.keys() - {"internal_error"}
    return min(reasons) if reasons else TAKEN


SNOWPLOW = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
BODIES: Sequence[Any] = (
    [0, {"event_type": "x", "event_id": "e", "user_domain_id": "u", "deep": {"a": [1, {"b": 2}]}}],
    [0, [{"event_type": "x", "event_id": "e"}, {"event_type": "y"}]],
    [1, {"event": "x", "properties": {"price": 1}, "context": {"page": {"url": "https://a/?b=c"}}}],
    [2, {"batch": [{"type": "page", "messageId": "m"}, {"type": "track", "event": "x"}]}],
    [5, {"schema": SNOWPLOW, "data": [{"e": "pv", "url": "https://a/", "eid": "1", "dtm": "1"}]}],
)
"""Each with the number of its path."""
EVENTS: Sequence[Any] = (
    {"event_id": "1", "event_timestamp": "2026-03-01T00:00:00Z", "event_type": "view"},
    {
        "event_id": "2",
        "event_timestamp": "2020-07-05 14:32:45.407110",
        "event_type": "pageview",
        "page_url": "https://a.example/p?utm_source=google&utm_medium=cpc&gclid=1",
        "referer_url": "https://www.google.com/search?q=x",
        "ip_address": "203.0.113.9",
        "browser_user_agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/141.0.0.0 Safari/537.36",
        "user_custom_id": "ann@example.org",
        "device_is_mobile": False,
        "price": 1.5,
        "quantity": 2,
        "products": [{"id": "a"}],
        "extra": {"cart": {"total": 5}},
        "geo_latitude": "50.1",
        "geo_longitude": "8.7",
    },
)


def _change(op: str, before: Any, after: Any) -> Any:
    struct = {"type": "struct", "optional": True, "fields": COLUMNS}
    return {
        "schema": {
            "type": "struct",
            "fields": [{**struct, "field": "before"}, {**struct, "field": "after"}],
        },
        "payload": {
            "op": op,
            "before": before,
            "after": after,
            "source": {"schema": "public", "table": "t", "lsn": 100, "ts_us": 1_000_000},
        },
    }


def _numbered(value: Any) -> bytes:
    """A request's body behind the number of its path."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], int):
        return bytes([value[0] % 256]) + json.dumps(value[1]).encode()
    raw = json.dumps(value).encode()
    return bytes([len(raw) % 256]) + raw


def _keyed(value: Any) -> bytes:
    return b'{"payload": {"id": 7}}\n' + json.dumps(value).encode()


CSV = b'event_id,quantity,price,name\n1,2,3.5,"a ""b"", c"\n2,,x,\n3,4.0,1e3,"d\ne"\n'
NDJSON = b'{"event_id": "1", "quantity": 2}\n{"a": {"b": [1, null]}}\n\n{"event_id": "3"}\n'

TARGETS = {
    "event": Target(EVENTS, event, 0.4),
    "change": Target(
        [_change("c", None, ROW), _change("u", ROW, ROW), _change("d", ROW, None)],
        change,
        0.25,
        _keyed,
    ),
    "collector": Target(BODIES, collected, 0.2, _numbered),
    "csv": Target([CSV, CSV * 3], lambda raw: _replay(raw, "csv"), 0.05),
    "ndjson": Target([NDJSON, NDJSON * 3], lambda raw: _replay(raw, "ndjson"), 0.05),
    "parquet": Target(_parquet(), lambda raw: _replay(raw, "parquet"), 0.02),
    "spec": Target(_examples(), spec, 0.03),
}
"""By name; the shares add up to 1."""
