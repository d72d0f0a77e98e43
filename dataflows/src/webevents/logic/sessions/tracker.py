"""The sessions of one partition: events in, session records and state out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from webevents.events.times import SECOND_US, to_us
from webevents.logic.sessions.chain import EVENT_BYTES, Chain, Shown
from webevents.logic.sessions.record import retraction_record, session_record
from webevents.logic.sessions.timers import Timers
from webevents.logic.sessions.totals import Entry
from webevents.spec.analytics import AnalyticsSpec
from webevents.spec.stages import SessionsSpec

VERSIONS_PER_MS = 4096
"""A version is the record's time in milliseconds times this, or more where it must grow; below
2**53 until the year 2039, so that readers with floating-point numbers see it exactly."""
MAX_CLOCK = 2**53
"""A record's time that would give a greater version than this is not believed."""
MAX_STATE_BYTES = 9_000_000
"""Of a chain's state, which is one Kafka message (10 MB). Only a chain of several cuts can come
near: see :data:`webevents.logic.sessions.record.MAX_LIST_TEXT`."""
REST_US = 60 * SECOND_US
"""Stream time without an event after which a chain is packed."""


@dataclass(slots=True)
class Publication:
    """What a commit writes."""

    sessions: list[tuple[str, bytes]] = field(default_factory=list)
    """(session key, record)."""
    state: list[tuple[str, bytes | None]] = field(default_factory=list)
    """(state key, state), None where the state is done with."""


class PartitionSessions:
    """The sessions of one partition that can still change.

    :param pipeline: the pipeline's name; part of every session's identifier.
    :param spec: gap, lateness and limits.
    :param note: the clocks that :meth:`note` gave at the committed offset; empty at the start.
    :param analytics: where given, records have what analytics need.
    """

    def __init__(
        self,
        pipeline: str,
        spec: SessionsSpec,
        note: dict[str, int],
        analytics: AnalyticsSpec | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._spec = spec
        self._analytics = analytics
        self._gap = to_us(spec.gap)
        self._lateness = to_us(spec.allowed_lateness)
        self._max_length = to_us(spec.max_length)
        self._max_events, self._max_values = spec.max_events, spec.max_values
        self.stream_us = note.get("t", 0)
        self._version = note.get("v", 0)
        self._idle_us = 0
        self._chains: dict[str, Chain | list[Chain]] = {}
        bucket = max(SECOND_US, self._gap // 60)
        self._closing = Timers[Chain](bucket)
        """By end + gap; each chain that waits once."""
        self._cuts = Timers[Chain](bucket)
        """Long chains by the end of their newest cut."""
        self._ending = Timers[Chain](bucket)
        """By end + gap, to be compared with stream time - lateness; each chain once."""
        self._touched: dict[Chain, None] = {}
        """Got events, or were merged away, since the last commit."""
        self._changed: dict[Chain, None] = {}
        """Are not published as they are now."""
        self._warm: dict[Chain, None] = {}
        self._cooling: dict[Chain, None] = {}
        self._rest_at = self.stream_us
        self._forgotten: list[tuple[str, bytes]] = []
        """Retractions of sessions that were erased, not yet published."""

    def note(self) -> dict[str, int]:
        """The clocks, to be committed with the offset."""
        return {"t": self.stream_us, "v": self._version}

    @property
    def size(self) -> int:
        """Number of chains that can still change."""
        return sum(len(c) if isinstance(c, list) else 1 for c in self._chains.values())

    def restore(self, state: bytes) -> None:
        """Take over a chain whose state an earlier owner of the partition wrote.

        :raises ValueError: when an incompatible version wrote it.
        """
        chain = Chain.load(state)
        self._keep(chain)
        self._ending.add(chain, chain.end_us + self._gap)
        if chain.shown is Shown.STALE:
            self._changed[chain] = None
        if chain.shown is not Shown.CLOSED:
            self._wait(chain)
        if chain.is_long(self._max_length):
            self._cut(chain)

    def add(self, key: str, entry: Entry, record_ms: int) -> str | None:
        """Add one event.

        :param record_ms: the Kafka record's time in milliseconds.
        :returns: None, or why the event was dropped: late, duplicate or session_full.
        """
        version = self._version + 2
        clock = record_ms * VERSIONS_PER_MS
        if version < clock <= MAX_CLOCK:
            version = clock
        self._version = version
        time_us = entry.time_us
        if time_us > self.stream_us:
            self.stream_us = time_us
        elif time_us < self.stream_us - self._lateness:
            return "late"
        self._idle_us = 0
        known = self._chains.get(key)
        gap = self._gap
        if known is None:
            self._start(key, entry, version)
            return None
        if isinstance(known, list):
            near = [c for c in known if c.start_us - gap <= time_us <= c.end_us + gap]
            if near:
                # Their order must not depend on the order in which they were restored.
                near.sort(key=_start)
                return self._extend(near[0], near[1:], entry, version)
        elif known.start_us - gap <= time_us <= known.end_us + gap:
            return self._extend(known, (), entry, version)
        self._start(key, entry, version)
        return None

    def forget(self, key: str, record_ms: int) -> None:
        """Erase the sessions of a key that can still change: what readers know is retracted, the
        state is done with. The key's next event begins a session of its own.

        :param record_ms: the Kafka record's time in milliseconds.
        """
        known = self._chains.get(key)
        if known is None:
            return
        clock = record_ms * VERSIONS_PER_MS
        self._version = version = max(self._version + 2, clock if clock <= MAX_CLOCK else 0)
        for chain in list(known) if isinstance(known, list) else [known]:
            chain.unpack()
            for start_us in chain.published:
                record = retraction_record(self._pipeline, key, start_us, version)
                self._forgotten.append((key, record))
            self._remove(chain)
            self._touched[chain] = None

    def _start(self, key: str, entry: Entry, version: int) -> None:
        chain = Chain(key, entry.time_us)
        chain.add(None, entry.time_us // self._max_length, entry, version, self._max_values)
        self._touched[chain] = None
        self._keep(chain)
        self._ending.add(chain, entry.time_us + self._gap)
        self._wait(chain)

    def _extend(
        self, chain: Chain, others: Sequence[Chain], entry: Entry, version: int
    ) -> str | None:
        """Add an event to a chain, merging it with the others that the event bridges."""
        if not chain.parts:
            chain.unpack()
        time_us = entry.time_us
        cell = time_us // self._max_length
        part = chain.parts[-1]
        if part.cell != cell:
            return self._extend_far(chain, others, cell, entry, version)
        if entry.digest in part.seen:
            return "duplicate"
        if others or len(chain.parts) > 1 or part.events >= self._max_events:
            return self._extend_far(chain, others, cell, entry, version)
        # By far the most events come this way: one chain, which stays within one cut.
        part.add(entry, self._max_values)
        part.version = version
        if time_us > chain.end_us:
            chain.end_us = time_us
        elif time_us < chain.start_us:
            chain.start_us = time_us
        chain.shown = _STALE
        self._touched[chain] = None
        if not chain.waiting:
            self._wait(chain)
        return None

    def _extend_far(
        self, chain: Chain, others: Sequence[Chain], cell: int, entry: Entry, version: int
    ) -> str | None:
        """Add an event to a chain of several cuts, or of several chains."""
        part = chain.part(cell)
        if part is not None and entry.digest in part.seen:
            return "duplicate"
        for other in others:
            other.unpack()
        if self._is_full(chain, others, cell, entry.time_us):
            marked = part or chain.parts[-1]
            if not marked.truncated:
                marked.truncated = True
                marked.version = version
                self._touch(chain)
            return "session_full"
        long = self._max_length
        was_long = chain.is_long(long)
        chain.add(part, cell, entry, version, self._max_values)
        if chain.is_long(long):
            if not was_long:
                # What was published as one session is now cut: no version of it holds.
                chain.touch_all(version)
            if part is None or not was_long:
                self._cut(chain)
        self._touch(chain)
        for other in others:
            self._join(chain, other, version)
        return None

    def _touch(self, chain: Chain) -> None:
        chain.shown = _STALE
        self._touched[chain] = None
        if not chain.waiting:
            self._wait(chain)

    def _is_full(self, chain: Chain, others: Sequence[Chain], cell: int, time_us: int) -> bool:
        """Whether the session that an event would belong to has as many events as it may, or its
        chain is as large as it may be."""
        limit = self._max_events
        if not others and len(chain.parts) == 1 and chain.parts[0].events < limit:
            return False
        chains = [chain, *others]
        start_us = min(time_us, *(c.start_us for c in chains))
        end_us = max(time_us, *(c.end_us for c in chains))
        cut = end_us - start_us > self._max_length
        parts = [p for c in chains for p in c.parts if not cut or p.cell == cell]
        if sum(part.events for part in parts) >= limit:
            return True
        room = MAX_STATE_BYTES - EVENT_BYTES
        return sum(c.size(exact=False) for c in chains) > room and (
            sum(c.size(exact=True) for c in chains) > room
        )

    def _join(self, chain: Chain, other: Chain, version: int) -> None:
        """Merge two chains that an event between them has bridged; the other is the later one."""
        long = self._max_length
        whole = max(chain.end_us, other.end_us) - chain.start_us
        if whole > long:
            for short in (chain, other):
                if not short.is_long(long):
                    short.touch_all(version)
        chain.absorb(other, self._max_values)
        if whole > long:
            self._cut(chain)
        self._remove(other)
        self._touched[other] = None

    def _keep(self, chain: Chain) -> None:
        known = self._chains.get(chain.key)
        if known is None:
            self._chains[chain.key] = chain
        elif isinstance(known, list):
            known.append(chain)
        else:
            self._chains[chain.key] = [known, chain]

    def _remove(self, chain: Chain) -> None:
        chain.alive = False
        known = self._chains[chain.key]
        if not isinstance(known, list):
            del self._chains[chain.key]
            return
        known.remove(chain)
        if len(known) == 1:
            self._chains[chain.key] = known[0]

    def _wait(self, chain: Chain) -> None:
        chain.waiting = True
        self._closing.add(chain, chain.end_us + self._gap)

    def _cut(self, chain: Chain) -> None:
        """Have a long chain looked at when its newest cut is past."""
        if not chain.cutting:
            chain.cutting = True
            self._cuts.add(chain, self._last_moment(chain))

    def _last_moment(self, chain: Chain) -> int:
        """The last moment of the cut that the chain's newest event lies in."""
        return (chain.end_us // self._max_length + 1) * self._max_length - 1

    def idle(self, elapsed_us: int) -> None:
        """Say that the partition had no event for this long, by the wall clock.

        Sessions then close at the wall clock's pace; lateness is not judged by it.
        """
        self._idle_us = elapsed_us

    def _close(self, now: int, *, exact: bool) -> None:
        """Look for sessions that have closed."""
        for chain in self._closing.take(now, exact=exact):
            if not chain.alive:
                continue
            if chain.end_us + self._gap >= now:
                self._closing.add(chain, chain.end_us + self._gap)
                continue
            chain.waiting = False
            if chain.shown is not Shown.CLOSED:
                self._changed[chain] = None
        for chain in self._cuts.take(now, exact=exact):
            if not chain.alive:
                continue
            if self._last_moment(chain) >= now:
                self._cuts.add(chain, self._last_moment(chain))
                continue
            chain.cutting = False
            self._changed[chain] = None

    def _end(self) -> Iterator[Chain]:
        """Take out the chains that can no longer change."""
        for chain in self._ending.take(self.stream_us - self._lateness, exact=False):
            if not chain.alive:
                continue
            if self._final(chain.end_us + self._gap):
                self._remove(chain)
                yield chain
            else:
                self._ending.add(chain, chain.end_us + self._gap)

    def _final(self, time_us: int) -> bool:
        """Whether every event at this time or before would be late."""
        return time_us < self.stream_us - self._lateness

    def commit(self, *, publish_open: bool) -> Publication:
        """Collect what changed since the last commit.

        :param publish_open: whether sessions that are still open are published too. Readers then
            know every session as it is; otherwise a session that closed without a further event
            of its own may be shown as closed later, by a sixtieth of the gap (at least 1 s).
        """
        now = self.stream_us + self._idle_us
        self._close(now, exact=publish_open)
        unsaved, self._touched = self._touched, {}
        self._changed.update(unsaved)
        out = Publication()
        made: list[tuple[int, str, bytes]] = []
        later: dict[Chain, None] = {}
        for chain in self._changed:
            if not chain.alive:
                continue
            closed = chain.end_us + self._gap < now
            if not (closed or publish_open or chain.is_long(self._max_length)):
                later[chain] = None
                continue
            chain.unpack()
            self._warm[chain] = None
            records = [(us, chain.key, record) for us, record in self._records(chain, now, closed)]
            pruned = self._prune(chain)
            shown = Shown.CLOSED if closed else Shown.OPEN
            if records or pruned or shown is not chain.shown:
                chain.shown = shown
                unsaved[chain] = None
            made += records
        # In the order of time, so that readers too have a stream time to judge lateness by.
        made.sort(key=_moment)
        out.sessions = self._forgotten + [(key, record) for _, key, record in made]
        self._forgotten = []
        self._changed = later
        unsaved.update(dict.fromkeys(self._end()))
        # Tombstones first: a chain may be saved under the key of one that it absorbed.
        out.state += [(key, None) for chain in unsaved if (key := self._drop(chain)) is not None]
        out.state += [self._save(chain) for chain in unsaved if chain.alive]
        self._warm.update(unsaved)
        self._pack()
        return out

    def _records(self, chain: Chain, now: int, ended: bool) -> Iterator[tuple[int, bytes]]:
        """Bring what is published of a chain to what holds now; each record with its time."""
        published, spec = chain.published, self._spec
        long = chain.is_long(self._max_length)
        starts = set()
        newest = 0
        for totals in chain.sessions(self._max_length, spec.max_values):
            start_us, version = totals.first_us, totals.version
            starts.add(start_us)
            newest = max(newest, version)
            cut_us = (totals.cell + 1) * self._max_length
            closed = ended or (long and cut_us <= now)
            if closed:
                version += 1
            if version > published.get(start_us, 0):
                published[start_us] = version
                yield (
                    totals.last_us,
                    session_record(
                        *(self._pipeline, chain.key, totals, version),
                        open_=not closed,
                        spec=spec,
                        analytics=self._analytics,
                    ),
                )
        for start_us in [start for start in published if start not in starts]:
            del published[start_us]
            yield start_us, retraction_record(self._pipeline, chain.key, start_us, newest)

    def _prune(self, chain: Chain) -> bool:
        """Let go of a long chain's cuts that can no longer change, except for the newest."""
        parts = chain.parts
        if len(parts) == 1 or not chain.is_long(self._max_length):
            return False
        first = 0
        while first < len(parts) - 1 and self._final(
            (parts[first].cell + 1) * self._max_length - 1
        ):
            chain.published.pop(parts[first].first_us, None)
            first += 1
        del parts[:first]
        return first > 0

    def _drop(self, chain: Chain) -> str | None:
        """The key of a state that is done with, if the chain left one behind."""
        saved = chain.saved_start
        if saved is None or (chain.alive and saved == chain.start_us):
            return None
        chain.saved_start = None
        return f"{saved}|{chain.key}"

    def _save(self, chain: Chain) -> tuple[str, bytes]:
        chain.unpack()
        chain.saved_start = chain.start_us
        return f"{chain.start_us}|{chain.key}", chain.dump()

    def _pack(self) -> None:
        """Pack the chains that had no event for a while."""
        if self.stream_us < self._rest_at:
            return
        self._rest_at = self.stream_us + REST_US
        for chain in self._cooling:
            if chain not in self._warm:
                chain.pack()
        self._cooling, self._warm = self._warm, {}


_STALE = Shown.STALE


def _start(chain: Chain) -> int:
    return chain.start_us


def _moment(made: tuple[int, str, bytes]) -> int:
    return made[0]
