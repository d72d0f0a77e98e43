"""Kafka Connect over its REST API: connectors, how they do, and starting them again."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 20.0
"""Connect answers a request for a connector only when its group has settled."""


class ConnectError(Exception):
    """Kafka Connect did not do what it was asked.

    :param refused: whether it understood and refused, so that the same request will not do later.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """How a connector and its tasks do."""

    state: str
    """RUNNING, PAUSED, FAILED, UNASSIGNED, RESTARTING or STOPPED; of the worst of its parts."""
    reason: str = ""
    """First line of why a part failed."""


class KafkaConnect:
    """One Kafka Connect cluster.

    :param url: of its REST API.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def put(self, name: str, config: Mapping[str, str]) -> None:
        """Make a connector, or give it this configuration.

        :raises ConnectError: when that is not done.
        """
        self._call("PUT", f"/connectors/{_quoted(name)}/config", dict(config))

    def status(self, name: str) -> ConnectorStatus | None:
        """How a connector does; None where there is none of that name.

        :raises ConnectError: when Connect does not answer.
        """
        try:
            found = self._call("GET", f"/connectors/{_quoted(name)}/status")
        except ConnectError as error:
            if isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == 404:
                return None
            raise
        parts = [found["connector"], *found["tasks"]]
        for part in parts:
            if part["state"] == "FAILED":
                return ConnectorStatus("FAILED", _cause(part.get("trace", "")))
        if len(parts) == 1:
            return ConnectorStatus("UNASSIGNED")
        others = [part["state"] for part in parts if part["state"] != "RUNNING"]
        return ConnectorStatus(others[0] if others else "RUNNING")

    def restart(self, name: str) -> None:
        """Start again what has failed of a connector.

        :raises ConnectError: when that is not done.
        """
        self._call(
            "POST", f"/connectors/{_quoted(name)}/restart?includeTasks=true&onlyFailed=true", {}
        )

    def delete(self, name: str) -> None:
        """Take a connector away; the database keeps its replication slot.

        :raises ConnectError: when that is not done.
        """
        self._call("DELETE", f"/connectors/{_quoted(name)}")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - ConnectSpec.url is http or https
            f"{self._url}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Accept": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            refused = error.code in (400, 422)
            raise ConnectError(_message(error), refused=refused) from error
        except OSError as error:
            raise ConnectError(f"no answer ({getattr(error, 'reason', error)})") from error
        return json.loads(text) if text else None


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"HTTP {error.code}"


def _cause(trace: str) -> str:
    """What a trace says of its innermost cause, in one line."""
    lines = [line.strip() for line in trace.splitlines()]
    causes = [line for line in lines if line.startswith("Caused by: ")]
    text = causes[-1].removeprefix("Caused by: ") if causes else (lines[0] if lines else "")
    return text.partition(": ")[2] or text
