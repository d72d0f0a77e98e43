"""Replay into a table of PostgreSQL: each row of a file once, however often it is started."""

from webevents.sources.replay.table.presets import DEFINITIONS, TABLE_PRESETS
from webevents.sources.replay.table.run import TableReplay, replay_into_table
from webevents.sources.replay.table.settings import TableTarget, table_name

__all__ = [
    "DEFINITIONS",
    "TABLE_PRESETS",
    "TableReplay",
    "TableTarget",
    "replay_into_table",
    "table_name",
]
