"""Permissions on Kafka: access control lists (ACLs) made by an administrator."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from webevents.errors import UserError

TIMEOUT_S = 30.0

_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactionalId": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "Alter": AclOperation.ALTER,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
}


class Acl(NamedTuple):
    """What one principal may do with a resource, from any host."""

    principal: str
    """Such as ``User:shop-enrich``."""
    resource: str
    """topic, group or transactionalId."""
    name: str
    operations: tuple[str, ...]
    """As Kafka's documentation calls them, such as DescribeConfigs."""
    prefix: bool = False
    """Whether it holds for all resources whose names begin so."""


def create_acls(kafka: Mapping[str, Any], acls: Sequence[Acl]) -> None:
    """Allow what is not allowed yet; what is already there stays.

    :param kafka: librdkafka settings of an administrator.
    :raises UserError: when the brokers do not answer, or refuse.
    """
    admin = AdminClient(dict(kafka) | {"log_level": 0})
    made = admin.create_acls(
        [_binding(acl, operation) for acl in acls for operation in acl.operations],
        request_timeout=TIMEOUT_S,
    )
    for future in made.values():
        try:
            future.result(timeout=2 * TIMEOUT_S)
        except KafkaException as error:
            raise UserError(
                f"cannot create the ACLs: {error.args[0].str()}; check the address and the log-in, "
                "which needs the operation Alter on the cluster, and that the brokers have an "
                "authorizer"
            ) from None


def _binding(acl: Acl, operation: str) -> AclBinding:
    return AclBinding(
        _RESOURCES[acl.resource],
        acl.name,
        ResourcePatternType.PREFIXED if acl.prefix else ResourcePatternType.LITERAL,
        acl.principal,
        "*",
        _OPERATIONS[operation],
        AclPermissionType.ALLOW,
    )
