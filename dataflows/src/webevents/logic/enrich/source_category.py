"""The category of a campaign's source, by the configured mapping."""

from collections.abc import Mapping, Sequence

UNKNOWN = "other/unknown"
"""The category of sources that the mapping does not name, and of none."""


class SourceCategories:
    """Looks sources up, without regard to case.

    :param mapping: sources by category.
    """

    def __init__(self, mapping: Mapping[str, Sequence[str]]) -> None:
        self._category = {
            source.strip().lower(): category
            for category, sources in mapping.items()
            for source in sources
        }

    def category(self, source: str | None) -> str:
        """The category of a ``utm_source``."""
        return self._category.get((source or "").strip().lower(), UNKNOWN)
