"""The command ``webevents-operator``."""

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from webevents.errors import UserError
from webevents.stages.metrics_server import metrics_server
from webevents_operator import metrics
from webevents_operator.config import load_config
from webevents_operator.engine import Engine, Place
from webevents_operator.following import follow
from webevents_operator.kube import ApiFailure

log = structlog.get_logger()

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class _Probes:
    """What the HTTP endpoint serves."""

    registry = metrics.REGISTRY

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def unhealthy(self) -> str | None:
        return self._engine.dead()

    def unready(self) -> str | None:
        return self._engine.idle()


@app.command()
def run(
    config: Annotated[
        Path | None,
        typer.Option(envvar="WEBEVENTS_OPERATOR_CONFIG", help="The operator's settings."),
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            envvar="WEBEVENTS_OPERATOR_NAMESPACES",
            help="A namespace to watch; several times for several. All when absent.",
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(envvar="WEBEVENTS_METRICS_PORT", help="For /metrics, /healthz, /readyz."),
    ] = 0,
    host: Annotated[str, typer.Option(envvar="WEBEVENTS_METRICS_HOST")] = "0.0.0.0",  # noqa: S104
) -> None:
    """Bring WebEventPipeline resources about until SIGTERM or SIGINT."""
    log_as_json()
    settings = load_config(config)
    with tempfile.TemporaryDirectory(prefix="webevents-operator-") as folder:
        engine = Engine(settings, Place(namespace or None, own_namespace(), Path(folder)))
        with metrics_server(_Probes(engine), port, host):
            asyncio.run(serve(engine))


async def serve(engine: Engine) -> None:
    """Run an engine until the process is told to stop.

    :raises UserError: where the API server does not let us look.
    """
    await _begin(engine)
    try:
        await follow(engine)
    finally:
        await engine.stop()


async def _begin(engine: Engine) -> None:
    """Start the engine; an API server that is not there yet is waited for."""
    pause = 0.5
    while True:
        try:
            await engine.start()
            return
        except ApiFailure as failure:
            if failure.status == 404:
                raise UserError(
                    "the API server does not know WebEventPipeline: apply manifests/crd first"
                ) from None
            if not failure.passing:
                raise UserError(f"{failure}: give the operator's account the roles") from None
            log.warning("waiting for the API server", why=str(failure))
        await asyncio.sleep(pause)
        pause = min(pause * 2, 15)


def own_namespace() -> str:
    """The namespace that the operator itself is in."""
    if found := os.environ.get("POD_NAMESPACE"):
        return found
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.is_file() else "default"


def log_as_json() -> None:
    """Log one JSON object a line on standard error, other libraries' warnings too."""
    shared: Sequence[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processor=structlog.processors.JSONRenderer()
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def main() -> None:
    """Run the command; a fault that a person can mend is one line and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"webevents-operator: {error}", file=sys.stderr)
        sys.exit(2)
