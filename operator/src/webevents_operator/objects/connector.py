"""Change data capture: the plan's connector as a resource of Strimzi."""

from webevents.plan.model import Connector
from webevents.spec.secrets import parse_ref
from webevents_operator import names
from webevents_operator.kinds import KAFKA_CONNECTOR, Object
from webevents_operator.objects.frame import Frame

MOUNTED = "/mnt"
"""Where the KafkaConnect resource mounts Secrets whose files the connector needs; Strimzi permits
volumes below this folder."""
_SET_APART = ("connector.class", "tasks.max")


def connector_object(frame: Frame, connector: Connector) -> Object:
    """The KafkaConnector. The password is looked up by Connect itself, in the Secret."""
    debezium = frame.pipeline.spec.source.debezium
    assert debezium
    config = {
        name: _placed(value) for name, value in connector.config.items() if name not in _SET_APART
    }
    if file := debezium.postgres.password_file:
        ref = parse_ref(file)
        assert ref
        config.setdefault(
            "database.password", f"${{secrets:{frame.key.namespace}/{ref.name}:{ref.key}}}"
        )
    metadata = frame.metadata()
    metadata["labels"][names.STRIMZI_CLUSTER] = str(debezium.connect.cluster)
    return KAFKA_CONNECTOR.of(
        connector.name,
        frame.key.namespace,
        metadata=metadata,
        spec={
            "class": connector.config["connector.class"],
            "tasksMax": int(connector.config["tasks.max"]),
            "autoRestart": {"enabled": True},
            "config": config,
        },
    )


def _placed(value: str) -> str:
    ref = parse_ref(value)
    return f"{MOUNTED}/{ref.name}/{ref.key}" if ref else value
