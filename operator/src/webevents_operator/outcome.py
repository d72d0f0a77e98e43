"""How bringing something about went, in the words of conditions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from webevents_operator.status import Reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """One aspect of a pipeline."""

    ok: bool
    reason: Reason
    message: str
    done: tuple[str, ...] = ()
    """What was changed, a line each."""
    partitions: Mapping[str, int] = field(default_factory=dict)
    """Partitions of the topics, where this is about topics."""

    @property
    def failing(self) -> bool:
        """Whether something is wrong, rather than only not yet there."""
        return not self.ok and self.reason is not Reason.PROGRESSING


NOT_NEEDED = Outcome(True, Reason.NOT_NEEDED, "The pipeline has none.")


class Blocked(Exception):
    """Nothing can be done for a pipeline until somebody mends something.

    :param reason: of the condition Ready.
    :param message: names the mend.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
