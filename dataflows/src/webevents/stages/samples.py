"""Samples of a pipeline's stages: how each of them stands, looked at regularly by one worker.

What they tell comes from the ledgers beside the committed offsets, as everywhere, so that nobody
has to know where the workers are (docs/decisions/0009).
"""

import re
import statistics
import threading
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from confluent_kafka import KafkaException
from elasticsearch import NotFoundError

from webevents.connectors.elasticsearch import SearchClient, explained
from webevents.connectors.kafka_observe import GroupView, Observer
from webevents.errors import UserError
from webevents.events.times import format_time
from webevents.logic.documents import DailyIndex, Document
from webevents.stages.settings import StageSettings

log = structlog.get_logger()

KEPT = 5_000
"""Samples that wait at most while the destination is away: over an hour of eight stages."""
TIDY_EVERY_S = 3_600.0
CLOSE_WAIT_S = 2.0

_encode = msgspec.json.Encoder().encode


class StageSamples:
    """Takes samples in a thread of its own, while it is told to.

    :param settings: of the index stage, with the groups to look at.
    :param kafka: librdkafka settings to reach the cluster.
    :param client: by which indices that are too old are deleted.
    """

    def __init__(
        self, settings: StageSettings, kafka: dict[str, Any], client: SearchClient
    ) -> None:
        assert settings.index and settings.samples_prefix
        self._groups = settings.groups
        self._every = settings.index.samples.every.total_seconds()
        self._retention = settings.index.samples.retention
        self._prefix = settings.samples_prefix
        self._maker = SampleMaker(settings.pipeline, settings.samples_prefix, self._every)
        self._client = client
        self._kafka = kafka
        self._taken: deque[Document] = deque(maxlen=KEPT)
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def resume(self) -> None:
        """Take samples from now on."""
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="samples", daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Take none until told to again."""
        self._wanted.clear()
        self._taken.clear()

    def take(self) -> list[Document]:
        """The samples that were taken since the last time."""
        return [self._taken.popleft() for _ in range(len(self._taken))]

    def close(self) -> None:
        """Stop for good."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(CLOSE_WAIT_S)

    def _run(self) -> None:
        observer = Observer(self._kafka)
        wanted = dict(self._groups.values())
        next_tidy = 0.0
        try:
            while not self._closed.wait(self._every):
                if not self._wanted.is_set():
                    self._maker.forget()
                    continue
                try:
                    views = observer.groups(wanted)
                except KafkaException as error:
                    log.warning("stages not seen", error=error.args[0].str())
                    continue
                seen = {name: views[group] for name, (group, _) in self._groups.items()}
                self._taken.extend(self._maker.make(seen, time.time_ns() // 1000))
                if time.monotonic() >= next_tidy:
                    self._tidy()
                    next_tidy = time.monotonic() + TIDY_EVERY_S
        finally:
            observer.close()

    def _tidy(self) -> None:
        try:
            with explained(self._client):
                # By name: clusters mostly refuse to delete by a pattern.
                found = self._client.indices.get_alias(index=f"{self._prefix}-*")
            for index in outdated(self._prefix, found, datetime.now(UTC) - self._retention):
                log.info("deleting samples", index=index)
                with explained(self._client):
                    self._client.indices.delete(index=index)
        except NotFoundError:
            return
        except UserError as error:
            log.warning("old samples are not deleted", error=str(error))


def outdated(prefix: str, indices: Any, before: datetime) -> list[str]:
    """The daily indices whose last moment is before another."""
    dated = re.compile(re.escape(prefix) + r"-(\d{4}\.\d{2}\.\d{2})")
    found = []
    for index in indices:
        if match := dated.fullmatch(index):
            day = datetime.strptime(match[1], "%Y.%m.%d").replace(tzinfo=UTC)
            if day + timedelta(days=1) <= before:
                found.append(index)
    return sorted(found)


class SampleMaker:
    """Makes documents of looks at the stages; rates need the look before.

    :param prefix: what the indices' names begin with.
    :param every: seconds between two looks.
    """

    def __init__(self, pipeline: str, prefix: str, every: float) -> None:
        self._pipeline = pipeline
        self._index = DailyIndex(prefix)
        self._every = every
        self._before: dict[str, GroupView] = {}
        self._before_us = 0

    def forget(self) -> None:
        """Forget the look before: it is too long ago."""
        self._before = {}

    def make(self, views: dict[str, GroupView], now_us: int) -> list[Document]:
        """One document for each stage.

        :param views: the stages as they stand now.
        :param now_us: when, in microseconds since the epoch.
        """
        seconds = (now_us - self._before_us) / 1e6
        # Two workers may both look while a partition moves: then the later one holds.
        moment = now_us // round(self._every * 1e6)
        made = [
            Document(
                self._index.at(now_us),
                f"{name}@{moment}",
                _encode(
                    {"timestamp": format_time(now_us), "pipeline": self._pipeline, "stage": name}
                    | figures(view, self._before.get(name), seconds)
                ),
            )
            for name, view in views.items()
        ]
        self._before, self._before_us = views, now_us
        return made


def figures(view: GroupView, before: GroupView | None, seconds: float) -> dict[str, Any]:
    """What is told of a stage; what is not known is left out.

    :param before: the same stage some seconds ago.
    """
    counts = view.counts()
    told: dict[str, Any] = {
        "in": counts.received,
        "out": counts.delivered,
        "failed": counts.failed,
        "dropped": sum(counts.dropped.values()),
        "records": view.emitted,
        "lag": view.lag,
    }
    if before is None or seconds <= 0:
        return told
    then = before.counts()
    read, delivered = counts.received - then.received, counts.delivered - then.delivered
    if read >= 0 and delivered >= 0:  # offsets that were set back count anew
        told["in_per_second"] = round(read / seconds, 2)
        told["out_per_second"] = round(delivered / seconds, 2)
    moved = [
        ledger
        for source, ledger in view.ledgers.items()
        if source not in before.ledgers or ledger.next != before.ledgers[source].next
    ]
    told["workers"] = len({ledger.worker for ledger in moved})
    if waits := [ledger.waits for ledger in moved if ledger.waits]:
        told["wait_p50_ms"] = round(statistics.median(each.p50 for each in waits))
        told["wait_p99_ms"] = max(each.p99 for each in waits)
    return told
