"""Why pods do not run, in a sentence each; pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from webevents_operator import names

_STARTING = ("ContainerCreating", "PodInitializing")


def problems(pods: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What keeps pods from running, by workload; one reason for each is enough."""
    found: dict[str, str] = {}
    for pod in pods:
        workload = (pod["metadata"].get("labels") or {}).get(names.WORKLOAD, "")
        if workload in found or pod["metadata"].get("deletionTimestamp"):
            continue
        if why := _problem(pod):
            found[workload] = f"pod {pod['metadata']['name']} {why}"
    return found


def _problem(pod: Mapping[str, Any]) -> str | None:
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return f"finds no node: {condition.get('message', '')}"
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason == "CrashLoopBackOff":
            ended = (container.get("lastState") or {}).get("terminated") or {}
            code = ended.get("exitCode")
            why = ended.get("reason", "Error")
            return f"keeps ending ({why}, exit code {code}): read its log with kubectl logs"
        if reason and reason not in _STARTING:
            message = str(waiting.get("message", ""))[:300]
            return f"cannot start ({reason}): {message}"
    return None
