"""Copies messages as they are with librdkafka: the ceiling.

Usage: copy_raw.py BOOTSTRAP SOURCE TARGET
"""

import sys

from confluent_kafka import Consumer, Producer, TopicPartition

bootstrap, source, target = sys.argv[1:4]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "peer",
                     "enable.auto.commit": False, "auto.offset.reset": "earliest"})  # fmt: skip
producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4",
                     "enable.idempotence": True, "partitioner": "murmur2_random"})  # fmt: skip
partitions = consumer.list_topics(source).topics[source].partitions
consumer.assign([TopicPartition(source, number, 0) for number in partitions])
while True:
    for message in consumer.consume(1000, 0.1):
        while True:
            try:
                producer.produce(target, message.value(), message.key())
                break
            except BufferError:
                producer.poll(0.05)
    producer.poll(0)
