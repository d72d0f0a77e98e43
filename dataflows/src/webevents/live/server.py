"""Serving the page: Granian in this process's event loop, until it is asked to stop."""

import asyncio
import time
from typing import Any

import msgspec
import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from webevents.connectors.kafka import client_config
from webevents.listen import allow_connections, check_port
from webevents.live.access import Access, listening_address, read_token
from webevents.live.app import App
from webevents.live.feed import Feed, backlog
from webevents.live.hub import Hub
from webevents.live.metrics import LiveMetrics
from webevents.live.sessions import SLACK_MS
from webevents.live.settings import LiveSettings
from webevents.live.state import State
from webevents.live.watch import Watch
from webevents.stop import Stop

log = structlog.get_logger()

EVERY_S = 0.5
"""Between two snapshots: with it, what is shown is less than a second old."""
GRACE_S = 3.0
HEADER_TIMEOUT_MS = 10_000
MAX_HEAD = 16_384


async def serve(
    settings: LiveSettings,
    metrics: LiveMetrics,
    stop: Stop,
    *,
    host: str | None,
    port: int,
) -> None:
    """Serve until ``stop`` says so.

    :param host: the address to listen on; without a token this machine's own when None, else all.
    :raises UserError: when something is missing that a person can put right.
    :raises RuntimeError: when a thread has ended by a fault; start again.
    """
    token = read_token(settings.live)
    host = listening_address(host, token)
    check_port(host, port, "spec.live.port")
    allow_connections(settings.live.max_viewers)
    kafka = client_config(settings.kafka)
    state, hub = State(settings), Hub()
    window, gap = (
        round(span.total_seconds() * 1000) for span in (settings.live.window, settings.gap)
    )
    since = backlog(settings.topics, window, gap + SLACK_MS)
    feed = Feed(kafka, settings.pipeline, since, state)
    watch = Watch(kafka, settings.groups, state)
    metrics.gauges = lambda: {
        "viewers": hub.viewers,
        "kafka_up": float(state.kafka_problem() is None),
        "skipped_events": state.skipped,
        "unreadable_messages": state.unreadable,
    }
    metrics.unready = state.kafka_problem
    metrics.unhealthy = lambda: None if feed.alive and watch.alive else "a thread has ended"
    server = Server(
        App(state, hub, Access(token), metrics, settings.live.max_viewers),
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        # Streams are requests that go on.
        backpressure=settings.live.max_viewers + 256,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADER_TIMEOUT_MS, max_buffer_size=MAX_HEAD
        ),
        log_enabled=False,
    )
    feed.start()
    watch.start()
    try:
        serving = asyncio.create_task(server.serve())
        log.info("showing", host=host, port=port, token=token is not None)
        await _publish(stop, state, hub, metrics, serving)
        hub.close()
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({serving}, timeout=GRACE_S)
        if serving.done():
            serving.result()
    finally:
        await asyncio.to_thread(feed.close)
        await asyncio.to_thread(watch.close)
    if not stop():
        raise RuntimeError("a part of the live page has ended: look at the lines above")


async def _publish(
    stop: Stop, state: State, hub: Hub, metrics: LiveMetrics, serving: "asyncio.Task[Any]"
) -> None:
    """Make snapshots until the end."""
    due = time.monotonic()
    while not (stop() or serving.done() or metrics.unhealthy()):
        began = time.perf_counter()
        hub.publish(await asyncio.to_thread(_encoded, state))
        metrics.duration.observe(time.perf_counter() - began)
        metrics.snapshots.inc()
        due = max(due + EVERY_S, time.monotonic())
        await asyncio.sleep(due - time.monotonic())


def _encoded(state: State) -> bytes:
    return msgspec.json.encode(state.snapshot())
