"""Topics: what they hold of a person, until when, and what can be done about it."""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from webevents.connectors.kafka_observe import Observer, Partition
from webevents.errors import UserError
from webevents.events.failed import decode_failed
from webevents.operations.erase.person import Person
from webevents.operations.erase.report import Place
from webevents.plan.make import make_plan
from webevents.spec.pipeline import WebEventPipeline

TIMEOUT_S = 30.0


@dataclass(slots=True)
class Found:
    """What one topic holds."""

    topic: str
    count: int = 0
    others: int = 0
    """Messages of others before the person's last one, in the partitions that have any."""
    newest_ms: int = 0
    last: dict[int, int] = field(default_factory=dict)
    """Offset of the person's last message by partition."""
    _between: dict[int, int] = field(default_factory=dict)

    def saw(self, message: Any, *, mine: bool) -> None:
        """Count a message; they come in the order of their partition."""
        number = message.partition()
        if not mine:
            self._between[number] = self._between.get(number, 0) + 1
            return
        self.count += 1
        self.others += self._between.pop(number, 0)
        self.last[number] = message.offset()
        self.newest_ms = max(self.newest_ms, message.timestamp()[1])


class Topics:
    """The topics of a pipeline that hold events or sessions.

    :param kafka: librdkafka settings to reach the cluster.
    """

    def __init__(
        self, pipeline: WebEventPipeline, kafka: dict[str, Any], observer: Observer
    ) -> None:
        self._pipeline = pipeline
        self._kafka = kafka
        self._observer = observer
        self._admin = AdminClient(kafka | {"log_level": 0})
        names = pipeline.spec.topics
        self.raw, self.enriched = names.raw.name, names.enriched.name
        self.failed = names.failed.name
        self.sessions = names.sessions.name if pipeline.spec.sessions.enabled else None
        self.state = names.state_name if pipeline.spec.sessions.enabled else None
        analyzes = pipeline.spec.analytics.enabled
        self.analytics = names.analytics.name if analyzes else None
        self.analytics_state = names.analytics_state_name if analyzes else None

    def scan(self, person: Person) -> dict[str, Found]:
        """Look at every message; what is found is learnt from.

        :raises KafkaException: when a topic cannot be read.
        """
        made: dict[str, Found] = {}
        for topic in (self.raw, self.enriched):
            found = made[topic] = Found(topic)
            for message in self._observer.messages(topic):
                if message.value() is None:
                    # The tombstone of an erasure holds the key.
                    key = (message.key() or b"").decode("utf-8", "replace")
                    found.saw(message, mine=topic == self.enriched and key in person.keys)
                    continue
                mine = person.of_message(message.value(), enriched=topic == self.enriched)
                found.saw(message, mine=mine)
                if mine and topic == self.enriched and message.key():
                    person.keys.add(message.key().decode("utf-8", "replace"))
        found = made[self.failed] = Found(self.failed)
        for message in self._observer.messages(self.failed):
            found.saw(message, mine=self._is_failed_of(person, message.value()))
        for topic_of_sessions in filter(None, (self.sessions, self.state)):
            found = made[topic_of_sessions] = Found(topic_of_sessions)
            newest: dict[bytes, Any] = {}
            for message in self._observer.messages(topic_of_sessions):
                if topic_of_sessions == self.state:
                    newest[message.key() or b""] = message
                    continue
                mine = self._is_session_of(person, message.value())
                found.saw(message, mine=mine)
            for key, message in newest.items():
                # A state's key is its start and the session key.
                sought = key.decode("utf-8", "replace").partition("|")[2]
                mine = message.value() is not None and sought in person.keys
                found.saw(message, mine=mine)
                if mine:
                    person.open_keys.add(sought)
        self._scan_analytics(person, made)
        return made

    def _scan_analytics(self, person: Person, made: dict[str, Found]) -> None:
        """Documents of analytics and the state of visitors; the key is the session key."""
        keys = {key.encode() for key in person.keys}
        if self.analytics is not None:
            found = made[self.analytics] = Found(self.analytics)
            for message in self._observer.messages(self.analytics):
                found.saw(message, mine=message.key() in keys)
        if self.analytics_state is not None:
            found = made[self.analytics_state] = Found(self.analytics_state)
            newest = {m.key(): m for m in self._observer.messages(self.analytics_state)}
            for key, message in newest.items():
                mine = message.value() is not None and key in keys
                found.saw(message, mine=mine)
                if mine:
                    person.open_keys.add((key or b"").decode())

    def _is_failed_of(self, person: Person, value: bytes | None) -> bool:
        if value is None:
            return False
        record = decode_failed(value)
        return person.of_message(record.original())

    def _is_session_of(self, person: Person, value: bytes | None) -> bool:
        if value is None:
            return False
        try:
            session = json.loads(value)
        except ValueError:
            return False
        if not person.has_session(session):
            return False
        if not session.get("retracted"):
            person.session_ids.add(str(session["session_id"]))
        return True

    def forget_sessions(self, person: Person) -> int:
        """Send a tombstone for each key with open sessions, which sessionize then retracts.

        :returns: how many were sent.
        """
        if not person.open_keys:
            return 0
        producer = Producer(
            self._kafka
            | {"log_level": 0, "enable.idempotence": True, "partitioner": "murmur2_random"}
        )
        for key in sorted(person.open_keys):
            producer.produce(self.enriched, None, key.encode())
        if producer.flush(TIMEOUT_S):
            raise UserError("the brokers do not take messages: nothing was erased")
        return len(person.open_keys)

    def wait(self, seconds: float) -> list[str]:
        """Wait until every stage has read what is there now; who has not, a line each."""
        stages = make_plan(self._pipeline).stages()
        groups = {s.group: list(s.reads) for s in stages if s.group}
        topics = sorted({topic for names in groups.values() for topic in names})
        deadline = time.monotonic() + seconds
        # What enrich has yet to read, sessionize, analyze and index read after it.
        for _ in range(4):
            ends = self._observer.offsets(topics)
            while late := self._behind(groups, ends):
                if time.monotonic() > deadline:
                    return [f"{group} has {n:,} messages to read" for group, n in late.items()]
                time.sleep(0.5)
        return []

    def _behind(self, groups: dict[str, list[str]], ends: dict[Partition, int]) -> dict[str, int]:
        views = self._observer.groups(groups)
        behind = {}
        for group, names in groups.items():
            view = views[group]
            left = 0
            for source, end in ends.items():
                if source[0] in names and view.lags.get(source, 0):
                    ledger = view.ledgers.get(source)
                    left += max(end - ledger.next, 0) if ledger else end
            if left:
                behind[group] = left
        return behind

    def truncate(self, found: Found) -> list[str]:
        """Delete a topic's messages up to the person's last one, of everybody.

        :returns: partitions that were not touched, because a stage has yet to read them.
        """
        stages = make_plan(self._pipeline).stages()
        groups = {s.group: [found.topic] for s in stages if s.group and found.topic in s.reads}
        views = self._observer.groups(groups)
        left, wanted = [], []
        for number, offset in found.last.items():
            source = (found.topic, number)
            behind = [
                group
                for group, view in views.items()
                if source not in view.ledgers or view.ledgers[source].next <= offset
            ]
            if behind:
                left.append(
                    f"{found.topic}/{number} is not truncated: {', '.join(behind)} reads it"
                )
            else:
                wanted.append(TopicPartition(found.topic, number, offset + 1))
        if wanted:
            for future in self._admin.delete_records(wanted, request_timeout=TIMEOUT_S).values():
                try:
                    future.result()
                except KafkaException as error:
                    left.append(f"{found.topic} is not truncated: {error.args[0].str()}")
        return left

    def ages_out(self, found: Found) -> str:
        """About when a topic's last message of the person's is gone, by its retention."""
        if not found.count:
            return ""
        config = self._config(found.topic)
        if "delete" not in config.get("cleanup.policy", "delete"):
            return "never"
        kept = int(config.get("retention.ms", "-1"))
        if kept < 0:
            return "never"
        # Kafka removes whole segments: the last message goes with the segment that it is in.
        rolled = int(config.get("segment.ms", "604800000"))
        moment = datetime.fromtimestamp(found.newest_ms / 1000, UTC)
        return (moment + timedelta(milliseconds=kept + rolled)).isoformat(timespec="seconds")

    def _config(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        (future,) = self._admin.describe_configs([resource], request_timeout=TIMEOUT_S).values()
        return {name: entry.value or "" for name, entry in future.result().items()}


def place_of(found: Found) -> Place:
    """A topic in the report."""
    return Place("kafka", found.topic, found.count, 0, found.count)
