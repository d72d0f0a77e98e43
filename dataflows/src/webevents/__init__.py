"""Web events enriched, sessionised and delivered; see docs/concepts.md."""

__version__ = "0.1.0"
