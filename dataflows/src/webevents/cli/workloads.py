"""The commands that a plan's workloads run; people rarely type them."""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from pydantic import ValidationError

from webevents.errors import UserError
from webevents.stop import Stop

SettingsPath = Annotated[Path, typer.Option("--settings", help="Settings made by the plan.")]
Instance = Annotated[
    str,
    typer.Option(
        envvar="WEBEVENTS_INSTANCE",
        help="Tells this copy from the others, the same after a restart; a number, or a name that "
        "ends with one, such as a pod's.",
    ),
]
Replicas = Annotated[int, typer.Option(min=1, help="Number of copies.")]
MetricsPort = Annotated[
    int,
    typer.Option(
        envvar="WEBEVENTS_METRICS_PORT",
        min=0,
        max=65535,
        help="Serve /metrics, /healthz and /readyz on this port; 0 for none.",
    ),
]
MetricsHost = Annotated[
    str,
    typer.Option(
        envvar="WEBEVENTS_METRICS_HOST", help="The address to serve them on; all by default."
    ),
]
ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - Prometheus and the kubelet come from other machines
Live = Annotated[Path | None, typer.Option(help="Settings that may change while it runs.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel="Workloads")(stage)
    app.command(rich_help_panel="Workloads")(generate)
    app.command(rich_help_panel="Workloads")(load)


def stage(
    settings: SettingsPath,
    instance: Instance = "0",
    replicas: Replicas = 1,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = ALL_ADDRESSES,
) -> None:
    """Run one worker of a stage until SIGTERM or SIGINT."""
    from webevents.stages.settings import StageSettings
    from webevents.stages.worker import run_stage

    log_as_json()
    stop = Stop()
    stop.install()
    read: StageSettings = read_settings(StageSettings, settings)
    if not metrics_port:
        run_stage(read, instance, stop)
        return
    from webevents.stages.metrics import TaskMetrics
    from webevents.stages.metrics_server import metrics_server

    metrics = TaskMetrics(
        read.pipeline, read.stage, read.failed_topic, keeps_state=read.state_topic is not None
    )
    with metrics_server(metrics, metrics_port, metrics_host):
        run_stage(read, instance, stop, metrics)


def generate(
    settings: SettingsPath,
    instance: Instance = "0",
    replicas: Replicas = 1,
    live: Live = None,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = ALL_ADDRESSES,
) -> None:
    """Run one copy of the generator until SIGTERM or SIGINT."""
    from webevents.connectors.kafka import client_config
    from webevents.sources.output import KafkaOutput
    from webevents.sources.settings import GeneratorSettings
    from webevents.sources.simulator import run_simulator
    from webevents.stages.metrics_generator import GeneratorMetrics
    from webevents.stages.metrics_server import metrics_server

    log_as_json()
    stop = Stop()
    stop.install()
    read = read_settings(GeneratorSettings, settings)
    spec = read.generator.model_copy(update={"replicas": replicas})
    log = structlog.get_logger()
    with (
        KafkaOutput(client_config(read.kafka), read.topic) as output,
        metrics_server(
            GeneratorMetrics(read.pipeline, lambda: output.count, live), metrics_port, metrics_host
        ),
    ):
        result = run_simulator(
            spec,
            output,
            replica=ordinal(instance),
            key_fields=read.key,
            rate_file=live,
            stop=stop,
        )
    log.info("stopped", sent=result.sent, seconds=round(result.seconds, 1))


def load(
    settings: SettingsPath,
    instance: Instance = "0",
    replicas: Replicas = 1,
    once: Annotated[
        bool, typer.Option("--once", help="End as soon as nothing new is there.")
    ] = False,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = ALL_ADDRESSES,
) -> None:
    """Load archived objects into PostgreSQL until SIGTERM or SIGINT."""
    from webevents.stages.loader.metrics import LoaderMetrics
    from webevents.stages.loader.run import run_loader
    from webevents.stages.loader.settings import LoaderSettings
    from webevents.stages.metrics_server import metrics_server

    log_as_json()
    stop = Stop()
    stop.install()
    read = read_settings(LoaderSettings, settings)
    metrics = LoaderMetrics(read.pipeline)
    with metrics_server(metrics, metrics_port, metrics_host):
        run_loader(read, stop, once=once, metrics=metrics)


def ordinal(instance: str) -> int:
    """The number at the end of an instance's name.

    :raises UserError: when there is none.
    """
    digits = instance.rpartition("-")[2]
    if not digits.isdigit():
        raise UserError(f"--instance {instance}: a number, or a name that ends with -NUMBER")
    return int(digits)


def log_as_json() -> None:
    """Have the process log one JSON object a line on standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def read_settings(model: Any, path: Path) -> Any:
    """Read a workload's settings file.

    :raises UserError: when it is not there, or another version's.
    """
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"--settings {path}: {error.strerror}") from None
    except (ValueError, ValidationError) as error:
        raise UserError(f"--settings {path} was not made by this version's plan: {error}") from None
