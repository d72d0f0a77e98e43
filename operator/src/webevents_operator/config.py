"""The operator's own settings: one YAML file, made by the chart."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from webevents import __version__
from webevents.errors import UserError
from webevents.spec.base import Duration, Model
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.kafka import KafkaSpec
from webevents.spec.kibana import KibanaSpec
from webevents.spec.kubernetes import AmountsSpec, ResourcesSpec, WorkloadName
from webevents.spec.load import read_yaml
from webevents.spec.postgres import PostgresSpec
from webevents.spec.s3 import S3Spec


class ConnectionsConfig(Model):
    """Servers for pipelines that name none; secrets are looked for in the pipeline's namespace."""

    kafka: KafkaSpec | None = None
    """The Kafka cluster; strimzi or bootstrapServers."""
    elasticsearch: ElasticsearchSpec | None = None
    """The Elasticsearch cluster."""
    postgres: PostgresSpec | None = None
    """The PostgreSQL database."""
    s3: S3Spec | None = None
    """The object store."""
    kibana: KibanaSpec | None = None
    """The Kibana that shows what is in this Elasticsearch."""


_USUAL = ResourcesSpec(
    requests=AmountsSpec(cpu="100m", memory="256Mi"), limits=AmountsSpec(memory="1Gi")
)


class OperatorConfig(Model):
    """What holds for all pipelines of this operator."""

    image: str = f"webevents:{__version__}"
    """Image of the workloads."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When nodes fetch the image."""
    connections: ConnectionsConfig = ConnectionsConfig()
    """Servers for pipelines that name none."""
    resources: dict[WorkloadName, ResourcesSpec] = Field(default={})
    """What pods ask for, by workload."""
    usual_resources: ResourcesSpec = _USUAL
    """What pods of the other workloads ask for."""
    pod_monitors: bool = True
    """Whether a PodMonitor is made where that API exists."""
    network_policies: bool = True
    """Whether collectors and live pages get a NetworkPolicy that opens only their ports."""
    metrics_from: tuple[dict[str, Any], ...] = ()
    """Who may reach their metrics, as peers of a NetworkPolicy; everyone when empty."""
    resync_interval: Duration = timedelta(seconds=30)
    """How often topics, templates, tables, dashboards and secrets are looked at again."""
    ledger_interval: Duration = timedelta(seconds=30)
    """How often lag, rates and the ledger are read from Kafka."""
    canary_interval: Duration | None = None
    """How often the canary resource is reconciled to prove that the operator works; never when
    absent."""
    workers: int = Field(default=8, ge=1, le=64)
    """Pipelines that are reconciled at the same time."""


def load_config(path: Path | None) -> OperatorConfig:
    """Read the settings; the defaults where no file is named.

    :raises UserError: when the file cannot be read or is not valid; it names the field.
    """
    if path is None:
        return OperatorConfig()
    document = read_yaml(path) or {}
    try:
        return OperatorConfig.model_validate(document)
    except ValidationError as error:
        faults = [
            f"  {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        ]
        raise UserError(f"{path} is not valid:\n" + "\n".join(faults)) from None
