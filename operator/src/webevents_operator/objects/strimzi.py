"""Topics and users as resources of Strimzi, and the way in through its listeners.

Each workload has a KafkaUser of its own, with what it needs and no more; so have the operator,
which looks at groups, and the tools (backfills, `helm test`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from webevents.connectors.kafka import Topic
from webevents.plan.access import Permission, permissions
from webevents.spec.kafka import ACCOUNT, KafkaSasl, KafkaSpec, KafkaTls, StrimziSpec
from webevents_operator import names
from webevents_operator.kinds import KAFKA_TOPIC, KAFKA_USER, Object
from webevents_operator.names import Key
from webevents_operator.objects.frame import Frame

_INTERNAL = ("internal", "cluster-ip")
_AUTHENTICATION = ("tls", "scram-sha-512")
"""What a KafkaUser can log in with; a listener may also have none."""


def strimzi_objects(frame: Frame) -> list[Object]:
    """The KafkaTopics of the plan and, where the listener asks for a log-in, the KafkaUsers."""
    strimzi = frame.strimzi
    assert strimzi
    made = [_topic(frame, strimzi, topic) for topic in frame.plan.topics]
    if authentication := _authentication(frame.pipeline.spec.kafka):
        made += [
            _user(frame, strimzi, authentication, account, needed)
            for account, needed in permissions(frame.plan, own_topics=False).items()
        ]
    return made


def strimzi_namespace(strimzi: StrimziSpec, key: Key) -> str:
    """Where the resources of Strimzi are."""
    return strimzi.namespace or key.namespace


def user_name(strimzi: StrimziSpec, key: Key, account: str) -> str:
    """Name of an account's KafkaUser and of its secret.

    :param account: a workload's name, OPERATOR, TOOLS, or ACCOUNT in their place.
    """
    if strimzi_namespace(strimzi, key) == key.namespace:
        return f"{key.name}-{account}"
    return f"{key.namespace}-{key.name}-{account}"


def choose_listener(
    strimzi: StrimziSpec, listeners: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The listener that the pipeline uses; None where there is no fitting one.

    One with a log-in goes before one without, one with TLS before one in clear.
    """
    fitting = [
        listener
        for listener in listeners
        if listener["name"] == strimzi.listener
        or (strimzi.listener is None and listener.get("type") in _INTERNAL)
    ]
    fitting = [each for each in fitting if _type(each) in (None, *_AUTHENTICATION)]
    fitting.sort(key=lambda each: (_type(each) is None, not each.get("tls", False)))
    return fitting[0] if fitting else None


def connection(
    strimzi: StrimziSpec, key: Key, kafka: Object, listener: Mapping[str, Any]
) -> KafkaSpec:
    """How to reach the brokers through a listener.

    :param kafka: the Kafka resource.
    """
    namespace, user = strimzi_namespace(strimzi, key), user_name(strimzi, key, ACCOUNT)
    found = [
        each.get("bootstrapServers")
        for each in kafka.get("status", {}).get("listeners", [])
        if each.get("name") == listener["name"]
    ]
    address = f"{strimzi.cluster}-kafka-bootstrap.{namespace}.svc:{listener['port']}"
    tls, sasl = None, None
    kind = _type(listener)
    if listener.get("tls"):
        tls = KafkaTls(
            ca_file=f"secret:{strimzi.cluster}-cluster-ca-cert/ca.crt",
            cert_file=f"secret:{user}/user.crt" if kind == "tls" else None,
            key_file=f"secret:{user}/user.key" if kind == "tls" else None,
        )
    if kind == "scram-sha-512":
        sasl = KafkaSasl(
            mechanism="SCRAM-SHA-512", username=user, password_file=f"secret:{user}/password"
        )
    return KafkaSpec(bootstrap_servers=found[0] if found else address, tls=tls, sasl=sasl)


def _type(listener: Mapping[str, Any]) -> str | None:
    kind: str | None = (listener.get("authentication") or {}).get("type")
    return kind


def _authentication(kafka: KafkaSpec) -> str | None:
    if kafka.sasl:
        return "scram-sha-512"
    return "tls" if kafka.tls and kafka.tls.cert_file else None


def _metadata(frame: Frame, strimzi: StrimziSpec, *, owned: bool) -> Object:
    # An owner must be in the same namespace; what is elsewhere goes by the finalizer.
    here = strimzi_namespace(strimzi, frame.key) == frame.key.namespace
    made = frame.metadata(owned=owned and here)
    made["labels"][names.STRIMZI_CLUSTER] = strimzi.cluster
    return made


def _topic(frame: Frame, strimzi: StrimziSpec, topic: Topic) -> Object:
    # Where topics are retained they have no owner: Strimzi deletes the topic of a KafkaTopic that
    # is deleted.
    delete = frame.pipeline.spec.deletion_policy.topics == "Delete"
    return KAFKA_TOPIC.of(
        names.resource_name(topic.name),
        strimzi_namespace(strimzi, frame.key),
        metadata=_metadata(frame, strimzi, owned=delete),
        spec={
            "topicName": topic.name,
            "partitions": topic.partitions,
            "replicas": topic.replication_factor,
            "config": dict(topic.config),
        },
    )


def _user(
    frame: Frame,
    strimzi: StrimziSpec,
    authentication: str,
    account: str,
    needed: Sequence[Permission],
) -> Object:
    spec: Object = {"authentication": {"type": authentication}}
    if frame.kafka_authorization:
        spec["authorization"] = {"type": "simple", "acls": list(map(_acl, needed))}
    return KAFKA_USER.of(
        user_name(strimzi, frame.key, account),
        strimzi_namespace(strimzi, frame.key),
        metadata=_metadata(frame, strimzi, owned=True),
        spec=spec,
    )


def _acl(permission: Permission) -> Object:
    pattern = "prefix" if permission.prefix else "literal"
    return {
        "resource": {
            "type": permission.resource,
            "name": permission.name,
            "patternType": pattern,
        },
        "operations": list(permission.operations),
    }
