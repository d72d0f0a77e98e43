"""The settings file of a backfill that runs as a job."""

from webevents.spec.backfill import WebEventBackfill
from webevents.spec.base import Model
from webevents.spec.pipeline import WebEventPipeline


class BackfillSettings(Model):
    """One backfill of one pipeline."""

    pipeline: WebEventPipeline
    """With its connections filled in."""
    backfill: WebEventBackfill
    made_at: str
    """When the resource was made (ISO 8601): one of the same name that ended before is another."""
