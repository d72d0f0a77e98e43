"""``webevents trace``: every hop of one event."""

import json
import sys
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table
from rich.text import Text

from webevents.cli import connections as c
from webevents.errors import UserError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(trace)


def trace(
    event_id: Annotated[str, typer.Argument(help="The event's event_id.")],
    name: Annotated[
        str | None, typer.Argument(help="The pipeline, where several run here.")
    ] = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    since: Annotated[
        str | None,
        typer.Option(help="Read no older messages: a span before now (2h) or a time (ISO 8601)."),
    ] = None,
    as_json: c.AsJson = False,
) -> None:
    """Show every hop of one event; exits with 1 when it is nowhere."""
    from webevents.connectors.kafka import client_config
    from webevents.connectors.kafka_observe import Observer
    from webevents.operations.trace import since as parse_since
    from webevents.operations.trace import trace as find

    try:
        since_ms = None if since is None else parse_since(since)
    except ValueError:
        raise UserError(f"--since {since}: a span such as 2h, or a time in ISO 8601") from None
    pipeline = c.known_pipeline(name, file, c.kafka_spec(kafka))
    observer = Observer(client_config(pipeline.spec.kafka))
    told = Console(stderr=True)
    try:
        hops = find(
            pipeline,
            event_id,
            observer,
            since_ms=since_ms,
            say=lambda line: told.print(line, style="dim", highlight=False),
        )
    except KafkaException as error:
        raise UserError(f"the brokers do not answer: {error.args[0].str()}") from None
    finally:
        observer.close()
    if as_json:
        report = {"event_id": event_id, "hops": [hop.report() for hop in hops]}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    elif hops:
        table = Table("hop", "where", "at (UTC)", "detail")
        for hop in hops:
            table.add_row(hop.what, Text(hop.where), hop.at, Text(hop.detail))
        Console().print(table)
    else:
        Console().print("Nowhere: no message, failed event, document or row of this event.")
    if not hops:
        raise typer.Exit(1)
