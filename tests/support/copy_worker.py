"""A stage that copies: what the engine does, without any logic. Run as a process by the tests.

Usage: copy_worker.py BOOTSTRAP GROUP INSTANCE INPUT OUTPUT [LOADING_S]

With LOADING_S the brokers seem not to know yet what is committed when they are first asked, and for
so many seconds after. That is a fake: real ones do it for moments that cannot be chosen, after they
were killed on a busy machine.
"""

import sys
import time

from confluent_kafka import Consumer, TopicPartition

from webevents.connectors.kafka import client_config
from webevents.events.ledger import Counts
from webevents.spec.kafka import KafkaSpec
from webevents.stages import flow
from webevents.stages import task as loop
from webevents.stages.chunk import Chunk, Outcome, Processor, Record
from webevents.stages.task import StreamTask, TaskSettings
from webevents.stop import Stop


class Copy(Processor):
    def __init__(self, output: str) -> None:
        self._output = output

    def process(self, chunk: Chunk) -> Outcome:
        records = [
            Record(self._output, key, value)
            for key, value in zip(chunk.keys, chunk.values, strict=True)
        ]
        return Outcome(Counts(len(records), len(records)), records, emitted=len(records))


class Loading(Consumer):
    """A consumer of brokers that still load what is committed."""

    seconds = 0.0
    until: float | None = None

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self.until is None:
            self.until = time.monotonic() + self.seconds
        elif time.monotonic() > self.until:
            return list(super().committed(partitions, timeout))
        starts = [TopicPartition(p.topic, p.partition, 0) for p in partitions]
        self.incremental_assign(starts)  # what the client's own question would come to
        return [TopicPartition(p.topic, p.partition) for p in partitions]


def main() -> None:
    bootstrap, group, instance, source, output, *loading_s = sys.argv[1:]
    if loading_s:
        Loading.seconds = float(loading_s[0])
        loop.Consumer = Loading  # type: ignore[misc]
    stop = Stop()
    stop.install()
    processor = Copy(output)
    settings = TaskSettings("copy", group, instance, [source], 0.1, 200)
    task = StreamTask(
        settings, processor, client_config(KafkaSpec(bootstrap_servers=bootstrap)), stop
    )
    try:
        flow.run("copy", task, processor)
    finally:
        task.close()


if __name__ == "__main__":
    main()
