"""How far long work is: a bar on a terminal, lines otherwise."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from webevents.sources.replay import Progress as ReplayProgress

LINE_EVERY_S = 10.0


@contextmanager
def replay_progress(
    console: Console, what: str = "events"
) -> Iterator[Callable[[ReplayProgress], None]]:
    """Show a replay's progress while the block runs.

    :param what: what the rows become.
    """
    if not console.is_terminal:
        yield _lines(console, what)
        return
    columns = (
        TextColumn("{task.fields[text]}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("replay", total=None, text="")

        def show(now: ReplayProgress) -> None:
            total = now.rows_total or now.bytes_total
            done = now.rows if now.rows_total else now.bytes_read
            bar.update(task, total=total, completed=done, text=_text(now, what))

        yield show


def _lines(console: Console, what: str) -> Callable[[ReplayProgress], None]:
    last = time.monotonic()

    def show(now: ReplayProgress) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            console.print(_text(now, what), highlight=False)

    return show


def _text(now: ReplayProgress, what: str) -> str:
    return f"{now.sent:,} {what}" + (f", {now.skipped:,} skipped" if now.skipped else "")
