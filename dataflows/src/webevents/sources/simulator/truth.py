"""The truth about each message: what a perfect pipeline would find out."""

from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from webevents.sources.output import FileOutput


class Truth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is true of one message; a line of the truth file, in the order of the messages."""

    event_id: str
    """The event's identifier, also where the message does not show it any more."""
    event_time_us: int
    """When the event happened, in microseconds since the epoch."""
    arrival_us: int
    """When the message arrived, in simulated time."""
    visitor: str
    """The visitor: user_domain_id in web-events, user_id in journeys."""
    session: str
    """The true visit: the visitor and the visit's ordinal among theirs, as ``visitor#1``."""
    channel: str
    """The true channel of the visit."""
    is_bot: bool = False
    fault: str | None = None
    """duplicate (on both messages of the event), late, out_of_order or corrupt."""
    kind: str | None = None
    """How a corrupt event is corrupt; see :class:`webevents.spec.generator.CorruptKind`."""
    copy: int = 0
    """1 on the second message of a duplicate."""
    incident: str | None = None
    """The incident that was when the message arrived."""


class TruthWriter:
    """Writes truths to a file as NDJSON; what is at its default is left out.

    :param path: the file; it is overwritten.
    :raises webevents.errors.UserError: when it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = FileOutput(path)
        self._encode = msgspec.json.Encoder().encode

    def write(self, truth: Truth) -> None:
        """Write one line."""
        self._file.send(None, self._encode(truth), None)

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


read_truth = msgspec.json.Decoder(Truth).decode
"""Read one line of a truth file."""
