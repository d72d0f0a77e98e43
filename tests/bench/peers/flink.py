"""PyFlink's DataStream, at least once. Usage: flink.py BOOTSTRAP SOURCE TARGET thread|process JARS

JARS are the connector and what it needs, separated by commas.
"""

import json
import os
import sys

from pyflink.common import Configuration, SimpleStringSchema, Types, WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from work import on_dict

bootstrap, source, target, mode, jars = sys.argv[1:6]
settings = Configuration()
settings.set_string("python.execution-mode", mode)
settings.set_string("python.executable", sys.executable)
# The interpreter within the JVM (thread) does not know this environment by itself.
settings.set_string("python.pythonpath", os.pathsep.join(filter(None, sys.path)))
settings.set_string("restart-strategy.type", "none")  # what fails is to be seen, not repeated
settings.set_string("pipeline.jars", ";".join(f"file://{jar}" for jar in jars.split(",")))
settings.set_string("taskmanager.memory.process.size", "2g")
environment = StreamExecutionEnvironment.get_execution_environment(settings)
environment.set_parallelism(1)
environment.enable_checkpointing(1000)
reader = (
    KafkaSource.builder().set_bootstrap_servers(bootstrap).set_topics(source)
    .set_group_id(f"flink-{target}").set_starting_offsets(KafkaOffsetsInitializer.earliest())
    .set_value_only_deserializer(SimpleStringSchema()).build()
)  # fmt: skip
writer = (
    KafkaSink.builder().set_bootstrap_servers(bootstrap)
    .set_record_serializer(
        KafkaRecordSerializationSchema.builder().set_topic(target)
        .set_value_serialization_schema(SimpleStringSchema()).build()
    )
    .set_delivery_guarantee(DeliveryGuarantee.AT_LEAST_ONCE)
    .set_property("linger.ms", "20").set_property("compression.type", "lz4").build()
)  # fmt: skip
made = None


def enrich(text):
    global made
    if made is None:  # in the worker, not where the job is described
        made = on_dict()
    return json.dumps(made(json.loads(text)))


stream = environment.from_source(reader, WatermarkStrategy.no_watermarks(), "events")
stream.map(enrich, output_type=Types.STRING()).sink_to(writer)
environment.execute("peer")
