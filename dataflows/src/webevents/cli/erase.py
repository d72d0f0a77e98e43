"""``webevents erase``: a person's events and sessions, everywhere."""

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
    app.command()(erase)


def erase(
    field: Annotated[
        list[str],
        typer.Option(help="user_id=…, user_domain_id=… or user_custom_id=…; may be repeated."),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", help="Also the identifiers beside these in events.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Erase; without it only what is there is shown.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show; the default.")] = False,
    truncate: Annotated[
        list[str] | None,
        typer.Option(
            help="raw, enriched, sessions, analytics or failed: delete that topic's messages of "
            "everybody up to the person's last one. May be repeated."
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds for the stages to read what is there.")
    ] = 60.0,
    name: c.Named = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    as_json: c.AsJson = False,
) -> None:
    """Show, or with --yes erase, what is kept of a person; exits with 1 when something is left."""
    from webevents.operations.erase.person import parse_field
    from webevents.operations.erase.run import Erasure

    if yes and dry_run:
        raise UserError("--yes erases and --dry-run does not: leave one out")
    pipeline = c.known_pipeline(name, file, c.kafka_spec(kafka))
    told = Console(stderr=True)
    erasure = Erasure(
        pipeline,
        [parse_field(given) for given in field],
        lambda line: told.print(line, style="dim", highlight=False, markup=False),
    )
    try:
        report = erasure.run(erase=yes, follow=follow, truncate=truncate or (), wait_s=wait)
    except KafkaException as error:
        raise UserError(f"the brokers do not answer: {error.args[0].str()}") from None
    if as_json:
        sys.stdout.write(json.dumps(report.report(), indent=2, ensure_ascii=False) + "\n")
    else:
        console = Console()
        console.print(Text("Person: " + ", ".join(report.identifiers)))
        if report.linked:
            console.print(Text("Beside these in events: " + ", ".join(report.linked)))
        table = Table("system", "where", "found", "erased", "left", "gone by", "note")
        for place in report.places:
            numbers = [f"{n:,}" for n in (place.found, place.erased, place.remaining)]
            table.add_row(
                place.system, Text(place.where), *numbers, place.ages_out, Text(place.note)
            )
        console.print(table)
        for note in report.notes:
            console.print(Text(note, style="yellow"))
        if not yes:
            console.print("Nothing was erased; --yes erases.")
    if yes and not report.complete:
        raise typer.Exit(1)
