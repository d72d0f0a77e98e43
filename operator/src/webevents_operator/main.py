"""The command ``webevents-operator``."""

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import kopf
import structlog
import typer

from webevents.errors import UserError
from webevents.stages.metrics_server import metrics_server
from webevents_operator import kinds, metrics
from webevents_operator.config import load_config
from webevents_operator.engine import Engine, Place
from webevents_operator.kube import ApiFailure
from webevents_operator.names import Key

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
    """Run an engine on Kopf's watch until the process is told to stop.

    :raises UserError: where the API server does not let us look.
    """
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 30
    settings.networking.request_timeout = 30
    # Namespaces and kinds are known; following them needs roles on the whole cluster, and Kopf
    # asks again and again for what it is refused before it begins to watch.
    settings.scanning.disabled = True

    @kopf.on.login(registry=registry)
    def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        # Called again when the server refuses the credentials, so that renewed ones are read.
        return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(
            **arguments
        )

    @kopf.on.event(
        kinds.PIPELINE.group, kinds.PIPELINE.version, kinds.PIPELINE.plural, registry=registry
    )
    async def changed(event: Any, **_: Any) -> None:
        resource = event["object"]
        metadata = resource["metadata"]
        if event["type"] == "DELETED":
            engine.gone(Key(metadata["namespace"], metadata["name"]))
        else:
            engine.seen(resource)

    await _begin(engine)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    namespaces = engine.place.namespaces
    try:
        await kopf.operator(
            registry=registry,
            settings=settings,
            standalone=True,
            clusterwide=namespaces is None,
            namespaces=namespaces or (),
            stop_flag=stop,
        )
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
