"""Documents of a person in Elasticsearch or OpenSearch: found by search, deleted by id."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from elasticsearch import NotFoundError

from webevents.connectors.elasticsearch import BulkWriter, SearchClient, explained, refresh
from webevents.errors import UserError
from webevents.events.analytics import KINDS
from webevents.logic.documents import Document
from webevents.operations.erase.person import ID_FIELDS, Person
from webevents.operations.erase.report import Place
from webevents.plan.make import make_plan
from webevents.plan.templates import EXTRA, operation_kinds
from webevents.spec.pipeline import WebEventPipeline

PAGE = 1_000
IDS = 5_000
"""Identifiers of one query; a terms query takes 65,536."""


class Documents:
    """The indices of a pipeline, also those that a backfill is making."""

    def __init__(self, pipeline: WebEventPipeline, client: SearchClient) -> None:
        self._client = client
        spec = pipeline.spec
        # What tells how the pipeline does has nothing of a person in it.
        operation = operation_kinds(pipeline)
        self._patterns = {
            what: pattern
            for what, pattern in make_plan(pipeline).indices.items()
            if what not in operation
        }
        self._shadows = {
            "events": f"backfill-*-{spec.index.events.prefix}-*",
            "sessions": f"backfill-*-{spec.index.sessions.prefix}-*",
        }
        chosen = spec.index.events.fields
        self._fields = {name: [name, f"{EXTRA}.{name}"] for name in ID_FIELDS}
        if chosen:
            for name in ID_FIELDS:
                self._fields[name] = [
                    doc for doc, how in chosen.items() if (how.field or doc) == name
                ]
        self._names = {doc: name for name, docs in self._fields.items() for doc in docs}
        self._sessions = spec.sessions.enabled

    def names(self) -> list[str]:
        """What is written: events, sessions, kinds of analytics, and each captured table."""
        return list(self._patterns)

    def find(self, what: str, person: Person) -> Iterator[dict[str, Any]]:
        """Documents of the person's, a hit each; what they tell is learnt.

        :raises UserError: when the server does not answer.
        """
        pattern = self._pattern(what)
        refresh(self._client, pattern)
        seen: set[tuple[str, str]] = set()
        for query in self._queries(what, person):
            for hit in self._hits(pattern, query):
                place = (hit["_index"], hit["_id"])
                if place in seen:
                    continue
                source = hit.get("_source", {})
                if what == "sessions":
                    if not person.has_session(source):
                        continue
                    person.session_ids.add(hit["_id"])
                elif what == "events":
                    person.learn(self._as_event(source, hit["_id"]), enriched=True)
                seen.add(place)
                yield hit

    def _pattern(self, what: str) -> str:
        pattern = self._patterns[what]
        return f"{pattern},{self._shadows[what]}" if what in self._shadows else pattern

    def _as_event(self, source: dict[str, Any], document: str) -> dict[str, Any]:
        """An event of what its document has of it."""
        event = {name: source[doc] for doc, name in self._names.items() if doc in source}
        return {**source, **event, "event_id": source.get("event_id", document)}

    def _queries(self, what: str, person: Person) -> Iterator[dict[str, Any]]:
        if what == "sessions":
            users = sorted(value for name, value in person.pairs if name == "user_id")
            terms = [("user_id", users), ("session_key", sorted(person.keys))]
            for field, values in terms:
                for part in _parts(values):
                    yield {"terms": {field: part}}
            ids: Sequence[str] = sorted(person.session_ids)
        elif what in KINDS:
            for part in _parts(sorted(person.keys)):
                yield {"terms": {"session_key": part}}
            ids = []
        else:
            for name, value in sorted(person.pairs):
                for field in self._fields[name]:
                    yield {"term": {field: value}}
                if what != "events":
                    yield {"term": {f"{name}.keyword": value}}
            ids = person.document_ids() if what == "events" else []
        for part in _parts(ids):
            yield {"ids": {"values": part}}

    def _hits(self, pattern: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        body = {"size": PAGE, "query": query, "version": True, "sort": ["_doc"]}
        with explained(self._client):
            answer = self._client.search(
                index=pattern,
                body=body,
                scroll="5m",
                ignore_unavailable=True,
                allow_no_indices=True,
            )
        scroll_id = answer.get("_scroll_id")
        while hits := answer["hits"]["hits"]:
            yield from hits
            with explained(self._client):
                answer = self._client.scroll(body={"scroll_id": scroll_id, "scroll": "5m"})
                scroll_id = answer["_scroll_id"]
        if scroll_id is not None:
            # One that has come to its end may be gone already.
            with explained(self._client), contextlib.suppress(NotFoundError):
                self._client.clear_scroll(body={"scroll_id": [scroll_id]})

    def place(self, what: str, person: Person) -> Place:
        """How many documents there are."""
        found = sum(1 for _ in self.find(what, person))
        return Place("search", self._patterns[what], found, 0, found)

    def erase(self, what: str, person: Person, writer: BulkWriter) -> int:
        """Delete the documents; those that have versions in one that no older record brings back.

        :returns: how many.
        :raises UserError: when one is not deleted.
        """
        batch: list[Document] = []
        erased = 0
        for hit in list(self.find(what, person)):
            version = hit["_version"] + 1 if what in ("sessions", *KINDS) else None
            batch.append(Document(hit["_index"], hit["_id"], None, version))
            if len(batch) == PAGE:
                erased += _delete(writer, batch)
                batch = []
        return erased + _delete(writer, batch)


def _delete(writer: BulkWriter, batch: list[Document]) -> int:
    result = writer.submit(batch).result()
    if result.failed:
        first = result.failed[0]
        raise UserError(
            f"{len(result.failed)} documents are not deleted, the first in "
            f"{batch[first.position].index} for {first.type}: {first.reason}"
        )
    return result.accepted


def _parts(values: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), IDS):
        yield list(values[start : start + IDS])
