"""Attribution: which sessions a conversion is owed to, by several models.

The touches of a conversion are the visitor's sessions that began at most ``lookback`` before it,
the converting one among them. Credit is shared in whole millionths and revenue in whole
ten-thousandths, so that the shares of a conversion are exactly the whole.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from webevents.events.times import format_time, to_us
from webevents.logic.analytics.document import Fact, fact_id
from webevents.logic.analytics.visits import UNITS, Mark, Visit, about_fields
from webevents.logic.sessions.record import session_id
from webevents.spec.analytics import AttributionSpec

WHOLE = 1_000_000
"""The credit of one conversion."""
_ENDS = 400_000
_DAY_US = 86_400_000_000


def _evenly(whole: int, count: int) -> list[int]:
    """Shares that differ by one at most; the first ones are the greater."""
    share, left = divmod(whole, count)
    return [share + (number < left) for number in range(count)]


def _first(count: int) -> list[int]:
    return [WHOLE] + [0] * (count - 1)


def _last(count: int) -> list[int]:
    return [0] * (count - 1) + [WHOLE]


def _linear(count: int) -> list[int]:
    return _evenly(WHOLE, count)


def _position(count: int) -> list[int]:
    if count < 3:
        return _evenly(WHOLE, count)
    return [_ENDS, *_evenly(WHOLE - 2 * _ENDS, count - 2), _ENDS]


MODELS: dict[str, Callable[[int], list[int]]] = {
    "first": _first,
    "last": _last,
    "linear": _linear,
    "position": _position,
}
"""Of a number of touches: the credit of each, in millionths."""


def shares(whole: int, credits: Sequence[int]) -> list[int]:
    """Share a whole by credits; what rounding leaves goes to the first ones that have any."""
    parts = [whole * credit // WHOLE for credit in credits]
    left = whole - sum(parts)
    for number, credit in enumerate(credits):
        if left and credit:
            parts[number] += 1
            left -= 1
    return parts


class AttributionReader:
    """Finds the touches of conversions."""

    def __init__(self, spec: AttributionSpec) -> None:
        self._lookback_us = to_us(spec.lookback)
        self._max_touches = spec.max_touches
        self._models = spec.models

    def facts(
        self, pipeline: str, key: str, visits: Sequence[Visit], from_us: int
    ) -> Iterator[Fact]:
        """The conversions in sessions that began at a moment or after it.

        :param visits: the visitor's sessions in the order of time.
        """
        for number, visit in enumerate(visits):
            if visit.start_us < from_us:
                continue
            for mark in visit.marks:
                for name in mark[2]:
                    touches = self._touches(visits, number, mark[0])
                    yield self._fact(pipeline, key, visit, mark, name, touches)

    def _touches(self, visits: Sequence[Visit], number: int, time_us: int) -> Sequence[Visit]:
        since = time_us - self._lookback_us
        first = bisect_left(visits, since, 0, number + 1, key=_start)
        first = min(first, number)  # where the session is longer than the look-back
        if number + 1 - first <= self._max_touches:
            return visits[first : number + 1]
        return [visits[first], *visits[number + 2 - self._max_touches : number + 1]]

    def _fact(
        self,
        pipeline: str,
        key: str,
        visit: Visit,
        mark: Mark,
        name: str,
        touches: Sequence[Visit],
    ) -> Fact:
        time_us, _, _, event_id, revenue = mark
        what = f"conversion\x00{name}\x00{time_us}\x00{event_id}"
        count = len(touches)

        def documents() -> list[tuple[str, dict[str, Any]]]:
            conversion_id = fact_id(pipeline, key, what)
            credits = {model: MODELS[model](count) for model in self._models}
            revenues = {model: shares(revenue, credit) for model, credit in credits.items()}
            common = {
                "session_id": session_id(pipeline, key, visit.start_us),
                "conversion": name,
                "conversion_id": conversion_id,
                "event_id": event_id,
                "revenue": revenue / UNITS,
                "touches": count,
            }
            made = []
            for position, touch in enumerate(touches):
                fields: dict[str, Any] = {
                    **common,
                    "touch": position + 1,
                    "touch_session_id": session_id(pipeline, key, touch.start_us),
                    "touch_timestamp": format_time(touch.start_us),
                    "days_before": round((time_us - touch.start_us) / _DAY_US, 6),
                    **about_fields(touch.about),
                }
                for model in self._models:
                    fields[f"credit_{model}"] = credits[model][position] / WHOLE
                    fields[f"revenue_{model}"] = revenues[model][position] / UNITS
                made.append((touch_id(conversion_id, position + 1), fields))
            return made

        cause = (visit.start_us, revenue, [(touch.start_us, touch.about) for touch in touches])
        return Fact("attribution", what, time_us, visit.start_us, cause, documents, count)


def touch_id(conversion_id: str, touch: int) -> str:
    """The identifier of a conversion's touch.

    :param touch: from 1 on.
    """
    return f"{conversion_id}-{touch}"


def _start(visit: Visit) -> int:
    return visit.start_us
