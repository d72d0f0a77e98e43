"""``webevents ledger`` and ``webevents failed``: looking at a pipeline that runs."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table

from webevents.cli import connections as c
from webevents.connectors.kafka import client_config
from webevents.connectors.kafka_observe import Observer
from webevents.errors import UserError
from webevents.events.failed import FailedEvent, decode_failed
from webevents.local.summary import stage_table
from webevents.plan.ledger import observe
from webevents.plan.make import make_plan

Name = Annotated[str | None, typer.Argument(help="The pipeline, where several run here.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ledger)
    group = typer.Typer(invoke_without_command=True, help=failed.__doc__)
    group.callback()(failed)
    group.command()(replay)
    app.add_typer(group, name="failed")


def ledger(
    name: Name = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    partitions: Annotated[
        bool, typer.Option("--partitions", help="Show each partition with its range of offsets.")
    ] = False,
    as_json: c.AsJson = False,
) -> None:
    """Show what each stage counted; exits with 1 when an event is not accounted for."""
    pipeline = c.known_pipeline(name, file, c.kafka_spec(kafka))
    observer = Observer(client_config(pipeline.spec.kafka))
    try:
        found = observe(make_plan(pipeline), observer)
    except KafkaException as error:
        raise UserError(f"the brokers do not answer: {error.args[0].str()}") from None
    finally:
        observer.close()
    console = Console()
    if as_json:
        result = {"stages": found.report(), "balanced": found.balanced, "problems": found.problems}
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        console.print(stage_table(found))
        if partitions:
            console.print(_partition_table(found.groups))
        console.print(
            "Balanced: every event read is delivered, failed or dropped for a reason."
            if found.balanced
            else "NOT balanced:\n" + "\n".join(found.problems),
            style="green" if found.balanced else "bold red",
        )
    if not found.balanced:
        raise typer.Exit(1)


def _partition_table(groups: object) -> Table:
    table = Table("stage", "topic", "partition", "offsets", "in", "out", "failed", "dropped", "lag")
    assert isinstance(groups, dict)
    for name, view in groups.items():
        for (topic, partition), entry in sorted(view.ledgers.items()):
            counts = entry.counts
            numbers = [counts.received, counts.delivered, counts.failed]
            numbers += [sum(counts.dropped.values()), view.lags[topic, partition]]
            offsets = f"[{entry.first}, {entry.next})".replace("[", "\\[")
            table.add_row(name, topic, str(partition), offsets, *(f"{n:,}" for n in numbers))
    return table


def failed(
    context: typer.Context,
    name: c.Named = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    reason: Annotated[str | None, typer.Option(help="Only failed events with this reason.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only failed events of this stage.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Failed events to list; 0: only counts.")] = 10,
    as_json: c.AsJson = False,
) -> None:
    """Count the failed events by stage and reason, and list the newest."""
    if context.invoked_subcommand is not None:
        return
    pipeline = c.known_pipeline(name, file, c.kafka_spec(kafka))
    observer = Observer(client_config(pipeline.spec.kafka))
    counts: Counter[tuple[str, str]] = Counter()
    newest: list[FailedEvent] = []
    try:
        for message in observer.messages(pipeline.spec.topics.failed.name):
            record = decode_failed(message.value())
            if reason not in (None, record.reason) or stage not in (None, record.stage):
                continue
            counts[record.stage, record.reason] += 1
            newest.append(record)
            del newest[: max(len(newest) - limit, 0)]
    except KafkaException as error:
        raise UserError(f"the brokers do not answer: {error.args[0].str()}") from None
    finally:
        observer.close()
    if as_json:
        _print_json(counts, newest)
        return
    console = Console()
    table = Table("stage", "reason", "events", title="Failed events", title_justify="left")
    for (at, why), count in sorted(counts.items(), key=lambda item: -item[1]):
        table.add_row(at, why, f"{count:,}")
    console.print(table if counts else "No failed events.")
    for record in newest:
        where = f"{record.topic}/{record.partition}@{record.offset}"
        payload = record.original()[:120].decode("utf-8", "replace")
        console.print(f"{where}  {record.stage}  {record.reason}: {record.detail}", markup=False)
        console.print(f"    {payload}", style="dim", markup=False, highlight=False)


def replay(
    name: c.Named = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    reason: Annotated[str | None, typer.Option(help="Only failed events with this reason.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only failed events of this stage.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Set a field; a value is JSON or text."),
    ] = None,
    drops: Annotated[
        list[str] | None, typer.Option("--drop", metavar="FIELD", help="Take a field away.")
    ] = None,
    renames: Annotated[
        list[str] | None, typer.Option("--rename", metavar="OLD=NEW", help="Rename a field.")
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(help="A Python file with a function repair(event) that returns it mended."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing; tell what would be sent.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were sent before.")
    ] = False,
    as_json: c.AsJson = False,
) -> None:
    """Send failed events through the pipeline again, once each, as they are or mended."""
    from webevents.operations.mend import make_repair
    from webevents.operations.repair import replay_failed

    def wanted(record: FailedEvent) -> bool:
        return reason in (None, record.reason) and stage in (None, record.stage)

    repair = make_repair(assignments or (), drops or (), renames or (), script)
    pipeline = c.known_pipeline(name, file, c.kafka_spec(kafka))
    try:
        outcome = replay_failed(
            pipeline,
            client_config(pipeline.spec.kafka),
            wanted,
            repair,
            dry_run=dry_run,
            again=again,
        )
    except KafkaException as error:
        raise UserError(f"the brokers do not answer: {error.args[0].str()}") from None
    if as_json:
        sys.stdout.write(json.dumps(outcome.report() | {"dryRun": dry_run}) + "\n")
        return
    console = Console()
    console.print(
        f"{'would send' if dry_run else 'sent'} {outcome.sent:,}; sent before "
        f"{outcome.sent_before:,}; left out by the repair {outcome.left_out:,}; "
        f"no longer to be had {outcome.lost:,}",
        highlight=False,
    )
    for place, value in outcome.examples if dry_run else ():
        console.print(f"{place}  {len(value):,} bytes", markup=False)
        text = value[:120].decode("utf-8", "replace")
        console.print(f"    {text}", style="dim", markup=False, highlight=False)


def _print_json(counts: Counter[tuple[str, str]], newest: list[FailedEvent]) -> None:
    import msgspec

    by_reason = [
        {"stage": stage, "reason": reason, "events": count}
        for (stage, reason), count in sorted(counts.items())
    ]
    text = msgspec.json.encode({"counts": by_reason, "newest": newest})
    sys.stdout.write(msgspec.json.format(text).decode() + "\n")
