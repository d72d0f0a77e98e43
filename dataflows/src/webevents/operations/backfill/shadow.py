"""New indices beside the old ones: making, comparing, and the swap that readers do not notice."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from elasticsearch import BadRequestError, NotFoundError

from webevents.connectors.elasticsearch import BulkWriter, SearchClient, explained, refresh
from webevents.errors import UserError
from webevents.logic.documents import Document
from webevents.operations.backfill.state import Comparison, IndexState

PAGE = 1_000
EXAMPLES = 20
RECHECKED = 10_000
"""Missing documents of an index that are looked for once more."""
_SUMS = {"events": ("revenue",), "sessions": ("total_events", "total_revenue")}
_VOLATILE = {"version"}
"""Fields of a session that differ without meaning anything."""


def make_shadow(client: SearchClient, state: IndexState) -> None:
    """Make the new index as the pipeline's templates say of the old one's name.

    :raises UserError: see :func:`webevents.connectors.elasticsearch.explained`.
    """
    if holder_of(client, state.name) == state.shadow:
        raise UserError(
            f"{state.shadow} stands for {state.name} already, since an earlier backfill of this "
            "name: take another name"
        )
    with explained(client):
        found = client.indices.simulate_index_template(name=state.name)
        template = found["template"]
        settings = dict(template.get("settings", {}))
        if "lifecycle" in settings.get("index", {}) and (holder := holder_of(client, state.name)):
            # Its age counts from when the old one was made, so that it is kept no longer.
            made = client.indices.get_settings(index=holder, name="index.creation_date")
            date = made[holder]["settings"]["index"]["creation_date"]
            settings["index"]["lifecycle"]["origination_date"] = date
        body = {"settings": settings, "mappings": template.get("mappings", {})}
        try:
            client.indices.create(index=state.shadow, body=body)
        except BadRequestError as error:
            if "resource_already_exists" not in str(error):
                raise


def holder_of(client: SearchClient, name: str) -> str | None:
    """The index that a name stands for: itself, or the one that the alias leads to.

    :raises UserError: when an alias leads to several.
    """
    with explained(client):
        try:
            found = list(client.indices.get_alias(index=name))
        except NotFoundError:
            return None
    if len(found) > 1:
        raise UserError(f"the alias {name} leads to {len(found)} indices: leave it one")
    return found[0] if found else None


def scroll(client: SearchClient, index: str, *, source: bool = True) -> Iterator[list[Any]]:
    """All documents of an index, a page at a time, as they are when it is called."""
    with explained(client):
        refresh(client, index)
        body = {"size": PAGE, "query": {"match_all": {}}, "_source": source, "sort": ["_doc"]}
        answer = client.search(index=index, body=body, scroll="5m")
    scroll_id = answer["_scroll_id"]
    try:
        while hits := answer["hits"]["hits"]:
            yield hits
            with explained(client):
                answer = client.scroll(body={"scroll_id": scroll_id, "scroll": "5m"})
                scroll_id = answer["_scroll_id"]
    finally:
        # One that has come to its end may be gone already.
        with explained(client), contextlib.suppress(NotFoundError):
            client.clear_scroll(body={"scroll_id": [scroll_id]})


def fetch(
    client: SearchClient, index: str, ids: Sequence[str], *, source: bool = True
) -> dict[str, dict[str, Any]]:
    """Documents of an index by identifier; absent ones left out."""
    with explained(client):
        body = {"docs": [{"_id": name, "_source": source} for name in ids]}
        answer = client.mget(index=index, body=body)
    return {doc["_id"]: doc.get("_source", {}) for doc in answer["docs"] if doc.get("found")}


def compare(
    client: SearchClient, state: IndexState, *, keep: bool, writer: BulkWriter
) -> tuple[Comparison, list[str]]:
    """Compare the new index with the old one: every document, by identifier and by field.

    :param keep: copy what only the old index has into the new one: of events every document, of
        sessions those that count more events than the new ones of the same visitor in that time,
        which then go.
    :returns: also the first identifiers that are missing.
    :raises UserError: when a document cannot be copied, or the server does not answer.
    """
    made = Comparison()
    missing: list[str] = []
    holder = holder_of(client, state.name)
    refresh(client, state.shadow)
    if holder is not None and holder != state.shadow:
        for hits in scroll(client, holder):
            old = {hit["_id"]: hit["_source"] for hit in hits}
            new = fetch(client, state.shadow, list(old))
            lost = {name: body for name, body in old.items() if name not in new}
            made.old += len(old)
            if keep and state.content == "sessions":
                larger = {n: old[n] for n in new if _events(old[n]) > _events(new[n])}
                made.kept += len(larger)
                for name, body in larger.items():
                    version = max(int(new[name].get("version", 0)), int(body.get("version", 0)))
                    new[name] = larger[name] = {**body, "version": version + 1}
                _copy(writer, state.shadow, larger, state.content)
            for name in old.keys() & new.keys():
                _differences(made, name, old[name], new[name], state.content)
            made.missing += len(lost)
            if lost and keep:
                if state.content == "sessions":
                    lost = {n: b for n, b in lost.items() if _outdoes(client, writer, state, b)}
                _copy(writer, state.shadow, lost, state.content)
                made.kept += len(lost)
            elif lost:
                missing += list(lost)[: RECHECKED - len(missing)]
    for hits in scroll(client, state.shadow, source=False):
        names = [hit["_id"] for hit in hits]
        made.new += len(names)
        known = fetch(client, holder, names, source=False) if holder else {}
        extra = [name for name in names if name not in known]
        made.extra += len(extra)
        made.extra_ids += extra[: EXAMPLES - len(made.extra_ids)]
    for name in _SUMS[state.content]:
        before = _sum(client, holder, name) if holder else 0.0
        made.sums[name] = (before, _sum(client, state.shadow, name))
    made.missing_ids = missing[:EXAMPLES]
    return made, missing


def look_again(client: SearchClient, state: IndexState, missing: list[str]) -> None:
    """Take out of a comparison what was missing and has come since.

    :param missing: the identifiers that :func:`compare` gave.
    """
    made = state.compared
    assert made is not None
    refresh(client, state.shadow)
    left = []
    for start in range(0, len(missing), PAGE):
        part = missing[start : start + PAGE]
        found = fetch(client, state.shadow, part, source=False)
        left += [name for name in part if name not in found]
    came = len(missing) - len(left)
    made.missing -= came
    made.same += came
    made.new += came
    made.missing_ids = left[:EXAMPLES]


def _events(session: dict[str, Any]) -> int:
    return int(session.get("total_events", 0))


def _differences(
    made: Comparison, name: str, old: dict[str, Any], new: dict[str, Any], content: str
) -> None:
    ignored = _VOLATILE if content == "sessions" else set()
    fields = [
        field
        for field in sorted((old.keys() | new.keys()) - ignored)
        if old.get(field) != new.get(field)
    ]
    if not fields:
        made.same += 1
        return
    made.changed += 1
    for field in fields:
        made.fields[field] = made.fields.get(field, 0) + 1
        if len(made.examples) < EXAMPLES and made.fields[field] <= 2:
            made.examples.append(
                {"id": name, "field": field, "old": old.get(field), "new": new.get(field)}
            )


def _copy(
    writer: BulkWriter, index: str, documents: dict[str, dict[str, Any]], content: str
) -> None:
    lines = [
        Document(
            index,
            name,
            json.dumps(body, ensure_ascii=False).encode(),
            body.get("version") if content == "sessions" else None,
        )
        for name, body in documents.items()
    ]
    _send(writer, lines)


def _send(writer: BulkWriter, lines: list[Document]) -> None:
    result = writer.submit(lines).result()
    if result.failed:
        refused = result.failed[0]
        raise UserError(
            f"{len(result.failed)} documents cannot be written to {lines[refused.position].index}, "
            f"the first ({lines[refused.position].id}) for {refused.type}: {refused.reason}"
        )


def _outdoes(
    client: SearchClient, writer: BulkWriter, state: IndexState, session: dict[str, Any]
) -> bool:
    """Whether an old session counts more events than the new ones of the same visitor that have
    part of its time; these are then removed."""
    query = {
        "bool": {
            "filter": [
                {"term": {"session_key": session.get("session_key")}},
                {"range": {"first_event_timestamp": {"lte": session["last_event_timestamp"]}}},
                {"range": {"last_event_timestamp": {"gte": session["first_event_timestamp"]}}},
            ]
        }
    }
    pattern = f"{state.shadow.rsplit('-', 1)[0]}-*"  # the days beside it too
    body = {"size": 1_000, "query": query, "version": True}
    with explained(client):
        hits = client.search(index=pattern, body=body)["hits"]["hits"]
    if sum(_events(hit["_source"]) for hit in hits) >= _events(session):
        return False
    _send(writer, [Document(h["_index"], h["_id"], None, h["_version"] + 1) for h in hits])
    return True


def _sum(client: SearchClient, index: str, field: str) -> float:
    body = {"size": 0, "aggs": {"sum": {"sum": {"field": field}}}}
    with explained(client):
        answer = client.search(index=index, body=body)
    return round(float(answer["aggregations"]["sum"]["value"]), 2)


def swap(client: SearchClient, state: IndexState) -> str | None:
    """Put the new index in the old one's place: one request, after which the name is an alias.

    :returns: the index that went; None where there was none, or the swap was done before.
    :raises UserError: when the server does not do it; then nothing has changed.
    """
    holder = holder_of(client, state.name)
    if holder == state.shadow:
        return None
    actions: list[dict[str, Any]] = [{"add": {"index": state.shadow, "alias": state.name}}]
    if holder is not None:
        actions.insert(0, {"remove_index": {"index": holder}})
    with explained(client):
        client.indices.update_aliases(body={"actions": actions})
    return holder


def remove(client: SearchClient, state: IndexState) -> bool:
    """Remove a new index that did not take the old one's place; whether it was there."""
    with explained(client):
        try:
            client.indices.delete(index=state.shadow)
        except NotFoundError:
            return False
    return True
