"""What an erasure found, erased and left."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Place:
    """One topic, index pattern, table or folder of objects."""

    system: str
    where: str
    found: int = 0
    """Messages, documents, rows or archived messages of the person's before."""
    erased: int = 0
    remaining: int = 0
    """Counted anew after the erasure."""
    ages_out: str = ""
    """Until when what remains is kept, where it ages out by itself."""
    note: str = ""

    def report(self) -> dict[str, Any]:
        """The place under its public names."""
        return {
            "system": self.system,
            "where": self.where,
            "found": self.found,
            "erased": self.erased,
            "remaining": self.remaining,
            "agesOut": self.ages_out,
            "note": self.note,
        }


@dataclass(slots=True)
class Report:
    """The whole erasure."""

    identifiers: list[str]
    linked: list[str] = field(default_factory=list)
    """Other identifiers that stand in the person's events and were not followed."""
    dry_run: bool = True
    places: list[Place] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is left but what ages out by itself."""
        return not self.notes and all(
            place.remaining == 0 or place.ages_out not in ("", "never") for place in self.places
        )

    def report(self) -> dict[str, Any]:
        """The report under its public names."""
        return {
            "identifiers": self.identifiers,
            "linked": self.linked,
            "dryRun": self.dry_run,
            "complete": self.complete,
            "places": [place.report() for place in self.places],
            "notes": self.notes,
        }
