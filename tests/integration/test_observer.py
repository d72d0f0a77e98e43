"""Looking at a pipeline while it runs: what moves meanwhile is no fault of the ledger."""

import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from webevents.connectors.kafka_observe import Observer, Partition

pytestmark = pytest.mark.integration


class _WhileWriting(Observer):
    """Writes to a topic between reading its end and reading the offsets of its readers."""

    def __init__(self, kafka: dict[str, Any], topic: str) -> None:
        super().__init__(kafka)
        self._producer, self._topic = Producer(kafka), topic

    def _committed(
        self, group: str, partitions: Iterable[Partition]
    ) -> dict[Partition, tuple[int, str]]:
        self._producer.produce(self._topic, b"{}", partition=0)
        self._producer.flush(60)
        return super()._committed(group, partitions)


def test_a_partition_that_is_written_to_meanwhile_is_told(kafka: str) -> None:
    settings: dict[str, Any] = {"bootstrap.servers": kafka}
    raw, enriched = (f"{uuid.uuid4().hex[:8]}-{name}" for name in ("raw", "enriched"))
    admin = AdminClient(settings)
    topics = [NewTopic(raw, 1, 1), NewTopic(enriched, 2, 1)]
    for future in admin.create_topics(topics).values():
        future.result(timeout=60)
    groups = {f"{raw}-enrich": [raw], f"{raw}-index": [enriched]}
    observer = _WhileWriting(settings, enriched)
    try:
        enrich, index = observer.groups(groups).values()
    finally:
        observer.close()
    assert enrich.moving == set()
    assert index.moving == {(enriched, 0)}
    still = Observer(settings)
    try:
        assert [view.moving for view in still.groups(groups).values()] == [set(), set()]
    finally:
        still.close()
