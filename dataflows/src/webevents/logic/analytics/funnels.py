"""Funnels: how far visitors get, step by step.

An attempt begins with the first event of step 1 in a session, unless the attempt of an earlier
session is still under way then. Each further step is the first event after the one before that
matches it. An attempt is over when all steps are reached, or when its time is: at the session's
end, or ``within`` after step 1. So a session begins one attempt at most, and no event counts in two
attempts at the same funnel.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from webevents.events.times import format_time, to_us
from webevents.logic.analytics.document import Fact, fact_id
from webevents.logic.analytics.visits import Visit, about_fields
from webevents.logic.sessions.record import session_id
from webevents.logic.sessions.trail import step_code
from webevents.spec.analytics import SESSION, Funnel
from webevents.spec.base import parse_duration


class Attempt(NamedTuple):
    """One attempt at a funnel."""

    visit: Visit
    """The session in which it began."""
    times: list[int]
    """When each step was reached."""
    over_us: int
    """After this the next attempt may begin."""
    final_us: int
    """What happens after this cannot change it."""


class FunnelReader:
    """Finds the attempts at one funnel."""

    def __init__(self, funnel: Funnel) -> None:
        self.name = funnel.name
        self._names = [f"{number}. {step.name}" for number, step in enumerate(funnel.steps, 1)]
        self._codes = [step_code(funnel.name, n) for n in range(1, len(funnel.steps) + 1)]
        self.span_us = None if funnel.within == SESSION else to_us(parse_duration(funnel.within))
        """How long an attempt may take; None for the length of its session."""

    def attempts(self, visits: Sequence[Visit], resume_us: int, from_us: int) -> list[Attempt]:
        """The attempts that begin after a moment.

        :param visits: the visitor's sessions in the order of time.
        :param resume_us: the end of the last attempt before.
        :param from_us: where attempts are of one session each, those that begin before are left
            out.
        """
        found: list[Attempt] = []
        first = self._codes[0]
        free_us = resume_us
        for number, visit in enumerate(visits):
            if self.span_us is None and visit.start_us < from_us:
                continue
            steps = (n for n, mark in enumerate(visit.marks) if first in mark[1])
            position = next(steps, None)
            if position is None or visit.marks[position][0] <= free_us:
                continue
            attempt = self._follow(visits, number, position)
            if self.span_us is not None:
                free_us = attempt.over_us
            found.append(attempt)
        return found

    def _follow(self, visits: Sequence[Visit], number: int, position: int) -> Attempt:
        visit, codes = visits[number], self._codes
        start_us = visit.marks[position][0]
        times = [start_us]
        end_us = visit.last_us if self.span_us is None else start_us + self.span_us
        position += 1
        for later in islice(visits, number, number + 1 if self.span_us is None else None):
            if later.start_us > end_us:
                break
            for mark in islice(later.marks, position, None):
                if mark[0] > end_us:
                    break
                if codes[len(times)] in mark[1]:
                    times.append(mark[0])
                    if len(times) == len(codes):
                        return Attempt(visit, times, mark[0], self._final(visit, end_us))
            position = 0
        return Attempt(visit, times, end_us, self._final(visit, end_us))

    def _final(self, visit: Visit, end_us: int) -> int:
        return visit.start_us if self.span_us is None else end_us

    def fact(self, pipeline: str, key: str, attempt: Attempt) -> Fact:
        """What there is to tell of an attempt."""
        visit, times = attempt.visit, attempt.times
        what = f"funnel\x00{self.name}\x00{visit.start_us}"

        def documents() -> list[tuple[str, dict[str, Any]]]:
            names = self._names[: len(times)]
            fields = {
                "session_id": session_id(pipeline, key, visit.start_us),
                "funnel": self.name,
                "steps": len(self._codes),
                "reached": len(times),
                "step": names[-1],
                "steps_reached": names,
                "step_timestamps": [format_time(us) for us in times],
                "duration_seconds": round((times[-1] - times[0]) / 1e6, 6),
                "completed": len(times) == len(self._codes),
                **about_fields(visit.about),
            }
            return [(fact_id(pipeline, key, what), fields)]

        cause = (times, self._names, visit.about)
        return Fact("funnels", what, times[0], attempt.final_us, cause, documents)
