"""What a session keeps of its events for analytics: their order, pages, steps and conversions."""

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from msgspec import UNSET

from webevents.events.times import format_time
from webevents.logic.sessions.totals import CENTS, Footprint, Totals
from webevents.spec.analytics import AnalyticsSpec, Match

MAX_NODE = 200
"""Characters of a page's path or an event type in a path."""
MAX_MILESTONES = 100
"""Milestones that a session's record lists, the first ones."""
_MAX_KNOWN = 20_000
"""Pairs of event type and path whose matches are remembered."""

FootprintReader = Callable[[Any, int, str, int], Footprint | None]
"""Of a decoded event, its time, its id and its revenue."""


def step_code(funnel: str, number: int) -> str:
    """The name of a funnel's step in a session's record.

    :param number: from 1 on.
    """
    return f"{funnel}/{number}"


class _Matcher(NamedTuple):
    code: str
    is_step: bool
    types: frozenset[str]
    page: Callable[[str], Any] | None
    fields: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, code: str, match: Match, *, is_step: bool) -> "_Matcher":
        page = re.compile(translate(match.page)).match if match.page else None
        types = frozenset(match.event_types)
        return cls(code, is_step, types, page, tuple(match.fields.items()))

    def fits(self, event_type: str, path: str) -> bool:
        """Whether type and page are as they must be."""
        if self.types and event_type not in self.types:
            return False
        return self.page is None or bool(path and self.page(path))

    def has_fields(self, event: Any) -> bool:
        """Whether the fields are as they must be."""
        return all(_text(getattr(event, name)) == wanted for name, wanted in self.fields)


def _text(value: Any) -> str | None:
    if value is UNSET or value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def path_of(event: Any) -> str:
    """The path of the event's page; empty where it has none."""
    path = event.page_url_path
    if type(path) is str and path:
        return path
    url = event.page_url
    if type(url) is not str or not url:
        return ""
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return ""


def footprint_reader(spec: AnalyticsSpec) -> FootprintReader:
    """Make the function that tells what analytics need of an event; None where nothing."""
    matchers = [
        _Matcher.of(step_code(funnel.name, number), step, is_step=True)
        for funnel in spec.funnels
        for number, step in enumerate(funnel.steps, 1)
    ]
    if spec.attribution.enabled:
        matchers += [
            _Matcher.of(each.name, each, is_step=False) for each in spec.attribution.conversions
        ]
    by_page = spec.transitions.by == "page"
    has_nodes = spec.transitions.enabled
    known: dict[tuple[str, str], tuple[str, list[_Matcher], tuple[_Codes, _Codes] | None]] = {}

    def look_up(event_type: str, path: str) -> tuple[str, list[_Matcher], Any]:
        fitting = [matcher for matcher in matchers if matcher.fits(event_type, path)]
        node = (path if by_page else event_type)[:MAX_NODE] if has_nodes else ""
        same = not any(matcher.fields for matcher in fitting)
        found = (node, fitting, _codes(fitting) if same else None)
        if len(known) >= _MAX_KNOWN:
            known.clear()
        known[event_type, path] = found
        return found

    def read(event: Any, time_us: int, event_id: str, revenue: int) -> Footprint | None:
        event_type, path = event.event_type, path_of(event)
        node, fitting, codes = known.get((event_type, path)) or look_up(event_type, path)
        if codes is None:
            codes = _codes([matcher for matcher in fitting if matcher.has_fields(event)])
        steps, conversions = codes
        if not (node or steps or conversions):
            return None
        return time_us, event_id, node, steps, conversions, revenue if conversions else 0

    return read


_Codes = tuple[str, ...]


def _codes(matchers: Sequence[_Matcher]) -> tuple[_Codes, _Codes]:
    steps = tuple(matcher.code for matcher in matchers if matcher.is_step)
    return steps, tuple(matcher.code for matcher in matchers if not matcher.is_step)


def journey(totals: Totals, spec: AnalyticsSpec) -> Mapping[str, Any]:
    """The fields that a session's record has more (webevents.events.analytics)."""
    nodes = [node for node, _ in groupby(mark[2] for mark in totals.trail if mark[2])]
    room = spec.transitions.max_per_session + 1
    return {
        "path": nodes[:room],
        "path_truncated": totals.trail_truncated or len(nodes) > room,
        "milestones": _milestones(totals.trail),
    }


def _milestones(trail: Sequence[Footprint]) -> list[dict[str, Any]]:
    """The events that match something.

    Of a run of events that match the same steps only so many are listed as there are steps: a
    funnel takes the first one that fits, and one for each step.
    """
    listed: list[dict[str, Any]] = []
    before: _Codes = ()
    left = 0
    for time_us, event_id, _, steps, conversions, revenue in trail:
        if not (steps or conversions):
            continue
        if steps == before:
            left -= 1
        else:
            before, left = steps, len(steps)
        if left <= 0 and not conversions:
            continue
        milestone: dict[str, Any] = {"time": format_time(time_us)}
        if left > 0:
            milestone["steps"] = steps
        if conversions:
            milestone |= {"conversions": conversions, "event_id": event_id}
            if revenue:
                milestone["revenue"] = round(revenue / CENTS, 4)
        listed.append(milestone)
        if len(listed) == MAX_MILESTONES:
            break
    return listed
