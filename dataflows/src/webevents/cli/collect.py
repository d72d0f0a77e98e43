"""``webevents collect``: the workload that takes the events of websites and apps over HTTP."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from webevents.cli.workloads import (
    ALL_ADDRESSES,
    Instance,
    Live,
    MetricsHost,
    MetricsPort,
    Replicas,
    SettingsPath,
    log_as_json,
    read_settings,
)
from webevents.stop import Stop


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Workloads")(collect)


def collect(
    settings: SettingsPath,
    instance: Instance = "0",
    replicas: Replicas = 1,
    live: Live = None,
    host: Annotated[
        str,
        typer.Option(
            envvar="WEBEVENTS_COLLECTOR_HOST", help="The address to listen on; all by default."
        ),
    ] = ALL_ADDRESSES,
    port: Annotated[
        int | None,
        typer.Option(
            envvar="WEBEVENTS_COLLECTOR_PORT",
            min=1,
            max=65535,
            help="The port, instead of spec.collector.port.",
        ),
    ] = None,
    drain: Annotated[
        float,
        typer.Option(
            envvar="WEBEVENTS_COLLECTOR_DRAIN",
            min=0,
            help="Seconds for which it still takes requests when it is asked to stop, not ready "
            "any more, so that nobody is sent to it when it is gone.",
        ),
    ] = 0,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = ALL_ADDRESSES,
) -> None:
    """Take events of websites and apps over HTTP until SIGTERM or SIGINT."""
    from webevents.sources.collector.metrics import STAGE, CollectorMetrics
    from webevents.sources.collector.server import serve
    from webevents.sources.collector.settings import CollectorSettings
    from webevents.stages.metrics_families import build_info
    from webevents.stages.metrics_server import metrics_server

    log_as_json()
    stop = Stop()
    stop.install()
    read: CollectorSettings = read_settings(CollectorSettings, settings)
    metrics = CollectorMetrics(read.pipeline)
    build_info(metrics.registry, read.pipeline, STAGE)
    named = read.collector.spool.path
    # Copies on one machine share the folder of the settings, but not a spool.
    spool = Path(named) if named else settings.parent / f"collector-spool-{instance}"
    with metrics_server(metrics, metrics_port, metrics_host):
        asyncio.run(
            serve(
                read,
                metrics,
                stop,
                host=host,
                port=port or read.collector.port,
                live=live,
                replicas=replicas,
                spool=spool,
                drain_s=drain,
            )
        )
