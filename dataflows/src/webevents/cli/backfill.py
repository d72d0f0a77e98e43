"""``webevents backfill``: daily indices made anew, compared and swapped."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import structlog
import typer
from confluent_kafka import KafkaException
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from webevents.cli import connections as c
from webevents.cli.workloads import SettingsPath, log_as_json, read_settings
from webevents.errors import UserError
from webevents.operations.backfill.run import Backfill, LessThanBefore, told
from webevents.operations.backfill.settings import BackfillSettings
from webevents.operations.backfill.state import ENDED, State, ended_before, states
from webevents.spec.backfill import BackfillSpec, WebEventBackfill
from webevents.spec.load import read_yaml
from webevents.spec.pipeline import WebEventPipeline

Name = Annotated[str, typer.Argument(help="The backfill's name.")]
SpecFile = Annotated[Path | None, typer.Option("--spec", help="A WebEventBackfill (YAML or JSON).")]
FirstDay = Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD in UTC.")]
LastDay = Annotated[str | None, typer.Option(help="Last day; the first when absent.")]
Source = Annotated[str | None, typer.Option(help="kafka (default) or archive.")]
Since = Annotated[str | None, typer.Option(help="Read what came at this time or later.")]
Until = Annotated[str | None, typer.Option(help="Read what came before this time.")]
Content = Annotated[
    list[str] | None, typer.Option("--content", help="events or sessions only; may be repeated.")
]
Missing = Annotated[
    str | None, typer.Option(help="Documents that only the old index has: stop, keep or accept.")
]
NoSwap = Annotated[bool, typer.Option("--no-swap", help="Compare, and leave the swap to me.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Make days of a pipeline's indices anew from the raw events, and swap them.",
        no_args_is_help=True,
    )
    for command in (run, plan, status, swap, abort, job):
        group.command()(command)
    app.add_typer(group, name="backfill")


def run(
    name: Name,
    spec: SpecFile = None,
    first_day: FirstDay = None,
    last_day: LastDay = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    content: Content = None,
    missing: Missing = None,
    no_swap: NoSwap = False,
    pipeline: c.Named = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    as_json: c.AsJson = False,
) -> None:
    """Run a backfill, or go on with one that was stopped; the same command does both."""
    known = c.known_pipeline(pipeline, file, c.kafka_spec(kafka))
    options = (first_day, last_day, source, since, until, content, missing, no_swap)
    wanted = _wanted(name, spec, known, *options)
    with _Explained():
        backfill = Backfill(known, name, _say)
        if wanted is None and missing is not None:
            before = backfill.state()
            if before is not None:
                wanted = _parse({**before.spec, "missing": missing}, "--missing")
        _show(backfill.run(wanted), as_json)


def plan(
    name: Name,
    spec: SpecFile = None,
    first_day: FirstDay = None,
    last_day: LastDay = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    content: Content = None,
    missing: Missing = None,
    no_swap: NoSwap = False,
    pipeline: c.Named = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    as_json: c.AsJson = False,
) -> None:
    """Show what a backfill would read and write; nothing is changed."""
    known = c.known_pipeline(pipeline, file, c.kafka_spec(kafka))
    options = (first_day, last_day, source, since, until, content, missing, no_swap)
    wanted = _wanted(name, spec, known, *options)
    if wanted is None:
        raise UserError("say which days with --first-day and --last-day, or with --spec FILE")
    with _Explained():
        _show(Backfill(known, name).plan(wanted), as_json)


def status(
    name: Annotated[str | None, typer.Argument(help="One backfill; all when absent.")] = None,
    pipeline: c.Named = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    as_json: c.AsJson = False,
) -> None:
    """Show what backfills have done, and what they found."""
    from webevents.connectors.kafka import client_config
    from webevents.connectors.kafka_observe import Observer

    known = c.known_pipeline(pipeline, file, c.kafka_spec(kafka))
    with _Explained():
        observer = Observer(client_config(known.spec.kafka))
        try:
            found = states(known, observer)
        finally:
            observer.close()
    if name is not None:
        if name not in found:
            raise UserError(f"the pipeline {known.name} has no backfill {name}")
        _show(found[name], as_json)
        return
    if as_json:
        sys.stdout.write(json.dumps([msgspec.to_builtins(s) for s in found.values()]) + "\n")
        return
    table = Table("backfill", "days", "phase", "started", "stopped")
    for state in found.values():
        days = f"{state.spec['firstDay']} to {state.spec['lastDay']}"
        table.add_row(state.name, days, state.phase, state.started_at, Text(state.stopped))
    Console().print(table if found else "No backfills.")


def swap(
    name: Name,
    pipeline: c.Named = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    as_json: c.AsJson = False,
) -> None:
    """Compare once more, and put the new indices in the old ones' places."""
    known = c.known_pipeline(pipeline, file, c.kafka_spec(kafka))
    with _Explained():
        _show(Backfill(known, name, _say).run(None, swap=True), as_json)


def abort(
    name: Name,
    pipeline: c.Named = None,
    file: c.OptionalFile = None,
    kafka: c.Kafka = None,
    as_json: c.AsJson = False,
) -> None:
    """Give a backfill up: what it made is removed, the old indices stay as they are."""
    known = c.known_pipeline(pipeline, file, c.kafka_spec(kafka))
    with _Explained():
        _show(Backfill(known, name, _say).abort(), as_json)


def job(settings: SettingsPath) -> None:
    """Run the backfill of a settings file, as the operator's jobs do; a person has to decide where
    it ends with 0 and is not done."""
    log_as_json()
    read = read_settings(BackfillSettings, settings)
    log = structlog.get_logger()
    with _Explained():
        backfill = Backfill(read.pipeline, read.backfill.name, lambda line: log.info(line))
        state = backfill.state()
        another = state is not None and ended_before(state, read.made_at)
        if state is not None and state.phase in ENDED and not another:
            log.info("ended before", phase=state.phase)
            return
        try:
            log.info("ended", phase=backfill.run(read.backfill.spec).phase)
        except LessThanBefore as error:
            # To start again would not help: the state says so, and the resource shows it.
            log.error("stopped", why=str(error))


class _Explained:
    """Turns Kafka's errors into ones that a person can mend."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if isinstance(error, KafkaException):
            raise UserError(f"the brokers do not answer: {error.args[0].str()}") from None


def _wanted(
    name: str,
    path: Path | None,
    pipeline: WebEventPipeline,
    first_day: str | None,
    last_day: str | None,
    source: str | None,
    since: str | None,
    until: str | None,
    content: list[str] | None,
    missing: str | None,
    no_swap: bool,
) -> BackfillSpec | None:
    """The specification that the options or the file tell; None where they name no days."""
    if path is not None:
        if any((first_day, last_day, source, since, until, content, missing, no_swap)):
            raise UserError("--spec FILE goes without the other options: write them into the file")
        return _read(path, name)
    if first_day is None:
        if any((last_day, source, since, until, content, no_swap)):
            raise UserError("these options go with --first-day, which is missing")
        return None
    values: dict[str, Any] = {
        "pipeline": pipeline.name,
        "firstDay": first_day,
        "lastDay": last_day or first_day,
        "swap": not no_swap,
        "source": {
            key: value
            for key, value in (("type", source), ("since", since), ("until", until))
            if value is not None
        },
    }
    if content:
        values["contents"] = content
    if missing:
        values["missing"] = missing
    return _parse(values, "the options")


def _parse(values: dict[str, Any], where: str) -> BackfillSpec:
    try:
        return BackfillSpec.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: {_faults(error)}") from None


def _read(path: Path, name: str) -> BackfillSpec:
    document = read_yaml(path)
    if isinstance(document, dict):
        document.pop("status", None)
    try:
        read = WebEventBackfill.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{path} is no valid WebEventBackfill: {_faults(error)}") from None
    if read.name != name:
        raise UserError(f"{path} is the backfill {read.name}, not {name}")
    return read.spec


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {str(fault['msg']).removeprefix('Value error, ')}"
        for fault in error.errors()
    )


def _say(line: str) -> None:
    Console(stderr=True).print(line, style="dim", highlight=False, markup=False)


def _show(state: State, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(msgspec.to_builtins(state), indent=2) + "\n")
        return
    console = Console()
    console.print(f"Backfill {state.name}: {state.phase}", highlight=False)
    table = Table("index", "new index", "found", "swapped")
    for index in state.indices:
        found = Text(told(index))
        if index.compared and index.compared.fields:
            found.append("\n" + ", ".join(f"{k} {v:,}" for k, v in index.compared.fields.items()))
        table.add_row(index.name, index.shadow, found, "yes" if index.swapped else "no")
    console.print(table)
    for number, (first, end) in state.ranges.items():
        console.print(f"partition {number}: offsets {first:,} to {end:,}", highlight=False)
    for stage, counts in state.stages.items():
        console.print(f"{stage}: {json.dumps(counts)}", highlight=False, markup=False)
    if state.stopped:
        console.print(Text(f"Stopped: {state.stopped}", style="red"))
