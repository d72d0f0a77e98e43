"""The settings file of a generator workload, made by the plan."""

from webevents.spec.base import Model
from webevents.spec.generator import GeneratorSpec
from webevents.spec.kafka import KafkaSpec


class GeneratorSettings(Model):
    """The simulated visitors of one pipeline."""

    pipeline: str
    topic: str
    key: tuple[str, ...]
    """Fields whose values are the message's key."""
    kafka: KafkaSpec
    generator: GeneratorSpec
