"""The words in which dashboards are described: fields, conditions, metrics, panels.

Fields are called as events and sessions call them; what they are called in a pipeline's documents
is the matter of :mod:`webevents.kibana.views`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from webevents.kibana.views import View

RECORDS = "___records___"
"""What Lens calls the documents themselves."""


@dataclass(frozen=True, slots=True)
class Is:
    """A field has one of these values."""

    field: str
    values: tuple[str, ...]

    def kql(self, view: View) -> str:
        """The condition in Kibana's query language."""
        values = " or ".join(f'"{value}"' for value in self.values)
        return f"{view.name_of(self.field)}: ({values})"

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        yield self.field


@dataclass(frozen=True, slots=True)
class Exists:
    """A field has a value."""

    field: str

    def kql(self, view: View) -> str:
        """The condition in Kibana's query language."""
        return f"{view.name_of(self.field)}: *"

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        yield self.field


@dataclass(frozen=True, slots=True)
class Between:
    """A number is at least ``low`` and below ``high``, where these are given."""

    field: str
    low: float | None = None
    high: float | None = None

    def kql(self, view: View) -> str:
        """The condition in Kibana's query language."""
        name = view.name_of(self.field)
        parts = []
        if self.low is not None:
            parts.append(f"{name} >= {self.low:g}")
        if self.high is not None:
            parts.append(f"{name} < {self.high:g}")
        return " and ".join(parts)

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        yield self.field


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    condition: "Condition"

    def kql(self, view: View) -> str:
        """The condition in Kibana's query language."""
        return f"not ({self.condition.kql(view)})"

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        yield from self.condition.fields()


@dataclass(frozen=True, slots=True)
class All:
    """All of them hold."""

    conditions: tuple["Condition", ...]

    def kql(self, view: View) -> str:
        """The condition in Kibana's query language."""
        return " and ".join(f"({condition.kql(view)})" for condition in self.conditions)

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        for condition in self.conditions:
            yield from condition.fields()


Condition = Is | Exists | Between | Not | All

Operation = Literal["count", "sum", "average", "median", "min", "max", "unique_count", "percentile"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A number made of documents."""

    label: str
    operation: Operation = "count"
    field: str | None = None
    where: Condition | None = None
    """Counts only documents of which this holds."""
    percentile: float | None = None
    decimals: int | None = None
    """Decimals that are shown."""

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        if self.field is not None:
            yield self.field
        if self.where is not None:
            yield from self.where.fields()


@dataclass(frozen=True, slots=True)
class Quotient:
    """One metric divided by another."""

    label: str
    part: Metric
    whole: Metric
    percent: bool = True
    decimals: int = 1

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        yield from self.part.fields()
        yield from self.whole.fields()


@dataclass(frozen=True, slots=True)
class Share:
    """A metric's part of the sum over all rows that are shown."""

    label: str
    of: Metric

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        yield from self.of.fields()


Figure = Metric | Quotient | Share


@dataclass(frozen=True, slots=True)
class Terms:
    """A row for each of the most frequent values of a field."""

    field: str
    label: str
    size: int = 10

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        yield self.field


@dataclass(frozen=True, slots=True)
class Time:
    """A row for each interval of the view's time field."""

    interval: str = "auto"
    """As Kibana writes it: auto, 1m, 1h, 1d."""
    label: str = "Time"

    def fields(self) -> Iterator[str]:
        """What it looks at, beside the time field, which every view has."""
        yield from ()


@dataclass(frozen=True, slots=True)
class Filters:
    """A row for each condition."""

    label: str
    rows: tuple[tuple[str, Condition], ...]

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        for _, condition in self.rows:
            yield from condition.fields()


Bucket = Terms | Time | Filters

Shape = Literal[
    "number", "line", "area", "bar", "bars", "bar_horizontal", "donut", "pie", "table", "cloud"
]
"""``bars`` are stacked."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What is counted of one view."""

    view: str
    figures: tuple[Figure, ...]
    by: tuple[Bucket, ...] = ()
    """Outermost first. In a chart over time, the time is the axis and the other one the colour."""
    right: tuple[str, ...] = ()
    """Labels of figures on the right-hand axis."""

    def fields(self) -> Iterator[str]:
        """What it looks at."""
        return chain.from_iterable(each.fields() for each in (*self.figures, *self.by))


@dataclass(frozen=True, slots=True)
class Lens:
    """A panel that Kibana's Lens draws."""

    title: str
    shape: Shape
    layers: tuple[Layer, ...]
    where: Condition | None = None
    width: int | None = None
    """In Kibana's 48 columns; an equal part of its row's when absent."""

    def needs(self) -> Iterator[tuple[str, str]]:
        """Views and fields that it looks at."""
        for layer in self.layers:
            yield from ((layer.view, field) for field in layer.fields())
            if self.where is not None:
                yield from ((layer.view, field) for field in self.where.fields())


@dataclass(frozen=True, slots=True)
class Vega:
    """A panel that Vega draws, from a query of its own."""

    title: str
    view: str
    uses: tuple[str, ...]
    """The fields of its query."""
    draw: Callable[[View], Mapping[str, Any]]
    """Makes the specification."""
    width: int | None = None

    def needs(self) -> Iterator[tuple[str, str]]:
        """Views and fields that it looks at."""
        yield from ((self.view, field) for field in self.uses)


@dataclass(frozen=True, slots=True)
class Map:
    """Documents by place."""

    title: str
    view: str
    field: str
    width: int | None = None

    def needs(self) -> Iterator[tuple[str, str]]:
        """Views and fields that it looks at."""
        yield self.view, self.field


@dataclass(frozen=True, slots=True)
class Records:
    """The newest documents, one by one."""

    title: str
    view: str
    columns: tuple[str, ...]
    width: int | None = None

    def needs(self) -> Iterator[tuple[str, str]]:
        """Views and fields that it looks at; columns that are not there are left out."""
        yield from ()


Panel = Lens | Vega | Map | Records


@dataclass(frozen=True, slots=True)
class Row:
    """Panels beside each other."""

    height: int
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """A list of a field's values by which the whole dashboard is narrowed."""

    view: str
    field: str
    label: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels."""

    key: str
    """Part of its identifier: never changed."""
    title: str
    description: str
    rows: tuple[Row, ...]
    controls: tuple[Control, ...] = ()
    since: str = "now-24h"
    """Where the time filter begins; it ends now."""
    refresh_s: int = 0
    """How often it refreshes by itself, in seconds; 0 for never."""
    only_with: tuple[str, ...] = ()
    """Views without which it makes no sense."""
