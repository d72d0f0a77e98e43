"""Every hop of one event: the messages, the failed event, the session, the documents and rows."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from webevents.connectors.elasticsearch import connect as connect_elasticsearch
from webevents.connectors.elasticsearch import explained
from webevents.connectors.kafka_observe import Observer
from webevents.events.failed import decode_failed
from webevents.events.times import format_time, parse_time
from webevents.logic.documents import document_id
from webevents.logic.objects import ObjectName, root_of
from webevents.logic.rows.tables import TABLES
from webevents.plan.make import make_plan
from webevents.plan.model import Plan
from webevents.spec.pipeline import PipelineSpec, WebEventPipeline
from webevents.spec.postgres import SESSION_TABLES


@dataclass(frozen=True, slots=True)
class Hop:
    """One place where the event was found."""

    what: str
    """What is there: raw, object, enriched, failed, session, document, session document, row or
    session row."""
    where: str
    """Topic/partition@offset, index/id, table or object."""
    at: str
    """When it came there, in UTC; empty where that is not known."""
    detail: str
    """What is to be known of it; never a value of the event but its times."""

    def report(self) -> dict[str, str]:
        """The hop under its public names."""
        return asdict(self)


Place = tuple[str, int, int]
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


def trace(
    pipeline: WebEventPipeline,
    event_id: str,
    observer: Observer,
    *,
    since_ms: int | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> list[Hop]:
    """Find every hop of an event, in their order.

    Topics have no index: each is read from its beginning, or from ``since_ms`` on.

    :param event_id: the event's identifier.
    :param since_ms: read no messages that are older, in milliseconds since the epoch.
    :param say: receives lines of progress.
    :raises KafkaException: when a topic cannot be read.
    :raises UserError: when a destination does not answer.
    """
    return _Search(pipeline, event_id, observer, since_ms, say).run()


class _Search:
    def __init__(
        self,
        pipeline: WebEventPipeline,
        event_id: str,
        observer: Observer,
        since_ms: int | None,
        say: Callable[[str], None],
    ) -> None:
        self._pipeline = pipeline
        self._spec: PipelineSpec = pipeline.spec
        self._plan: Plan = make_plan(pipeline)
        self._id = event_id
        self._sought = json.dumps(event_id, ensure_ascii=False)[1:-1].encode()
        self._ascii = json.dumps(event_id)[1:-1].encode()
        self._observer = observer
        self._since = since_ms
        self._say = say
        self._places: set[Place] = set()
        self._moments: set[int] = set()
        self._keys: set[str] = set()
        self._session_ids: set[str] = set()

    def run(self) -> list[Hop]:
        topics = self._spec.topics
        hops = [*self._events(topics.raw.name, "raw"), *self._objects()]
        hops += self._events(topics.enriched.name, "enriched")
        hops += self._failed(topics.failed.name)
        if self._spec.sessions.enabled and self._keys:
            hops += self._sessions(topics.sessions.name)
        hops += self._documents()
        hops += self._rows()
        return hops

    # Topics.

    def _messages(self, topic: str) -> Iterator[Any]:
        self._say(f"reading {topic} …")
        return self._observer.messages(topic, since_ms=self._since)

    def _mentions(self, value: bytes | None) -> bool:
        return value is not None and (self._sought in value or self._ascii in value)

    def _events(self, topic: str, what: str) -> Iterator[Hop]:
        for message in self._messages(topic):
            value = message.value()
            if not self._mentions(value):
                continue
            try:
                event = _members(value)
                if _text(event["event_id"]) != self._id:
                    continue
            except (msgspec.DecodeError, KeyError, UnicodeDecodeError):
                continue  # a broken message is found among the failed events
            self._places.add(_place(message))
            detail = f"{len(value):,} bytes"
            if what == "enriched":
                key = message.key()
                if key:
                    self._keys.add(key.decode("utf-8", "replace"))
                try:
                    self._moments.add(parse_time(_text(event["event_timestamp"])))
                except (ValueError, KeyError, msgspec.DecodeError):
                    detail += ", its time cannot be read"
            yield Hop(what, _where(message), _time(message), detail)

    def _failed(self, topic: str) -> Iterator[Hop]:
        for message in self._messages(topic):
            record = decode_failed(message.value())
            place = (record.topic, record.partition, record.offset)
            if place in self._places or self._mentions(record.original()):
                yield Hop(
                    "failed",
                    _where(message),
                    record.failed_at,
                    f"at {record.stage}, {record.topic}/{record.partition}@{record.offset}: "
                    f"{record.reason}: {record.detail}",
                )

    def _sessions(self, topic: str) -> Iterator[Hop]:
        newest: dict[str, tuple[int, Hop]] = {}
        for message in self._messages(topic):
            key = (message.key() or b"").decode("utf-8", "replace")
            if key not in self._keys or message.value() is None:
                continue
            record = json.loads(message.value())
            name, version = record["session_id"], record["version"]
            if record.get("retracted"):
                detail = "retracted: merged into another session, or erased"
            else:
                first = parse_time(record["first_event_timestamp"])
                last = parse_time(record["last_event_timestamp"])
                if not any(first <= moment <= last for moment in self._moments):
                    newest.pop(name, None)
                    continue
                state = "open" if record["open"] else "closed"
                detail = f"{record['total_events']:,} events, {state}, version {version}"
            hop = Hop("session", f"{topic}: {name}", _time(message), detail)
            if name not in newest or newest[name][0] <= version:
                newest[name] = (version, hop)
        self._session_ids = set(newest)
        for _, hop in newest.values():
            yield hop

    # Destinations.

    def _documents(self) -> Iterator[Hop]:
        patterns = ",".join(self._plan.indices.values())
        if not patterns or self._spec.elasticsearch.urls is None:
            return
        client = connect_elasticsearch(self._spec.elasticsearch)
        try:
            with explained(client):
                found = client.search(
                    index=patterns,
                    body={
                        "query": {"ids": {"values": [document_id(self._id), *self._session_ids]}},
                        "size": 1_000,
                        "version": True,
                        "_source": False,
                    },
                    ignore_unavailable=True,
                    allow_no_indices=True,
                )
        finally:
            client.close()
        for hit in found["hits"]["hits"]:
            what = "session document" if hit["_id"] in self._session_ids else "document"
            yield Hop(what, f"{hit['_index']}/{hit['_id']}", "", f"version {hit['_version']}")

    def _rows(self) -> Iterator[Hop]:
        spec = self._spec
        asked: list[tuple[str, str, str, str, list[str]]] = []
        if spec.store.enabled:
            for name in spec.store.tables:
                table = TABLES[name]
                if name in SESSION_TABLES:
                    ids, what = sorted(self._session_ids), "session row"
                else:
                    ids, what = [document_id(self._id)], "row"
                asked.append((what, spec.store.schema_name, table.name, table.key, ids))
        if spec.loader.enabled:
            loaded = (spec.loader.schema_name, spec.loader.events_table)
            asked.append(("row", *loaded, "event_id", [self._id]))
        if spec.postgres.host is None or not asked:
            return
        from psycopg import sql

        from webevents.connectors.postgres import connect
        from webevents.connectors.postgres import explained as explained_postgres

        with (
            explained_postgres(spec.postgres),
            connect(spec.postgres, f"webevents {self._pipeline.name} trace") as connection,
        ):
            for what, schema, table_name, column, ids in asked:
                query = sql.SQL("SELECT FROM {} WHERE {} = ANY(%s)").format(
                    sql.Identifier(schema, table_name), sql.Identifier(column)
                )
                if count := connection.execute(query, (ids,)).rowcount:
                    yield Hop(what, f"{schema}.{table_name}", "", f"{count} row{'s' * (count > 1)}")

    def _objects(self) -> Iterator[Hop]:
        """The archived object that each raw message is in: the last that begins before it."""
        spec = self._spec
        if not spec.archive.enabled or spec.s3.endpoint is None or not self._places:
            return
        from webevents.connectors.s3 import ObjectStore

        root = root_of(spec.archive.prefix, self._pipeline.name)
        store = ObjectStore(spec.s3)
        best: dict[Place, tuple[int, str]] = {}
        try:
            for stored in store.list(f"{root}/"):
                name = ObjectName.parse(stored.key, root)
                if name is None:
                    continue
                for place in self._places:
                    topic, partition, offset = place
                    if (name.topic, name.partition) != (topic, partition) or name.first > offset:
                        continue
                    if place not in best or best[place][0] < name.first:
                        best[place] = (name.first, stored.key)
        finally:
            store.close()
        for place in sorted(best):
            first, key = best[place]
            yield Hop("object", key, "", f"offset {place[2]}, in the object from offset {first} on")


def _place(message: Any) -> Place:
    return message.topic(), message.partition(), message.offset()


def _where(message: Any) -> str:
    return f"{message.topic()}/{message.partition()}@{message.offset()}"


def _time(message: Any) -> str:
    milliseconds = message.timestamp()[1]
    return format_time(milliseconds * 1000) if milliseconds > 0 else ""


def since(text: str) -> int:
    """A time, or a span before now such as 2h, in milliseconds since the epoch.

    :raises ValueError: when it is neither.
    """
    from webevents.spec.base import parse_duration

    try:
        moment = datetime.now(UTC) - parse_duration(text)
        return round(moment.timestamp() * 1000)
    except ValueError:
        return parse_time(text) // 1000
