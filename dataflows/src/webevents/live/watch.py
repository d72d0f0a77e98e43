"""Looking at the stages' ledgers, once a second, in a thread of its own."""

import contextlib
import time
from typing import Any

import structlog
from confluent_kafka import KafkaException

from webevents.connectors.kafka_observe import Observer
from webevents.live.background import Background
from webevents.live.state import State

log = structlog.get_logger()

LOOK_EVERY_S = 1.0


class Watch(Background):
    """Reads offsets and ledgers into the state.

    :param kafka: librdkafka settings to reach the cluster.
    :param groups: consumer group and topics of each stage, by its name.
    """

    def __init__(
        self,
        kafka: dict[str, Any],
        groups: dict[str, tuple[str, tuple[str, ...]]],
        state: State,
    ) -> None:
        super().__init__("live-watch")
        self._kafka = kafka
        self._groups = groups
        self._state = state

    def _run(self) -> None:
        observer = Observer(self._kafka)
        away = False
        with contextlib.closing(observer):
            while not self._closed.is_set():
                next_look = time.monotonic() + LOOK_EVERY_S
                try:
                    views = observer.groups(dict(self._groups.values()))
                    self._state.look(
                        {name: views[group] for name, (group, _) in self._groups.items()}
                    )
                    away = False
                except KafkaException as error:
                    if not away:
                        log.warning("ledgers not seen", error=error.args[0].str())
                    away = True
                self._closed.wait(max(next_look - time.monotonic(), 0.05))
