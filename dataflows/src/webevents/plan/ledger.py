"""The pipeline's ledger: what its stages counted, and whether all of it is accounted for."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from webevents.connectors.kafka_observe import GroupView, Observer
from webevents.plan.model import Plan, Workload


@dataclass(frozen=True, slots=True)
class PipelineLedger:
    """The ledgers of all stages at one moment."""

    plan: Plan
    groups: Mapping[str, GroupView]
    """By the name of the stage."""
    problems: list[str] = field(default_factory=list)
    """What is not accounted for, a sentence each."""

    @property
    def lag(self) -> int:
        """Messages that some stage has still to process."""
        return sum(view.lag for view in self.groups.values())

    @property
    def balanced(self) -> bool:
        """Whether every event is accounted for."""
        return not self.problems

    def report(self) -> dict[str, Any]:
        """The counts of each stage under their public names."""
        return {
            name: view.counts().report() | {"lag": view.lag, "records": view.emitted}
            for name, view in self.groups.items()
        }


def observe(plan: Plan, observer: Observer) -> PipelineLedger:
    """Read the ledgers of a pipeline's stages.

    :raises KafkaException: when the brokers do not answer in time.
    """
    stages = plan.stages()
    views = observer.groups({stage.group or stage.name: stage.reads for stage in stages})
    groups = {stage.name: views[stage.group or stage.name] for stage in stages}
    others = {topic for each in plan.workloads if each not in stages for topic in each.writes}
    written = [topic for each in stages for topic in each.writes]
    others |= {topic for topic in written if written.count(topic) > 1}
    return PipelineLedger(plan, groups, _problems(stages, groups, others))


def _problems(
    stages: list[Workload], groups: Mapping[str, GroupView], others: Set[str]
) -> list[str]:
    """Check every stage's counts, and what a stage wrote against what the next one read.

    :param others: topics that not only one stage writes to: what they hold is not to be told from
        here.
    """
    problems = []
    for name, view in groups.items():
        for (topic, partition), ledger in view.ledgers.items():
            counts = ledger.counts
            if not counts.balanced:
                problems.append(
                    f"{name}: of {counts.received} events of {topic}/{partition}, "
                    f"{counts.delivered} were delivered, {counts.failed} failed and "
                    f"{sum(counts.dropped.values())} were dropped"
                )
    for writer in stages:
        for reader in stages:
            # The first topic that a stage writes is its output.
            if not (writer.writes and writer.writes[0] in reader.reads):
                continue
            topic = writer.writes[0]
            if topic in others:
                continue
            view = groups[reader.name]
            unsettled = {source for source, lag in view.lags.items() if lag} | view.moving
            if any(name == topic for name, _ in unsettled):
                continue  # still reading or being written: compared when it has caught up
            written, counts = groups[writer.name].emitted, view.counts(topic)
            read = counts.received
            # Erasing a person writes messages without a value; every reader counts and drops them.
            if not read - counts.dropped.get("tombstone", 0) <= written <= read:
                problems.append(
                    f"{writer.name} wrote {written} records to {topic}, {reader.name} read {read}"
                )
    return problems
