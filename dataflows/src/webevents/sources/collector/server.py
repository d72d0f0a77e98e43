"""Serving: Granian in this process's event loop, until it is asked to stop."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server.embed import Server

from webevents.connectors.kafka import client_config, read_secret
from webevents.errors import UserError
from webevents.listen import allow_connections, check_port
from webevents.sources.collector.app import App
from webevents.sources.collector.delivery import Delivery
from webevents.sources.collector.metrics import CollectorMetrics
from webevents.sources.collector.producer import KafkaProducer
from webevents.sources.collector.settings import CollectorSettings
from webevents.sources.collector.sites import Sites
from webevents.sources.collector.spool import FILE, Spool
from webevents.spec.collector import CollectorTls
from webevents.stop import Stop

log = structlog.get_logger()

TICK_S = 0.2
REFRESH_TICKS = 5
"""Ticks between two looks at the files of sites and keys."""
GRACE_S = 3.0
"""How long requests may go on when the collector is asked to stop; then what waits for Kafka is
given up, so that their trackers send again."""
LAST_S = 1.0
"""How long they then have to be answered."""
BACKLOG = 4096


async def serve(
    settings: CollectorSettings,
    metrics: CollectorMetrics,
    stop: Stop,
    *,
    host: str,
    port: int,
    live: Path | None = None,
    replicas: int = 1,
    spool: Path,
    drain_s: float = 0,
) -> None:
    """Serve until ``stop`` says so, then answer what has come, and leave.

    :param live: the file with the sites.
    :param replicas: copies of the collector, which share the sites' rates.
    :param spool: the folder of the spool.
    :param drain_s: seconds for which it goes on, not ready any more, after it was asked to stop.
    :raises UserError: when something is missing that a person can put right.
    :raises RuntimeError: when the Kafka producer can do no more; start again.
    """
    spec = settings.collector
    sites = Sites(live, spec.allowed_origins, replicas)
    if sites.open:
        log.warning("no sites are named in spec.collector.sites: anybody may send")
    check_port(host, port, "spec.collector.port")
    allow_connections(spec.limits.max_connections)
    delivery = Delivery(_producer_maker(settings), _spool(settings, spool))
    try:
        app = App(settings, sites, delivery, metrics)
        server = Server(
            app,
            address=host,
            port=port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            backpressure=spec.limits.max_connections,
            http1_settings=HTTP1Settings(
                header_read_timeout=round(spec.limits.header_timeout.total_seconds() * 1000),
                max_buffer_size=spec.limits.max_header_bytes,
            ),
            log_enabled=False,
            **_tls(spec.tls),
        )
        metrics.gauges = lambda: _gauges(delivery, sites)
        metrics.unready = app.unready
        metrics.unhealthy = lambda: delivery.kafka.fatal
        serving = asyncio.create_task(server.serve())
        log.info("collecting", host=host, port=port, tls=spec.tls is not None)
        await _until(stop, delivery, sites, serving)
        app.stopping = True
        if stop():
            await _drain(drain_s, delivery, sites, serving)
        server.stop()  # type: ignore[no-untyped-call]
        done, _ = await asyncio.wait({serving}, timeout=GRACE_S)
        if not done:
            delivery.kafka.give_up()
            await asyncio.wait({serving}, timeout=LAST_S)
        if serving.done():
            serving.result()
    finally:
        await delivery.close()
    log.info("stopped", spooled=delivery.spooled[0])
    if delivery.kafka.fatal is not None:
        raise RuntimeError(f"the Kafka producer can do no more: {delivery.kafka.fatal}")


async def _drain(
    seconds: float, delivery: Delivery, sites: Sites, serving: "asyncio.Task[Any]"
) -> None:
    """Go on while others learn that this collector goes away."""
    if not seconds:
        return
    log.info("draining", seconds=seconds)
    until = time.monotonic() + seconds
    await _until(lambda: time.monotonic() >= until, delivery, sites, serving)


async def _until(
    over: Callable[[], bool], delivery: Delivery, sites: Sites, serving: "asyncio.Task[Any]"
) -> None:
    """Wait for the end; look at the files of sites and keys now and then."""
    ticks = 0
    while not (over() or serving.done() or delivery.kafka.fatal):
        await asyncio.sleep(TICK_S)
        ticks += 1
        if ticks % REFRESH_TICKS == 0:
            sites.refresh()


def _producer_maker(settings: CollectorSettings) -> Any:
    spec = settings.collector
    config = client_config(settings.kafka)
    return lambda on_change: KafkaProducer(
        config,
        settings.topic,
        timeout_s=spec.acknowledge_within.total_seconds(),
        max_bytes=spec.limits.max_in_flight_bytes,
        max_message_bytes=settings.max_message_bytes,
        on_change=on_change,
    )


def _spool(settings: CollectorSettings, folder: Path) -> Spool | None:
    spec = settings.collector
    if spec.on_outage == "spool":
        return Spool(folder, spec.spool.max_bytes)
    if (folder / FILE).exists():
        left = Spool(folder, spec.spool.max_bytes)
        count = left.count
        left.close()
        if count:
            raise UserError(
                f"{count} events wait in the spool {folder}: set spec.collector.onOutage to spool "
                "until they are sent, or move the folder away"
            )
    return None


def _gauges(delivery: Delivery, sites: Sites) -> dict[str, float]:
    events, size = delivery.spooled
    return {
        "kafka_up": float(bool(delivery.kafka.up)),
        "in_flight_requests": delivery.kafka.in_flight,
        "in_flight_bytes": delivery.kafka.in_flight_bytes,
        "spool_events": events,
        "spool_bytes": size,
        "sites": len(sites),
    }


def _tls(spec: CollectorTls | None) -> dict[str, Any]:
    if spec is None:
        return {}
    for path in (spec.cert_file, spec.key_file):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise UserError(f"spec.collector.tls: cannot read {path}: {error.strerror}") from None
    password = spec.key_password_file
    return {
        "ssl_cert": Path(spec.cert_file),
        "ssl_key": Path(spec.key_file),
        "ssl_key_password": read_secret("key password", password, None) if password else None,
        "ssl_protocol_min": SSLProtocols.tls12 if spec.min_version == "1.2" else SSLProtocols.tls13,
    }
