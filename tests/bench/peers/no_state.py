"""The sessionize stage without its state topic: what keeping open sessions in Kafka costs.

Usage: ``no_state.py stage --settings FILE``, as ``webevents`` itself. A restart would lose what is
open: nothing is encoded, written or packed. All else is the stage.
"""

from typing import Any

from webevents.cli import main
from webevents.logic.sessions.tracker import PartitionSessions, Publication

_stage: Any = PartitionSessions
_commit = _stage.commit


def _commit_without(self: PartitionSessions, *, publish_open: bool) -> Publication:
    made: Publication = _commit(self, publish_open=publish_open)
    made.state.clear()
    return made


_stage.commit = _commit_without
_stage._save = lambda self, chain: ("", b"")
_stage._pack = lambda self: None  # a packed session is its encoded state

if __name__ == "__main__":
    main()
