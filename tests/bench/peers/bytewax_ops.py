"""Bytewax as its documentation shows it: one item is one message, `op.map`, its own connectors.

Usage: bytewax_ops.py BOOTSTRAP SOURCE TARGET struct|json
"""

import json
import sys

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from work import on_bytes, on_dict

bootstrap, source, target, codec = sys.argv[1:5]
flow = Dataflow("peer")
messages = op.input("read", flow, KafkaSource([bootstrap], [source], tail=True))
if codec == "struct":
    work = on_bytes()

    def enrich(message):
        key, value = work(message.value)
        return KafkaSinkMessage(key.encode() if key else None, value)
else:
    work = on_dict()

    def enrich(message):
        event = work(json.loads(message.value))
        key = event.get("user_domain_id")
        return KafkaSinkMessage(key.encode() if key else None, json.dumps(event).encode())


done = op.map("enrich", messages, enrich)
settings = {"linger.ms": "20", "compression.type": "lz4", "partitioner": "murmur2_random"}
kop.output("write", done, brokers=[bootstrap], topic=target, add_config=settings)
run_main(flow)
