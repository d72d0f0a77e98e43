"""Options that name servers, shared by the commands."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from webevents.errors import UserError
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.kafka import KafkaSpec
from webevents.spec.load import load_pipeline
from webevents.spec.pipeline import WebEventPipeline

PipelineFile = Annotated[
    Path, typer.Option("--file", "-f", help="The WebEventPipeline (YAML or JSON).")
]
OptionalFile = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="The WebEventPipeline; one that runs here when absent."),
]
Kafka = Annotated[
    str | None,
    typer.Option("--kafka", metavar="HOST:PORT", help="A Kafka that is already there."),
]
KafkaCa = Annotated[
    str | None, typer.Option("--kafka-ca", metavar="FILE", help="CA of the brokers; TLS.")
]
KafkaCert = Annotated[
    str | None, typer.Option("--kafka-cert", metavar="FILE", help="Client certificate.")
]
KafkaKey = Annotated[str | None, typer.Option("--kafka-key", metavar="FILE", help="Client key.")]
KafkaTlsFlag = Annotated[
    bool, typer.Option("--kafka-tls", help="TLS with the system's certificate authorities.")
]
KafkaUser = Annotated[str | None, typer.Option("--kafka-user", metavar="NAME", help="SASL user.")]
KafkaPasswordFile = Annotated[
    str | None, typer.Option("--kafka-password-file", metavar="FILE", help="SASL password.")
]
KafkaMechanism = Annotated[
    str, typer.Option("--kafka-mechanism", help="SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN.")
]
Elasticsearch = Annotated[
    str | None,
    typer.Option("--elasticsearch", metavar="URL", help="An Elasticsearch that is already there."),
]
ElasticsearchCa = Annotated[
    str | None, typer.Option("--elasticsearch-ca", metavar="FILE", help="CA of its certificate.")
]
ElasticsearchUser = Annotated[
    str | None, typer.Option("--elasticsearch-user", metavar="NAME", help="Basic authentication.")
]
ElasticsearchPasswordFile = Annotated[
    str | None, typer.Option("--elasticsearch-password-file", metavar="FILE", help="Its password.")
]
ElasticsearchApiKeyFile = Annotated[
    str | None, typer.Option("--elasticsearch-api-key-file", metavar="FILE", help="An API key.")
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
    values: dict[str, Any] = {"urls": url.split(",")}
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

    :raises UserError: when neither tells.
    """
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
