"""One worker of a stage as a process: it starts, recovers and stops."""

import gc
import random
import time

import structlog
from confluent_kafka import KafkaException

from webevents.connectors.kafka import client_config
from webevents.errors import UserError
from webevents.spec.elasticsearch import IndexSpec
from webevents.stages import flow
from webevents.stages.chunk import Processor
from webevents.stages.observer import TaskObserver
from webevents.stages.processors import make_processor
from webevents.stages.settings import StageSettings
from webevents.stages.task import LAST_COMMIT_S, StreamTask, TaskHung, TaskLost, TaskSettings
from webevents.stop import Stop

log = structlog.get_logger()

BACKOFF_LIMIT_S = 15.0
AGAIN_AT_STOP_S = 0.2
"""Between two tries of a last commit."""
MAX_PENDING = 10_000
"""Messages under way at most, for the memory's sake: about 12 MB of usual events."""

ARCHIVE_PENDING = 500_000
"""The same of the archive stage, which keeps messages compressed and counts large ones by kB."""


def run_stage(
    settings: StageSettings, instance: str, stop: Stop, observer: TaskObserver | None = None
) -> None:
    """Run one worker until it is told to stop.

    A transaction that failed, a lost partition or a broker that went away restart the task from
    what is committed, within this process; anything else is a fault and ends the process.

    A stage that publishes when it stops is run until that has succeeded, also where it is told to
    stop before it has begun, but no new try is made after :data:`LAST_COMMIT_S`.

    :param instance: tells this worker from the others of the stage, the same after a restart.
    :param observer: told what happens, for metrics.
    :raises UserError: when a stage that publishes when it stops could not.
    """
    task_settings = TaskSettings(
        stage=settings.stage,
        group=settings.group,
        instance=instance,
        topics=settings.topics,
        commit_interval_s=settings.commit_interval.total_seconds(),
        chunk_size=settings.chunk_size,
        max_pending=_max_pending(settings),
        publishes_at_stop=settings.stage == "sessionize",
    )
    kafka = client_config(settings.kafka)
    _collect_rarely()
    failures = 0
    while task_settings.publishes_at_stop or not stop():
        processor = make_processor(settings, kafka)
        began = time.monotonic()
        try:
            _run_task(task_settings, processor, kafka, stop, observer)
            return
        except TaskHung as error:
            raise UserError(
                f"{settings.stage}: {error} in the client library; the process ends, to be started "
                "again, because nothing else gets rid of it"
            ) from None
        except (TaskLost, KafkaException) as error:
            if isinstance(error, KafkaException) and _is_hopeless(error):
                raise
            if stop.seconds > LAST_COMMIT_S and task_settings.publishes_at_stop:
                raise UserError(
                    f"{settings.stage} ended without its last commit ({error}): nothing is lost, "
                    "but sessions that changed last are published only when it runs again"
                ) from error
            if observer is not None:
                observer.restarted()
            failures = 0 if time.monotonic() - began > 60 else failures + 1
            wait = random.uniform(0, min(BACKOFF_LIMIT_S, 0.5 * 2**failures))
            log.warning(
                "restarting from what is committed", error=str(error), wait_s=round(wait, 1)
            )
            error.__traceback__ = None  # its frames hold the task, with its state
        del processor
        gc.collect()  # the task's callbacks hold it: a cycle
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline and not stop():
            time.sleep(0.05)
        if stop():
            time.sleep(AGAIN_AT_STOP_S)


def _collect_rarely() -> None:
    """Have the garbage collector look less often: what lives here are open sessions by the hundred
    thousand, none of them garbage, and looking through them took a third of the time."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)


def _max_pending(settings: StageSettings) -> int:
    """Messages under way at the destination: one request's worth waits for each under way."""
    if settings.archive:
        return ARCHIVE_PENDING
    if settings.store:
        return min(2 * settings.store.batch.max_rows, MAX_PENDING)
    bulk = settings.index.bulk if settings.index else IndexSpec().bulk
    return min(2 * bulk.in_flight * bulk.max_documents, MAX_PENDING)


def _run_task(
    settings: TaskSettings,
    processor: Processor,
    kafka: dict[str, object],
    stop: Stop,
    observer: TaskObserver | None,
) -> None:
    task = StreamTask(settings, processor, kafka, stop, observer)
    try:
        flow.run(settings.stage, task, processor)
    finally:
        task.close()


def _is_hopeless(error: KafkaException) -> bool:
    """Whether starting anew cannot mend it: the settings themselves are wrong."""
    return error.args[0].name() in {"_INVALID_ARG", "UNSUPPORTED_VERSION", "_UNKNOWN_TOPIC"}
