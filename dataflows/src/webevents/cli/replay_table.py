"""``webevents replay --to postgres``: the rows of a file into a table."""

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from webevents.errors import UserError
from webevents.spec.postgres import PostgresSpec
from webevents.spec.stages import EventsSpec
from webevents.stop import Stop

if TYPE_CHECKING:
    from webevents.sources.replay.table import TableReplay, TableTarget

MAX_AHEAD_S = EventsSpec().max_ahead.total_seconds()


def replay_table(
    values: dict[str, Any],
    preset: str | None,
    table: str | None,
    timestamp: str | None,
    database: PostgresSpec,
    *,
    again: bool,
    allow_skipped: bool,
) -> None:
    """Replay a file into a table, and tell what came of it.

    :param values: the settings of the replay by name, without the preset's.
    :param table: the table that was named.
    :param timestamp: its column for the replayed time.
    :raises UserError: when it cannot begin, or not go on.
    :raises typer.Exit: with 1 when rows were skipped and may not be.
    """
    from webevents.cli.progress import replay_progress
    from webevents.sources.replay import replay_settings, with_preset
    from webevents.sources.replay.table import TABLE_PRESETS, replay_into_table

    key = tuple(values.pop("key_fields", ()))
    settings = replay_settings(with_preset(preset, values, TABLE_PRESETS))
    target = _target(preset, table, key, timestamp)
    stop = Stop()
    stop.install()
    console = Console(stderr=True)

    def say(line: str) -> None:
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)

    with replay_progress(console, "rows") as progress:
        replayed = replay_into_table(
            settings, target, database, again=again, stop=stop, progress=progress, say=say
        )
    result = replayed.result
    for issue in result.issues:
        say(f"{settings.path} {issue}")
    summary = _summary(replayed, settings.path, target)
    console.print(summary, markup=False, highlight=False, soft_wrap=True)
    tell_ahead(console, result.ahead_seconds)
    if result.skipped and not allow_skipped:
        raise typer.Exit(1)


def tell_ahead(console: Console, seconds: float) -> None:
    """Warn of event times that enrich will refuse.

    :param seconds: how far the latest lies ahead of the clock.
    """
    if seconds > MAX_AHEAD_S:
        console.print(
            f"event times lie up to {seconds / 3600:.1f} h ahead of the clock, and "
            "enrich will refuse such events: set --start",
            style="yellow",
            highlight=False,
        )


def _target(
    preset: str | None, table: str | None, key: tuple[str, ...], timestamp: str | None
) -> "TableTarget":
    """The table that the preset and the options name."""
    from webevents.sources.replay.table import DEFINITIONS, TableTarget, table_name

    named = None if table is None else table_name(table)
    if preset is not None:
        known = DEFINITIONS[preset]
        return replace(
            known,
            table=named or known.table,
            key=key,
            timestamp=timestamp or known.timestamp,
        )
    if named is None:
        raise UserError("--to postgres needs --table TABLE, or a preset")
    return TableTarget(named, key=key, timestamp=timestamp)


def _summary(replayed: "TableReplay", path: str, target: "TableTarget") -> str:
    result, table = replayed.result, target.table
    if replayed.done_before is not None:
        since = replayed.done_before.astimezone(UTC)
        return (
            f"{path} is in {table} already, up to row {result.position:,} since "
            f"{since:%Y-%m-%d %H:%M:%S} UTC: nothing was written; --again replays it once more"
        )
    rate = result.sent / result.seconds if result.seconds else 0
    text = f"{result.sent:,} rows into {table} in {result.seconds:.1f} s ({rate:,.0f} rows/s)"
    if target.key:
        text += f", {replayed.changed:,} new or changed"
    text += f", {result.skipped:,} rows skipped"
    if replayed.resumed_at:
        text += f"; went on after row {replayed.resumed_at:,}"
    if result.stopped:
        text += f"; stopped after row {result.position:,}, the same command goes on"
    return text
