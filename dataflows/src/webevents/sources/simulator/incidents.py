"""Incidents of the simulated website: when they are, whom they hit, and their truth."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import msgspec

from webevents.events.times import to_us
from webevents.sources.output import FileOutput
from webevents.sources.simulator.visit import Visit
from webevents.spec.generator import GeneratorSpec
from webevents.spec.incidents import IncidentKind


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """The truth about one incident; a line of the file beside the truth."""

    name: str
    """Its label on the messages that arrive while it lasts: kind and ordinal, as ``drop-2``."""
    kind: IncidentKind
    start_us: int
    end_us: int
    """When it begins and is over, in microseconds since the epoch, in simulated time."""
    share: float


def incidents_of(spec: GeneratorSpec, start_us: int) -> list[Incident]:
    """The incidents of a simulation in the order of their times.

    :param start_us: where simulated time begins.
    """
    ordered = sorted(spec.faults.incidents, key=lambda incident: incident.start)
    return [
        Incident(
            name=f"{each.kind}-{number}",
            kind=each.kind,
            start_us=start_us + to_us(each.start),
            end_us=start_us + to_us(each.end),
            share=each.share,
        )
        for number, each in enumerate(ordered, 1)
    ]


def incidents_path(truth_path: str | Path) -> Path:
    """Where the incidents are written: ``truth.incidents.ndjson`` beside ``truth.ndjson``."""
    return Path(truth_path).with_suffix(".incidents.ndjson")


def write_incidents(incidents: Sequence[Incident], path: Path) -> None:
    """Write the incidents, a line of JSON each.

    :raises webevents.errors.UserError: when the file cannot be written.
    """
    output = FileOutput(path)
    for incident in incidents:
        output.send(None, msgspec.json.encode(incident), None)
    output.close()


read_incident = msgspec.json.Decoder(Incident).decode
"""Read one line of an incidents file."""


class Incidents:
    """What incidents do to visits and events.

    :param incidents: in the order of their times; they do not overlap.
    :param rng: of its own, so that the rest of the simulation stays as it is without incidents.
    :param orders: event types that are orders.
    """

    def __init__(self, incidents: Sequence[Incident], rng: Random, orders: Sequence[str]) -> None:
        assert all(one.end_us <= other.start_us for one, other in pairwise(incidents))
        self._incidents = incidents
        self._starts = [incident.start_us for incident in incidents]
        self._random = rng.random
        self._orders = tuple(b'"event_type":"%s"' % name.encode() for name in orders)
        self._judged: dict[Visit, tuple[str, bool]] = {}

    def at(self, time_us: int) -> Incident | None:
        """The incident at a time."""
        index = bisect_right(self._starts, time_us) - 1
        if index >= 0 and time_us < self._incidents[index].end_us:
            return self._incidents[index]
        return None

    def times(self, now_us: int) -> int:
        """How many visits or messages come where one would come otherwise."""
        match self.at(now_us):
            case Incident(kind=IncidentKind.OUTAGE):
                return 0
            case Incident(kind=IncidentKind.DROP, share=share):
                return 0 if self._random() < share else 1
            case Incident(kind=IncidentKind.SURGE, share=share):
                return 1 + int(share) + (self._random() < share % 1)
        return 1

    def leaves(self, visit: Visit, now_us: int) -> bool:
        """Whether a visit that is under way ends here, because its visitor cannot go on.

        Each visit is judged once per incident: a visitor who can go on at first can to the end.
        """
        incident = self.at(now_us)
        if incident is None or incident.kind not in (IncidentKind.OUTAGE, IncidentKind.DROP):
            self._judged.clear()
            return False
        if visit.start_us >= incident.start_us:
            return False  # judged when it began
        known = self._judged.get(visit)
        if known is None or known[0] != incident.name:
            known = (incident.name, self._random() < incident.share)
            self._judged[visit] = known
        return known[1]

    def prevents(self, value: bytes, now_us: int) -> bool:
        """Whether an event does not come about: an order while orders fail."""
        incident = self.at(now_us)
        return (
            incident is not None
            and incident.kind is IncidentKind.CONVERSION
            and any(order in value[:200] for order in self._orders)
            and self._random() < incident.share
        )

    def spoils(self, now_us: int) -> bool:
        """Whether an event becomes corrupt."""
        incident = self.at(now_us)
        return (
            incident is not None
            and incident.kind is IncidentKind.ERRORS
            and self._random() < incident.share
        )
