"""Watching a run: a table that refreshes on a terminal, a line now and then elsewhere."""

import time
from collections import deque
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from webevents.local.summary import stage_table
from webevents.plan.ledger import PipelineLedger

LINE_EVERY_S = 5.0
RATE_WINDOW_S = 5.0


class Watch:
    """Shows how a run goes.

    :param facts: lines that stay, such as where the servers are.
    """

    def __init__(self, console: Console, facts: list[str]) -> None:
        self._console = console
        self._facts = facts
        self._history: deque[tuple[float, dict[str, int]]] = deque()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._last_line = 0.0
        self._began = time.monotonic()
        self._messages: deque[str] = deque(maxlen=3)

    def __enter__(self) -> "Watch":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str) -> None:
        """Show a line about something that happened."""
        if self._live:
            self._messages.append(line)
        else:
            self._console.print(line, highlight=False, soft_wrap=True)

    def show(
        self, ledger: PipelineLedger, events: int, documents: Mapping[str, int], doing: str
    ) -> None:
        """Show the present state.

        :param events: messages in the raw topic.
        :param documents: documents by what they are, such as events and sessions.
        :param doing: what the run does now.
        """
        rates = self._rates(ledger, events)
        elapsed = time.monotonic() - self._began
        if self._live:
            self._live.update(self._screen(ledger, events, documents, doing, rates), refresh=True)
        elif elapsed - self._last_line >= LINE_EVERY_S:
            self._last_line = elapsed
            stages = "  ".join(
                f"{name} {view.counts().received:,} (lag {view.lag:,})"
                for name, view in ledger.groups.items()
            )
            found = "  ".join(f"{name} {count:,}" for name, count in documents.items())
            self._console.print(
                f"{elapsed:5.0f} s  raw {events:,} ({rates.get('', 0):,.0f}/s)  {stages}"
                f"  documents: {found or 'none yet'}",
                highlight=False,
                soft_wrap=True,
            )

    def _screen(
        self,
        ledger: PipelineLedger,
        events: int,
        documents: Mapping[str, int],
        doing: str,
        rates: dict[str, float],
    ) -> RenderableType:
        found = "   ".join(f"{name} {count:,}" for name, count in documents.items())
        lines = [
            *self._facts,
            f"raw events {events:,} ({rates.get('', 0):,.0f}/s)   documents: {found or 'none yet'}",
            f"{time.monotonic() - self._began:.0f} s   {doing}",
            *self._messages,
        ]
        return Group(stage_table(ledger, rates), *map(Text, lines))

    def _rates(self, ledger: PipelineLedger, events: int) -> dict[str, float]:
        now = time.monotonic()
        counts = {name: view.counts().received for name, view in ledger.groups.items()}
        counts[""] = events
        self._history.append((now, counts))
        while now - self._history[0][0] > RATE_WINDOW_S and len(self._history) > 2:
            self._history.popleft()
        then, before = self._history[0]
        span = now - then
        if span <= 0:
            return {}
        return {name: max(n - before.get(name, 0), 0) / span for name, n in counts.items()}
