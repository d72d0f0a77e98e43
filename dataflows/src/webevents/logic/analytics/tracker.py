"""The visitors of one partition: session records in, documents and state out."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from webevents.events.times import SECOND_US, to_us
from webevents.logic.analytics.attribution import AttributionReader, touch_id
from webevents.logic.analytics.document import Fact, Messages, digest_of, fact_id, month_of
from webevents.logic.analytics.funnels import FunnelReader
from webevents.logic.analytics.retention import RetentionReader
from webevents.logic.analytics.transitions import (
    transition_fields,
    transition_id,
    transitions,
)
from webevents.logic.analytics.visits import Known, Path, Visit, Visitor
from webevents.logic.sessions.record import session_id
from webevents.logic.sessions.timers import Timers
from webevents.spec.analytics import AnalyticsSpec
from webevents.spec.stages import SessionsSpec

MAX_MARKS = 10_000
"""Milestones of one visitor that are remembered at a time, for the size of a Kafka message."""
SLACK = timedelta(hours=1)
"""How much later than the rules of sessions allow a session's record may come."""
_FORMAT = 1
_BUCKET_US = 600 * SECOND_US

_encode = msgspec.msgpack.Encoder().encode
_decode: Any = msgspec.msgpack.Decoder(tuple[int, str, int, Visitor]).decode
_decode_outline: Any = msgspec.msgpack.Decoder(tuple[int, str, int, msgspec.Raw]).decode


def settle_of(spec: SessionsSpec) -> timedelta:
    """How long before stream time a session may have begun whose record still changes."""
    return spec.max_length + 2 * spec.gap + spec.allowed_lateness


@dataclass(slots=True)
class Publication:
    """What a commit writes."""

    documents: list[tuple[str, bytes]] = field(default_factory=list)
    """(session key, message)."""
    state: list[tuple[str, bytes | None]] = field(default_factory=list)
    """(session key, state), None where the visitor is forgotten."""


class PartitionVisitors:
    """The visitors of one partition of session records.

    :param pipeline: the pipeline's name; part of every document's identifier.
    :param note: the clock that :meth:`note` gave at the committed offset; empty at the start.
    :param slack: how much later than the rules of sessions allow a record may come.
    """

    def __init__(
        self,
        pipeline: str,
        spec: AnalyticsSpec,
        sessions: SessionsSpec,
        note: dict[str, int],
        slack: timedelta = SLACK,
    ) -> None:
        self._pipeline = pipeline
        self._spec = spec
        self._settle = to_us(settle_of(sessions) + slack)
        self._funnels = [FunnelReader(funnel) for funnel in spec.funnels]
        self._retention = RetentionReader(spec.retention) if spec.retention.enabled else None
        self._attribution = AttributionReader(spec.attribution)
        self.stream_us = note.get("t", 0)
        spans = [reader.span_us or 0 for reader in self._funnels]
        if self._retention:
            spans.append(self._retention.length_us)
        if spec.attribution.enabled:
            spans.append(to_us(spec.attribution.lookback))
        self._horizon = max(spans, default=0)
        """How long before a session that can change another one may matter to its documents."""
        self._memory = self._retention.memory_us if self._retention else 0
        self._packed: dict[str, bytes] = {}
        """Every visitor, as its state is saved."""
        self._live: dict[str, Visitor] = {}
        """Those with records since the last commit."""
        self._paths: dict[tuple[str, int], Path] = {}
        """Of the sessions that changed since the last commit, by visitor and start."""
        self._timers = Timers[str](_BUCKET_US)
        """Each visitor once, by when something of theirs can be let go of."""
        self._fixed_us = self.stream_us - self._settle
        """No session that began before this could change since the last commit."""

    def note(self) -> dict[str, int]:
        """The clock, to be committed with the offset."""
        return {"t": self.stream_us}

    @property
    def size(self) -> int:
        """Number of visitors that are remembered."""
        return len(self._packed) + sum(key not in self._packed for key in self._live)

    def restore(self, state: bytes) -> None:
        """Take over a visitor whose state an earlier owner of the partition wrote.

        :raises ValueError: when an incompatible version wrote it.
        """
        try:
            written, key, look_us, _ = _decode_outline(state)
        except msgspec.DecodeError:
            written = -1
        if written != _FORMAT:
            raise ValueError(
                f"a visitor's state is not of format {_FORMAT}: an incompatible version wrote it"
            )
        self._packed[key] = state
        self._timers.add(key, look_us)

    def add(self, key: str, visit: Visit, path: Path) -> str | None:
        """Add one session record.

        :returns: None, or why it was dropped: late, superseded or visitor_full.
        """
        if visit.start_us < self.stream_us - self._settle:
            return "late"
        if visit.last_us > self.stream_us:
            self.stream_us = visit.last_us
        visitor = self._live.get(key) or self._unpack(key)
        visits = visitor.visits
        place = bisect_left(visits, visit.start_us, key=_start)
        if place < len(visits) and visits[place].start_us == visit.start_us:
            known = visits[place]
            if visit.version <= known.version:
                return "superseded"
            visit.told = known.told
            visits[place] = visit
        elif self._is_full(visits):
            return "visitor_full"
        else:
            visits.insert(place, visit)
        visitor.version = max(visitor.version + 1, visit.version)
        self._paths[key, visit.start_us] = path
        return None

    def forget(self, key: str) -> None:
        """Erase what is known of a visitor; documents are whose who erases them."""
        self._live[key] = Visitor()
        self._paths = {place: path for place, path in self._paths.items() if place[0] != key}

    def _is_full(self, visits: Sequence[Visit]) -> bool:
        """Whether a visitor has as many sessions as may be remembered."""
        if len(visits) < self._spec.max_sessions and (
            sum([len(visit.marks) for visit in visits]) < MAX_MARKS
        ):
            return False
        # Those that are only waiting to be let go of do not count, so that it does not matter
        # when that is done.
        past_us = self.stream_us - self._settle - self._horizon
        counting = [visit for visit in visits if visit.last_us >= past_us]
        return len(counting) >= self._spec.max_sessions or (
            sum([len(visit.marks) for visit in counting]) >= MAX_MARKS
        )

    def _unpack(self, key: str) -> Visitor:
        packed = self._packed.get(key)
        visitor: Visitor = Visitor() if packed is None else _decode(packed)[3]
        self._live[key] = visitor
        return visitor

    def commit(self) -> Publication:
        """Collect what changed since the last commit."""
        out = Publication()
        for (key, start_us), path in self._paths.items():
            visitor = self._live[key]
            visit = visitor.visits[bisect_left(visitor.visits, start_us, key=_start)]
            out.documents += self._tell_transitions(key, visitor, visit, path)
        for key, visitor in self._live.items():
            out.documents += self._tell(key, visitor)
        self._fixed_us = self.stream_us - self._settle
        due = dict.fromkeys(self._timers.take(self.stream_us, exact=False))
        for key in due:
            if key not in self._live:
                self._unpack(key)
        for key, visitor in self._live.items():
            self._forget(visitor)
            self._save(key, visitor, out)
        for key in due:
            if key in self._packed:
                self._timers.add(key, _decode_outline(self._packed[key])[2])
        self._live.clear()
        self._paths.clear()
        return out

    def _save(self, key: str, visitor: Visitor, out: Publication) -> None:
        known = self._packed.get(key)
        if not (visitor.visits or visitor.seen):
            if known is not None:
                del self._packed[key]
                out.state.append((key, None))
            return
        look_us = self._next_look(visitor)
        state = _encode((_FORMAT, key, look_us, visitor))
        if known is None:
            self._timers.add(key, look_us)
        if state != known:
            self._packed[key] = state
            out.state.append((key, state))

    # Documents.

    def _tell_transitions(
        self, key: str, visitor: Visitor, visit: Visit, path: Path
    ) -> Iterator[tuple[str, bytes]]:
        """Bring the documents of a session's path to what holds now."""
        spec, before = self._spec.transitions, visit.told
        pairs = transitions(path, spec) if spec.enabled and visit.alive else []
        told = [digest_of((pair, visit.about)) for pair in pairs]
        visit.told = tuple(told)
        if visit.told == before:
            return
        session = session_id(self._pipeline, key, visit.start_us)
        messages = Messages(self._pipeline, key, visitor.version)
        for number, (digest, pair) in enumerate(zip(told, pairs, strict=True)):
            if number >= len(before) or before[number] != digest:
                fields = transition_fields(session, visit, number + 1, *pair)
                id_ = transition_id(session, number + 1)
                yield key, messages.of("transitions", id_, visit.start_us, fields)
        for number in range(len(told), len(before)):
            id_ = transition_id(session, number + 1)
            yield key, messages.end_of("transitions", id_, visit.start_us)

    def _tell(self, key: str, visitor: Visitor) -> Iterator[tuple[str, bytes]]:
        """Bring a visitor's other documents to what holds now.

        What was final at the last commit is left alone: no record since then can have changed it.
        """
        messages = Messages(self._pipeline, key, visitor.version)
        published = visitor.published
        wanted: dict[str, Known] = {}
        for fact in self._facts(key, visitor):
            kind, what, timestamp_us, final_us, cause, documents, count = fact
            digest = digest_of(cause)
            now = Known(kind, digest, timestamp_us, final_us, count)
            wanted[what] = now
            known = published.get(what)
            if known is not None:
                if known.digest == digest:
                    continue
                moved = month_of(known.timestamp_us) != month_of(timestamp_us)
                for id_ in self._ids(key, what, known)[0 if moved else count :]:
                    yield key, messages.end_of(kind, id_, known.timestamp_us)
            for id_, fields in documents():
                yield key, messages.of(kind, id_, timestamp_us, fields)
        for what, known in published.items():
            if what not in wanted and known.final_us >= self._fixed_us:
                for id_ in self._ids(key, what, known):
                    yield key, messages.end_of(known.kind, id_, known.timestamp_us)
        visitor.published = wanted

    def _ids(self, key: str, what: str, known: Known) -> list[str]:
        """The ids of a fact's documents."""
        id_ = fact_id(self._pipeline, key, what)
        if known.kind != "attribution":
            return [id_]
        return [touch_id(id_, touch) for touch in range(1, known.count + 1)]

    def _facts(self, key: str, visitor: Visitor) -> Iterator[Fact]:
        """What can still change of what there is to tell."""
        visits, fixed_us, name = visitor.alive(), self._fixed_us, self._pipeline
        for reader in self._funnels:
            resume_us = visitor.resume.get(reader.name, -1)
            for attempt in reader.attempts(visits, resume_us, fixed_us):
                yield reader.fact(name, key, attempt)
        if self._retention:
            yield from self._retention.facts(name, key, visitor.seen, visits, fixed_us)
        if self._spec.attribution.enabled:
            yield from self._attribution.facts(name, key, visits, fixed_us)

    # Letting go.

    def _forget(self, visitor: Visitor) -> None:
        """Let go of what can no longer matter; everything is told by now."""
        fixed_us = self._fixed_us
        past_us = fixed_us - self._horizon
        visits = visitor.visits
        if visitor.published:
            visitor.published = {
                id_: known for id_, known in visitor.published.items() if known.final_us >= fixed_us
            }
        for visit in visits:
            if visit.start_us < fixed_us:
                visit.told = ()
        if visits and visits[0].start_us < fixed_us:
            self._resume(visitor)
            kept = []
            for visit in visits:
                if visit.last_us >= past_us if visit.alive else visit.start_us >= fixed_us:
                    kept.append(visit)
                elif visit.alive and self._retention:
                    visitor.seen = self._retention.meet(visitor.seen, visit)
            visitor.visits = kept
        if visitor.resume:
            from_us = visitor.visits[0].start_us if visitor.visits else fixed_us
            visitor.resume = {name: us for name, us in visitor.resume.items() if us >= from_us}
        seen = visitor.seen
        if seen and not visitor.visits and seen.last_us < fixed_us - self._memory:
            visitor.seen = None

    def _resume(self, visitor: Visitor) -> None:
        """Remember where attempts that are final have ended."""
        visits = visitor.alive()
        for reader in self._funnels:
            if reader.span_us is None:
                continue
            for attempt in reader.attempts(visits, visitor.resume.get(reader.name, -1), 0):
                if attempt.final_us >= self._fixed_us:
                    break
                visitor.resume[reader.name] = attempt.over_us

    def _next_look(self, visitor: Visitor) -> int:
        """At what stream time something of the visitor can be let go of."""
        if visitor.visits:
            first = visitor.visits[0]
            if first.told or not first.alive:
                return first.start_us + self._settle
            return first.last_us + self._horizon + self._settle
        assert visitor.seen
        return visitor.seen.last_us + self._memory + self._settle


def _start(visit: Visit) -> int:
    return visit.start_us
