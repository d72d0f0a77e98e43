"""Retention: in which periods after their first one visitors come back."""

from collections.abc import Iterator, Sequence
from typing import Any

from webevents.events.times import format_time, to_us
from webevents.logic.analytics.document import Fact, fact_id
from webevents.logic.analytics.visits import Seen, Visit, about_fields
from webevents.spec.analytics import RetentionSpec

_MONDAY_US = 4 * 86_400_000_000
"""1970-01-05, the first Monday."""


class RetentionReader:
    """Finds the periods in which a visitor came."""

    def __init__(self, spec: RetentionSpec) -> None:
        self._spec = spec
        self.length_us = to_us(spec.length)
        self.memory_us = to_us(spec.memory) if spec.enabled else 0
        self._zero = _MONDAY_US if spec.period == "week" else 0

    def period_of(self, us: int) -> int:
        """First moment of the period that a time lies in."""
        return us - (us - self._zero) % self.length_us

    def meet(self, seen: Seen | None, visit: Visit) -> Seen:
        """What is known of a visitor after one more session.

        :param seen: what was known before; None of a new visitor.
        """
        if seen is None or visit.start_us - seen.last_us > self.memory_us:
            return Seen(visit.start_us, visit.last_us, visit.about)
        return Seen(seen.first_us, visit.last_us, seen.about)

    def facts(
        self, pipeline: str, key: str, seen: Seen | None, visits: Sequence[Visit], from_us: int
    ) -> Iterator[Fact]:
        """What there is to tell of periods that end after a moment.

        :param seen: what is known of the sessions before these.
        :param visits: in the order of time.
        """
        told = None
        for visit in visits:
            seen = self.meet(seen, visit)
            period_us = self.period_of(visit.start_us)
            if period_us == told or period_us + self.length_us <= from_us:
                continue
            told = period_us
            cohort_us = self.period_of(seen.first_us)
            number = (period_us - cohort_us) // self.length_us
            if number < self._spec.periods:
                yield self._fact(pipeline, key, period_us, cohort_us, seen.about)

    def _fact(
        self,
        pipeline: str,
        key: str,
        period_us: int,
        cohort_us: int,
        about: tuple[str | None, ...],
    ) -> Fact:
        what = f"retention\x00{period_us}"
        number = (period_us - cohort_us) // self.length_us

        def documents() -> list[tuple[str, dict[str, Any]]]:
            fields = {"cohort": format_time(cohort_us), "period": number, **about_fields(about)}
            return [(fact_id(pipeline, key, what), fields)]

        final_us = period_us + self.length_us - 1
        return Fact("retention", what, period_us, final_us, (cohort_us, about), documents)
