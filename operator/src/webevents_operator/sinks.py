"""One event from end to end: sent to a pipeline, followed by topic, found in each sink."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from psycopg import sql

from webevents.connectors.elasticsearch import SearchClient
from webevents.connectors.elasticsearch import Unreachable as SearchAway
from webevents.connectors.elasticsearch import connect as connect_search
from webevents.connectors.elasticsearch import explained as search_explained
from webevents.connectors.kafka import client_config
from webevents.connectors.kafka_observe import Observer
from webevents.connectors.postgres import Unreachable as PostgresAway
from webevents.connectors.postgres import connect as connect_postgres
from webevents.connectors.postgres import explained as postgres_explained
from webevents.connectors.s3 import ObjectStore, StoreError
from webevents.errors import UserError
from webevents.events.key import SEPARATOR
from webevents.logic.objects import ObjectName, hour_of, read_object, root_of
from webevents.logic.rows.tables import TABLES
from webevents.spec.pipeline import PipelineSpec, WebEventPipeline
from webevents.spec.postgres import SESSION_TABLES

SHOWN_SOON = timedelta(minutes=2)
"""An archive whose objects take longer to be full is not waited for."""
_AWAY = (SearchAway, PostgresAway, StoreError)
"""A server that does not answer may do so before the time is up."""
Record = dict[str, Any]
Say = Callable[[str], None]


def follow(pipeline: WebEventPipeline, deadline: float, say: Say) -> None:
    """Send one event and find it, and its session, wherever the pipeline writes.

    :param pipeline: with all connections and secrets.
    :param deadline: of ``time.monotonic()``.
    :param say: told of each find.
    :raises UserError: names the topic, index, table or bucket where it was not found in time.
    """
    _Walk(pipeline, deadline, say).run()


@dataclass
class _Walk:
    pipeline: WebEventPipeline
    deadline: float
    say: Say

    def run(self) -> None:
        spec = self.pipeline.spec
        event = _event(spec.sessions.key)
        with _Tail(spec) as tail:
            self.began = time.monotonic()
            sent = _send(spec, event)
            self.say(f"sent event {event['event_id']} to {spec.topics.raw.name}")
            record = self._record(tail, spec.topics.enriched.name, "event", event["event_id"])
            session: str | None = None
            if spec.sessions.enabled:
                # Fields of the key may have been hashed.
                key = SEPARATOR.join(str(record.get(field, "")) for field in spec.sessions.key)
                found = self._record(tail, spec.topics.sessions.name, "session", key)
                session = str(found["session_id"])
        event_id = str(event["event_id"])
        if spec.index.enabled:
            self._index(event_id, session)
        if spec.store.enabled:
            self._store(event_id, session)
        if spec.archive.enabled:
            self._archive(event_id, sent)

    def _until(self, what: str, where: str, ask: Callable[[], Any]) -> Any:
        while True:
            why = ""
            try:
                if found := ask():
                    break
            except _AWAY as error:
                why = f": {error}"
            if time.monotonic() > self.deadline:
                raise UserError(f"the {what} has not come to {where}{why}")
            time.sleep(1)
        place = where if found is True else found
        self.say(f"found the {what} in {place} {time.monotonic() - self.began:.1f} s later")
        return found

    def _record(self, tail: "_Tail", topic: str, what: str, value: str) -> Record:
        field = {"event": "event_id", "session": "session_key"}[what]
        found = tail.find(topic, lambda record: record.get(field) == value, self.deadline)
        if found is None:
            raise UserError(f"the {what} ({field} {value}) has not come to the topic {topic}")
        self.say(f"found the {what} in {topic} {time.monotonic() - self.began:.1f} s later")
        return found

    def _index(self, event_id: str, session_id: str | None) -> None:
        index = self.pipeline.spec.index
        with connect_search(self.pipeline.spec.elasticsearch) as client:

            def find(what: str, prefix: str, field: str, value: str) -> None:
                self._until(what, f"{prefix}-*", lambda: _hit(client, prefix, field, value))

            find("event", index.events.prefix, "event_id", event_id)
            if session_id is not None:
                find("session", index.sessions.prefix, "session_id", session_id)

    def _store(self, event_id: str, session_id: str | None) -> None:
        store = self.pipeline.spec.store
        for table in store.tables:
            of_session = table in SESSION_TABLES
            if of_session and session_id is None:
                continue
            what, field = ("session", "session_id") if of_session else ("event", "event_id")
            value = session_id if of_session else event_id
            name = (store.schema_name, TABLES[table].name)
            self._row(what, name, field, str(value))
        loader = self.pipeline.spec.loader
        if loader.enabled and _EVENT_TYPE not in loader.scroll_types:
            self._row("event", (loader.schema_name, loader.events_table), "event_id", event_id)

    def _row(self, what: str, table: tuple[str, str], field: str, value: str) -> None:
        question = sql.SQL("SELECT 1 FROM {} WHERE {} = %s LIMIT 1").format(
            sql.Identifier(*table), sql.Identifier(field)
        )

        def ask() -> bool:
            spec = self.pipeline.spec.postgres
            with postgres_explained(spec), connect_postgres(spec, "webevents-check") as postgres:
                try:
                    return postgres.execute(question, (value,)).fetchone() is not None
                except psycopg.errors.UndefinedTable:
                    return False  # the loader makes its own when it first loads

        self._until(what, f"the table {'.'.join(table)}", ask)

    def _archive(self, event_id: str, sent: Message) -> None:
        spec = self.pipeline.spec
        if spec.loader.enabled and spec.loader.delete_objects:
            self.say("the archive is not looked at: the loader removes its objects")
            return
        if spec.archive.interval > SHOWN_SOON:
            self.say("the archive is not looked at: spec.archive.interval is more than 2 minutes")
            return
        store = ObjectStore(spec.s3)
        root = root_of(spec.archive.prefix, self.pipeline.name)
        topic, partition, offset = sent.topic(), sent.partition(), sent.offset()
        assert topic is not None and partition is not None and offset is not None
        at = hour_of(sent.timestamp()[1])
        hour = ObjectName(topic, partition, offset, at, spec.archive.format).path(root)
        folder = hour.rpartition("/")[0]

        def ask() -> str | None:
            names = (ObjectName.parse(each.key, root) for each in store.list(f"{folder}/"))
            before = [
                name
                for name in names
                if name and (name.topic, name.partition) == (topic, partition)
                and name.first <= offset
            ]  # fmt: skip
            if not before:
                return None
            name = max(before, key=lambda each: each.first)
            body, _ = store.get(name.path(root))
            there = any(
                message.offset == offset and event_id.encode() in (message.value or b"")
                for message in read_object(body, name.format)
            )
            return name.path(root) if there else None

        self._until("event", f"the bucket {store.bucket} ({folder}/)", ask)


class _Tail:
    """What comes to a pipeline's topics from now on."""

    def __init__(self, spec: PipelineSpec) -> None:
        kafka = client_config(spec.kafka)
        topics = [spec.topics.enriched.name]
        if spec.sessions.enabled:
            topics.append(spec.topics.sessions.name)
        ends = Observer(kafka).offsets(topics)
        if missing := set(topics) - {topic for topic, _ in ends}:
            raise UserError(f"the topic {missing.pop()} is not there")
        # It reads without joining the group, and commits nothing.
        own = {"group.id": "webevents-check", "enable.auto.commit": False}
        self._consumer = Consumer(kafka | own | {"isolation.level": "read_committed"})
        self._consumer.assign([TopicPartition(*place, end) for place, end in ends.items()])
        self._seen: list[tuple[str, Record]] = []

    def find(self, topic: str, accept: Callable[[Record], bool], until: float) -> Record | None:
        """The first record of a topic that is accepted; None where none has come in time."""
        for name, record in self._seen:
            if name == topic and accept(record):
                return record
        while time.monotonic() < until:
            message = self._consumer.poll(1)
            if message is None or message.error():
                continue
            try:
                record = json.loads(message.value() or b"null")
            except ValueError:
                continue
            if not isinstance(record, dict):
                continue
            if message.topic() == topic and accept(record):
                return record
            # The session may come while the event is still looked for.
            if message.topic() != topic:
                self._seen.append((str(message.topic()), record))
        return None

    def __enter__(self) -> "_Tail":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()


def _hit(client: SearchClient, prefix: str, field: str, value: str) -> str | None:
    body = {"query": {"term": {field: value}}, "size": 1}
    with search_explained(client):
        answer = client.search(index=f"{prefix}-*", body=body)
    hits: list[Record] = answer["hits"]["hits"]
    return str(hits[0]["_index"]) if hits else None


_EVENT_TYPE = "pageview"


def _event(keys: tuple[str, ...]) -> Record:
    mark = uuid.uuid4()
    event: Record = {
        "event_id": str(mark),
        "event_timestamp": datetime.now(UTC).isoformat(),
        "event_type": _EVENT_TYPE,
        "page_url": "https://chart-test.invalid/",
        "page_url_path": "/",
    }
    return event | {key: "192.0.2.1" if key == "ip_address" else f"test-{mark}" for key in keys}


def _send(spec: PipelineSpec, event: Record) -> Message:
    faults: list[Any] = []
    taken: list[Message] = []

    def told(error: Any, message: Message) -> None:
        (faults if error else taken).append(error or message)

    producer = Producer(client_config(spec.kafka) | {"message.timeout.ms": 30_000})
    producer.produce(
        spec.topics.raw.name,
        json.dumps(event).encode(),
        SEPARATOR.join(event[field] for field in spec.sessions.key).encode(),
        on_delivery=told,
    )
    producer.flush(40)
    if not taken:
        raise UserError(f"the event was not taken: {faults[0] if faults else 'no answer'}")
    return taken[0]
