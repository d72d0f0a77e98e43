"""Carrying out what the comparison says."""

from http import HTTPStatus

import structlog

from webevents_operator import kinds, names
from webevents_operator.diff import Action, Apply, Delete, Ref, covers, ref_of
from webevents_operator.kinds import Object
from webevents_operator.kube import ApiFailure, Cluster
from webevents_operator.names import Key
from webevents_operator.objects.frame import Frame
from webevents_operator.outcome import Outcome
from webevents_operator.status import Reason
from webevents_operator.store import Store, owner_key

log = structlog.get_logger()


class Applier:
    """Writes objects."""

    def __init__(self, cluster: Cluster, store: Store) -> None:
        self._cluster = cluster
        self._store = store
        self._accepted: dict[Key, dict[Ref, tuple[str, str]]] = {}
        """Objects that the server keeps in another form than they were applied in: the hash of
        the one and the version of the other, so that they are not applied for ever."""

    def forget(self, key: Key) -> None:
        """A pipeline is gone."""
        self._accepted.pop(key, None)

    async def carry_out(self, frame: Frame, actions: list[Action]) -> Outcome | None:
        """Do it, in order.

        :returns: why the server refused an object; the others are written all the same.
        :raises ApiFailure: where the server's state, not an object, is to blame.
        """
        refused = None
        for action in actions:
            try:
                match action:
                    case Apply():
                        await self._apply(frame, action)
                    case Delete():
                        await self._cluster.delete(action.ref)
                        log.info("deleted", pipeline=str(frame.key), object=str(action.ref))
            except _Foreign as foreign:
                refused = refused or Outcome(False, Reason.RESOURCE_CONFLICT, str(foreign))
            except ApiFailure as failure:
                if failure.passing:
                    raise
                refused = refused or Outcome(False, Reason.API_ERROR, str(failure))
        return refused

    async def _apply(self, frame: Frame, action: Apply) -> None:
        ref, wanted = ref_of(action.object), action.object
        accepted = self._accepted.setdefault(frame.key, {})
        found = self._store.children(frame.key).get(ref)
        mark = wanted["metadata"]["annotations"][names.APPLIED]
        version = found["metadata"]["resourceVersion"] if found else ""
        if found and accepted.get(ref) == (mark, version):
            return
        if found and _is_given_up(wanted, found):
            await self._hand_over(found)
        written = await self._write(frame.key, wanted, created=action.created)
        self._store.put_child(written)
        log.info("applied", pipeline=str(frame.key), object=str(ref), created=action.created)
        accepted.pop(ref, None)
        if not covers(wanted, written):
            accepted[ref] = (mark, written["metadata"]["resourceVersion"])
            log.warning("kept in another form", pipeline=str(frame.key), object=str(ref))
        if not action.created and ref.kind == kinds.CONFIG_MAP.kind:
            await self._hasten(frame, wanted, found)

    async def _write(self, key: Key, wanted: Object, *, created: bool) -> Object:
        if not created:
            return await self._bring_back(wanted)
        # What is not ours is never taken over.
        ref = ref_of(wanted)
        there = await self._cluster.get(kinds.BY_NAME[ref.kind], ref.namespace, ref.name)
        if there is not None and owner_key(there) != key:
            owner = owner_key(there)
            whose = f"belongs to the pipeline {owner}" if owner else "is there and not ours"
            raise _Foreign(f"{ref} {whose}: rename the pipeline or topic, or remove the object")
        return await self._cluster.apply(wanted, force=True)

    async def _hand_over(self, found: Object) -> None:
        """Keep the number of pods when an autoscaler takes over: the server would set one pod for
        a field that nobody holds any more."""
        kept = {name: found["metadata"][name] for name in ("name", "namespace")}
        held = {
            **{name: found[name] for name in ("apiVersion", "kind")},
            "metadata": kept,
            "spec": {"replicas": found["spec"]["replicas"]},
        }
        await self._cluster.apply(held, force=True, manager=names.SCALE_MANAGER)

    async def _bring_back(self, wanted: Object) -> Object:
        """Apply an object that is there.

        Server-side apply leaves items of lists that others have added, and is refused where those
        contradict ours; a merge replaces lists as a whole.
        """
        try:
            written = await self._cluster.apply(wanted, force=True)
            if covers(wanted, written):
                return written
        except ApiFailure as failure:
            if failure.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
        await self._cluster.merge(ref_of(wanted), wanted)
        return await self._cluster.apply(wanted, force=True)

    async def _hasten(self, frame: Frame, wanted: Object, before: Object | None) -> None:
        """Have live settings reach pods at once.

        The kubelet refreshes mounted ConfigMaps and Secrets about once a minute, but at once when
        the pod itself changes.
        """
        mark = wanted["metadata"]["annotations"].get(names.LIVE)
        old = ((before or {}).get("metadata") or {}).get("annotations") or {}
        if mark is None or mark == old.get(names.LIVE):
            return
        workload = wanted["metadata"]["labels"][names.WORKLOAD]
        selector = names.selector(frame.key, workload)
        pods, _ = await self._cluster.list(kinds.POD, frame.key.namespace, selector)
        for pod in pods:
            ref = Ref(kinds.POD.kind, frame.key.namespace, pod["metadata"]["name"])
            try:
                await self._cluster.merge(ref, {"metadata": {"annotations": {names.LIVE: mark}}})
            except ApiFailure as failure:
                if failure.status != 404:  # it is gone; the next one starts with them
                    raise


def _is_given_up(wanted: Object, found: Object) -> bool:
    """Whether an autoscaler takes over the number of pods."""
    before = found["metadata"].get("annotations") or {}
    return names.AUTOSCALED in wanted["metadata"]["annotations"] and names.AUTOSCALED not in before


class _Foreign(Exception):
    """An object of this name is there and belongs to somebody else."""
