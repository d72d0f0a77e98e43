"""What the operator knows of the cluster: pipelines and their objects, kept up by watches.

Objects are kept as compressed JSON text, without what nobody looks at: a thousand pipelines have
ten thousand of them, 37 MB of text, a third of it compressed, ten times as much as dictionaries.
"""

import zlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import msgspec

from webevents_operator import names
from webevents_operator.diff import Ref, ref_of
from webevents_operator.kinds import BY_NAME, Kind, Object
from webevents_operator.names import Key


@dataclass(frozen=True, slots=True)
class _Kept:
    version: str
    packed: bytes

    def object(self) -> Object:
        """What was kept."""
        found: Object = msgspec.json.decode(zlib.decompress(self.packed))
        return found


def _keep(found: Mapping[str, Any]) -> _Kept:
    metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
    version = str(metadata.get("resourceVersion", ""))
    text = msgspec.json.encode({**found, "metadata": metadata})
    return _Kept(version, zlib.compress(text, zlib.Z_BEST_SPEED))


class Store:
    """Pipelines by key, and each one's objects by what they are."""

    def __init__(self) -> None:
        self._pipelines: dict[Key, _Kept] = {}
        self._children: dict[Key, dict[Ref, _Kept]] = {}
        self._changes: dict[Key, int] = {}
        self._ready: set[Key] = set()

    def put_pipeline(self, found: Mapping[str, Any]) -> Key:
        """Take note of a pipeline."""
        key = Key(found["metadata"]["namespace"], found["metadata"]["name"])
        kept, known = _keep(found), self._pipelines.get(key)
        if known is None or known.version != kept.version:
            self._pipelines[key] = kept
            self._changed(key)
            (self._ready.add if is_true(found, "Ready") else self._ready.discard)(key)
        return key

    def remove_pipeline(self, key: Key) -> None:
        """A pipeline is gone."""
        if self._pipelines.pop(key, None) is not None:
            self._changed(key)
        self._ready.discard(key)

    def has_pipeline(self, key: Key) -> bool:
        """Whether a pipeline is there."""
        return key in self._pipelines

    def pipeline(self, key: Key) -> Object | None:
        """The resource of a pipeline."""
        kept = self._pipelines.get(key)
        return kept.object() if kept else None

    def pipelines(self) -> list[Key]:
        """All pipelines."""
        return list(self._pipelines)

    @property
    def ready(self) -> int:
        """How many pipelines are ready."""
        return len(self._ready)

    def put_child(self, found: Mapping[str, Any]) -> Key | None:
        """Take note of an object; returns its pipeline, unless nothing about it has changed."""
        key, ref = owner_key(found), ref_of(found)
        if key is None:
            return None
        kept = _keep(found)
        children = self._children.setdefault(key, {})
        if ref in children and children[ref].version == kept.version:
            return None
        children[ref] = kept
        self._changed(key)
        return key

    def remove_child(self, found: Mapping[str, Any]) -> Key | None:
        """An object is gone; returns its pipeline."""
        key = owner_key(found)
        if key is not None:
            self._drop(key, ref_of(found))
        return key

    def retain(
        self, kind: Kind, namespace: str | None, present: Set[tuple[Key | None, Ref]]
    ) -> Iterator[Key]:
        """Forget objects of a kind, of one namespace or all, that are not there any more.

        :param present: those that are, with the pipelines that they belong to.
        :returns: the pipelines whose objects have gone.
        """
        for key, children in list(self._children.items()):
            for ref in list(children):
                of_these = ref.kind == kind.kind and namespace in (None, ref.namespace)
                if of_these and (key, ref) not in present:
                    self._drop(key, ref)
                    yield key

    def children(self, key: Key) -> dict[Ref, Object]:
        """The objects of a pipeline."""
        kept = self._children.get(key, {})
        return {ref: each.object() for ref, each in kept.items()}

    def changes(self, key: Key) -> int:
        """Grows whenever the pipeline or one of its objects changes."""
        return self._changes.get(key, 0)

    def _changed(self, key: Key) -> None:
        self._changes[key] = self._changes.get(key, 0) + 1

    def _drop(self, key: Key, ref: Ref) -> None:
        children = self._children.get(key, {})
        if children.pop(ref, None) is not None:
            self._changed(key)
        if not children:
            self._children.pop(key, None)
            if key not in self._pipelines:
                self._changes.pop(key, None)


def is_true(found: Mapping[str, Any], condition: str) -> bool:
    """Whether an object's status says a condition to be true."""
    return any(
        each.get("type") == condition and each.get("status") == "True"
        for each in (found.get("status") or {}).get("conditions") or []
    )


def owner_key(found: Mapping[str, Any]) -> Key | None:
    """The pipeline that an object's labels name."""
    labels = found["metadata"].get("labels") or {}
    if labels.get(names.MANAGED_BY) != names.FIELD_MANAGER or found["kind"] not in BY_NAME:
        return None
    namespace, name = labels.get(names.NAMESPACE), labels.get(names.PIPELINE)
    return Key(namespace, name) if namespace and name else None
