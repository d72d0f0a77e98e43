"""``webevents run`` and ``webevents plan``."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from webevents.cli import connections as c
from webevents.errors import UserError
from webevents.plan.make import make_plan
from webevents.spec.base import Model
from webevents.spec.load import load_pipeline


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(run)
    app.command()(plan)


def run(
    file: c.PipelineFile,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Stop after this long and drain; Ctrl-C does so too."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the summary as JSON.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the servers' data and the logs in this folder."),
    ] = None,
    until_drained: Annotated[
        bool,
        typer.Option("--until-drained", help="Stop as soon as what is in the topics is processed."),
    ] = False,
    metrics: Annotated[
        bool,
        typer.Option(
            "--metrics",
            help="Serve each workload's metrics on a free port, and write prometheus-targets.json.",
        ),
    ] = False,
    open_page: Annotated[
        bool,
        typer.Option(
            "--open", help="Open the live page in a browser, from a terminal of a desktop."
        ),
    ] = False,
    kafka: c.Kafka = None,
    kafka_tls: c.KafkaTlsFlag = False,
    kafka_ca: c.KafkaCa = None,
    kafka_cert: c.KafkaCert = None,
    kafka_key: c.KafkaKey = None,
    kafka_user: c.KafkaUser = None,
    kafka_password_file: c.KafkaPasswordFile = None,
    kafka_mechanism: c.KafkaMechanism = "SCRAM-SHA-512",
    elasticsearch: c.Elasticsearch = None,
    elasticsearch_ca: c.ElasticsearchCa = None,
    elasticsearch_user: c.ElasticsearchUser = None,
    elasticsearch_password_file: c.ElasticsearchPasswordFile = None,
    elasticsearch_api_key_file: c.ElasticsearchApiKeyFile = None,
    postgres: c.Postgres = None,
    postgres_user: c.PostgresUser = None,
    postgres_password_file: c.PostgresPasswordFile = None,
    postgres_ca: c.PostgresCa = None,
) -> None:
    """Run a pipeline on this machine, on real servers that are started where none is named.

    Exits with 1 when an event is not accounted for.
    """
    from webevents.local.runtime import RunOptions, run_pipeline
    from webevents.local.summary import stage_table

    pipeline = load_pipeline(file)
    options = RunOptions(
        seconds=seconds,
        kafka=c.kafka_spec(
            kafka,
            tls=kafka_tls,
            ca=kafka_ca,
            cert=kafka_cert,
            key=kafka_key,
            user=kafka_user,
            password_file=kafka_password_file,
            mechanism=kafka_mechanism,
        )
        or (pipeline.spec.kafka if pipeline.spec.kafka.bootstrap_servers else None),
        elasticsearch=c.elasticsearch_spec(
            elasticsearch,
            engine=pipeline.spec.elasticsearch.engine,
            ca=elasticsearch_ca,
            user=elasticsearch_user,
            password_file=elasticsearch_password_file,
            api_key_file=elasticsearch_api_key_file,
        )
        or (pipeline.spec.elasticsearch if pipeline.spec.elasticsearch.urls else None),
        postgres=c.postgres_spec(
            postgres,
            user=postgres_user,
            password_file=postgres_password_file,
            ca=postgres_ca,
        ),
        data_dir=data_dir,
        until_drained=until_drained,
        metrics=metrics,
        open_page=open_page,
    )
    if report is not None and not report.parent.is_dir():
        raise UserError(f"--report: the folder {report.parent} does not exist")
    console = Console()
    summary = run_pipeline(pipeline, options, console)
    console.print(stage_table(summary.ledger))
    for index, count in sorted(summary.documents.items()):
        console.print(f"{count:>12,}  {index}", highlight=False)
    for table, rows in summary.tables.items():
        console.print(f"{rows:>12,}  {table}", highlight=False)
    console.print(summary.verdict(), style="green" if summary.balanced else "bold red")
    if report is not None:
        report.write_text(json.dumps(summary.report(), indent=2) + "\n")
    if not summary.balanced:
        raise typer.Exit(1)


def plan(file: c.PipelineFile) -> None:
    """Print what a pipeline needs: topics, templates, workloads, each with its settings."""
    made = make_plan(load_pipeline(file))
    yaml.safe_dump(_plain(made), sys.stdout, sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    """A plan as plain values."""
    if isinstance(value, Model):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
