"""A backfill from its plan to the swap; each step can be killed and goes on when it runs again."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from webevents.connectors.elasticsearch import BulkWriter, connect, ensure_templates
from webevents.connectors.kafka import client_config, ensure_topics
from webevents.connectors.kafka_observe import Observer, Partition
from webevents.errors import UserError
from webevents.operations.backfill import shadow
from webevents.operations.backfill.layout import Layout, check, indices_of, layout
from webevents.operations.backfill.live import Live
from webevents.operations.backfill.source import (
    begin_at,
    close_sessions,
    copy_archive,
    find_ranges,
)
from webevents.operations.backfill.state import ENDED, IndexState, Keeper, State, states
from webevents.operations.backfill.workers import Workers
from webevents.plan.make import make_plan
from webevents.spec.backfill import BackfillSpec
from webevents.spec.pipeline import WebEventPipeline

TIMEOUT_S = 30.0
MEMBERS_LEAVE_S = 30.0
"""A group counts a worker that has ended until its session times out, after 20 s."""

_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND)


class LessThanBefore(UserError):
    """The new indices have less than the old ones: a person decides what is to be done."""


class Backfill:
    """One backfill of a pipeline.

    :param pipeline: with its connections filled in.
    :param name: the backfill's.
    :param say: receives lines of progress.
    """

    def __init__(
        self, pipeline: WebEventPipeline, name: str, say: Callable[[str], None] = lambda _line: None
    ) -> None:
        self._pipeline = pipeline
        self._name = name
        self._say = say
        self._kafka = client_config(pipeline.spec.kafka)

    def state(self) -> State | None:
        """What it has done so far; None where there is none of the name.

        :raises KafkaException: when the brokers do not answer.
        """
        with closing(Observer(self._kafka)) as observer:
            return states(self._pipeline, observer).get(self._name)

    def plan(self, spec: BackfillSpec) -> State:
        """What a backfill would do; nothing is changed.

        :raises UserError: when the pipeline cannot be backfilled so.
        """
        now = datetime.now(UTC)
        check(self._pipeline, spec, now)
        state = State(self._name, spec.model_dump(mode="json", by_alias=True, exclude_none=True))
        state.indices = indices_of(self._pipeline, self._name, spec)
        state.started_at = now.isoformat(timespec="seconds")
        if spec.source.type == "kafka":
            raw = self._pipeline.spec.topics.raw.name
            with closing(Observer(self._kafka)) as observer:
                state.ranges = find_ranges(observer, self._kafka, raw, spec)
        return state

    def run(self, spec: BackfillSpec | None, *, swap: bool = False) -> State:
        """Run it, or go on with it, up to the swap or as far as its specification says.

        :param spec: of a new backfill; None goes on with the one of the name.
        :param swap: swap now although the specification says to wait.
        :raises UserError: when it cannot go on; the old indices that are not swapped are untouched.
        """
        known = self.state()
        if known is not None and known.phase not in ENDED:
            spec = self._same(known, spec)
        elif spec is None:
            raise UserError(
                f"no backfill {self._name} is under way: say which days with --first-day and "
                "--last-day, or with --spec FILE"
            )
        else:
            known = None
        state = known or self.plan(spec)
        keeper = Keeper(self._pipeline, self._name, self._kafka)
        try:
            return self._run(state, spec, keeper, swap=swap or spec.swap)
        except UserError as error:
            state.stopped = str(error)
            keeper.save(state)
            raise
        finally:
            keeper.close()

    def _same(self, known: State, spec: BackfillSpec | None) -> BackfillSpec:
        before = BackfillSpec.model_validate(known.spec)
        if spec is None:
            return before
        # How it ends may change while it is under way; what is read may not.
        free = {"missing": before.missing, "swap": before.swap}
        if spec.model_copy(update=free) != before:
            raise UserError(
                f"the backfill {self._name} is under way with other days or another source: "
                f"`webevents backfill abort {self._name}` first, or take another name"
            )
        known.spec = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        return spec

    def _run(self, state: State, spec: BackfillSpec, keeper: Keeper, *, swap: bool) -> State:
        state.stopped = ""
        started = datetime.fromisoformat(state.started_at)
        made = layout(self._pipeline, self._name, spec, started)
        of = self._pipeline.spec
        client = connect(of.elasticsearch)
        writer = BulkWriter(client, compression=of.elasticsearch.compression)
        try:
            with closing(Observer(self._kafka)) as observer:
                live = Live(self._pipeline, self._kafka, observer)
                if state.phase == "planned":
                    ensure_templates(client, make_plan(self._pipeline).templates)
                    for index in state.indices:
                        shadow.make_shadow(client, index)
                    ensure_topics(AdminClient(self._kafka | {"log_level": 0}), made.topics)
                    state.live = live.places()
                    state.phase = "reading"
                    keeper.save(state)
                if state.phase == "reading":
                    self._read(state, spec, made, keeper, observer)
                    live.take_over(state, writer, {i.name: i.shadow for i in state.indices})
                    state.phase = "read"
                    keeper.save(state)
                if state.phase in ("read", "compared"):
                    self._compare(state, spec, keeper, live, writer, client)
                    if not swap:
                        return state
                    state.phase = "swapping"
                    keeper.save(state)
                if state.phase == "swapping":
                    for index in state.indices:
                        gone = shadow.swap(client, index)
                        index.swapped = True
                        self._say(
                            f"{index.name} is {index.shadow} now"
                            + (f"; {gone} is gone" if gone else "")
                        )
                    keeper.save(state)
                    # What the running stage wrote into an old index while it went.
                    live.take_over(state, writer, {i.name: i.name for i in state.indices})
                    self._clean(made)
                    state.phase = "done"
                    state.ended_at = datetime.now(UTC).isoformat(timespec="seconds")
                    keeper.save(state)
            return state
        finally:
            writer.close()
            client.close()

    def _read(
        self,
        state: State,
        spec: BackfillSpec,
        made: Layout,
        keeper: Keeper,
        observer: Observer,
    ) -> None:
        """Have the pipeline's own stages make the documents."""
        if made.copied:
            copy_archive(self._pipeline, spec, made.raw, state, keeper, self._say)
            raw_ends = observer.offsets([made.raw])
        else:
            enrich = made.stages[0]
            starts = {int(number): first for number, (first, _) in state.ranges.items()}
            begin_at(self._kafka, enrich.group, made.raw, starts)
            raw_ends = {(made.raw, int(n)): end for n, (_, end) in state.ranges.items()}
            if spec.source.until is None:
                raw_ends |= observer.offsets([made.raw])
        with Workers(made.stages, observer) as workers:
            ends: dict[Partition, int] = dict(raw_ends)
            for stage in made.stages:
                if stage.stage != "enrich":
                    ends = observer.offsets(stage.topics)
                workers.drain(stage.stage, ends, self._progress)
                if stage.stage == "enrich" and len(made.stages) > 2:
                    now_us = round(datetime.now(UTC).timestamp() * 1e6)
                    close_sessions(self._pipeline, made, self._kafka, now_us)
                state.stages[stage.stage] = _counts(observer, stage.group, stage.topics)
                if stage.stage != "index":
                    workers.stop(stage.stage)

    def _progress(self, stage: str, left: int) -> None:
        self._say(f"{stage}: {left:,} messages left")

    def _compare(
        self,
        state: State,
        spec: BackfillSpec,
        keeper: Keeper,
        live: Live,
        writer: BulkWriter,
        client: Any,
    ) -> None:
        keep = spec.missing == "keep"
        targets = {index.name: index.shadow for index in state.indices}
        missing: dict[str, list[str]] = {}
        for index in state.indices:
            index.compared, missing[index.name] = shadow.compare(
                client, index, keep=keep, writer=writer
            )
        # The running pipeline may have written some of it while it was compared.
        if any(missing.values()) and live.take_over(state, writer, targets):
            for index in state.indices:
                shadow.look_again(client, index, missing[index.name])
        for index in state.indices:
            self._say(f"compared {index.name}: {told(index)}")
        state.phase = "compared"
        keeper.save(state)
        if spec.missing == "stop":
            _stop_where_less(state)

    def abort(self) -> State:
        """Give it up: its new indices and topics go, the old indices are as they were.

        :raises UserError: when none is under way, or its swap has begun.
        """
        state = self.state()
        if state is None or state.phase in ENDED:
            raise UserError(f"no backfill {self._name} is under way")
        if state.phase == "swapping":
            raise UserError(
                f"the swap of {self._name} has begun: let it end with "
                f"`webevents backfill run {self._name}`"
            )
        spec = BackfillSpec.model_validate(state.spec)
        keeper = Keeper(self._pipeline, self._name, self._kafka)
        client = connect(self._pipeline.spec.elasticsearch)
        try:
            for index in state.indices:
                # After a failed start of the same name, the shadow may be an old one's alias.
                if shadow.holder_of(client, index.name) != index.shadow:
                    shadow.remove(client, index)
            started = datetime.fromisoformat(state.started_at)
            self._clean(layout(self._pipeline, self._name, spec, started))
            state.phase = "aborted"
            state.ended_at = datetime.now(UTC).isoformat(timespec="seconds")
            keeper.save(state)
            return state
        finally:
            client.close()
            keeper.close()

    def _clean(self, made: Layout) -> None:
        """Remove the topics and groups of the backfill's own."""
        admin = AdminClient(self._kafka | {"log_level": 0})
        topics = [topic.name for topic in made.topics]
        left = _failures(admin.delete_topics(topics, request_timeout=TIMEOUT_S))
        groups = [stage.group for stage in made.stages]
        deadline = time.monotonic() + MEMBERS_LEAVE_S
        while True:
            told = _failures(admin.delete_consumer_groups(groups, request_timeout=TIMEOUT_S))
            codes = {error.code() for error in told.values()}
            if KafkaError.NON_EMPTY_GROUP not in codes or time.monotonic() > deadline:
                break
            time.sleep(1)
        for what, error in (left | told).items():
            self._say(f"{what} is left behind: {error.str()}")


def _failures(deletions: Mapping[str, Future[None]]) -> dict[str, KafkaError]:
    """Why what is there was not deleted."""
    failures: dict[str, KafkaError] = {}
    for what, future in deletions.items():
        error = future.exception()
        if isinstance(error, KafkaException):
            if error.args[0].code() not in _GONE:
                failures[what] = error.args[0]
        elif error is not None:
            raise error
    return failures


def _counts(observer: Observer, group: str, topics: tuple[str, ...]) -> dict[str, Any]:
    return observer.groups({group: topics})[group].counts().report()


def _stop_where_less(state: State) -> None:
    """Stop before the swap where the new indices have less than the old ones.

    :raises UserError: then.
    """
    mend = (
        "; the old indices are untouched. Read more (an earlier since, a later until, the "
        "archive), or run it again with missing: keep (copies them) or accept (lets them go)"
    )
    for index in state.indices:
        made = index.compared
        if made is None or index.content != "events" or not made.missing:
            continue
        raise LessThanBefore(
            f"{index.name} has {made.missing:,} documents that the new index lacks, such as "
            f"{', '.join(made.missing_ids[:3])}{mend}"
        )
    sums = [
        i.compared.sums.get("total_events", (0.0, 0.0))
        for i in state.indices
        if i.compared and i.content == "sessions"
    ]
    old, new = (round(sum(pair[side] for pair in sums)) for side in (0, 1))
    if new < old:
        raise LessThanBefore(f"the new sessions count {new:,} events, the old ones {old:,}{mend}")


def told(index: IndexState) -> str:
    """What a comparison found, in a line."""
    made = index.compared
    if made is None:
        return "not compared yet"
    text = (
        f"{made.old:,} → {made.new:,} documents; same {made.same:,}, changed {made.changed:,}, "
        f"missing {made.missing:,}, extra {made.extra:,}"
    )
    return f"{text}, kept {made.kept:,}" if made.kept else text
