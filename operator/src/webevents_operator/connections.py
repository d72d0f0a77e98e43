"""Where a pipeline's servers are: as it says, as Strimzi says, or as the operator is set."""

from collections.abc import Mapping

from webevents.errors import UserError
from webevents.spec.kafka import KafkaSpec
from webevents.spec.pipeline import PipelineSpec, WebEventPipeline
from webevents.spec.secrets import environment, files, parse_ref
from webevents_operator.config import ConnectionsConfig
from webevents_operator.kinds import Object
from webevents_operator.names import Key
from webevents_operator.objects.strimzi import choose_listener, connection, strimzi_namespace
from webevents_operator.outcome import Blocked
from webevents_operator.status import Reason

_PATHS_OF_THE_IMAGE = "spec.enrich.geo.databases"
"""The one field whose files an image may bring along; the others hold secrets."""


def with_defaults(pipeline: WebEventPipeline, connections: ConnectionsConfig) -> WebEventPipeline:
    """The pipeline with the operator's servers where it names none.

    The replication factor is the pipeline's own in any case.

    :raises Blocked: where it needs a server that nobody names.
    """
    spec = pipeline.spec
    kafka, update = spec.kafka, dict[str, object]()
    if kafka.bootstrap_servers is None and kafka.strimzi is None:
        usual = connections.kafka or KafkaSpec()
        if usual.bootstrap_servers is None and usual.strimzi is None:
            raise _nowhere("spec.kafka.bootstrapServers or spec.kafka.strimzi", "Kafka")
        factor = {"replication_factor": kafka.replication_factor}
        update["kafka"] = usual.model_copy(
            update=factor if "replication_factor" in kafka.model_fields_set else {}
        )
    if spec.index.enabled and spec.elasticsearch.urls is None:
        if connections.elasticsearch is None or connections.elasticsearch.urls is None:
            raise _nowhere("spec.elasticsearch.urls", "Elasticsearch")
        update["elasticsearch"] = connections.elasticsearch
    if (spec.store.enabled or spec.loader.enabled) and spec.postgres.host is None:
        if connections.postgres is None or connections.postgres.host is None:
            raise _nowhere("spec.postgres.host", "PostgreSQL")
        update["postgres"] = connections.postgres
    if spec.archive.enabled and spec.s3.endpoint is None:
        if connections.s3 is None or connections.s3.endpoint is None:
            raise _nowhere("spec.s3.endpoint", "an object store")
        update["s3"] = connections.s3
    usual_kibana = connections.kibana
    if usual_kibana and spec.kibana.url is None and spec.elasticsearch.urls is None:
        # It shows what is in the operator's Elasticsearch, and not what is in another one.
        own = {"enabled": spec.kibana.enabled, "space": spec.kibana.space}
        update["kibana"] = usual_kibana.model_copy(update=own)
    if debezium := spec.source.debezium:
        if debezium.connect.cluster is None:
            raise _nowhere("spec.source.debezium.connect.cluster", "Kafka Connect")
        if debezium.postgres.host is None:
            raise _nowhere("spec.source.debezium.postgres.host", "PostgreSQL to capture")
    return _with(pipeline, update)


def through_strimzi(pipeline: WebEventPipeline, key: Key, kafka: Object | None) -> WebEventPipeline:
    """The pipeline with address and log-in of the Kafka resource that it names, in its place.

    :param kafka: the resource; None where it is not there.
    :raises Blocked: where it is not there, or has no listener that fits.
    """
    strimzi = pipeline.spec.kafka.strimzi
    if strimzi is None:
        return pipeline
    where = f"Kafka resource {strimzi_namespace(strimzi, key)}/{strimzi.cluster}"
    if kafka is None:
        raise Blocked(
            Reason.DEPENDENCY_MISSING,
            f"There is no {where}: install Strimzi and make it, or correct spec.kafka.strimzi",
        )
    listeners = kafka.get("spec", {}).get("kafka", {}).get("listeners") or []
    listener = choose_listener(strimzi, listeners)
    if listener is None:
        asked = f"named {strimzi.listener}" if strimzi.listener else "of type internal"
        raise Blocked(
            Reason.DEPENDENCY_MISSING,
            f"{where} has no listener {asked} with authentication tls, scram-sha-512 or none: "
            "add one, or set spec.kafka.strimzi.listener",
        )
    found = connection(strimzi, key, kafka, listener)
    merged = pipeline.spec.kafka.model_copy(
        update={
            "strimzi": None,
            "bootstrap_servers": found.bootstrap_servers,
            "tls": found.tls,
            "sasl": found.sasl,
        }
    )
    return _with(pipeline, {"kafka": merged})


def check_secrets(spec: PipelineSpec) -> None:
    """Refuse what has no meaning in a pod: paths of another machine, and its environment.

    :raises Blocked: with the field and what to write instead.
    """
    for field, _ in environment(used(spec)):
        raise Blocked(
            Reason.INVALID_SPEC,
            f"spec.{field}: this is a variable of no pod; set {field.removesuffix('Env')}File "
            "to secret:NAME/KEY, which names a Secret",
        )
    for field, value in files(used(spec)):
        try:
            reference = parse_ref(value)
        except UserError as error:
            raise Blocked(Reason.INVALID_SPEC, f"spec.{field}: {error}") from None
        if reference is None and f"spec.{field}" != _PATHS_OF_THE_IMAGE:
            raise Blocked(
                Reason.INVALID_SPEC,
                # What stands there may be the secret itself, so it is not repeated.
                f"spec.{field}: this is a file of no pod; write secret:NAME/KEY, which names a "
                "Secret in the pipeline's namespace",
            )


def used(spec: PipelineSpec) -> PipelineSpec:
    """The specification without the connections that the pipeline does not use."""
    update: Mapping[str, object] = {
        **({} if spec.index.enabled else {"elasticsearch": _blank("elasticsearch")}),
        **({} if spec.store.enabled or spec.loader.enabled else {"postgres": _blank("postgres")}),
        **({} if spec.archive.enabled else {"s3": _blank("s3")}),
        **({} if shows_dashboards(spec) else {"kibana": _blank("kibana")}),
    }
    return spec.model_copy(update=dict(update)) if update else spec


def shows_dashboards(spec: PipelineSpec) -> bool:
    """Whether there is a Kibana that gets dashboards."""
    fits = spec.index.enabled and spec.elasticsearch.engine == "elasticsearch"
    return fits and spec.kibana.enabled and spec.kibana.url is not None


def _blank(name: str) -> object:
    return PipelineSpec.model_fields[name].get_default()


def _with(pipeline: WebEventPipeline, update: Mapping[str, object]) -> WebEventPipeline:
    if not update:
        return pipeline
    spec = pipeline.spec.model_copy(update=dict(update))
    return pipeline.model_copy(update={"spec": spec})


def _nowhere(field: str, what: str) -> Blocked:
    return Blocked(
        Reason.DEPENDENCY_MISSING,
        f"{field} is not set, and the operator has no {what} of its own: set it",
    )
