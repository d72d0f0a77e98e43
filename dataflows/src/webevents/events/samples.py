"""Samples of stages: how each of them stood at a moment, as documents."""

from webevents.events.fields import Field, Kind

K = Kind

SAMPLE_FIELDS: tuple[Field, ...] = (
    Field("timestamp", K.DATE, "When it was looked at."),
    Field("pipeline", K.KEYWORD, "The pipeline."),
    Field("stage", K.KEYWORD, "The stage."),
    Field("in", K.LONG, "Messages read, since the pipeline began."),
    Field("out", K.LONG, "Messages delivered."),
    Field("failed", K.LONG, "Messages that became failed events."),
    Field("dropped", K.LONG, "Messages left out for a reason."),
    Field("records", K.LONG, "Records written to the stage's output topic."),
    Field("lag", K.LONG, "Messages still to be processed."),
    Field("in_per_second", K.DOUBLE, "Messages read a second, since the sample before."),
    Field("out_per_second", K.DOUBLE, "Messages delivered a second, since the sample before."),
    Field("wait_p50_ms", K.LONG, "Half of the messages took no longer, in milliseconds."),
    Field("wait_p99_ms", K.LONG, "99 of 100 messages took no longer, in milliseconds."),
    Field("workers", K.LONG, "Workers that processed something since the sample before."),
)
"""A message's wait is from its own time, when it was written to the topic that the stage reads,
until the stage has committed it; of the messages of the last 10 seconds."""
