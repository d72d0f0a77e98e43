"""Signals to processes of containers, as a crash would have it: sent from the node, by a pod that
sees the node's processes. Nobody inside a container can kill its first process with SIGKILL."""

import time
from typing import Any

from cluster_shell import Cluster, Object, is_ready
from server_image import IMAGE

_SEND = """if True:
    import os, sys, time
    def processes():
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and sys.argv[1] in open(f"/proc/{entry}/cgroup").read():
                    yield int(entry)
            except OSError:
                pass
    found = list(processes())
    def send(number):
        for pid in found:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
    numbers = [int(each) for each in sys.argv[2].split(",")]
    until = time.time() + float(sys.argv[3])
    if len(numbers) == 1:
        send(numbers[0])
    else:  # by turns, which slows it down
        while time.time() < until:
            send(numbers[0])
            time.sleep(float(sys.argv[4]))
            send(numbers[1])
            time.sleep(float(sys.argv[5]))
    print(len(found))
"""


class Hands:
    """A pod on the node, in a namespace of its own.

    :param cluster: where the other pods are.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._own = Cluster(f"{cluster.namespace}-hands")

    def __enter__(self) -> "Hands":
        name = self._own.namespace
        self._own.kubectl("create", "namespace", name)
        self._own.kubectl(
            "label", "namespace", name, "pod-security.kubernetes.io/enforce=privileged"
        )
        container: Object = {
            "name": "hands",
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"],
            "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
        }
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "hands"},
            "spec": {
                "hostPID": True,
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "containers": [container],
            },
        }
        self._own.apply(pod)
        self._own.kubectl("wait", "pod/hands", "--for=condition=Ready", "--timeout=180s")
        return self

    def __exit__(self, *_: Any) -> None:
        self._own.kubectl("delete", "namespace", self._own.namespace, "--wait=false", check=False)

    def signal(self, pod: str, number: int) -> None:
        """Send a signal to every process of a pod's container."""
        assert self._send(pod, str(number), "0", "0", "0") > 0, f"{pod} has no process"

    def slow_down(self, pod: str, seconds: float, *, stopped: float, running: float) -> None:
        """Let a pod's processes run only at times, for some seconds."""
        self._send(pod, "19,18", str(seconds), str(stopped), str(running))

    def kill(self, pod: str, seconds: float = 300) -> float:
        """``kill -9`` a pod's processes; returns the seconds until its container is ready anew."""
        before = self._status(pod)["restartCount"]
        began = time.monotonic()
        self.signal(pod, 9)
        while time.monotonic() - began < seconds:
            found = self._cluster.json(f"pod/{pod}")
            (status,) = found["status"]["containerStatuses"]
            if status["restartCount"] > before and is_ready(found):
                return time.monotonic() - began
            time.sleep(0.5)
        raise AssertionError(f"{pod} is not ready {seconds} s after kill -9: {status}")

    def _status(self, pod: str) -> Object:
        (status,) = self._cluster.json(f"pod/{pod}")["status"]["containerStatuses"]
        return dict(status)

    def _send(self, pod: str, *words: str) -> int:
        container = self._status(pod)["containerID"].rpartition("/")[2]
        return int(self._own.python(_SEND, container, *words, where="hands"))
