"""The simulator: many visitors at once, with faults, in the order in which messages arrive."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import Any

import msgspec

from webevents.events.times import EPOCH, to_us
from webevents.sources.pacing import even_slot
from webevents.sources.simulator.arrivals import Arrivals
from webevents.sources.simulator.chance import TimeText, seeded
from webevents.sources.simulator.corrupt import spoil
from webevents.sources.simulator.incidents import Incident, Incidents, incidents_of
from webevents.sources.simulator.shop import Shop
from webevents.sources.simulator.truth import Truth
from webevents.sources.simulator.visit import MEAN_CRAWL, Profile, Visit
from webevents.sources.simulator.visitors import Pool
from webevents.sources.simulator.website import Website
from webevents.spec.generator import CorruptKind, GeneratorSpec

DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)
"""Where simulated time begins unless something says otherwise; fixed, so that a seed suffices."""
DEFAULT_KEYS = {"web-events": ("user_domain_id",), "journeys": ("user_id",)}
"""Key fields of each profile unless the caller names others."""
_COUNTER_BITS = 48
_SCATTER = 0x5DEECE66D
"""An odd factor: consecutive identifiers look unlike, and none comes twice."""
_FOREVER = 1 << 62


class Simulated(msgspec.Struct, gc=False):
    """One message."""

    value: bytes
    """The event; JSON unless it is corrupt."""
    arrival_us: int
    """When it arrives, in microseconds since the epoch, in simulated time."""
    event_id: bytes
    event_time_us: int
    """When the event happened, in microseconds since the epoch."""
    visit: Any
    """The :class:`Visit` it belongs to; not typed as such, for msgspec would look into it."""
    fault: str | None = None
    kind: CorruptKind | None = None
    copy: int = 0
    incident: str | None = None
    """The incident that was when it arrived."""

    @property
    def key(self) -> bytes | None:
        """The Kafka message's key."""
        key: bytes = self.visit.key
        return key

    @property
    def truth(self) -> Truth:
        """What is true of the message."""
        visit: Visit = self.visit
        visitor = visit.visitor.name.decode()
        return Truth(
            event_id=self.event_id.decode(),
            event_time_us=self.event_time_us,
            arrival_us=self.arrival_us,
            visitor=visitor,
            session=f"{visitor}#{visit.ordinal}",
            channel=visit.channel,
            is_bot=visit.visitor.is_bot,
            fault=self.fault,
            kind=None if self.kind is None else str(self.kind),
            copy=self.copy,
            incident=self.incident,
        )


class Simulator:
    """Simulated visitors; iterating gives their messages in the order of arrival.

    The same spec, seed, replica and start give the same messages, byte for byte, in any process.
    With another start, people do the same at other times and identifiers are others, so that a
    run does not repeat the identifiers of the one before.

    :param spec: the simulation.
    :param replica: which of the replicas this is, from 0; each has visitors of its own.
    :param replicas: number of replicas that share the volume.
    :param start_us: where simulated time begins; ``spec.time.start`` where absent, and
        :data:`DEFAULT_START` where that is absent too.
    :param end_us: where it ends; ``spec.time.duration`` after the start where absent.
    :param key_fields: fields whose values, joined with ``|``, are the message key.
    :param slots: for wall-clock time, gives the time of the next message, when it is due, or
        None at the end; evenly spaced times without waiting where absent.
    :raises webevents.errors.UserError: when the profile does not have the key fields.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        *,
        replica: int = 0,
        replicas: int = 1,
        start_us: int | None = None,
        end_us: int | None = None,
        key_fields: Sequence[str] | None = None,
        slots: Callable[[], int | None] | None = None,
    ) -> None:
        self.spec = spec
        self.seed = secrets.randbits(32) if spec.seed is None else spec.seed
        """The seed in use; give it as ``spec.generator.seed`` to repeat the run."""
        if start_us is None:
            start_us = to_us((spec.time.start or DEFAULT_START) - EPOCH)
        self.start_us = start_us
        if end_us is None and spec.time.duration is not None:
            end_us = start_us + to_us(spec.time.duration)
        self.end_us = _FOREVER if end_us is None else end_us
        self._replicas = replicas
        self._rng = seeded(self.seed, spec.profile, replica, replicas)
        ids = seeded(self.seed, spec.profile, replica, replicas, start_us)
        self._ids = ids.getrandbits
        self._counter = count(ids.getrandbits(32))
        make = Website if spec.profile == "web-events" else Shop
        fields = DEFAULT_KEYS[spec.profile] if key_fields is None else key_fields
        self._profile: Profile = make(spec, fields, self._rng, ids)
        self._replica = replica
        self._pool = Pool(
            lambda number: self._profile.visitor(number * replicas + replica),
            (spec.pool + replicas - 1 - replica) // replicas,
            to_us(spec.visits.min_break),
            self._rng,
        )
        self._crawlers = count()
        self._bot_visits = self._share_of_bot_visits()
        self._slots = slots
        self._max_pause_us = to_us(spec.visits.max_pause)
        self._max_events = spec.visits.max_events
        self._text = TimeText()
        self._pending: list[tuple[int, int, Simulated]] = []
        self._order = count()
        faults = spec.faults
        self._corrupt = faults.corrupt
        self._late = self._corrupt + faults.late
        self._out_of_order = self._late + faults.out_of_order
        self._duplicates = self._out_of_order + faults.duplicates
        self._late_us = to_us(faults.late_by)
        self._jitter_us = to_us(faults.out_of_order_by)
        self._copy_us = to_us(faults.duplicates_by)
        self.incidents: list[Incident] = incidents_of(spec, start_us)
        """The truth about the incidents, in the order of their times."""
        self._incidents: Incidents | None = None
        if self.incidents:
            chance = seeded(self.seed, spec.profile, replica, replicas, "incidents")
            self._incidents = Incidents(self.incidents, chance, spec.order_types)

    def __iter__(self) -> Iterator[Simulated]:
        if self.spec.time.mode == "wallClock":
            messages = self._by_slots(self._slots or self._even_slots())
        else:
            messages = self._by_timeline()
        return messages if self._incidents is None else self._labelled(messages, self._incidents)

    @staticmethod
    def _labelled(messages: Iterator[Simulated], incidents: Incidents) -> Iterator[Simulated]:
        for message in messages:
            incident = incidents.at(message.arrival_us)
            message.incident = incident.name if incident else None
            yield message

    def events_per_visit(self) -> float:
        """Mean number of messages of a visit, copies and crawlers included."""
        bots = self._bot_visits
        events = bots * MEAN_CRAWL + (1 - bots) * self._profile.mean_events()
        return events * (1 + self.spec.faults.duplicates)

    def events_per_second(self) -> float:
        """This replica's part of the mean rate that the spec asks for."""
        spec = self.spec
        if spec.sessions_per_day is None:
            return spec.events_per_second / self._replicas
        return spec.sessions_per_day * self.events_per_visit() / 86_400 / self._replicas

    def _share_of_bot_visits(self) -> float:
        """So that the share of events is right although crawlers' visits are longer."""
        share = self.spec.faults.bots
        if share in (0.0, 1.0):
            return share
        bots = share / MEAN_CRAWL
        return bots / (bots + (1 - share) / self._profile.mean_events())

    def _even_slots(self) -> Callable[[], int | None]:
        rate = self.events_per_second()
        index = count()
        return lambda: even_slot(self.start_us, next(index), rate) if rate > 0 else None

    def _open(self, start_us: int) -> Visit:
        if self._bot_visits and self._rng.random() < self._bot_visits:
            number = next(self._crawlers) * self._replicas + self._replica
            visitor = self._profile.crawler(number)
        else:
            visitor = self._pool.take(start_us)
        digits = b"%020x" % self._ids(80)
        prefix = b"%s-%s-4%s-8%s-" % (digits[:8], digits[8:12], digits[13:16], digits[17:20])
        return self._profile.visit(visitor, prefix, start_us)

    def _by_timeline(self) -> Iterator[Simulated]:
        """Visits start at random by the hour's intensity; events come at their own times."""
        visits_per_day = self.events_per_second() * 86_400 / self.events_per_visit()
        arrivals = Arrivals(visits_per_day, self.spec.visits.hourly_weights, self._rng)
        order, pending, end_us = self._order, self._pending, self.end_us
        incidents = self._incidents
        active: list[tuple[int, int, Visit]] = []
        opening = arrivals.after(self.start_us)
        while True:
            now = min(opening, active[0][0] if active else _FOREVER)
            if pending and (pending[0][0] <= now or now >= end_us):
                yield heappop(pending)[2]
                continue
            if now >= end_us:
                return
            if now == opening:
                for _ in range(incidents.times(now) if incidents else 1):
                    heappush(active, (now, next(order), self._open(now)))
                opening = arrivals.after(now)
                continue
            visit = active[0][2]
            if incidents and incidents.leaves(visit, now):
                heappop(active)
                self._pool.leave(visit.visitor, now)
                continue
            message = self._event(visit, now)
            next_us = self._onwards(visit, now)
            if next_us < 0:
                heappop(active)
                self._pool.leave(visit.visitor, now)
            else:
                heapreplace(active, (next_us, next(order), visit))
            if message is not None:
                yield message

    def _by_slots(self, next_slot: Callable[[], int | None]) -> Iterator[Simulated]:
        """Each slot takes one message: one that is due, or the first of a new visit."""
        active: list[tuple[int, int, Visit]] = []
        incidents = self._incidents
        while (now := next_slot()) is not None and now < self.end_us:
            for _ in range(incidents.times(now) if incidents else 1):
                yield self._take(active, now)

    def _take(self, active: list[tuple[int, int, Visit]], now: int) -> Simulated:
        """The next message of a slot."""
        order, pending = self._order, self._pending
        message: Simulated | None = None
        while message is None:
            if pending and pending[0][0] <= now:
                message = heappop(pending)[2]
                message.arrival_us = now
                break
            if active and active[0][0] <= now:
                visit = heappop(active)[2]
                if now - visit.sure_us > self._max_pause_us:
                    # The rate was too low for as many visitors: this one has left.
                    self._pool.leave(visit.visitor, now)
                    continue
            else:
                visit = self._open(now)
            message = self._event(visit, now)
            next_us = self._onwards(visit, now)
            if next_us < 0:
                self._pool.leave(visit.visitor, now)
            else:
                heappush(active, (next_us, next(order), visit))
        return message

    def _event(self, visit: Visit, now: int) -> Simulated | None:
        """The visit's present event; None where it arrives later."""
        number = next(self._counter) * _SCATTER & ((1 << _COUNTER_BITS) - 1)
        event_id = b"%s%012x" % (visit.id_prefix, number)
        value = visit.render(event_id, self._text(now))
        visit.events += 1
        if self._incidents is not None:
            if self._incidents.prevents(value, now):
                return None
            if self._may_be_missing(visit, now) and self._incidents.spoils(now):
                return self._spoilt(visit, now, event_id, value)
        if not self._duplicates or (u := self._rng.random()) >= self._duplicates:
            visit.sure_us = now
            return Simulated(value, now, event_id, now, visit)
        return self._faulty(visit, now, event_id, value, u)

    def _faulty(
        self, visit: Visit, now: int, event_id: bytes, value: bytes, u: float
    ) -> Simulated | None:
        random = self._rng.random
        if u >= self._out_of_order:
            visit.sure_us = now
            copy_us = now + 1 + int(random() * self._copy_us)
            self._delay(Simulated(value, copy_us, event_id, now, visit, "duplicate", copy=1))
            return Simulated(value, now, event_id, now, visit, "duplicate")
        if not self._may_be_missing(visit, now):
            # Without this event too, the pause that remains could look like the visit's end.
            visit.sure_us = now
            return Simulated(value, now, event_id, now, visit)
        if u < self._corrupt:
            return self._spoilt(visit, now, event_id, value)
        if u < self._late:
            half = self._late_us // 2
            arrival_us = now + half + int(random() * (self._late_us - half))
            self._delay(Simulated(value, arrival_us, event_id, now, visit, "late"))
        else:
            arrival_us = now + 1 + int(random() * self._jitter_us)
            self._delay(Simulated(value, arrival_us, event_id, now, visit, "out_of_order"))
        return None

    def _may_be_missing(self, visit: Visit, now: int) -> bool:
        return now - visit.sure_us <= self._max_pause_us // 2

    def _spoilt(self, visit: Visit, now: int, event_id: bytes, value: bytes) -> Simulated:
        kinds = self.spec.faults.corrupt_kinds
        kind = kinds[int(self._rng.random() * len(kinds))]
        return Simulated(spoil(value, kind), now, event_id, now, visit, "corrupt", kind)

    def _delay(self, message: Simulated) -> None:
        heappush(self._pending, (message.arrival_us, next(self._order), message))

    def _onwards(self, visit: Visit, now: int) -> int:
        """Time of the visit's next event; -1 where it is over."""
        if visit.events >= self._max_events:
            return -1
        pause = visit.advance(now)
        if pause < 0:
            return -1
        return min(now + pause, visit.sure_us + self._max_pause_us)
