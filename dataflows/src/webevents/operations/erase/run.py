"""An erasure from the first search to the last."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import Any

from webevents.connectors.elasticsearch import BulkWriter, connect
from webevents.connectors.kafka import client_config
from webevents.connectors.kafka_observe import Observer
from webevents.errors import UserError
from webevents.events.analytics import KINDS
from webevents.operations.backfill.state import states
from webevents.operations.erase.archive import Archive
from webevents.operations.erase.kafka import Found, Topics, place_of
from webevents.operations.erase.person import Pair, Person
from webevents.operations.erase.report import Place, Report
from webevents.operations.erase.search import Documents
from webevents.operations.erase.tables import Rows
from webevents.spec.pipeline import WebEventPipeline

ROUNDS = 10
"""Times that newly linked identifiers are followed; more is no person."""
TRUNCATED = ("raw", "enriched", "sessions", "analytics", "failed")
ERASED = ("events", "sessions", *KINDS)
"""Documents that are the pipeline's own; others follow tables."""


class Erasure:
    """The erasure of one person.

    :param pipeline: with its connections filled in.
    :param given: identifiers, as (field, value).
    :param say: receives lines of progress.
    """

    def __init__(
        self,
        pipeline: WebEventPipeline,
        given: Sequence[Pair],
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._pipeline = pipeline
        self._say = say
        self._person = Person(pipeline.spec, set(given))

    def run(
        self,
        *,
        erase: bool,
        follow: bool = False,
        truncate: Sequence[str] = (),
        wait_s: float = 60.0,
    ) -> Report:
        """Look everywhere, erase where that is asked for, and look again.

        Everything can be run again at any time: what is gone is not found. Tables come first and
        topics last, because topics and documents tell which rows are the person's.

        :param erase: False looks only.
        :param follow: also the identifiers that stand beside the given ones in events.
        :param truncate: topics (raw, enriched, sessions, analytics, failed) whose messages up to
            the person's last one are deleted, of everybody.
        :param wait_s: how long the stages may take to read what is there.
        :raises UserError: when a system does not do what it is asked.
        :raises KafkaException: when the brokers do not answer.
        """
        for name in truncate:
            if name not in TRUNCATED:
                raise UserError(f"--truncate {name}: one of {', '.join(TRUNCATED)}")
        spec = self._pipeline.spec
        with ExitStack() as stack:
            kafka = client_config(spec.kafka)
            observer = stack.enter_context(closing(Observer(kafka)))
            self._topics = Topics(self._pipeline, kafka, observer)
            self._archive = self._documents = self._rows = None
            if spec.archive.enabled and spec.s3.endpoint is not None:
                self._archive = stack.enter_context(closing(Archive(self._pipeline)))
            if spec.index.enabled and spec.elasticsearch.urls is not None:
                client = connect(spec.elasticsearch)
                stack.callback(client.close)
                self._documents = Documents(self._pipeline, client)
                writer = stack.enter_context(closing(BulkWriter(client)))
            if (spec.store.enabled or spec.loader.enabled) and spec.postgres.host is not None:
                from webevents.connectors.postgres import connect as connect_postgres
                from webevents.connectors.postgres import explained

                stack.enter_context(explained(spec.postgres))
                connection = connect_postgres(
                    spec.postgres, f"webevents {self._pipeline.name} erase"
                )
                stack.callback(connection.close)
                self._rows = Rows(self._pipeline, connection)
            report = Report([], dry_run=not erase)
            self._not_reached(report)
            if erase:
                # What is under way must have arrived before it is looked for.
                report.notes += self._wait(wait_s)
            places, topics = self._look(follow)
            self._name(report)
            report.places = places
            report.notes += self._backfills(observer)
            if not erase:
                for found in topics.values():
                    if found.count:
                        self._place(
                            places, found
                        ).note = f"{found.others:,} messages of others would go with --truncate"
                return report
            self._topics.forget_sessions(self._person)
            report.notes += self._wait(wait_s)
            erased: dict[str, int] = {}
            if self._rows is not None:
                self._rows.learn(self._person)
                erased |= self._rows.erase(self._person)
            if self._documents is not None:
                for what in self._documents.names():
                    if what in ERASED:
                        place = self._documents.place(what, self._person)
                        erased[place.where] = self._documents.erase(what, self._person, writer)
            if self._archive is not None:
                gone = self._archive.erase(self._person, self._say)
                erased |= {p.where: gone for p in places if p.system == "s3"}
            for name in truncate:
                topic = getattr(spec.topics, name).name
                if topics.get(topic):
                    # Anew: the retractions have come to it meanwhile.
                    fresh = self._topics.scan(self._person)[topic]
                    report.notes += self._topics.truncate(fresh)
            self._verify(report, places, erased)
            return report

    def _look(self, follow: bool) -> tuple[list[Place], dict[str, Found]]:
        person = self._person
        for _ in range(ROUNDS):
            before = (len(person.pairs), len(person.event_ids), len(person.keys))
            places, topics = self._once()
            if follow and person.linked:
                self._say("also " + ", ".join(_said(person.linked)))
                person.add(set(person.linked))
            if before == (len(person.pairs), len(person.event_ids), len(person.keys)):
                return places, topics
        raise UserError(
            f"after {ROUNDS} rounds there are still new identifiers: these are several people; "
            "leave out --follow and name the identifiers one by one"
        )

    def _once(self) -> tuple[list[Place], dict[str, Found]]:
        """One search of everything."""
        person = self._person
        self._say("reading the topics …")
        topics = self._topics.scan(person)
        places: list[Place] = []
        for found in topics.values():
            place = place_of(found)
            if found.topic not in (self._topics.state, self._topics.analytics_state):
                place.ages_out = self._topics.ages_out(found)
            places.append(place)
        if self._archive is not None:
            self._say("reading the archive …")
            places.append(self._archive.place(person))
        if self._documents is not None:
            self._say("searching the documents …")
            places += [self._documents.place(what, person) for what in self._documents.names()]
            for place, what in zip(
                places[-len(self._documents.names()) :], self._documents.names(), strict=True
            ):
                if what not in ERASED:
                    place.note = "follows a table: delete the rows there"
        if self._rows is not None:
            self._rows.learn(person)
            places += self._rows.places(person)
        return places, topics

    def _verify(self, report: Report, places: list[Place], erased: dict[str, int]) -> None:
        before = {place.where: place.found for place in places}
        after, _ = self._once()
        for place in after:
            place.erased = erased.get(place.where, max(before.get(place.where, 0) - place.found, 0))
            place.remaining = place.found
            place.found = max(before.get(place.where, 0), place.erased)
        report.places = after
        report.notes += self._left(after)

    def _left(self, places: list[Place]) -> list[str]:
        """What to do about that which stays for ever."""
        topics = self._pipeline.spec.topics
        names = {getattr(topics, name).name: name for name in type(topics).model_fields}
        notes = []
        for place in places:
            left = f"{place.remaining:,} are left in {place.where}"
            if place.remaining and place.ages_out == "never":
                name = names[place.where]
                notes.append(
                    f"{left}, which keeps everything: set spec.topics.{name}.retention, or run "
                    f"this again with --truncate {name}"
                )
            elif place.remaining and not place.ages_out:
                notes.append(f"{left}: run this again")
        return notes

    def _wait(self, seconds: float) -> list[str]:
        late = self._topics.wait(seconds)
        return [f"{line}: run this again when it has" for line in late]

    def _place(self, places: list[Place], found: Found) -> Place:
        return next(place for place in places if place.where == found.topic)

    def _name(self, report: Report) -> None:
        report.identifiers = _said(self._person.given)
        report.linked = _said(self._person.linked)

    def _not_reached(self, report: Report) -> None:
        spec = self._pipeline.spec
        for wanted, reached, what, field in (
            (spec.archive.enabled, self._archive, "the archive", "spec.s3.endpoint"),
            (spec.index.enabled, self._documents, "the indices", "spec.elasticsearch.urls"),
            (spec.store.enabled or spec.loader.enabled, self._rows, "the tables", "spec.postgres"),
        ):
            if wanted and reached is None:
                report.notes.append(f"{what} cannot be reached: {field} is not set")

    def _backfills(self, observer: Observer) -> list[str]:
        running = [
            name
            for name, state in states(self._pipeline, observer).items()
            if state.phase not in ("done", "aborted")
        ]
        return [
            f"the backfill {name} is under way and may bring events back: run this again after it"
            for name in running
        ]


def _said(pairs: Any) -> list[str]:
    return sorted(f"{name}={value}" for name, value in pairs)
