"""What all objects of a pipeline are made from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from webevents.plan.model import Plan
from webevents.spec.kafka import StrimziSpec
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.secrets import SecretRef
from webevents_operator.config import OperatorConfig
from webevents_operator.kinds import PIPELINE, Object
from webevents_operator.names import Key, labels


@dataclass(frozen=True, slots=True)
class Frame:
    """One pipeline at one moment, as far as objects depend on it."""

    key: Key
    uid: str
    pipeline: WebEventPipeline
    """With its connections filled in and references to secrets as they were written."""
    plan: Plan
    config: OperatorConfig
    strimzi: StrimziSpec | None = None
    """Whose topics and user are Strimzi's resources; None for a Kafka that nobody manages."""
    partitions: Mapping[str, int] = field(default_factory=dict)
    """Partitions that topics have on the cluster; absent where that is not known."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Pods that Deployments are to have at present, by workload: what autoscalers have set."""
    secrets: Mapping[SecretRef, str] = field(default_factory=dict)
    """A hash of each entry of a secret that the pipeline refers to."""
    apis: frozenset[str] = frozenset()
    """Kinds whose API the server has, of those that are optional."""
    kafka_authorization: bool = False
    """Whether Strimzi's Kafka cluster asks for permissions."""

    def owner(self) -> Object:
        """The reference that makes an object go with its pipeline."""
        return {
            "apiVersion": PIPELINE.api_version,
            "kind": PIPELINE.kind,
            "name": self.key.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }

    def metadata(self, workload: str | None = None, *, owned: bool = True) -> Object:
        """Labels and owner of an object.

        :param owned: whether it goes with the pipeline.
        """
        made: Object = {"labels": labels(self.key, workload)}
        if owned:
            made["ownerReferences"] = [self.owner()]
        return made


def digest(value: Any) -> str:
    """A short hash of JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
