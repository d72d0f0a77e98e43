"""Replay: the rows of a CSV, NDJSON or Parquet file as events, at their original gaps or faster."""

from webevents.sources.replay.presets import PRESETS, with_preset
from webevents.sources.replay.rows import open_source, read_rows
from webevents.sources.replay.run import Progress, ReplayError, ReplayResult, RowIssue, replay
from webevents.sources.replay.settings import (
    ColumnMapping,
    Format,
    ReplaySettings,
    ValueType,
    replay_settings,
)

__all__ = [
    "PRESETS",
    "ColumnMapping",
    "Format",
    "Progress",
    "ReplayError",
    "ReplayResult",
    "ReplaySettings",
    "RowIssue",
    "ValueType",
    "open_source",
    "read_rows",
    "replay",
    "replay_settings",
    "with_preset",
]
