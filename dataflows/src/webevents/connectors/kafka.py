"""Kafka: connection settings for every client, and the topics."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from webevents.errors import UserError
from webevents.spec.kafka import OPERATOR, KafkaSpec

TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 15.0
"""A wrong password or certificate shows only as no answer."""


def client_config(spec: KafkaSpec) -> dict[str, Any]:
    """librdkafka settings to reach the cluster.

    Whoever logs in and is no workload of a plan, which has its own log-in, is the operator.

    :raises UserError: when bootstrapServers is not set or a secret cannot be read.
    """
    if not spec.bootstrap_servers:
        raise UserError("spec.kafka.bootstrapServers is not set: name the brokers as host:port")
    spec = spec.logged_in_as(OPERATOR)
    config: dict[str, Any] = {
        "bootstrap.servers": spec.bootstrap_servers,
        "log.connection.close": False,
        # Brokers that are away stay known and are tried again. To forget them and begin anew with
        # bootstrapServers, the default, has a transaction wait for a forgotten one for ever
        # (librdkafka's issue 5511), and fills the log at 20 lines a second.
        "metadata.recovery.strategy": "none",
        # The default of 10 s would add that much to an outage.
        "reconnect.backoff.max.ms": 2_000,
    }
    protocol = "ssl" if spec.tls else "plaintext"
    if tls := spec.tls:
        config |= {
            "ssl.ca.location": tls.ca_file,
            "ssl.certificate.location": tls.cert_file,
            "ssl.key.location": tls.key_file,
            "ssl.endpoint.identification.algorithm": "https" if tls.verify else "none",
        }
        if tls.key_password_file:
            config["ssl.key.password"] = read_secret("key password", tls.key_password_file, None)
    if sasl := spec.sasl:
        protocol = f"sasl_{protocol}"
        config |= {
            "sasl.mechanism": sasl.mechanism,
            "sasl.username": sasl.username,
            "sasl.password": read_secret("password", sasl.password_file, sasl.password_env),
        }
    config["security.protocol"] = protocol
    return {name: value for name, value in config.items() if value is not None}


def read_secret(what: str, file: str | None, env: str | None) -> str:
    """Read a secret from a file (surrounding white space is not part of it) or the environment.

    :raises UserError: when it is not there or empty.
    """
    try:
        value = Path(file).read_text().strip() if file else os.environ.get(env or "", "")
    except OSError as error:
        raise UserError(f"cannot read the {what} from {file}: {error.strerror}") from None
    if not value:
        raise UserError(f"the {what} in {file or f'the environment variable {env}'} is empty")
    return value


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the plan wants it."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)
    replication_factor: int = 1


def ensure_topics(admin: AdminClient, topics: Sequence[Topic]) -> list[str]:
    """Create the topics that are missing and add the partitions that are too few.

    :returns: what was done, a line each; empty where all was there.
    :raises UserError: when the cluster cannot be reached or refuses.
    """
    done: list[str] = []
    try:
        known = admin.list_topics(timeout=CONNECT_TIMEOUT_S).topics
        missing = [topic for topic in topics if topic.name not in known]
        if missing:
            made = _wait(
                admin.create_topics(
                    [
                        NewTopic(t.name, t.partitions, t.replication_factor, config=dict(t.config))
                        for t in missing
                    ]
                )
            )
            done += [
                f"created topic {t.name} ({t.partitions} partitions)"
                for t in missing
                if t.name in made
            ]
        few = [
            t for t in topics if t.name in known and len(known[t.name].partitions) < t.partitions
        ]
        if few:
            _wait(admin.create_partitions([NewPartitions(t.name, t.partitions) for t in few]))
            done += [f"grew topic {t.name} ({t.partitions} partitions)" for t in few]
    except KafkaException as error:
        raise UserError(
            f"cannot prepare the topics: {error.args[0].str()}; check the brokers' address, and "
            "user, password and certificates"
        ) from None
    return done


def _wait(futures: Mapping[str, Any]) -> set[str]:
    """Wait for topics to be made or grown.

    :returns: those that were; one that another has made meanwhile is left out.
    """
    done = set()
    for name, future in futures.items():
        try:
            future.result(timeout=TIMEOUT_S)
            done.add(name)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise
    return done
