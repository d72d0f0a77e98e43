"""How far the other stages are behind, looked at now and then in a thread of its own."""

import contextlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaException

from webevents.connectors.kafka_observe import Observer

log = structlog.get_logger()

LOOK_EVERY_S = 20.0
CLOSE_WAIT_S = 2.0


class LagWatch:
    """The lags of stages.

    :param kafka: librdkafka settings to reach the cluster.
    :param groups: consumer group and topics of each stage, by its name.
    """

    def __init__(
        self, kafka: dict[str, Any], groups: Mapping[str, tuple[str, Sequence[str]]]
    ) -> None:
        self._groups = groups
        self._observer = Observer(kafka)
        self._seen: dict[str, int] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag-watch", daemon=True)
        self._thread.start()

    def take(self) -> dict[str, int] | None:
        """The lags by stage as they were just looked at; None where nobody has looked since."""
        seen, self._seen = self._seen, None
        return seen

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()
        self._thread.join(CLOSE_WAIT_S)

    def _run(self) -> None:
        wanted = dict(self._groups.values())
        with contextlib.closing(self._observer):
            while not self._closed.wait(LOOK_EVERY_S):
                try:
                    views = self._observer.groups(wanted)
                except KafkaException as error:
                    log.warning("lags not seen", error=error.args[0].str())
                    continue
                self._seen = {name: views[group].lag for name, (group, _) in self._groups.items()}
