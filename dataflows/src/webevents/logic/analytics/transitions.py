"""Transitions: which page follows which in a session."""

from collections.abc import Iterator
from itertools import chain, islice, pairwise

from webevents.events.analytics import EXIT
from webevents.logic.analytics.document import Fact
from webevents.logic.analytics.visits import Path, Visit, about_fields
from webevents.logic.sessions.record import session_id
from webevents.spec.analytics import TransitionsSpec


def transition_id(session: str, step: int) -> str:
    """The identifier of a session's transition."""
    return f"{session}-{step}"


def transitions(
    pipeline: str, key: str, visit: Visit, path: Path, spec: TransitionsSpec
) -> Iterator[Fact]:
    """The documents of a session, in the order of its path."""
    if not path.nodes:
        return
    session, about = session_id(pipeline, key, visit.start_us), about_fields(visit.about)
    nodes = chain(path.nodes, [EXIT]) if path.ended else iter(path.nodes)
    for step, (left, followed) in enumerate(islice(pairwise(nodes), spec.max_per_session), 1):
        yield Fact(
            "transitions",
            transition_id(session, step),
            visit.start_us,
            {"session_id": session, "step": step, "from": left, "to": followed, **about},
        )
