"""``webevents rewind``: a stage reads its topics again."""

import json
import sys
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table

from webevents.cli import connections as c
from webevents.errors import UserError
from webevents.events.times import parse_time


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rewind)


def rewind(
    stage: Annotated[str, typer.Argument(help="sessionize, enrich, index, …")],
    to: Annotated[
        str,
        typer.Option(
            help="earliest, or the time at which the first message came to Kafka (RFC 3339)."
        ),
    ] = "earliest",
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without it only what would be done is shown.")
    ] = False,
    name: c.Named = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    as_json: c.AsJson = False,
) -> None:
    """Have a stage that is stopped read its topics again; results keep their ids."""
    from webevents.operations.rewind import rewind as set_back

    pipeline = c.known_pipeline(name, file, c.kafka_spec(kafka))
    try:
        moves = set_back(pipeline, stage, _milliseconds(to), apply=yes)
    except KafkaException as error:
        raise UserError(f"the brokers do not answer: {error.args[0].str()}") from None
    if as_json:
        found = [
            {"topic": topic, "partition": number}
            | {"before": move.before, "after": move.after, "again": move.again}
            for move in moves
            for topic, number in [move.partition]
        ]
        sys.stdout.write(json.dumps({"stage": stage, "done": yes, "partitions": found}) + "\n")
        return
    console = Console()
    table = Table("topic", "partition", "read up to", "reads from", "messages again")
    for move in moves:
        before = "nothing" if move.before is None else f"{move.before:,}"
        table.add_row(
            move.partition[0], str(move.partition[1]), before, f"{move.after:,}", f"{move.again:,}"
        )
    console.print(table)
    console.print(
        f"{stage} reads from there when it starts."
        if yes
        else "Nothing was changed; --yes does it."
    )


def _milliseconds(to: str) -> int | None:
    if to == "earliest":
        return None
    try:
        return parse_time(to) // 1000
    except ValueError:
        raise UserError(f"--to {to}: give earliest, or a time like 2026-03-01T12:00:00Z") from None
