"""Transitions: which page follows which in a session."""

from itertools import pairwise
from typing import Any

from webevents.events.analytics import EXIT
from webevents.logic.analytics.visits import Path, Visit, about_fields
from webevents.spec.analytics import TransitionsSpec


def transition_id(session: str, step: int) -> str:
    """The identifier of a session's transition."""
    return f"{session}-{step}"


def transitions(path: Path, spec: TransitionsSpec) -> list[tuple[str, str]]:
    """The pairs of a session's path, in their order."""
    if not path.nodes:
        return []
    nodes = [*path.nodes, EXIT] if path.ended else path.nodes
    return list(pairwise(nodes[: spec.max_per_session + 1]))


def transition_fields(
    session: str, visit: Visit, step: int, left: str, followed: str
) -> dict[str, Any]:
    """The fields of one transition's document."""
    about = about_fields(visit.about)
    return {"session_id": session, "step": step, "from": left, "to": followed, **about}
