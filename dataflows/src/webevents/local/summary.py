"""What a local run came to: the report file and what the terminal shows at the end."""

from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from webevents.plan.ledger import PipelineLedger


@dataclass(slots=True)
class Summary:
    """The outcome of a run."""

    ledger: PipelineLedger
    documents: dict[str, int]
    """Documents by index."""
    sessions: int
    seconds: float
    raw_events: int
    """Messages in the raw topic."""
    restarts: int = 0
    problems: list[str] = field(default_factory=list)
    tables: dict[str, int] = field(default_factory=dict)
    """Rows by table of PostgreSQL."""

    @property
    def balanced(self) -> bool:
        """Whether every event is accounted for."""
        return not self.problems and self.ledger.balanced

    def report(self) -> dict[str, Any]:
        """The summary under its public names, as ``--report`` writes it."""
        return {
            "pipeline": self.ledger.plan.pipeline,
            "events": self.raw_events,
            "stages": self.ledger.report(),
            "documents": dict(sorted(self.documents.items())),
            "sessions": self.sessions,
            "tables": self.tables,
            "restarts": self.restarts,
            "balanced": self.balanced,
            "problems": [*self.ledger.problems, *self.problems],
            "seconds": round(self.seconds, 3),
        }

    def verdict(self) -> str:
        """The ledger's verdict in one sentence."""
        if self.balanced:
            return f"Balanced: all {self.raw_events:,} events are accounted for at every stage."
        problems = "; ".join([*self.ledger.problems, *self.problems])
        return f"NOT balanced: {problems}."


def stage_table(ledger: PipelineLedger, rates: dict[str, float] | None = None) -> Table:
    """The stages as a table; with rates (events per second by stage) while they run."""
    table = Table(title=f"Pipeline {ledger.plan.pipeline}", title_justify="left")
    table.add_column("stage")
    names = ["events/s"] if rates is not None else []
    for name in [*names, "in", "out", "failed", "dropped", "lag"]:
        table.add_column(name, justify="right")
    for name, view in ledger.groups.items():
        counts = view.counts()
        dropped = sum(counts.dropped.values())
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(counts.dropped.items()))
        row = [f"{counts.received:,}", f"{counts.delivered:,}", f"{counts.failed:,}"]
        row.append(f"{dropped:,} ({reasons})" if dropped else "0")
        row.append(f"{view.lag:,}")
        if rates is not None:
            row.insert(0, f"{rates.get(name, 0):,.0f}")
        table.add_row(name, *row)
    return table
