"""Desired objects against those that are there -> what has to be written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from webevents_operator import names
from webevents_operator.kinds import BY_NAME, KAFKA_TOPIC, Object
from webevents_operator.objects.frame import digest


class Ref(NamedTuple):
    """Names an object on the server."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Apply:
    """Bring an object to the form that is wanted."""

    object: Object
    created: bool
    """Whether it is not there yet."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an object that is not wanted any more."""

    ref: Ref
    uid: str


Action = Apply | Delete


def ref_of(found: Mapping[str, Any]) -> Ref:
    """The name of an object."""
    metadata = found["metadata"]
    return Ref(found["kind"], metadata["namespace"], metadata["name"])


def marked(wanted: Object) -> Object:
    """The object with the hash of its wanted form, so that a field that is wanted no more shows."""
    metadata = wanted["metadata"]
    annotations = metadata.get("annotations", {}) | {names.APPLIED: digest(wanted)}
    return {**wanted, "metadata": {**metadata, "annotations": annotations}}


def diff(
    wanted: Iterable[Object],
    found: Mapping[Ref, Object],
    *,
    retain_topics: bool,
) -> list[Action]:
    """What has to be done so that ``found`` is as ``wanted``; empty where it is.

    :param wanted: in the order in which to apply.
    :param found: the objects that belong to the pipeline.
    :param retain_topics: whether a KafkaTopic that is wanted no more stays, with its data.
    """
    actions: list[Action] = []
    kept = set()
    for each in map(marked, wanted):
        ref = ref_of(each)
        kept.add(ref)
        there = found.get(ref)
        if there is None:
            actions.append(Apply(each, created=True))
        elif not covers(each, there):
            actions.append(Apply(each, created=False))
    for ref, there in found.items():
        going = there["metadata"].get("deletionTimestamp") is not None
        retained = retain_topics and ref.kind == KAFKA_TOPIC.kind
        if ref not in kept and not going and not retained and ref.kind in BY_NAME:
            actions.append(Delete(ref, there["metadata"]["uid"]))
    return actions


def covers(wanted: Any, found: Any) -> bool:
    """Whether all that is wanted is found; members besides, such as defaults, are let be.

    Items of lists are matched by their name where they have one, otherwise in order; there are to
    be no others.
    """
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and covers(value, found[name]) for name, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(found, Sequence) and _covers_items(wanted, found)
    return bool(wanted == found) and isinstance(wanted, bool) == isinstance(found, bool)


def _covers_items(wanted: Sequence[Any], found: Sequence[Any]) -> bool:
    if len(wanted) != len(found):
        return False
    if all(isinstance(each, Mapping) and "name" in each for each in wanted):
        by_name = {each.get("name"): each for each in found if isinstance(each, Mapping)}
        return all(covers(each, by_name.get(each["name"])) for each in wanted)
    return all(covers(one, other) for one, other in zip(wanted, found, strict=True))
