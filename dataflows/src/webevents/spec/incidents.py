"""spec.generator.faults.incidents: what goes wrong for a while, with its truth known."""

from datetime import timedelta
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from webevents.spec.base import Duration, Model


class IncidentKind(StrEnum):
    """What can go wrong for a while."""

    OUTAGE = "outage"
    DROP = "drop"
    SURGE = "surge"
    CONVERSION = "conversion"
    ERRORS = "errors"


class IncidentSpec(Model):
    """An incident of the simulated website."""

    kind: IncidentKind
    """outage: nobody can visit; drop: a share of the visits is missing; surge: that many more
    come; conversion: a share of the orders does not come about (profile journeys); errors: a share
    of the events is corrupt."""
    start: Duration
    """How long after the beginning of simulated time."""
    duration: Duration
    """How long it lasts."""
    share: float = Field(default=1.0, gt=0, le=100, allow_inf_nan=False)
    """What is missing or corrupt, of 1; for surge, what comes on top: 2 is three times as much."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.duration > timedelta(0):
            raise ValueError("duration must be longer than 0s")
        if self.kind is IncidentKind.OUTAGE and self.share != 1:
            raise ValueError("share is not for an outage, which is of everything: use kind drop")
        if self.kind is not IncidentKind.SURGE and self.share > 1:
            raise ValueError("share must not exceed 1 unless kind is surge")
        return self

    @property
    def end(self) -> timedelta:
        """When it is over, after the beginning of simulated time."""
        return self.start + self.duration
