"""The plain loop: confluent-kafka, one event after the other, offsets committed every 200 ms.

Usage: loop.py BOOTSTRAP SOURCE TARGET
"""

import sys
import time

from confluent_kafka import Consumer, Producer
from work import on_bytes

bootstrap, source, target = sys.argv[1:4]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"loop-{target}",
                     "enable.auto.commit": False, "auto.offset.reset": "earliest"})  # fmt: skip
producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4",
                     "enable.idempotence": True, "partitioner": "murmur2_random"})  # fmt: skip
consumer.subscribe([source])
work = on_bytes()
committed = time.monotonic()
while True:
    for message in consumer.consume(1000, 0.1):
        key, value = work(message.value())
        while True:
            try:
                producer.produce(target, value, key)
                break
            except BufferError:
                producer.poll(0.05)
    producer.poll(0)
    if time.monotonic() - committed > 0.2:
        # What was read is delivered before it counts as read: at least once.
        producer.flush()
        if consumer.assignment():
            positions = [p for p in consumer.position(consumer.assignment()) if p.offset >= 0]
            if positions:
                consumer.commit(offsets=positions, asynchronous=False)
        committed = time.monotonic()
