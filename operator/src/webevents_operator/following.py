"""Following the pipelines by Kopf, and beginning again where Kopf gives up."""

import asyncio
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf
import structlog

from webevents_operator import kinds, metrics
from webevents_operator.engine import Engine
from webevents_operator.names import Key

log = structlog.get_logger()

_LOOK_EVERY_S = 1.0
_AGAIN_S = 5.0
"""So long after one attempt to log in, or to follow, comes the next."""
_HOLDS = timedelta(hours=1)
"""So long Kopf keeps credentials before it reads them again. Credentials with another expiry are
others to Kopf: it never tries the same ones again once they were refused, which an API server does
for a moment when it starts, and a file's content may be the same afterwards."""
_WATCHER = f"watcher for {kinds.PIPELINE.plural}"
"""How Kopf names the tasks that follow pipelines, one for each namespace."""


async def follow(engine: Engine) -> None:
    """Tell the engine of pipelines until SIGINT or SIGTERM.

    Kopf gives a watch up at some errors, such as an error 500 within it, and lives on without;
    then it is begun anew.
    """
    registry, settings, stop = _registry(engine), _settings(), asyncio.Event()
    namespaces = engine.place.namespaces
    _keep_signals(stop)
    while not stop.is_set():
        ended = asyncio.Event()
        ear = asyncio.create_task(_listen(len(namespaces or [""]), stop, ended))
        try:
            await kopf.operator(
                registry=registry,
                settings=settings,
                standalone=True,
                clusterwide=namespaces is None,
                namespaces=namespaces or (),
                stop_flag=ended,
            )
        except Exception as error:
            log.warning("pipelines are not followed", why=f"{type(error).__name__}: {error}")
        finally:
            ear.cancel()
        if not stop.is_set():
            metrics.WATCH_RESTARTS.labels(kinds.PIPELINE.kind).inc()
            log.warning("pipelines are followed anew")
            await _wait(stop, _AGAIN_S)


def _keep_signals(stop: asyncio.Event) -> None:
    """Handle the signals here, and let nobody else.

    Kopf would take them over when it begins, and a signal that it got in its first moments looked
    like one of its watchers that has ended: it was begun anew.
    """
    loop: Any = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler = lambda *_: None


async def _listen(watchers: int, stop: asyncio.Event, ended: asyncio.Event) -> None:
    """Have Kopf end when it is to stop, or when one of its watchers has ended."""
    most = 0
    while not stop.is_set():
        names = [task.get_name() for task in asyncio.all_tasks()]
        alive = sum(name.startswith(_WATCHER) for name in names)
        if alive < most:
            break
        most = max(most, min(alive, watchers))
        await _wait(stop, _LOOK_EVERY_S)
    ended.set()


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 30
    settings.networking.request_timeout = 30
    # Namespaces and kinds are known; following them needs roles on the whole cluster, and Kopf
    # asks again and again for what it is refused before it begins to watch.
    settings.scanning.disabled = True
    return settings


def _registry(engine: Engine) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    tried = -_AGAIN_S

    @kopf.on.login(registry=registry)
    async def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        # Called again when the server refuses the credentials, so that renewed ones are read.
        nonlocal tried
        await asyncio.sleep(max(0.0, tried + _AGAIN_S - time.monotonic()))
        tried = time.monotonic()
        found = kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(
            **arguments
        )
        return replace(found, expiration=datetime.now(UTC) + _HOLDS) if found else None

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

    return registry
