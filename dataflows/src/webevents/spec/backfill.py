"""The WebEventBackfill: the resource that describes one backfill of a pipeline's daily indices."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from webevents.spec.base import Model

KIND = "WebEventBackfill"
Content = Literal["events", "sessions"]
MAX_DAYS = 400
"""Days of one backfill, a bound against a mistyped year."""


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("write a day as YYYY-MM-DD") from None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _time(text: str) -> str:
    try:
        _moment(text)
    except ValueError:
        raise ValueError("write a time in ISO 8601, such as 2026-11-20T00:00:00Z") from None
    return text


def _text(value: Any) -> Any:
    """YAML reads a day or time without quotes as one; its text was meant."""
    if isinstance(value, datetime):
        whole = value if value.tzinfo else value.replace(tzinfo=UTC)
        return whole.astimezone(UTC).isoformat()
    return value.isoformat() if isinstance(value, date) else value


Day = Annotated[
    str,
    BeforeValidator(_text),
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", max_length=10),
    AfterValidator(_day),
]
Time = Annotated[str, BeforeValidator(_text), Field(max_length=40), AfterValidator(_time)]
Offsets = dict[Annotated[str, Field(pattern=r"^[0-9]+$")], Annotated[int, Field(ge=0)]]


class BackfillSource(Model):
    """Where the events are read again: the raw topic, or the archive that was made of it."""

    type: Literal["kafka", "archive"] = "kafka"
    """kafka: the pipeline's raw topic, as far as Kafka still has it; archive: the objects in S3."""
    since: Time | None = None
    """Read what came at this time or later (the messages' own times; of an archive, whole hours).
    When absent, from one day before firstDay on, so that sessions which began before are whole."""
    until: Time | None = None
    """Read at least what came before this time; up to now when absent. Documents of events that
    came later may be missing then: see spec.missing."""
    start_offsets: Offsets | None = None
    """kafka: first offset by partition, instead of since."""
    end_offsets: Offsets | None = None
    """kafka: offset behind the last message that must be read, by partition, instead of until."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.type == "archive" and (self.start_offsets or self.end_offsets):
            raise ValueError("startOffsets and endOffsets are Kafka's: an archive has since, until")
        if self.since and self.start_offsets:
            raise ValueError("set only one of since and startOffsets")
        if self.until and self.end_offsets:
            raise ValueError("set only one of until and endOffsets")
        if self.since and self.until and _moment(self.since) >= _moment(self.until):
            raise ValueError("since must be before until")
        return self


class BackfillSpec(Model):
    """Which days of which pipeline are made anew, from what, and when they take the old's place."""

    pipeline: str = Field(min_length=1, max_length=52)
    """Name of the WebEventPipeline, in the same namespace; its settings as they are when the
    backfill starts are those that events are enriched and grouped into sessions with."""
    first_day: Day
    """First day (UTC) whose indices are made anew."""
    last_day: Day
    """Last day (UTC); it must be past, because today's indices are still being written."""
    source: BackfillSource = BackfillSource()
    """Where the events are read again."""
    contents: Annotated[tuple[Content, ...], Field(max_length=2)] = ("events", "sessions")
    """What is made anew: documents of events, of sessions, or both."""
    missing: Literal["stop", "keep", "accept"] = "stop"
    """What to do where the old index has documents that the new one lacks: stop before the swap;
    keep them, copied as they are; accept that they go."""
    swap: bool = True
    """Whether new indices take the old ones' places by themselves once they are compared; false
    waits for `webevents backfill swap`, or for true."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        first, last = date.fromisoformat(self.first_day), date.fromisoformat(self.last_day)
        if last < first:
            raise ValueError("lastDay is before firstDay")
        if (last - first).days >= MAX_DAYS:
            raise ValueError(f"a backfill takes {MAX_DAYS} days at most: make several")
        if not self.contents or len(set(self.contents)) < len(self.contents):
            raise ValueError("contents needs events, sessions or both, each once")
        return self

    def days(self) -> list[date]:
        """Its days in order."""
        first, last = date.fromisoformat(self.first_day), date.fromisoformat(self.last_day)
        return [first + timedelta(days=number) for number in range((last - first).days + 1)]


class BackfillMetadata(Model):
    """The resource's name; whatever else Kubernetes keeps here is let through."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=40)
    """The backfill's name; part of its topics' and indices' names."""
    namespace: str | None = None
    """The resource's namespace on Kubernetes."""


class WebEventBackfill(Model):
    """A backfill: days of a pipeline's indices made anew beside the old, compared and swapped."""

    api_version: Literal["webevents.dev/v1alpha1"]
    """Version of the resource's format."""
    kind: Literal["WebEventBackfill"]
    """Kind of the resource."""
    metadata: BackfillMetadata
    """The resource's name."""
    spec: BackfillSpec
    """What is made anew."""

    @property
    def name(self) -> str:
        """The backfill's name."""
        return self.metadata.name
