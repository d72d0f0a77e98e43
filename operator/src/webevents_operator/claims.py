"""What pipelines claim for themselves outside of Kubernetes; the oldest has it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from webevents.plan.model import Plan
from webevents.spec.pipeline import WebEventPipeline
from webevents_operator.names import Key
from webevents_operator.objects.strimzi import strimzi_namespace


class Claim(NamedTuple):
    """One thing on one server."""

    what: str
    server: str
    name: str

    def __str__(self) -> str:
        return f"{self.what} {self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Claimant:
    """A pipeline that claims; the lesser one is the older."""

    created: str
    key: Key


@dataclass(frozen=True, slots=True)
class Conflict:
    """What an older pipeline has."""

    claim: Claim
    owner: Key

    def __str__(self) -> str:
        return f"{self.claim} belongs to the older pipeline {self.owner}"


def claims_of(key: Key, pipeline: WebEventPipeline, plan: Plan) -> set[Claim]:
    """What a pipeline claims.

    :param pipeline: with the operator's connections where it names none.
    """
    spec = pipeline.spec
    kafka = spec.kafka.bootstrap_servers or ""
    if strimzi := spec.kafka.strimzi:
        kafka = f"{strimzi_namespace(strimzi, key)}/{strimzi.cluster}"
    made = {Claim("topic", kafka, topic.name) for topic in plan.topics}
    made |= {
        Claim("consumer group", kafka, workload.group)
        for workload in plan.workloads
        if workload.group
    }
    nodes = ",".join(sorted(spec.elasticsearch.urls or ()))
    made |= {Claim("indices", nodes, pattern) for pattern in plan.indices.values()}
    made |= {Claim("template", nodes, template.name) for template in plan.templates}
    database = spec.postgres.address
    return made | {Claim("table", database, table) for table in plan.tables}


class Claims:
    """Who claims what."""

    def __init__(self) -> None:
        self._claimants: dict[Claim, set[Claimant]] = defaultdict(set)
        self._claims: dict[Key, tuple[Claimant, frozenset[Claim]]] = {}

    def put(self, claimant: Claimant, claims: Iterable[Claim]) -> set[Key]:
        """Take note of what a pipeline claims now; returns whom it concerns that it gave one up."""
        now = frozenset(claims)
        before = self._claims.get(claimant.key)
        if before == (claimant, now):
            return set()
        concerned = self._withdraw(claimant.key, now)
        for claim in now:
            self._claimants[claim].add(claimant)
        self._claims[claimant.key] = (claimant, now)
        return concerned

    def remove(self, key: Key) -> set[Key]:
        """A pipeline is gone; returns whom that concerns."""
        return self._withdraw(key, frozenset())

    def conflicts(self, key: Key) -> list[Conflict]:
        """What of a pipeline's claims belongs to an older one."""
        claimant, claims = self._claims.get(key, (None, frozenset()))
        found = []
        for claim in sorted(claims):
            oldest = min(self._claimants[claim])
            if claimant is not None and oldest != claimant:
                found.append(Conflict(claim, oldest.key))
        return found

    def _withdraw(self, key: Key, kept: frozenset[Claim]) -> set[Key]:
        claimant, claims = self._claims.pop(key, (None, frozenset()))
        concerned = set()
        for claim in claims:
            others = self._claimants[claim]
            if claimant is not None:
                others.discard(claimant)
            if claim not in kept:
                concerned |= {other.key for other in others}
            if not others:
                del self._claimants[claim]
        return concerned - {key}
