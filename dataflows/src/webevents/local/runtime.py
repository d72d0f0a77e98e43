"""The local runtime: it brings a plan about with processes of this machine."""

import signal
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console

from webevents.connectors.elasticsearch import (
    connect,
    documents_by_index,
    ensure_templates,
    refresh,
)
from webevents.connectors.kafka import client_config, ensure_topics
from webevents.connectors.kafka_observe import Observer, Partition
from webevents.errors import UserError
from webevents.local import running
from webevents.local.browser import Page, has_desktop
from webevents.local.keeper import ServerKeeper
from webevents.local.live import Watch
from webevents.local.needs import servers_for, with_spec
from webevents.local.summary import Summary
from webevents.local.workloads import Workloads
from webevents.plan.ledger import PipelineLedger, observe
from webevents.plan.make import make_plan
from webevents.plan.model import Plan
from webevents.plan.templates import SAMPLES
from webevents.spec.elasticsearch import ElasticsearchSpec
from webevents.spec.kafka import KafkaSpec
from webevents.spec.pipeline import WebEventPipeline
from webevents.spec.postgres import PostgresSpec

if TYPE_CHECKING:
    from webevents.local.capture import LocalCapture

LOOK_EVERY_S = 1.0
LIVE = "live"
"""The workload whose page people look at."""
LAST_STOPS = 3
"""How often a stage is stopped at most for its last commit to succeed."""
DRAIN_STALL_S = 60.0
"""A drain that makes no progress for this long is given up, and said to be unfinished."""

LAST_LOOK_S = 60.0
"""How long brokers that do not answer are waited for before a run cannot be summed up."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a pipeline locally."""

    seconds: float | None = None
    """Stop after this long and drain; None runs until Ctrl-C."""
    kafka: KafkaSpec | None = None
    """A Kafka that is already there; an embedded one otherwise."""
    elasticsearch: ElasticsearchSpec | None = None
    """An Elasticsearch or OpenSearch that is already there; an embedded one otherwise."""
    postgres: PostgresSpec | None = None
    """A PostgreSQL that is already there; an embedded one otherwise."""
    data_dir: Path | None = None
    """Keeps the embedded servers' data and the logs; a temporary folder otherwise."""
    until_drained: bool = False
    """Stop as soon as what is in the topics is processed."""
    metrics: bool = False
    """Serve the workloads' metrics, and write where for Prometheus."""
    open_page: bool = False
    """Open the live page in a browser, where there is a desktop to show it."""


def run_pipeline(pipeline: WebEventPipeline, options: RunOptions, console: Console) -> Summary:
    """Run a pipeline until its time is over or Ctrl-C, drain it, and sum up.

    Everything that was started is stopped again, whatever happens.

    :raises UserError: when something is missing that a person can put right.
    """
    with ExitStack() as stack:
        folder = _folder(stack, options)
        given = {
            name: connection
            for name in ("kafka", "elasticsearch", "postgres")
            if (connection := getattr(options, name)) is not None
        }
        say = partial(console.print, highlight=False)
        pipeline, keeper = stack.enter_context(servers_for(with_spec(pipeline, given), folder, say))
        return _Run(pipeline, keeper, options, folder, console).run()


def _folder(stack: ExitStack, options: RunOptions) -> Path:
    if options.data_dir is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="webevents-")))
    options.data_dir.mkdir(parents=True, exist_ok=True)
    return options.data_dir


class _Run:
    """One run on servers that are there."""

    def __init__(
        self,
        pipeline: WebEventPipeline,
        keeper: ServerKeeper,
        options: RunOptions,
        folder: Path,
        console: Console,
    ) -> None:
        self._pipeline = pipeline
        self._keeper = keeper
        self._options = options
        self._console = console
        self._plan: Plan = make_plan(pipeline)
        # Samples of the stages go on while nothing happens, and are no result of the run.
        self._results = [what for what in self._plan.indices if what != SAMPLES]
        self._kafka = client_config(pipeline.spec.kafka)
        self._observer = Observer(self._kafka)
        self._elastic: Any = (
            connect(pipeline.spec.elasticsearch) if pipeline.spec.index.enabled else None
        )
        self._workloads = Workloads(
            list(self._plan.workloads),
            folder / "workloads",
            lambda line: self._watch.say(line),
            metrics=options.metrics,
        )
        self._targets = folder / "prometheus-targets.json"
        self._capture = self._make_capture(folder)
        facts = [f"Kafka {pipeline.spec.kafka.bootstrap_servers}"]
        if self._elastic is not None:
            search = pipeline.spec.elasticsearch
            facts[0] += f"   {search.product} {', '.join(search.urls or ())}"
        if self._plan.tables:
            facts[0] += f"   PostgreSQL {pipeline.spec.postgres.address}"
        if source := pipeline.spec.source.debezium:
            facts.append(f"source database PostgreSQL {source.postgres.address}")
        facts += self._serving()
        facts.append(f"logs {folder / 'workloads'}   Ctrl-C stops and drains")
        self._watch = Watch(console, facts)
        self._page = Page(
            self._workloads.addresses().get(LIVE),
            wanted=options.open_page and console.is_terminal and has_desktop(),
        )
        self._interrupts = 0
        self._ledger: PipelineLedger | None = None

    def _serving(self) -> list[str]:
        """Where the live page is, and where websites can send events."""
        collector = self._pipeline.spec.collector
        scheme = "https" if collector and collector.tls else "http"
        page = "/demo (a shop whose visitor is you)" if collector and collector.demo_page else ""
        lines: list[str] = []
        for name, address in self._workloads.addresses().items():
            if name == LIVE:
                lines.insert(0, f"live page http://{address}")
            else:
                lines.append(f"{name} {scheme}://{address}{page}")
        return lines

    def run(self) -> Summary:
        """Prepare, run, drain, sum up."""
        began = time.monotonic()
        for line in ensure_topics(AdminClient(self._kafka | {"log_level": 0}), self._plan.topics):
            self._console.print(line, highlight=False)
        if self._elastic is not None:
            ensure_templates(self._elastic, self._plan.templates)
        self._make_tables()
        if not self._console.is_terminal:  # there the screen says it all the time
            for line in self._serving():
                self._console.print(line, highlight=False)
        self._tell_metrics()
        problems: list[str] = []
        # Ctrl-C, kill, and a terminal that is closed.
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, self._on_interrupt) for number in numbers}
        try:
            with running.announced(self._pipeline), self._watch:
                self._workloads.start()
                if self._capture is not None:
                    self._capture.start()
                self._wait()
                problems = self._drain()
            return self._sum_up(problems, time.monotonic() - began)
        finally:
            self._workloads.stop_all()
            if self._capture is not None:
                self._capture.stop()
            self._observer.close()
            if self._elastic is not None:
                self._elastic.close()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _make_capture(self, folder: Path) -> "LocalCapture | None":
        debezium = self._pipeline.spec.source.debezium
        if debezium is None or self._plan.connector is None:
            return None
        from webevents.local.capture import LocalCapture

        return LocalCapture(
            debezium,
            self._plan.connector,
            self._pipeline.spec.kafka,
            folder,
            lambda line: self._watch.say(line),
        )

    def _tell_metrics(self) -> None:
        """Say where metrics are, to the person and to Prometheus."""
        if not self._options.metrics:
            return
        self._workloads.write_targets(self._targets, self._pipeline.name)
        for name, url in self._workloads.metrics_urls().items():
            self._console.print(f"metrics of {name:<12} {url}", highlight=False)
        self._console.print(f"targets for Prometheus: {self._targets}", highlight=False)

    def _make_tables(self) -> None:
        if self._plan.tables:
            from webevents.local.tables import make_tables

            for line in make_tables(self._pipeline):
                self._console.print(line, highlight=False)

    def _count_tables(self) -> dict[str, int]:
        if not self._plan.tables:
            return {}
        from webevents.local.tables import count_tables

        return count_tables(self._pipeline)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts > 1:
            raise KeyboardInterrupt

    def _wait(self) -> None:
        deadline = None
        if self._options.seconds is not None:
            deadline = time.monotonic() + self._options.seconds
        doing = "running" if deadline is None else f"running for {self._options.seconds:g} s"
        while not self._interrupts and (deadline is None or time.monotonic() < deadline):
            ledger = self._tick(doing)
            if self._options.until_drained and ledger and self._caught_up(ledger):
                return

    @staticmethod
    def _caught_up(ledger: PipelineLedger) -> bool:
        return ledger.lag == 0 and any(view.ledgers for view in ledger.groups.values())

    def _tick(self, doing: str) -> PipelineLedger | None:
        """Look once, show it, keep the workloads alive, and wait for the next look.

        :returns: what was seen; None where the brokers did not answer.
        """
        next_look = time.monotonic() + LOOK_EVERY_S
        self._workloads.keep_alive()
        self._page.open_once()
        self._keeper.keep_alive(self._watch.say)
        if ledger := self._look():
            self._ledger = ledger
            self._watch.show(ledger, self._raw_events(), self._found(), doing)
        while (left := next_look - time.monotonic()) > 0 and not self._interrupts:
            time.sleep(min(left, 0.1))
        return ledger

    def _look(self) -> PipelineLedger | None:
        try:
            return observe(self._plan, self._observer)
        except KafkaException:
            return None  # the brokers are busy or away; the next look may tell

    def _raw_events(self) -> int:
        """Events in the raw topic: those that were read, and those that wait.

        Its offsets alone do not tell: whoever writes in transactions leaves marks among them.
        """
        first = self._ledger.groups.get("enrich") if self._ledger else None
        return first.counts().received + first.lag if first else 0

    def _documents(self, what: str) -> dict[str, int]:
        pattern = self._plan.indices.get(what)
        if self._elastic is None or pattern is None:
            return {}
        return documents_by_index(self._elastic, pattern)

    def _found(self) -> dict[str, int]:
        try:
            return {what: sum(self._documents(what).values()) for what in self._results}
        except UserError:
            return {}  # Elasticsearch is busy or away; the next look may tell

    def _drain(self) -> list[str]:
        """Stop the sources, then each stage once it has processed what was before it."""
        stages = [stage.name for stage in self._plan.stages()]
        others = [each for each in self._plan.workloads if each.name not in stages]
        for source in (each for each in others if each.writes):
            self._workloads.stop(source.name)
        if self._capture is not None and not self._capture.drain(
            self._observer, partial(self._tick, "reading the database's log"), self._gives_up
        ):
            return ["the connector did not read all changes: look at the log of Kafka Connect"]
        for name in stages:
            problem = self._finish(name)
            if problem:
                return [problem]
        for reader in (each for each in others if not each.writes):
            self._workloads.stop(reader.name)  # the loader: it loads what is there first
        return []

    def _finish(self, name: str) -> str | None:
        """Stop a stage once it has processed what was before it.

        A copy that stops while the group rebalances can wait in vain for another that has ended
        already. What it did not publish is published by the copies' next stop.

        :returns: what is not done, where it is not.
        """
        for _ in range(LAST_STOPS):
            if not self._drained(name):
                return f"{name} did not drain: look at its log"
            if self._workloads.stop(name) or name != "sessionize":
                return None
            if self._gives_up():
                break
            self._watch.say(f"{name} did not publish the last sessions and was started again")
            self._workloads.start(name)
        return f"{name} did not publish the last sessions: look at its log, run again"

    def _gives_up(self) -> bool:
        """Whether the person wants no more of it."""
        return self._interrupts > 1

    def _drained(self, name: str) -> bool:
        lag, since = None, time.monotonic()
        (stage,) = (each for each in self._plan.stages() if each.name == name)
        # What a stage reads of its own making may have come while it was looked at.
        own = set(stage.reads) & set(stage.writes)
        while True:
            ledger = self._tick(f"draining {name}")
            view = ledger.groups[name] if ledger else None
            # A copy that has just ended may have open sessions to publish when it stops.
            if (
                view is not None
                and view.lag == 0
                and not any(topic in own for topic, _ in view.moving)
                and self._workloads.runs(name)
            ):
                return True
            if view is not None and view.lag != lag:
                lag, since = view.lag, time.monotonic()
            if time.monotonic() - since > DRAIN_STALL_S or self._gives_up():
                return False

    def _last_look(self) -> tuple[PipelineLedger, dict[Partition, int]]:
        """What the stages have counted in the end, and where the raw topic begins.

        :raises UserError: when the brokers do not answer, nor come back soon.
        """
        deadline = time.monotonic() + LAST_LOOK_S
        while True:
            self._keeper.keep_alive(self._watch.say)
            try:
                starts = self._observer.offsets([self._pipeline.spec.topics.raw.name], first=True)
                return observe(self._plan, self._observer), starts
            except KafkaException as error:
                if time.monotonic() > deadline or self._gives_up():
                    raise UserError(
                        "Kafka does not answer, so the run cannot be summed up: look at its log, "
                        "and start again"
                    ) from error
                time.sleep(LOOK_EVERY_S)

    def _sum_up(self, problems: list[str], seconds: float) -> Summary:
        ledger, starts = self._last_look()
        self._ledger = ledger
        raw = self._raw_events()
        for (topic, partition), read in ledger.groups["enrich"].ledgers.items():
            if read.first > starts.get((topic, partition), 0):
                problems.append(f"{topic}/{partition} was not read before offset {read.first}")
        if self._elastic is not None:
            for what in self._results:
                refresh(self._elastic, self._plan.indices[what])
        documents = {what: self._documents(what) for what in self._results}
        by_index = {name: n for found in documents.values() for name, n in found.items()}
        return Summary(
            ledger,
            by_index,
            sum(documents.get("sessions", {}).values()),
            seconds,
            raw,
            self._workloads.restarts,
            [*self._keeper.lost, *problems],
            self._count_tables(),
        )
