"""The loader as a process: a round now and then, through outages, until it is told to stop."""

import time
from collections.abc import Callable

import psycopg
import structlog
from psycopg import Connection
from psycopg.rows import TupleRow

from webevents.connectors.postgres import connect, ensure_tables
from webevents.connectors.postgres.errors import describe, is_refusal
from webevents.connectors.retrying import LOG_EVERY_S, Backoff
from webevents.connectors.s3 import ObjectStore, StoreError
from webevents.errors import UserError
from webevents.stages.loader.load import Loader, Round
from webevents.stages.loader.metrics import LoaderMetrics
from webevents.stages.loader.settings import LoaderSettings
from webevents.stages.loader.tables import tables_of
from webevents.stop import Stop

log = structlog.get_logger()

STOP_WAIT_S = 10.0
"""How long the last round, after a stop was asked for, may take to begin its last object."""
_TICK_S = 0.1


def run_loader(
    settings: LoaderSettings,
    stop: Stop,
    *,
    once: bool = False,
    on_step: Callable[[str], None] | None = None,
    metrics: LoaderMetrics | None = None,
) -> None:
    """Load rounds until it is told to stop, and then what is there by then.

    :param once: end as soon as a round found nothing new.
    :param on_step: see :class:`~webevents.stages.loader.load.Loader`.
    :param metrics: told of each round.
    :raises UserError: where the object store's keys cannot be read at the start.
    """
    metrics = metrics or LoaderMetrics(settings.pipeline)
    worker = _Worker(settings, on_step, metrics)
    backoff = Backoff(cap_s=min(15.0, settings.loader.every.total_seconds()))
    failures = 0
    try:
        while not stop():
            done = worker.round(stop)
            failures = 0 if done else failures + 1
            if once and done and done.idle:
                return
            wait = settings.loader.every.total_seconds() if done else backoff.wait(failures)
            deadline = time.monotonic() + (0 if once and done else wait)
            while time.monotonic() < deadline and not stop():
                metrics.alive()
                time.sleep(_TICK_S)
        if failures == 0:
            # A store or database that is away would only hold the stop up.
            deadline = time.monotonic() + STOP_WAIT_S
            worker.round(lambda: time.monotonic() > deadline)
    finally:
        worker.close()


class _Worker:
    """Holds the connections, which are made anew after every error."""

    def __init__(
        self,
        settings: LoaderSettings,
        on_step: Callable[[str], None] | None,
        metrics: LoaderMetrics,
    ) -> None:
        self._settings = settings
        self._on_step = on_step
        self._metrics = metrics
        self._store = ObjectStore(settings.s3)
        self._connection: Connection[TupleRow] | None = None
        self._loader: Loader | None = None
        self._logged = -LOG_EVERY_S

    def round(self, stop: Callable[[], bool]) -> Round | None:
        """Load what is new; None where that met an outage."""
        began = time.monotonic()
        try:
            loader = self._ready()
            done = loader.round(lambda: self._goes_on(loader) or stop())
        except StoreError as error:
            self._note("the object store does not answer", str(error), error.needs_a_person)
            return None
        except psycopg.Error as error:
            self._disconnect()
            self._note("PostgreSQL takes no rows", describe(error), is_refusal(error))
            return None
        except UserError as error:
            self._disconnect()
            self._note("the loader waits", str(error), True)
            return None
        self._metrics.loaded(done, loader.waiting, time.monotonic() - began)
        if not done.idle:
            log.info("loaded", objects=done.objects, records=done.records, removed=done.removed)
        return done

    def _goes_on(self, loader: Loader) -> bool:
        """Tell how far a round is; never true."""
        self._metrics.alive(loader.waiting)
        return False

    def _ready(self) -> Loader:
        if self._loader is None or self._connection is None or self._connection.closed:
            self._disconnect()
            settings = self._settings
            name = f"webevents {settings.pipeline} loader"
            self._connection = connect(settings.postgres, name)
            tables = tables_of(settings.loader)
            schema = settings.loader.schema_name
            for line in ensure_tables(self._connection, tables, schema, views=False):
                log.info("tables", made=line)
            self._loader = Loader(
                settings.pipeline,
                settings.prefix,
                settings.loader,
                self._store,
                self._connection,
                statement_timeout_s=settings.postgres.statement_timeout.total_seconds(),
                on_step=self._on_step,
            )
        return self._loader

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._loader = None

    def _note(self, what: str, error: str, needs_a_person: bool) -> None:
        self._metrics.outage()
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            (log.error if needs_a_person else log.warning)(f"{what}, trying again", error=error)

    def close(self) -> None:
        """Let go of the connections."""
        self._disconnect()
        self._store.close()
