"""Topics on a Kafka that nobody else manages: what is there against what the plan wants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from webevents.connectors.kafka import Topic, client_config
from webevents.errors import UserError
from webevents.spec.kafka import KafkaSpec
from webevents_operator.outcome import Outcome
from webevents_operator.status import Reason

TIMEOUT_S = 15.0
_OURS = ("retention.ms",)
"""Settings that go back to the broker's own when the plan does not name them any more."""


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as it is on the cluster."""

    partitions: int
    config: Mapping[str, str]
    """Settings that are set on the topic itself."""


@dataclass(frozen=True, slots=True)
class TopicChange:
    """What has to be done about one topic."""

    topic: Topic
    create: bool = False
    grow: bool = False
    set: Mapping[str, str | None] | None = None
    """Settings to set; None goes back to the broker's own."""

    def __str__(self) -> str:
        if self.create:
            return f"created topic {self.topic.name} ({self.topic.partitions} partitions)"
        if self.grow:
            return f"grew topic {self.topic.name} ({self.topic.partitions} partitions)"
        return f"set {', '.join(self.set or {})} of topic {self.topic.name}"


def effective(
    topics: Sequence[Topic], found: Mapping[str, FoundTopic], pairs: Mapping[str, str]
) -> list[Topic]:
    """The topics with as many partitions as they come to have: they never shrink.

    :param pairs: topics that must have as many partitions as another one.
    """
    counts = {
        topic.name: max(
            topic.partitions, found[topic.name].partitions if topic.name in found else 0
        )
        for topic in topics
    }
    for one, other in pairs.items():
        if one in counts and other in counts:
            counts[one] = max(counts[one], counts[other])
    return [replace(topic, partitions=counts[topic.name]) for topic in topics]


def changes(topics: Sequence[Topic], found: Mapping[str, FoundTopic]) -> list[TopicChange]:
    """What has to be done; nothing where all is as wanted."""
    made = []
    for topic in topics:
        there = found.get(topic.name)
        if there is None:
            made.append(TopicChange(topic, create=True))
            continue
        if there.partitions < topic.partitions:
            made.append(TopicChange(topic, grow=True))
        differing: dict[str, str | None] = {
            name: value for name, value in topic.config.items() if there.config.get(name) != value
        }
        gone = (name for name in _OURS if name in there.config and name not in topic.config)
        differing |= dict.fromkeys(gone)
        if differing:
            made.append(TopicChange(topic, set=differing))
    return made


def observe(admin: AdminClient, names: Sequence[str]) -> dict[str, FoundTopic]:
    """The topics of these names that are there.

    :raises KafkaException: when the cluster does not answer or refuses.
    """
    known = admin.list_topics(timeout=TIMEOUT_S).topics
    there = [name for name in names if name in known]
    if not there:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in there]
    answers = admin.describe_configs(resources, request_timeout=TIMEOUT_S)
    own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    found = {}
    for resource, future in answers.items():
        entries = future.result(timeout=TIMEOUT_S).values()
        config = {entry.name: entry.value for entry in entries if entry.source == own}
        found[resource.name] = FoundTopic(len(known[resource.name].partitions), config)
    return found


def carry_out(admin: AdminClient, wanted: Sequence[TopicChange]) -> None:
    """Do what has to be done.

    :raises KafkaException: when the cluster does not answer or refuses.
    """
    create = [
        NewTopic(
            each.topic.name,
            each.topic.partitions,
            each.topic.replication_factor,
            config=dict(each.topic.config),
        )
        for each in wanted
        if each.create
    ]
    grow = [NewPartitions(each.topic.name, each.topic.partitions) for each in wanted if each.grow]
    alter = []
    for each in wanted:
        if each.set:
            entries = [
                ConfigEntry(
                    name,
                    value,
                    incremental_operation=AlterConfigOpType.DELETE
                    if value is None
                    else AlterConfigOpType.SET,
                )
                for name, value in each.set.items()
            ]
            alter.append(
                ConfigResource(ResourceType.TOPIC, each.topic.name, incremental_configs=entries)
            )
    futures = []
    if create:
        futures += admin.create_topics(create, request_timeout=TIMEOUT_S).values()
    if grow:
        futures += admin.create_partitions(grow, request_timeout=TIMEOUT_S).values()
    if alter:
        futures += admin.incremental_alter_configs(alter, request_timeout=TIMEOUT_S).values()
    for future in futures:
        try:
            future.result(timeout=2 * TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise


def bring_topics(kafka: KafkaSpec, topics: Sequence[Topic], pairs: Mapping[str, str]) -> Outcome:
    """Bring topics about on the cluster.

    :param kafka: with secrets in files that are there.
    """
    try:
        admin = AdminClient(client_config(kafka) | {"log_level": 0})
        found = observe(admin, [topic.name for topic in topics])
        wanted = effective(topics, found, pairs)
        todo = changes(wanted, found)
        carry_out(admin, todo)
    except KafkaException as error:
        return _unavailable(kafka, error)
    except UserError as error:
        return Outcome(False, Reason.KAFKA_UNAVAILABLE, str(error))
    partitions = {topic.name: topic.partitions for topic in wanted}
    larger = [
        f"{topic.name} has {partitions[topic.name]} partitions, more than {topic.partitions}"
        for topic in topics
        if partitions[topic.name] > topic.partitions and topic.name not in pairs
    ]
    message = f"All {len(topics)} topics are there."
    reason = Reason.AS_WANTED
    if larger:
        reason = Reason.PARTITIONS_CANNOT_SHRINK
        message += f" {'; '.join(larger)}: Kafka cannot take any away, so they stay."
    return Outcome(True, reason, message, tuple(map(str, todo)), partitions)


def delete_topics(kafka: KafkaSpec, names: Sequence[str]) -> Outcome:
    """Remove topics with their data."""
    try:
        admin = AdminClient(client_config(kafka) | {"log_level": 0})
        for future in admin.delete_topics(list(names), request_timeout=TIMEOUT_S).values():
            try:
                future.result(timeout=2 * TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
                    raise
    except KafkaException as error:
        return _unavailable(kafka, error)
    except UserError as error:
        return Outcome(False, Reason.KAFKA_UNAVAILABLE, str(error))
    return Outcome(True, Reason.AS_WANTED, f"Removed {len(names)} topics.")


def _unavailable(kafka: KafkaSpec, error: KafkaException) -> Outcome:
    return Outcome(
        False,
        Reason.KAFKA_UNAVAILABLE,
        f"Kafka at {kafka.bootstrap_servers} does not do what is asked: {error.args[0].str()}; "
        "check its address, and user, password, certificates and permissions",
    )
