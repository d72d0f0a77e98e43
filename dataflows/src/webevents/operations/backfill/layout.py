"""The names and the stages of a backfill: the pipeline's own, on topics and indices beside them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from webevents.connectors.kafka import Topic
from webevents.errors import UserError
from webevents.events.times import parse_time
from webevents.operations.backfill.state import IndexState
from webevents.plan.make import make_plan
from webevents.spec.backfill import BackfillSpec
from webevents.spec.pipeline import WebEventPipeline
from webevents.stages.settings import ShadowSettings, StageSettings


@dataclass(frozen=True, slots=True)
class Layout:
    """What a backfill reads and writes."""

    raw: str
    """Topic that the enrich stage reads: the pipeline's own, or a copy of the archive."""
    copied: bool
    """Whether it is a copy."""
    enriched: str
    topics: tuple[Topic, ...]
    """Topics of the backfill's own; gone when it is done."""
    stages: tuple[StageSettings, ...]
    """In the order in which they drain."""


def indices_of(pipeline: WebEventPipeline, name: str, spec: BackfillSpec) -> list[IndexState]:
    """The daily indices that are made anew, with their shadows' names.

    A shadow's name does not begin with the prefix: whoever reads ``<prefix>-*`` does not see it.
    """
    prefixes = {
        "events": pipeline.spec.index.events.prefix,
        "sessions": pipeline.spec.index.sessions.prefix,
    }
    made = []
    for content in spec.contents:
        for day in spec.days():
            index = day.strftime(f"{prefixes[content]}-%Y.%m.%d")
            made.append(IndexState(index, content, f"backfill-{name}-{index}"))
    return made


def check(pipeline: WebEventPipeline, spec: BackfillSpec, now: datetime) -> None:
    """Whether this pipeline can be backfilled so.

    :raises UserError: when not, with what to change.
    """
    of = pipeline.spec
    if spec.pipeline != pipeline.name:
        raise UserError(f"spec.pipeline is {spec.pipeline}, but the pipeline is {pipeline.name}")
    if of.source.debezium is not None:
        raise UserError(
            "documents of captured tables follow their rows and have no daily indices: take a new "
            "snapshot instead (docs/capture.md)"
        )
    if not of.index.enabled:
        raise UserError(
            "spec.index.enabled of the pipeline is false: it has no indices to backfill"
        )
    if "sessions" in spec.contents and not of.sessions.enabled:
        raise UserError("spec.contents names sessions, but the pipeline makes none")
    if spec.source.type == "archive" and not of.archive.enabled:
        raise UserError("spec.source.type is archive, but the pipeline archives nothing")
    if spec.last_day >= now.astimezone(UTC).date().isoformat():
        raise UserError(
            f"spec.lastDay {spec.last_day} is not past in UTC: its indices are still being "
            "written; end with yesterday"
        )


def since_ms(spec: BackfillSpec) -> int:
    """From when on messages are read, in milliseconds since the epoch."""
    if spec.source.since is not None:
        return parse_time(spec.source.since) // 1000
    first = datetime.fromisoformat(spec.first_day).replace(tzinfo=UTC) - timedelta(days=1)
    return round(first.timestamp() * 1000)


def until_ms(spec: BackfillSpec) -> int | None:
    """Before when messages are read, in milliseconds since the epoch; None up to now."""
    return None if spec.source.until is None else parse_time(spec.source.until) // 1000


def layout(pipeline: WebEventPipeline, name: str, spec: BackfillSpec, now: datetime) -> Layout:
    """Lay a backfill out.

    Its sessions take late events of the whole range, because they are read all at once: what was
    dropped as late at its time is counted now.
    """
    of = pipeline.spec
    copied = spec.source.type == "archive"
    end = f"backfill-{name}"
    raw = f"{of.topics.raw.name}-{end}" if copied else of.topics.raw.name
    topics = of.topics.model_copy(
        update={
            "raw": of.topics.raw.model_copy(update={"name": raw}),
            "enriched": of.topics.enriched.model_copy(
                update={"name": f"{of.topics.enriched.name}-{end}"}
            ),
            "sessions": of.topics.sessions.model_copy(
                update={"name": f"{of.topics.sessions.name}-{end}"}
            ),
            "failed": of.topics.failed.model_copy(
                update={"name": f"{of.topics.failed.name}-{end}"}
            ),
        }
    )
    whole = now - datetime.fromtimestamp(since_ms(spec) / 1000, UTC) + timedelta(days=1)
    sessions = of.sessions.model_copy(
        update={
            "enabled": "sessions" in spec.contents,
            "allowed_lateness": max(of.sessions.allowed_lateness, whole),
        }
    )
    variant = of.model_copy(
        update={
            "topics": topics,
            "sessions": sessions,
            "store": of.store.model_copy(update={"enabled": False}),
            "archive": of.archive.model_copy(update={"enabled": False}),
            "loader": of.loader.model_copy(update={"enabled": False}),
            "alerts": of.alerts.model_copy(update={"enabled": False}),
            "index": of.index.model_copy(
                update={
                    "failed": of.index.failed.model_copy(update={"enabled": False}),
                    "samples": of.index.samples.model_copy(update={"enabled": False}),
                }
            ),
            "generator": None,
            "collector": None,
        }
    )
    plan = make_plan(pipeline.model_copy(update={"spec": variant}))
    shadows = {state.name: state.shadow for state in indices_of(pipeline, name, spec)}
    stages = []
    for workload in plan.stages():
        settings = workload.settings
        assert isinstance(settings, StageSettings)
        if settings.stage == "analyze":
            continue  # sessions of some days are not all that analytics depend on
        update: dict[str, object] = {"group": f"{pipeline.name}-{end}-{settings.stage}"}
        if settings.stage == "index":
            update["shadow"] = ShadowSettings(indices=shadows)
            update["analytics_topic"] = None
            update["topics"] = tuple(t for t in settings.topics if t != of.topics.analytics.name)
        stages.append(settings.model_copy(update=update))
    # Named by their ending, because what is in here is removed when the backfill is done.
    own = tuple(t for t in plan.topics if t.name.removesuffix("-state").endswith(f"-{end}"))
    return Layout(raw, copied, topics.enriched.name, own, tuple(stages))
