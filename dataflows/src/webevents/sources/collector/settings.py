"""The settings file of a collector workload, made by the plan."""

from webevents.spec.base import Model
from webevents.spec.collector import CollectorSpec
from webevents.spec.kafka import KafkaSpec


class CollectorSettings(Model):
    """The collector of one pipeline; its sites are a live setting, in a file of their own."""

    pipeline: str
    topic: str
    """The raw topic."""
    failed_topic: str
    key: tuple[str, ...]
    """Fields whose values are the message's key (spec.sessions.key)."""
    max_event_bytes: int
    """The largest event (spec.events.maxBytes)."""
    max_message_bytes: int
    """The largest message that the topics take."""
    purchase_types: tuple[str, ...]
    """Event types that count as a purchase (spec.sessions.purchaseTypes)."""
    kafka: KafkaSpec
    collector: CollectorSpec
