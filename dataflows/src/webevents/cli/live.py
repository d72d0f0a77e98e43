"""``webevents live``: the workload that shows a pipeline at work in the browser."""

import asyncio
from typing import Annotated

import typer

from webevents.cli.workloads import (
    ALL_ADDRESSES,
    Instance,
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
    app.command(rich_help_panel="Workloads")(live)


def live(
    settings: SettingsPath,
    instance: Instance = "0",
    replicas: Replicas = 1,
    host: Annotated[
        str | None,
        typer.Option(
            envvar="WEBEVENTS_LIVE_HOST",
            help="The address to listen on; all with a token, 127.0.0.1 without one by default.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            envvar="WEBEVENTS_LIVE_PORT",
            min=1,
            max=65535,
            help="The port, instead of spec.live.port.",
        ),
    ] = None,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = ALL_ADDRESSES,
) -> None:
    """Show a pipeline at work in the browser until SIGTERM or SIGINT."""
    from webevents.live.metrics import STAGE, LiveMetrics
    from webevents.live.server import serve
    from webevents.live.settings import LiveSettings
    from webevents.stages.metrics_families import build_info
    from webevents.stages.metrics_server import metrics_server

    log_as_json()
    stop = Stop()
    stop.install()
    read: LiveSettings = read_settings(LiveSettings, settings)
    metrics = LiveMetrics(read.pipeline)
    build_info(metrics.registry, read.pipeline, STAGE)
    with metrics_server(metrics, metrics_port, metrics_host):
        asyncio.run(serve(read, metrics, stop, host=host, port=port or read.live.port))
