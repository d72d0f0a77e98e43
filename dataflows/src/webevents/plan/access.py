"""What each workload of a plan must be allowed to do on Kafka, and nothing more.

Of Kafka's operations Read, Write, Alter and Delete imply Describe, and to write to a topic implies
what an idempotent producer needs (Kafka's documentation, "Authorization and ACLs"; KIP-679).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from webevents.live.settings import LiveSettings
from webevents.plan.model import Plan, Workload
from webevents.spec.kafka import OPERATOR, TOOLS
from webevents.stages.settings import StageSettings

Resource = Literal["topic", "group", "transactionalId"]
Operation = Literal[
    "Read", "Write", "Create", "Delete", "Describe", "DescribeConfigs", "Alter", "AlterConfigs"
]

NEVER_JOINED = ("webevents-observer", "webevents-check")
"""Groups that tools name and never join."""


class Permission(NamedTuple):
    """What may be done with one resource, or with those whose names begin so."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    prefix: bool = False


def permissions(plan: Plan, *, own_topics: bool = True) -> dict[str, list[Permission]]:
    """The permissions that each account needs, in a fixed order.

    :param own_topics: whether the operator makes the topics; Strimzi does it otherwise.
    :returns: by workload, and for OPERATOR and TOOLS; none for workloads without Kafka.
    """
    made = {workload.name: _merged(_of_workload(workload)) for workload in plan.workloads}
    made[OPERATOR] = _merged(_of_operator(plan, own_topics=own_topics))
    made[TOOLS] = _merged(_of_tools(plan))
    return {account: found for account, found in made.items() if found}


def _of_workload(workload: Workload) -> Iterator[Permission]:
    settings = workload.settings
    for topic in workload.reads:
        yield Permission("topic", topic, ("Read",))
    for topic in workload.writes:
        yield Permission("topic", topic, ("Write",))
    if isinstance(settings, StageSettings):
        if settings.state_topic:
            yield Permission("topic", settings.state_topic, ("Read", "Write"))
        yield Permission("group", settings.group, ("Read",))
        # A copy's transactions are named after the group and the copy.
        yield Permission("transactionalId", f"{settings.group}-", ("Write",), prefix=True)
        yield from _looks_at(settings.groups)
    elif isinstance(settings, LiveSettings):
        topics = settings.topics
        for name in (topics.raw, topics.enriched, topics.sessions, topics.failed, topics.alerts):
            if name:
                yield Permission("topic", name, ("Read",))
        yield Permission("group", f"{settings.pipeline}-live", ("Describe",))
        yield from _looks_at(settings.groups)


def _looks_at(groups: Mapping[str, tuple[str, Sequence[str]]]) -> Iterator[Permission]:
    """How far other stages are behind: offsets of topics and groups, and no message."""
    for group, topics in groups.values():
        yield Permission("group", group, ("Describe",))
        for topic in topics:
            yield Permission("topic", topic, ("Describe",))


def _of_operator(plan: Plan, *, own_topics: bool) -> Iterator[Permission]:
    for topic in plan.topics:
        yield Permission("topic", topic.name, ("Describe",))
        if own_topics:
            yield Permission(
                "topic",
                topic.name,
                ("Create", "Delete", "DescribeConfigs", "Alter", "AlterConfigs"),
            )
    for workload in plan.stages():
        if workload.group:
            yield Permission("group", workload.group, ("Describe",))


def _of_tools(plan: Plan) -> Iterator[Permission]:
    """Tracing, repair, erasure and backfills, each with topics, groups and transactions that are
    named after the pipeline's own."""
    for topic in plan.topics:
        # Erasure deletes messages; a replay of failed events, and a check, write them.
        yield Permission("topic", topic.name, ("Read", "Write", "Delete", "DescribeConfigs"))
        own: tuple[Operation, ...] = ("Read", "Write", "Create", "Delete")
        yield Permission("topic", f"{topic.name}-backfill", own, prefix=True)
    for failed in {stage.writes[-1] for stage in plan.stages()}:
        yield Permission("topic", f"{failed}-replayed", ("Read", "Write", "Create"))
    yield Permission("group", f"{plan.pipeline}-", ("Read", "Delete"), prefix=True)
    for group in NEVER_JOINED:
        yield Permission("group", group, ("Describe",))
    yield Permission("transactionalId", f"{plan.pipeline}-", ("Write",), prefix=True)


def _merged(found: Iterator[Permission]) -> list[Permission]:
    """One entry for each resource, with all that is allowed there."""
    made: dict[tuple[Resource, str, bool], list[Operation]] = {}
    for each in found:
        operations = made.setdefault((each.resource, each.name, each.prefix), [])
        operations += [one for one in each.operations if one not in operations]
    return [
        Permission(resource, name, tuple(_needed(operations)), prefix)
        for (resource, name, prefix), operations in made.items()
    ]


def _needed(operations: list[Operation]) -> list[Operation]:
    """Without Describe where another operation implies it."""
    implies = {"Read", "Write", "Alter", "Delete"}
    if implies & set(operations):
        return [one for one in operations if one != "Describe"]
    return operations
