"""The pure function from a pipeline to its plan."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from webevents.connectors.kafka import Topic
from webevents.live.settings import LiveSettings, LiveTopics
from webevents.logic.rows.tables import table_names
from webevents.plan.capture import capture_topics, connector, table_indices, table_templates
from webevents.plan.model import Plan, Template, Workload
from webevents.plan.templates import (
    analytics_kinds,
    component_templates,
    for_opensearch,
    index_templates,
    operation_kinds,
    operation_prefixes,
)
from webevents.sources.collector.settings import CollectorSettings
from webevents.sources.settings import GeneratorSettings
from webevents.spec.collector import CollectorSpec
from webevents.spec.kafka import TopicSpec
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.stages import StageSpec
from webevents.stages.loader.settings import LoaderSettings
from webevents.stages.settings import StageName, StageSettings
from webevents.stages.task import MAX_MESSAGE_BYTES

_MAX_MESSAGE_BYTES = str(MAX_MESSAGE_BYTES)


def make_plan(pipeline: WebEventPipeline) -> Plan:
    """Turn a pipeline into its plan.

    :param pipeline: with the connections filled in where the runtime brings its own servers.
    """
    spec = pipeline.spec
    captures = spec.source.debezium is not None
    workloads = [_capture(pipeline), _enrich(pipeline)] if captures else [_enrich(pipeline)]
    if spec.sessions.enabled:
        workloads.append(_sessionize(pipeline))
    if spec.analytics.enabled:
        workloads.append(_analyze(pipeline))
    templates: list[Template] = []
    indices: dict[str, str] = {}
    if spec.store.enabled:
        workloads.append(_store(pipeline))
    if spec.archive.enabled:
        workloads.append(_archive(pipeline))
    if spec.index.enabled:
        # Behind all that can fail events, because it tells of failed events too.
        workloads.append(_index(pipeline))
        templates = [*component_templates(pipeline), *index_templates(pipeline)]
        if spec.source.debezium is not None:
            templates += table_templates(pipeline)
            indices |= table_indices(pipeline, spec.source.debezium)
        if spec.elasticsearch.engine == "opensearch":
            templates = [for_opensearch(template) for template in templates]
        indices["events"] = f"{spec.index.events.prefix}-*"
        if spec.sessions.enabled:
            indices["sessions"] = f"{spec.index.sessions.prefix}-*"
        for kind in analytics_kinds(pipeline):
            indices[kind] = f"{spec.index.analytics.prefix}-{kind}-*"
        for kind in operation_kinds(pipeline):
            indices[kind] = f"{operation_prefixes(pipeline)[kind]}-*"
    if spec.loader.enabled:
        workloads.append(_loader(pipeline))
    if spec.alerts.enabled:
        workloads.append(_detect(pipeline, workloads))
    if spec.index.enabled and spec.index.samples.enabled:
        workloads = [_sampling(pipeline, each, workloads) for each in workloads]
    if spec.live.enabled:
        workloads.append(_live(pipeline, workloads))
    if spec.collector and spec.collector.enabled:
        workloads.insert(0, _collector(pipeline, spec.collector))
    if spec.generator and spec.generator.enabled:
        workloads.insert(0, _generator(pipeline))
    tables = table_names(spec.store) if spec.store.enabled else ()
    return Plan(
        pipeline.name,
        _topics(pipeline),
        templates,
        workloads,
        indices,
        tables,
        connector(pipeline) if captures else None,
    )


def _topics(pipeline: WebEventPipeline) -> list[Topic]:
    spec = pipeline.spec
    topics = spec.topics

    def topic(wanted: TopicSpec) -> Topic:
        config = {"max.message.bytes": _MAX_MESSAGE_BYTES}
        if wanted.retention is not None:
            config["retention.ms"] = str(round(wanted.retention.total_seconds() * 1000))
        return Topic(wanted.name, wanted.partitions, config, spec.kafka.replication_factor)

    made = [topic(topics.raw), topic(topics.enriched), topic(topics.failed)]
    if spec.source.debezium is not None:
        made += capture_topics(pipeline, {"max.message.bytes": _MAX_MESSAGE_BYTES})
    state = {
        "cleanup.policy": "compact",
        "max.message.bytes": _MAX_MESSAGE_BYTES,
        # A new owner reads the whole partition: keep little beside the newest values.
        "segment.ms": "600000",
        "min.cleanable.dirty.ratio": "0.2",
        "delete.retention.ms": "600000",
    }
    if spec.alerts.enabled:
        made.append(topic(topics.alerts))
        made.append(Topic(topics.alerts_state_name, 1, state, spec.kafka.replication_factor))
    if spec.sessions.enabled:
        made.append(topic(topics.sessions))
        made.append(
            Topic(
                topics.state_name,
                topics.enriched.partitions,
                state,
                spec.kafka.replication_factor,
            )
        )
    if spec.analytics.enabled:
        made.append(topic(topics.analytics))
        made.append(
            Topic(
                topics.analytics_state_name,
                topics.sessions.partitions,
                state,
                spec.kafka.replication_factor,
            )
        )
    return made


def _generator(pipeline: WebEventPipeline) -> Workload:
    spec = pipeline.spec
    assert spec.generator
    generator, live = spec.generator, {}
    # What may change while it runs is a live setting: changing it must not restart the generator.
    if generator.time.mode == "wallClock":
        live = {"eventsPerSecond": generator.events_per_second}
        generator = generator.model_copy(update={"events_per_second": 0.0})
    elif generator.time.mode == "accelerated":
        live = {"speed": generator.time.speed}
        usual = generator.time.model_copy(update={"speed": 1.0})
        generator = generator.model_copy(update={"time": usual})
    settings = GeneratorSettings(
        pipeline=pipeline.name,
        topic=spec.topics.raw.name,
        key=spec.sessions.key,
        kafka=spec.kafka.logged_in_as("generator"),
        generator=generator,
    )
    return Workload(
        "generator",
        ("generate",),
        settings,
        generator.replicas,
        live=live,
        writes=(spec.topics.raw.name,),
    )


def _collector(pipeline: WebEventPipeline, collector: CollectorSpec) -> Workload:
    spec = pipeline.spec
    settings = CollectorSettings(
        pipeline=pipeline.name,
        topic=spec.topics.raw.name,
        failed_topic=spec.topics.failed.name,
        key=spec.sessions.key,
        max_event_bytes=spec.events.max_bytes,
        max_message_bytes=MAX_MESSAGE_BYTES,
        purchase_types=spec.sessions.purchase_types,
        kafka=spec.kafka.logged_in_as("collector"),
        collector=_without_surroundings(collector),
    )
    sites = [site.model_dump(mode="json", by_alias=True) for site in collector.sites]
    return Workload(
        "collector",
        ("collect",),
        settings,
        collector.replicas,
        live={"sites": sites, "replicas": collector.replicas},
        writes=(spec.topics.raw.name, spec.topics.failed.name),
        port=collector.port,
    )


def _without_surroundings(collector: CollectorSpec) -> CollectorSpec:
    """The collector as its process knows it.

    Sites, keys and the number of copies change without a restart, and how it is reached on
    Kubernetes is not its own matter: its settings, whose change restarts it, hold none of that.
    """
    usual = CollectorSpec()
    outside = ("sites", "replicas", "service", "ingress", "gateway", "autoscaling", "drain")
    spool = collector.spool.model_copy(update={"volume": usual.spool.volume})
    return collector.model_copy(
        update={name: getattr(usual, name) for name in outside} | {"spool": spool}
    )


def _stage(
    pipeline: WebEventPipeline, name: StageName, how: StageSpec, *topics: str, **own: Any
) -> Workload:
    """A stage's workload.

    :param topics: those that it reads.
    :param own: settings beside those that all stages have.
    """
    spec = pipeline.spec
    settings = StageSettings(
        pipeline=pipeline.name,
        stage=name,
        group=f"{pipeline.name}-{name}",
        topics=topics,
        failed_topic=spec.topics.failed.name,
        commit_interval=how.commit_interval,
        chunk_size=how.chunk_size,
        kafka=spec.kafka.logged_in_as(name),
        **own,
    )
    writes = [settings.output_topic] if settings.output_topic else []
    return Workload(
        name,
        ("stage",),
        settings,
        how.replicas,
        group=settings.group,
        reads=settings.topics,
        writes=(*writes, spec.topics.failed.name),
    )


def _capture(pipeline: WebEventPipeline) -> Workload:
    spec = pipeline.spec
    debezium = spec.source.debezium
    assert debezium
    return _stage(
        pipeline,
        "capture",
        spec.stages.capture,
        *(debezium.topic(table) for table in debezium.tables),
        output_topic=spec.topics.raw.name,
        sessions=spec.sessions,
        debezium=debezium,
    )


def _enrich(pipeline: WebEventPipeline) -> Workload:
    spec = pipeline.spec
    return _stage(
        pipeline,
        "enrich",
        spec.stages.enrich,
        spec.topics.raw.name,
        output_topic=spec.topics.enriched.name,
        events=spec.events,
        sessions=spec.sessions,
        enrich=spec.enrich,
    )


def _sessionize(pipeline: WebEventPipeline) -> Workload:
    spec = pipeline.spec
    return _stage(
        pipeline,
        "sessionize",
        spec.stages.sessionize,
        spec.topics.enriched.name,
        output_topic=spec.topics.sessions.name,
        state_topic=spec.topics.state_name,
        events=spec.events,
        sessions=spec.sessions,
        analytics=spec.analytics if spec.analytics.enabled else None,
    )


def _analyze(pipeline: WebEventPipeline) -> Workload:
    spec = pipeline.spec
    return _stage(
        pipeline,
        "analyze",
        spec.stages.analyze,
        spec.topics.sessions.name,
        output_topic=spec.topics.analytics.name,
        state_topic=spec.topics.analytics_state_name,
        sessions=spec.sessions,
        analytics=spec.analytics,
    )


def _index(pipeline: WebEventPipeline) -> Workload:
    spec = pipeline.spec
    debezium = spec.source.debezium
    sessions = spec.topics.sessions.name if spec.sessions.enabled else None
    analytics = spec.topics.analytics.name if spec.analytics.enabled else None
    failed = spec.topics.failed.name if spec.index.failed.enabled else None
    return _stage(
        pipeline,
        "index",
        spec.stages.index,
        *(name for name in (spec.topics.enriched.name, sessions, analytics, failed) if name),
        index=spec.index,
        elasticsearch=spec.elasticsearch,
        sessions_topic=sessions,
        analytics_topic=analytics,
        failed_prefix=pipeline.failed_prefix if failed else None,
        debezium=debezium,
        table_indices=table_indices(pipeline, debezium) if debezium else {},
    )


def _sampling(
    pipeline: WebEventPipeline, workload: Workload, all_of_them: Sequence[Workload]
) -> Workload:
    """The index stage with what it needs to tell how all stages stand; others as they are."""
    settings = workload.settings
    if not isinstance(settings, StageSettings) or settings.stage != "index":
        return workload
    update = {"samples_prefix": pipeline.samples_prefix, "groups": _groups(all_of_them)}
    return replace(workload, settings=settings.model_copy(update=update))


def _groups(workloads: Sequence[Workload]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Consumer group and topics of each stage."""
    return {each.name: (each.group, each.reads) for each in workloads if each.group}


def _store(pipeline: WebEventPipeline) -> Workload:
    spec = pipeline.spec
    sessions = spec.topics.sessions.name if spec.store.of_sessions else None
    events = [spec.topics.enriched.name] if spec.store.of_events else []
    return _stage(
        pipeline,
        "store",
        spec.stages.store,
        *events,
        *([sessions] if sessions else []),
        store=spec.store,
        postgres=spec.postgres,
        sessions_topic=sessions,
    )


def _archive(pipeline: WebEventPipeline) -> Workload:
    spec = pipeline.spec
    return _stage(
        pipeline,
        "archive",
        spec.archive,
        spec.topics.raw.name,
        archive=spec.archive,
        s3=spec.s3,
    )


def _detect(pipeline: WebEventPipeline, others: Sequence[Workload]) -> Workload:
    spec = pipeline.spec
    return _stage(
        pipeline,
        "detect",
        spec.stages.detect,
        spec.topics.enriched.name,
        spec.topics.failed.name,
        output_topic=spec.topics.alerts.name,
        state_topic=spec.topics.alerts_state_name,
        sessions=spec.sessions,
        alerts=spec.alerts,
        groups=_groups(others),
    )


def _live(pipeline: WebEventPipeline, others: Sequence[Workload]) -> Workload:
    spec = pipeline.spec
    settings = LiveSettings(
        pipeline=pipeline.name,
        topics=LiveTopics(
            raw=spec.topics.raw.name,
            enriched=spec.topics.enriched.name,
            sessions=spec.topics.sessions.name if spec.sessions.enabled else None,
            failed=spec.topics.failed.name,
            alerts=spec.topics.alerts.name if spec.alerts.enabled else None,
        ),
        key=spec.sessions.key,
        gap=spec.sessions.gap,
        kafka=spec.kafka.logged_in_as("live"),
        live=spec.live,
        groups=_groups(others),
    )
    return Workload("live", ("live",), settings, replicas=1, port=spec.live.port)


def _loader(pipeline: WebEventPipeline) -> Workload:
    spec = pipeline.spec
    settings = LoaderSettings(
        pipeline=pipeline.name,
        prefix=spec.archive.prefix,
        loader=spec.loader,
        s3=spec.s3,
        postgres=spec.postgres,
    )
    return Workload("loader", ("load",), settings, replicas=1)
