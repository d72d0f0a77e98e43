"""The sessions of one partition: events in, session records and state out."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from webevents.events.times import SECOND_US, to_us
from webevents.logic.sessions.chain import Chain, load
from webevents.logic.sessions.record import retraction_record, session_record
from webevents.logic.sessions.totals import Entry
from webevents.spec.stages import SessionsSpec

VERSIONS_PER_MS = 4096
"""A version is the record's time in milliseconds times this, or more where it must grow; below
2**53 until the year 2039, so that readers with floating-point numbers see it exactly."""


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
    """

    def __init__(self, pipeline: str, spec: SessionsSpec, note: dict[str, int]) -> None:
        self._pipeline = pipeline
        self._spec = spec
        self._gap = to_us(spec.gap)
        self._lateness = to_us(spec.allowed_lateness)
        self._max_length = to_us(spec.max_length)
        self._bucket = max(SECOND_US, self._gap // 60)
        self.stream_us = note.get("t", 0)
        self._version = note.get("v", 0)
        self._idle_us = 0
        self._chains: dict[str, list[Chain]] = {}
        self._timers: dict[int, list[Chain]] = {}
        self._due: list[int] = []
        self._changed: dict[Chain, None] = {}
        self._unsaved: dict[Chain, None] = {}

    def note(self) -> dict[str, int]:
        """The clocks, to be committed with the offset."""
        return {"t": self.stream_us, "v": self._version}

    @property
    def size(self) -> int:
        """Number of chains that can still change."""
        return sum(map(len, self._chains.values()))

    def restore(self, state: bytes) -> None:
        """Take over a chain whose state an earlier owner of the partition wrote."""
        chain = load(state)
        self._chains.setdefault(chain.key, []).append(chain)
        self._changed[chain] = None
        self._schedule(chain, chain.end_us + self._gap)

    def add(self, key: str, entry: Entry, record_ms: int) -> str | None:
        """Add one event.

        :param record_ms: the Kafka record's time in milliseconds.
        :returns: None, or why the event was dropped: late, duplicate or session_full.
        """
        self._version = version = max(self._version + 2, record_ms * VERSIONS_PER_MS)
        time_us = entry.time_us
        if time_us < self.stream_us - self._lateness:
            return "late"
        if time_us > self.stream_us:
            self.stream_us = time_us
        self._idle_us = 0
        gap = self._gap
        cell = time_us // self._max_length
        chains = self._chains.get(key)
        if chains is None:
            self._chains[key] = [self._new_chain(key, cell, entry, version)]
            return None
        near = [c for c in chains if c.start_us - gap <= time_us <= c.end_us + gap]
        if not near:
            chains.append(self._new_chain(key, cell, entry, version))
            return None
        chain = near[0]
        part = chain.part(cell)
        if part is not None:
            if part.totals.has(entry.digest):
                return "duplicate"
            if part.totals.events >= self._spec.max_events:
                part.totals.truncated = True
                part.version = version
                self._changed[chain] = self._unsaved[chain] = None
                return "session_full"
        was_long = chain.is_long(self._max_length)
        chain.add(cell, entry, version, self._spec.max_values)
        if not was_long and chain.is_long(self._max_length):
            chain.touch_all(version)
        self._changed[chain] = self._unsaved[chain] = None
        for other in near[1:]:
            self._join(chain, other, chains, version)
        return None

    def _new_chain(self, key: str, cell: int, entry: Entry, version: int) -> Chain:
        chain = Chain(key, entry.time_us)
        chain.add(cell, entry, version, self._spec.max_values)
        self._changed[chain] = self._unsaved[chain] = None
        self._schedule(chain, chain.end_us + self._gap)
        return chain

    def _join(self, chain: Chain, other: Chain, chains: list[Chain], version: int) -> None:
        """Merge two chains that an event between them has bridged."""
        long = self._max_length
        whole = max(chain.end_us, other.end_us) - min(chain.start_us, other.start_us)
        if whole > long:
            # What was published as one session each is now cut: no version of it holds.
            for short in (chain, other):
                if not short.is_long(long):
                    short.touch_all(version)
        chain.absorb(other, version, self._spec.max_values)
        chains.remove(other)
        self._changed.pop(other, None)
        self._unsaved[other] = None

    def _schedule(self, chain: Chain, time_us: int) -> None:
        bucket = time_us // self._bucket + 1
        waiting = self._timers.get(bucket)
        if waiting is None:
            self._timers[bucket] = [chain]
            heapq.heappush(self._due, bucket)
        else:
            waiting.append(chain)

    def idle(self, elapsed_us: int) -> None:
        """Say that the partition had no event for this long, by the wall clock.

        Sessions then close at the wall clock's pace; lateness is not judged by it.
        """
        self._idle_us = elapsed_us
        self._fire()

    def _fire(self) -> None:
        """Run the timers that are due: sessions close, and leave when they cannot change."""
        now = self.stream_us + self._idle_us
        while self._due and self._due[0] * self._bucket <= now:
            for chain in self._timers.pop(heapq.heappop(self._due)):
                if not chain.alive:
                    continue
                if chain.end_us + self._gap >= now:
                    if chain.is_long(self._max_length):
                        self._changed[chain] = None
                    self._schedule(chain, chain.end_us + self._gap)
                    continue
                self._changed[chain] = None
                if not self._final(chain.end_us + self._gap):
                    last_call = chain.end_us + self._gap + self._lateness
                    # Idle time closes sessions but ends none, so look again after the next event.
                    self._schedule(chain, max(last_call, now))

    def _final(self, time_us: int) -> bool:
        """Whether every event at this time or before would be late."""
        return time_us < self.stream_us - self._lateness

    def commit(self, *, publish_open: bool) -> Publication:
        """Collect what changed since the last commit.

        :param publish_open: whether sessions that are still open are published too.
        """
        self._fire()
        out = Publication()
        now = self.stream_us + self._idle_us
        later: dict[Chain, None] = {}
        for chain in self._changed:
            closed = chain.end_us + self._gap < now
            if not (closed or publish_open or chain.is_long(self._max_length)):
                later[chain] = None
                continue
            for record in self._records(chain, now):
                out.sessions.append((chain.key, record))
                self._unsaved[chain] = None
            if self._final(chain.end_us + self._gap):
                self._forget(chain)
        self._changed = later
        for chain in self._unsaved:
            self._save(chain, out.state)
        self._unsaved = {}
        return out

    def _records(self, chain: Chain, now: int) -> Iterator[bytes]:
        """Bring what is published of a chain to what holds now."""
        published, spec = chain.published, self._spec
        long = chain.is_long(self._max_length)
        starts = set()
        newest = 0
        done = []
        for totals, version in chain.sessions(self._max_length, spec.max_values):
            start_us = totals.first[0]
            starts.add(start_us)
            newest = max(newest, version)
            cut_us = (totals.cell + 1) * self._max_length
            closed = chain.end_us + self._gap < now or (long and cut_us <= now)
            if closed:
                version += 1
            if version > published.get(start_us, 0):
                published[start_us] = version
                yield session_record(self._pipeline, chain.key, totals, version, not closed, spec)
            if long and self._final(cut_us - 1):
                done.append(totals.cell)
        for start_us in [start for start in published if start not in starts]:
            del published[start_us]
            yield retraction_record(self._pipeline, chain.key, start_us, newest)
        if done:
            self._prune(chain, done)

    def _prune(self, chain: Chain, cells: list[int]) -> None:
        """Let go of cuts that can no longer change; the chain's newest cut stays."""
        kept = [part for part in chain.parts[:-1] if part.totals.cell not in cells]
        for part in chain.parts[:-1]:
            if part not in kept:
                chain.published.pop(part.totals.first[0], None)
        if len(kept) + 1 < len(chain.parts):
            chain.parts = [*kept, chain.parts[-1]]
            self._unsaved[chain] = None

    def _forget(self, chain: Chain) -> None:
        chain.alive = False
        chains = self._chains[chain.key]
        chains.remove(chain)
        if not chains:
            del self._chains[chain.key]
        self._unsaved[chain] = None

    def _save(self, chain: Chain, state: list[tuple[str, bytes | None]]) -> None:
        saved = chain.saved_start
        if saved is not None and (not chain.alive or saved != chain.start_us):
            state.append((f"{saved}|{chain.key}", None))
            chain.saved_start = None
        if chain.alive:
            state.append((f"{chain.start_us}|{chain.key}", chain.dump()))
            chain.saved_start = chain.start_us
