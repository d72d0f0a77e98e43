"""The enrich stage, as `webevents stage` runs it. Usage: ours.py BOOTSTRAP SOURCE TARGET FAILED

With AT_LEAST_ONCE=1 the same stage without transactions, to see what these cost: offsets are
committed after what was written is delivered. WORKERS=n starts n workers, each in a process.
"""

import os
import subprocess
import sys

from confluent_kafka import Producer

from webevents.spec.enrich import EnrichSpec
from webevents.spec.kafka import KafkaSpec
from webevents.stages import task, worker
from webevents.stages.settings import StageSettings
from webevents.stop import Stop

bootstrap, source, target, failed = sys.argv[1:5]


class Untransactional(Producer):
    """A producer with the same calls that has no transactions."""

    def __init__(self, settings):
        kept = {name: value for name, value in settings.items() if "transaction" not in name}
        super().__init__(kept | {"enable.idempotence": True})

    def init_transactions(self, *_):
        pass

    begin_transaction = abort_transaction = init_transactions

    def send_offsets_to_transaction(self, offsets, *_):
        self.offsets = offsets

    def commit_transaction(self, *_):
        self.flush()
        consumers[0].commit(offsets=self.offsets, asynchronous=False)


consumers = []
if os.environ.get("AT_LEAST_ONCE"):
    usual = task.Consumer

    def consumer(settings):
        consumers.append(usual(settings))
        return consumers[-1]

    task.Consumer, task.Producer = consumer, Untransactional

settings = StageSettings(
    pipeline="bench", stage="enrich", group=f"enrich-{target}", topics=(source,),
    output_topic=target, failed_topic=failed, commit_interval="200ms", chunk_size=1000,
    kafka=KafkaSpec(bootstrap_servers=bootstrap), enrich=EnrichSpec(),
)  # fmt: skip
instance = os.environ.get("INSTANCE", "0")
others = [
    subprocess.Popen(
        [sys.executable, *sys.argv], env=os.environ | {"WORKERS": "1", "INSTANCE": str(n)}
    )
    for n in range(1, int(os.environ.get("WORKERS", "1")))
]
stop = Stop()
stop.install()
worker.run_stage(settings, instance, stop)
for other in others:
    other.wait()
