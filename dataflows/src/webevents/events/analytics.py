"""Documents of analytics: the tables of their fields, one for each kind of document.

:mod:`webevents.logic.analytics` makes them, ``docs/analytics.md`` explains them.
"""

from webevents.events.fields import Field, Kind

K = Kind

_COMMON: tuple[Field, ...] = (
    Field("timestamp", K.DATE, "The document's time, by which it is filtered."),
    Field("pipeline", K.KEYWORD, "The pipeline that made it."),
    Field("session_key", K.KEYWORD, "The visitor: the key fields' values, joined with |."),
    Field("version", K.LONG, "Grows with every change; the highest holds."),
)

VISIT_FIELDS: tuple[str, ...] = (
    *("channel", "source_category", "utm_source", "utm_medium", "utm_campaign"),
    *("device_type", "geo_country", "host"),
)
"""What a document takes from a session, under the session's own names."""

_VISIT: tuple[Field, ...] = tuple(
    Field(name, K.KEYWORD, "Of the session named by the table.") for name in VISIT_FIELDS
)

FUNNEL_FIELDS: tuple[Field, ...] = (
    *_COMMON,
    Field("session_id", K.KEYWORD, "The session in which step 1 was reached."),
    Field("funnel", K.KEYWORD, "The funnel's name."),
    Field("steps", K.LONG, "Number of the funnel's steps."),
    Field("reached", K.LONG, "Number of steps reached, at least 1."),
    Field("step", K.KEYWORD, "The last step reached, such as 2. cart."),
    Field("steps_reached", K.STRINGS, "All steps reached, such as 1. product, 2. cart."),
    Field("step_timestamps", K.DATE, "When each of them was reached, in their order."),
    Field("duration_seconds", K.DOUBLE, "Seconds from step 1 to the last step reached."),
    Field("completed", K.BOOLEAN, "Whether all steps were reached."),
    *_VISIT,
)

TRANSITION_FIELDS: tuple[Field, ...] = (
    *_COMMON,
    Field("session_id", K.KEYWORD, "The session."),
    Field("step", K.LONG, "Which transition of the session it is, from 1 on."),
    Field("from", K.KEYWORD, "The page's path (or the event type) that was left."),
    Field("to", K.KEYWORD, "The one that followed, or (exit)."),
    *_VISIT,
)

RETENTION_FIELDS: tuple[Field, ...] = (
    *_COMMON,
    Field("cohort", K.DATE, "First day of the period in which the visitor was first seen."),
    Field("period", K.LONG, "Number of periods since then, from 0 on."),
    *_VISIT,
)

CREDITS = ("first", "last", "linear", "position")
"""The models of attribution."""

ATTRIBUTION_FIELDS: tuple[Field, ...] = (
    *_COMMON,
    Field("session_id", K.KEYWORD, "The session in which the conversion happened."),
    Field("conversion", K.KEYWORD, "The conversion's name."),
    Field("conversion_id", K.KEYWORD, "Identifies the conversion; 32 hexadecimal digits."),
    Field("event_id", K.KEYWORD, "The event that converted (its first 128 characters)."),
    Field("revenue", K.DOUBLE, "Revenue of the conversion, the same on all its touches."),
    Field("touches", K.LONG, "Number of touches of the conversion."),
    Field("touch", K.LONG, "Which of them this is, from 1 on in the order of time."),
    Field("touch_session_id", K.KEYWORD, "The session that is the touch."),
    Field("touch_timestamp", K.DATE, "When that session began."),
    Field("days_before", K.DOUBLE, "Days from the touch to the conversion."),
    *(
        Field(f"credit_{model}", K.DOUBLE, f"Credit by the model {model}; 1 in all.")
        for model in CREDITS
    ),
    *(Field(f"revenue_{model}", K.DOUBLE, f"Revenue by the model {model}.") for model in CREDITS),
    *_VISIT,
)

KINDS: dict[str, tuple[Field, ...]] = {
    "funnels": FUNNEL_FIELDS,
    "transitions": TRANSITION_FIELDS,
    "retention": RETENTION_FIELDS,
    "attribution": ATTRIBUTION_FIELDS,
}
"""Kinds of documents, each with an index of its own."""

EXIT = "(exit)"
"""What follows the last page of a session that has closed."""

JOURNEY_FIELDS: tuple[Field, ...] = (
    Field("path", K.STRINGS, "Pages (or event types) in their order, repetitions left out."),
    Field("path_truncated", K.BOOLEAN, "Whether the path goes on beyond what is listed."),
    Field("milestones", K.STORED, "Events that match steps of funnels or conversions."),
)
"""What a session record has more where spec.analytics is enabled."""
