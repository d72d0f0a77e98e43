"""``webevents acls``: what each workload's log-in must be allowed to do on Kafka."""

from collections.abc import Iterator
from typing import Annotated

import typer

from webevents.cli import connections as c
from webevents.connectors.kafka import client_config
from webevents.connectors.kafka_acls import Acl, create_acls
from webevents.errors import UserError
from webevents.plan.access import permissions
from webevents.plan.make import make_plan
from webevents.spec.kafka import ACCOUNT
from webevents.spec.load import load_pipeline
from webevents.spec.pipeline import WebEventPipeline


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(acls)


def acls(
    file: c.PipelineFile,
    principal: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Principals with {workload} in them, such as 'User:CN=shop-{workload}'; after "
            "spec.kafka.sasl.username if absent.",
        ),
    ] = None,
    create: Annotated[
        bool,
        typer.Option("--create", help="Create them; log in as an administrator with --kafka-…."),
    ] = False,
    kafka: c.Kafka = None,
    kafka_tls: c.KafkaTlsFlag = False,
    kafka_ca: c.KafkaCa = None,
    kafka_cert: c.KafkaCert = None,
    kafka_key: c.KafkaKey = None,
    kafka_user: c.KafkaUser = None,
    kafka_password_file: c.KafkaPasswordFile = None,
    kafka_mechanism: c.KafkaMechanism = "SCRAM-SHA-512",
) -> None:
    """Print the ACLs that a pipeline needs, as options of Kafka's kafka-acls tool, or create them.

    Each workload gets its own, and so do "operator" (the operator, or webevents run) and "tools"
    (trace, failed, erase, backfill and the like).
    """
    pipeline = load_pipeline(file)
    wanted = list(needed_acls(pipeline, principal))
    if not create:
        for acl in wanted:
            typer.echo(_as_options(acl))
        return
    given = c.kafka_spec(
        kafka,
        tls=kafka_tls,
        ca=kafka_ca,
        cert=kafka_cert,
        key=kafka_key,
        user=kafka_user,
        password_file=kafka_password_file,
        mechanism=kafka_mechanism,
    )
    if given is None:
        raise UserError("--create needs an administrator's log-in: name it with --kafka HOST:PORT")
    create_acls(client_config(given), wanted)
    accounts = len({acl.principal for acl in wanted})
    typer.echo(f"What {accounts} principals need is allowed.")


def needed_acls(pipeline: WebEventPipeline, principal: str | None) -> Iterator[Acl]:
    """The ACLs of all accounts.

    :param principal: with ``{workload}`` in it; after the pipeline's SASL user when None.
    :raises UserError: when the accounts would have one log-in.
    """
    if principal is None:
        sasl = pipeline.spec.kafka.sasl
        principal = f"User:{sasl.username}" if sasl else "User:"
    if ACCOUNT not in principal:
        raise UserError(
            f"all workloads would have one log-in: write {ACCOUNT} in spec.kafka.sasl.username "
            f"(with passwordFile), or in --principal where certificates tell who logs in"
        )
    for account, allowed in permissions(make_plan(pipeline)).items():
        for permission in allowed:
            yield Acl(principal.replace(ACCOUNT, account), *permission)


def _as_options(acl: Acl) -> str:
    resource = {"transactionalId": "transactional-id"}.get(acl.resource, acl.resource)
    pattern = "prefixed" if acl.prefix else "literal"
    operations = " ".join(f"--operation {operation}" for operation in acl.operations)
    return (
        f"--add --allow-principal '{acl.principal}' {operations} "
        f"--{resource} '{acl.name}' --resource-pattern-type {pattern}"
    )
