"""A stage that copies: what the engine does, without any logic. Run as a process by the tests.

Usage: copy_worker.py BOOTSTRAP GROUP INSTANCE INPUT OUTPUT
"""

import sys

from webevents.connectors.kafka import client_config
from webevents.events.ledger import Counts
from webevents.spec.kafka import KafkaSpec
from webevents.stages import flow
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


def main() -> None:
    bootstrap, group, instance, source, output = sys.argv[1:]
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
