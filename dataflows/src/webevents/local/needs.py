"""Which servers a pipeline needs on this machine, and how the pipeline learns where they are.

To add one: a :class:`~webevents.local.server.LocalServer`, and an entry in :func:`needs`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webevents.local.elasticsearch_server import EmbeddedElasticsearch
from webevents.local.jars import Say
from webevents.local.kafka_server import EmbeddedKafka
from webevents.local.keeper import ServerKeeper
from webevents.local.opensearch_server import EmbeddedOpenSearch
from webevents.local.server import LocalServer
from webevents.local.servers import start_servers, stop_servers
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.kafka import KafkaSpec
from webevents.spec.pipeline import PipelineSpec, WebEventPipeline
from webevents.spec.source import SourceSpec


@dataclass(frozen=True, slots=True)
class Need:
    """A server that is started for a pipeline."""

    server: LocalServer
    connection: Callable[[], dict[str, Any]]
    """Once it is started: the fields of the pipeline's spec that say how to reach it."""


def needs(spec: PipelineSpec, folder: Path) -> list[Need]:
    """The servers that a pipeline needs and does not name.

    :param folder: gets a folder for each server's data.
    """
    made = []
    if spec.kafka.bootstrap_servers is None:
        kafka = EmbeddedKafka(folder / "kafka")
        made.append(Need(kafka, lambda: {"kafka": KafkaSpec(bootstrap_servers=kafka.bootstrap)}))
    if spec.index.enabled and spec.elasticsearch.urls is None:
        engine = spec.elasticsearch.engine
        elastic = _SEARCH[engine](folder / engine)
        made.append(
            Need(
                elastic,
                lambda: {"elasticsearch": ElasticsearchSpec(engine=engine, urls=(elastic.url,))},
            )
        )
    if (spec.store.enabled or spec.loader.enabled) and spec.postgres.host is None:
        from webevents.local.postgres_server import EmbeddedPostgres

        postgres = EmbeddedPostgres(folder / "postgres")
        made.append(Need(postgres, lambda: {"postgres": postgres.spec}))
    if (debezium := spec.source.debezium) and debezium.postgres.host is None:
        from webevents.local.postgres_server import EmbeddedPostgres

        source = EmbeddedPostgres(folder / "source", extra={"wal_level": "logical"})
        made.append(
            Need(
                source,
                lambda: {
                    "source": SourceSpec(
                        debezium=debezium.model_copy(update={"postgres": source.spec})
                    )
                },
            )
        )
    if spec.archive.enabled and spec.s3.endpoint is None:
        from webevents.local.s3_server import EmbeddedS3

        s3 = EmbeddedS3(folder / "s3", bucket=spec.s3.bucket)
        made.append(Need(s3, lambda: {"s3": s3.spec}))
    return made


_SEARCH: dict[str, type[EmbeddedElasticsearch | EmbeddedOpenSearch]] = {
    "elasticsearch": EmbeddedElasticsearch,
    "opensearch": EmbeddedOpenSearch,
}


@contextlib.contextmanager
def servers_for(
    pipeline: WebEventPipeline, folder: Path, say: Say
) -> Iterator[tuple[WebEventPipeline, ServerKeeper]]:
    """Start the servers that a pipeline needs and does not name, and stop them at the end.

    :param say: receives lines of progress.
    :returns: the pipeline with its connections filled in, and what keeps the servers alive.
    :raises UserError: when one cannot be started, with the mend.
    """
    own = needs(pipeline.spec, folder)
    servers = [need.server for need in own]
    start_servers(*servers, say=say)
    keeper = ServerKeeper(servers)
    try:
        connected = {k: v for need in own for k, v in need.connection().items()}
        yield with_spec(pipeline, connected), keeper
    finally:
        keeper.close()
        if servers:
            say("Stopping the servers …")
        stop_servers(*servers)


def with_spec(pipeline: WebEventPipeline, fields: dict[str, Any]) -> WebEventPipeline:
    """A pipeline with other values of some fields of its spec."""
    return pipeline.model_copy(update={"spec": pipeline.spec.model_copy(update=fields)})
