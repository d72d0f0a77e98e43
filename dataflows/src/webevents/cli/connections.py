"""Options shared by the commands: which pipeline, which servers, what form of answer."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from webevents.errors import UserError
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.kafka import TOOLS, KafkaSpec
from webevents.spec.load import load_pipeline
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.postgres import PostgresSpec

KAFKA = "A Kafka that is already there"
ELASTICSEARCH = "An Elasticsearch that is already there"
POSTGRES = "A PostgreSQL that is already there"
"""Headings in the help; in tables of their own the long names are not cut."""

PipelineFile = Annotated[
    Path, typer.Option("--file", "-f", help="The WebEventPipeline (YAML or JSON).")
]
Named = Annotated[
    str | None, typer.Option("--pipeline", help="The pipeline, where several run here.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OptionalFile = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="The WebEventPipeline; one that runs here when absent."),
]
Kafka = Annotated[
    str | None,
    typer.Option(
        "--kafka", metavar="HOST:PORT", help="A Kafka that is already there.", rich_help_panel=KAFKA
    ),
]
KafkaCa = Annotated[
    str | None,
    typer.Option(
        "--kafka-ca", metavar="FILE", help="CA of the brokers; TLS.", rich_help_panel=KAFKA
    ),
]
KafkaCert = Annotated[
    str | None,
    typer.Option("--kafka-cert", metavar="FILE", help="Client certificate.", rich_help_panel=KAFKA),
]
KafkaKey = Annotated[
    str | None,
    typer.Option("--kafka-key", metavar="FILE", help="Client key.", rich_help_panel=KAFKA),
]
KafkaTlsFlag = Annotated[
    bool,
    typer.Option(
        "--kafka-tls", help="TLS with the system's certificate authorities.", rich_help_panel=KAFKA
    ),
]
KafkaUser = Annotated[
    str | None,
    typer.Option("--kafka-user", metavar="NAME", help="SASL user.", rich_help_panel=KAFKA),
]
KafkaPasswordFile = Annotated[
    str | None,
    typer.Option(
        "--kafka-password-file", metavar="FILE", help="SASL password.", rich_help_panel=KAFKA
    ),
]
KafkaMechanism = Annotated[
    str,
    typer.Option(
        "--kafka-mechanism", help="SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN.", rich_help_panel=KAFKA
    ),
]
Elasticsearch = Annotated[
    str | None,
    typer.Option(
        "--elasticsearch",
        metavar="URL",
        help="An Elasticsearch that is already there.",
        rich_help_panel=ELASTICSEARCH,
    ),
]
ElasticsearchCa = Annotated[
    str | None,
    typer.Option(
        "--elasticsearch-ca",
        metavar="FILE",
        help="CA of its certificate.",
        rich_help_panel=ELASTICSEARCH,
    ),
]
ElasticsearchUser = Annotated[
    str | None,
    typer.Option(
        "--elasticsearch-user",
        metavar="NAME",
        help="Basic authentication.",
        rich_help_panel=ELASTICSEARCH,
    ),
]
ElasticsearchPasswordFile = Annotated[
    str | None,
    typer.Option(
        "--elasticsearch-password-file",
        metavar="FILE",
        help="Its password.",
        rich_help_panel=ELASTICSEARCH,
    ),
]
ElasticsearchApiKeyFile = Annotated[
    str | None,
    typer.Option(
        "--elasticsearch-api-key-file",
        metavar="FILE",
        help="An API key.",
        rich_help_panel=ELASTICSEARCH,
    ),
]

Postgres = Annotated[
    str | None,
    typer.Option(
        "--postgres",
        metavar="HOST",
        help="A PostgreSQL: HOST, HOST:PORT or HOST:PORT/DATABASE.",
        rich_help_panel=POSTGRES,
    ),
]
PostgresUser = Annotated[
    str | None,
    typer.Option(
        "--postgres-user",
        metavar="NAME",
        help="User; webevents if absent.",
        rich_help_panel=POSTGRES,
    ),
]
PostgresPasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--postgres-password-file", metavar="FILE", help="Its password.", rich_help_panel=POSTGRES
    ),
]
PostgresCa = Annotated[
    str | None,
    typer.Option(
        "--postgres-ca",
        metavar="FILE",
        help="CA of its certificate; TLS.",
        rich_help_panel=POSTGRES,
    ),
]


def kafka_spec(
    servers: str | None,
    *,
    tls: bool = False,
    ca: str | None = None,
    cert: str | None = None,
    key: str | None = None,
    user: str | None = None,
    password_file: str | None = None,
    mechanism: str = "SCRAM-SHA-512",
) -> KafkaSpec | None:
    """The options as a connection; None where no broker is named.

    :raises UserError: when the options do not go together.
    """
    if servers is None:
        if tls or any((ca, cert, key, user, password_file)):
            raise UserError("the --kafka-… options need --kafka HOST:PORT as well")
        return None
    values: dict[str, Any] = {"bootstrap_servers": servers}
    if tls or ca or cert or key:
        values["tls"] = {"ca_file": ca, "cert_file": cert, "key_file": key}
    if user:
        values["sasl"] = {
            "mechanism": mechanism,
            "username": user,
            "password_file": password_file,
        }
        if password_file is None:
            values["sasl"]["password_env"] = "KAFKA_PASSWORD"  # noqa: S105 - a name
    checked: KafkaSpec = _checked(KafkaSpec, values, "--kafka")
    return checked


def elasticsearch_spec(
    url: str | None,
    *,
    engine: str = "elasticsearch",
    ca: str | None = None,
    user: str | None = None,
    password_file: str | None = None,
    api_key_file: str | None = None,
) -> ElasticsearchSpec | None:
    """The options as a connection; None where no server is named.

    :raises UserError: when the options do not go together.
    """
    if url is None:
        if any((ca, user, password_file, api_key_file)):
            raise UserError("the --elasticsearch-… options need --elasticsearch URL as well")
        return None
    values: dict[str, Any] = {"engine": engine, "urls": url.split(",")}
    if user:
        values["username"] = user
        values["password_file"] = password_file
        if password_file is None:
            values["password_env"] = "ELASTICSEARCH_PASSWORD"  # noqa: S105 - a name
    if api_key_file:
        values["api_key_file"] = api_key_file
    if ca:
        values["tls"] = {"ca_file": ca}
    checked: ElasticsearchSpec = _checked(ElasticsearchSpec, values, "--elasticsearch")
    return checked


def postgres_spec(
    address: str | None,
    *,
    user: str | None = None,
    password_file: Path | None = None,
    ca: str | None = None,
) -> PostgresSpec | None:
    """The options as a connection; None where no server is named.

    :raises UserError: when the options do not go together.
    """
    if address is None:
        if any((user, password_file, ca)):
            raise UserError("the --postgres-… options need --postgres HOST as well")
        return None
    place, _, database = address.partition("/")
    host, _, port = place.rpartition(":") if re.search(r":[0-9]+$", place) else (place, "", "5432")
    values: dict[str, Any] = {"host": host, "port": port}
    if database:
        values["database"] = database
    if user:
        values["username"] = user
    if password_file:
        # Read by processes in other folders.
        values["password_file"] = str(password_file.absolute())
    elif "POSTGRES_PASSWORD" in os.environ:
        values["password_env"] = "POSTGRES_PASSWORD"  # noqa: S105 - a name
    if ca:
        values["tls"] = {"ca_file": ca}
    checked: PostgresSpec = _checked(PostgresSpec, values, "--postgres")
    return checked


def replayed_database(
    name: str | None, file: Path | None, given: PostgresSpec | None
) -> PostgresSpec:
    """The database into which is replayed: the one that is named, or that of a pipeline.

    :param name: of the pipeline, where several run here.
    :param file: the pipeline's, where it does not run here.
    :raises UserError: when it is not known where the database is.
    """
    if given is not None:
        return given
    if file is not None:
        pipeline = load_pipeline(file)
        named = _source_database(pipeline)
        if named.host is not None:
            return named
        name = pipeline.name
    from webevents.local.running import find

    pipeline = find(name, "name the database with --postgres HOST")
    found = _source_database(pipeline)
    if found.host is None:
        raise UserError(
            f"the pipeline {pipeline.name} has no PostgreSQL: name one with --postgres HOST"
        )
    return found


def _source_database(pipeline: WebEventPipeline) -> PostgresSpec:
    """The database whose changes a pipeline captures; the one it writes to where there is none."""
    debezium = pipeline.spec.source.debezium
    return pipeline.spec.postgres if debezium is None else debezium.postgres


def _checked(model: Any, values: dict[str, Any], option: str) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise UserError(f"{option}: {faults}") from None


def known_pipeline(
    name: str | None, file: Path | None, kafka: KafkaSpec | None
) -> WebEventPipeline:
    """The pipeline that a command is about: a file's with a broker, or one that runs here.

    Where each workload has a log-in of its own, commands have that of TOOLS.

    :raises UserError: when neither tells.
    """
    return _known(name, file, kafka).logged_in_as(TOOLS)


def _known(name: str | None, file: Path | None, kafka: KafkaSpec | None) -> WebEventPipeline:
    if file is None:
        from webevents.local.running import find

        return find(name)
    pipeline = load_pipeline(file)
    if kafka is None and pipeline.spec.kafka.bootstrap_servers is None:
        from webevents.local.running import find

        return find(pipeline.name)
    if kafka is not None:
        spec = pipeline.spec.model_copy(update={"kafka": kafka})
        pipeline = pipeline.model_copy(update={"spec": spec})
    return pipeline
