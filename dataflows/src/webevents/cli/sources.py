"""``webevents simulate`` and ``webevents replay``: events into Kafka, a file or standard output;
rows into a table."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from webevents.cli import connections as c
from webevents.cli.replay_table import replay_table, tell_ahead
from webevents.connectors.kafka import client_config
from webevents.errors import UserError
from webevents.sources.output import FileOutput, KafkaOutput, Output, StdoutOutput
from webevents.spec.generator import GeneratorSpec
from webevents.spec.kafka import TOOLS
from webevents.spec.load import load_pipeline
from webevents.stop import Stop


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(simulate)
    app.command()(replay)


def simulate(
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="A WebEventPipeline whose spec.generator is taken."),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="web-events or journeys.")] = None,
    rate: Annotated[float | None, typer.Option(min=0, help="Events per second.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="One seed, one stream.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="wallClock, accelerated or backdated; backdated to a fixed start where events go "
            "to a file."
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Where simulated time begins (ISO 8601).")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many events.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after this long.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write NDJSON to this file."),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Send to this Kafka topic.")] = None,
    kafka: c.Kafka = None,
    key: Annotated[
        list[str] | None, typer.Option(help="Field of the message's key; may be repeated.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the ground truth there as NDJSON.")
    ] = None,
    rate_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help='JSON {"eventsPerSecond": N}, read again when it changes.'
        ),
    ] = None,
) -> None:
    """Simulate visitors: events with a known truth, byte for byte the same for one seed."""
    from webevents.sources.simulator import run_simulator
    from webevents.sources.simulator.engine import DEFAULT_START

    base = _generator(file)
    changes: dict[str, Any] = {"profile": profile, "events_per_second": rate, "seed": seed}
    if file is None and topic is None and mode is None:
        # What is written down is to be the same tomorrow: a fixed start, and no waiting.
        mode, start = "backdated", start or DEFAULT_START.isoformat()
    time: dict[str, Any] = {"mode": mode, "start": start}
    values = base.model_dump(exclude_unset=True)
    values |= {name: value for name, value in changes.items() if value is not None}
    values["time"] = values.get("time", {}) | {k: v for k, v in time.items() if v is not None}
    try:
        spec = GeneratorSpec.model_validate(values)
    except ValidationError as error:
        raise UserError(f"simulate: {_faults(error)}") from None
    stop = Stop()
    stop.install()
    output = _output(out, topic, kafka)
    try:
        result = run_simulator(
            spec,
            output,
            count=count,
            seconds=seconds,
            key_fields=key,
            truth_path=truth,
            rate_file=rate_file,
            stop=stop,
        )
    finally:
        output.close()
    Console(stderr=True).print(
        f"{result.sent:,} events in {result.seconds:.1f} s", style="dim", highlight=False
    )


def replay(
    path: Annotated[str, typer.Argument(help="CSV, NDJSON or Parquet, also gzipped; - is stdin.")],
    preset: Annotated[str | None, typer.Option(help="Settings for a known file, by name.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="csv, ndjson or parquet; by the name if absent.")
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=FIELD", help="Name of a column's field.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A fixed value.")
    ] = None,
    type_: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="COLUMN=TYPE", help="int, float, bool or string."),
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(help="A column to leave out.")] = None,
    event_id: Annotated[
        str | None, typer.Option(help="Template of missing ids: {hash}, {row}, {column}.")
    ] = None,
    offset_column: Annotated[
        str | None, typer.Option(help="Column with the seconds since the row before.")
    ] = None,
    time_column: Annotated[str | None, typer.Option(help="Column with the row's time.")] = None,
    start: Annotated[
        str | None, typer.Option(help="The event time at which the file begins (ISO 8601).")
    ] = None,
    speed: Annotated[
        str, typer.Option(help="1: at the original gaps; 10: ten times as fast; full: at once.")
    ] = "1",
    key: Annotated[
        list[str] | None,
        typer.Option(help="Field of the message's key, or of the table's; may be repeated."),
    ] = None,
    skip: Annotated[int, typer.Option(min=0, help="Rows to leave out at the beginning.")] = 0,
    limit: Annotated[int | None, typer.Option(min=0, help="Rows to read.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write NDJSON to this file.")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Send to this Kafka topic.")] = None,
    kafka: c.Kafka = None,
    to: Annotated[
        str | None, typer.Option(metavar="postgres", help="Write rows into a table there.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(help="The table, TABLE or SCHEMA.TABLE; made when it is not there."),
    ] = None,
    timestamp: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Its column for the replayed time.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Although the file is in the table already.")
    ] = False,
    pipeline: Annotated[
        str | None, typer.Option(help="The pipeline whose database it is, where several run here.")
    ] = None,
    file: c.OptionalFile = None,
    postgres: c.Postgres = None,
    postgres_user: c.PostgresUser = None,
    postgres_password_file: c.PostgresPasswordFile = None,
    postgres_ca: c.PostgresCa = None,
    allow_skipped: Annotated[
        bool,
        typer.Option(
            "--allow-skipped", help="Exit with 0 although rows could not be sent as events."
        ),
    ] = False,
) -> None:
    """Replay a file as events, or into a table: at its own pace, faster, or at once.

    Exits with 1 when rows were skipped or broken.
    """
    from webevents.cli.progress import replay_progress
    from webevents.sources.replay import replay as run_replay
    from webevents.sources.replay import replay_settings, with_preset

    mapping: dict[str, Any] = {
        "rename": _pairs("--rename", rename),
        "constants": _pairs("--set", set_),
        "types": _pairs("--type", type_),
        "drop": drop,
        "event_id": event_id,
    }
    values: dict[str, Any] = {
        "path": path,
        "format": format_,
        "offset_column": offset_column,
        "time_column": time_column,
        "start": start,
        "key_fields": key,
        "skip": skip,
        "limit": limit,
        "mapping": {name: value for name, value in mapping.items() if value},
    }
    values = {name: value for name, value in values.items() if value is not None}
    values["speed"] = None if speed in ("full", "max") else speed
    if to is not None:
        if to != "postgres":
            raise UserError(f"--to {to}: it can be postgres only; --topic and --out name others")
        if out or topic or kafka:
            raise UserError("--to, --topic and --out name several destinations: choose one")
        if event_id:
            raise UserError("--event-id makes a field of events, not of a table: leave it out")
        named = c.postgres_spec(
            postgres, user=postgres_user, password_file=postgres_password_file, ca=postgres_ca
        )
        replay_table(
            values,
            preset,
            table,
            timestamp,
            c.replayed_database(pipeline, file, named),
            again=again,
            allow_skipped=allow_skipped,
        )
        return
    of_tables = {
        "--table": table,
        "--timestamp": timestamp,
        "--again": again,
        "--pipeline": pipeline,
        "--file": file,
        "--postgres": postgres or postgres_user or postgres_password_file or postgres_ca,
    }
    for option, given in of_tables.items():
        if given:
            raise UserError(f"{option} is for a table: add --to postgres")
    settings = replay_settings(with_preset(preset, values))
    stop = Stop()
    stop.install()
    console = Console(stderr=True)
    output = _output(out, topic, kafka)
    try:
        with replay_progress(console) as progress:
            result = run_replay(settings, output, stop=stop, progress=progress)
    finally:
        output.close()
    for issue in result.issues:
        console.print(f"{path} {issue}", style="yellow", markup=False, highlight=False)
    console.print(
        f"{result.sent:,} events sent in {result.seconds:.1f} s, {result.skipped:,} rows skipped"
        + (f"; go on with --skip {result.position}" if result.stopped else ""),
        highlight=False,
    )
    tell_ahead(console, result.ahead_seconds)
    if (result.skipped or result.broken_sent) and not allow_skipped:
        raise typer.Exit(1)


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UserError(f"{option} {text}: write it as NAME=VALUE")
        pairs[name] = value
    return pairs


def _generator(file: Path | None) -> GeneratorSpec:
    if file is None:
        return GeneratorSpec()
    generator = load_pipeline(file).spec.generator
    if generator is None:
        raise UserError(f"{file} has no spec.generator")
    return generator


def _output(out: Path | None, topic: str | None, kafka: str | None) -> Output:
    """The destination that the options name."""
    if topic is None:
        if kafka is not None:
            raise UserError("--kafka needs --topic as well")
        return StdoutOutput() if out is None else FileOutput(out)
    if out is not None:
        raise UserError("--out and --topic name two destinations: choose one")
    spec = c.kafka_spec(kafka)
    if spec is None:
        from webevents.local.running import find

        spec = find().spec.kafka.logged_in_as(TOOLS)
    return KafkaOutput(client_config(spec), topic)


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    )
