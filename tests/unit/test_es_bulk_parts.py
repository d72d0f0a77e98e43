"""Cutting submissions into requests, and reading the answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webevents.connectors.elasticsearch.responses import error_type, read_answer
from webevents.connectors.elasticsearch.submission import BulkHandle, cut, halves, settle


def handle_of(sizes: list[int]) -> BulkHandle:
    return BulkHandle([b"x" * size for size in sizes])


@given(st.lists(st.integers(1, 60), max_size=60), st.integers(1, 100), st.integers(1, 20))
def test_parts_cover_all_documents_in_order(
    sizes: list[int], max_bytes: int, max_documents: int
) -> None:
    parts = cut(handle_of(sizes), max_bytes, max_documents)
    assert [p for part in parts for p in part.positions] == list(range(len(sizes)))
    for part in parts:
        assert part.size == sum(sizes[p] for p in part.positions)
        assert 1 <= len(part.positions) <= max_documents
        assert part.size <= max_bytes or len(part.positions) == 1


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=9), min_size=1, max_size=5))
def test_halving_ends_at_single_documents(submissions: list[list[int]]) -> None:
    rest = [[part for sizes in submissions for part in cut(handle_of(sizes), 1000, 1000)]]
    single = 0
    while rest:
        both = halves(rest.pop())
        if both is None:
            single += 1
        else:
            assert all(both)
            rest.extend(both)
    assert single == sum(map(len, submissions))


FATES = {
    "taken": {"status": 201},
    "repeat": {"status": 429, "error": {"type": "busy"}},
    "failed": {"status": 400, "error": {"type": "bad"}},
}


@given(st.data())
def test_each_document_is_settled_once(data: st.DataObject) -> None:
    """Whatever is answered in whatever order, accepted + failed is what was submitted."""
    counts = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
    handles = [handle_of([1] * count) for count in counts]
    expected: dict[tuple[int, int], str] = {}
    parts = [part for handle in handles for part in cut(handle, 1000, 3)]
    while parts:
        places = [(handles.index(part.handle), p) for part in parts for p in part.positions]
        fates = [data.draw(st.sampled_from(sorted(FATES))) for _ in places]
        expected.update(zip(places, fates, strict=True))
        body = {
            "errors": set(fates) != {"taken"},
            "items": [{"index": FATES[fate]} for fate in fates],
        }
        parts = settle(parts, read_answer(json.dumps(body).encode(), len(places)))
        assert sum(len(part.positions) for part in parts) == fates.count("repeat")
    for number, handle in enumerate(handles):
        result = handle.result(0)
        failed = {p for (n, p), fate in expected.items() if n == number and fate == "failed"}
        assert {error.position for error in result.failed} == failed
        assert result.accepted == counts[number] - len(failed)


def one(
    action: str, status: int, kind: str | None = None, reason: str = "", cause: str = ""
) -> Any:
    error = {"type": kind, "reason": reason, "caused_by": {"type": cause}} if kind else None
    item = {"status": status} | ({"error": error} if error else {})
    body = {"errors": error is not None, "items": [{action: item}]}
    return read_answer(json.dumps(body).encode(), 1)


@pytest.mark.parametrize(
    ("action", "status", "kind", "reason", "verdict"),
    [
        ("index", 201, None, "", "taken"),
        ("delete", 404, None, "", "taken"),
        ("index", 409, "version_conflict_engine_exception", "", "taken"),
        ("index", 429, "es_rejected_execution_exception", "", "repeat"),
        ("index", 500, "exception", "", "repeat"),
        ("index", 401, "security_exception", "", "repeat"),
        ("index", 403, "security_exception", "", "repeat"),
        ("index", 403, "cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster", "repeat"),
        ("index", 403, "cluster_block_exception", "index [i] blocked by: [FORB", "failed"),
        ("index", 400, "validation_exception", "this action would add [2] shards", "repeat"),
        ("index", 404, "index_not_found_exception", "no such index [i]", "repeat"),
        ("index", 400, "index_closed_exception", "closed", "failed"),
        ("index", 400, "document_parsing_exception", "", "failed"),
        ("index", 409, "other", "", "failed"),
    ],
)
def test_verdicts(action: str, status: int, kind: str | None, reason: str, verdict: str) -> None:
    answer = one(action, status, kind, reason)
    assert (bool(answer.repeat), bool(answer.failed)) == (verdict == "repeat", verdict == "failed")
    assert (answer.trouble is not None) == (verdict == "repeat")


@pytest.mark.parametrize(
    ("kind", "reason", "cause", "said"),
    [
        (
            "document_parsing_exception",
            "[1:9] failed to parse field [price] of type [double] in document with id 'jane'. "
            "Preview of field's value: 'jane'",
            "number_format_exception",
            "number_format_exception, field price of type double",
        ),
        (
            "strict_dynamic_mapping_exception",
            "[1:2] mapping set to strict, dynamic introduction of [colour] within [_doc] is not "
            "allowed",
            "",
            "field colour",
        ),
        (
            "illegal_argument_exception",
            'Document contains at least one immense term in field="page_url" (whose UTF8 encoding '
            "is longer than the max length 32766), prefix of the first immense term: 'jane'",
            "max_bytes_length_exceeded_exception",
            "max_bytes_length_exceeded_exception, field page_url",
        ),
        (
            "other",
            "jane says failed to parse field [jane] of type [jane]",
            "other",
            "no field named",
        ),
        ("other", "jane", "", "no field named"),
    ],
)
def test_reasons_name_fields_and_hold_no_values(
    kind: str, reason: str, cause: str, said: str
) -> None:
    (error,) = one("index", 400, kind, reason, cause).failed
    assert error.reason == said
    assert "jane" not in error.reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b"{}",
        b'{"errors":1}',
        b'{"errors":true}',
        b'{"errors":true,"items":[]}',
    ],
)
def test_what_is_no_answer_is_not_taken_for_one(body: bytes) -> None:
    with pytest.raises(ValueError, match="answer"):
        read_answer(body, 2)


def test_items_are_not_looked_at_without_errors() -> None:
    answer = read_answer(b'{"errors":false,"items":[{"index":{"status":"?"}}]}', 2)
    assert (answer.repeat, answer.failed) == ([], [])


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b'{"error":{"type":"a"},"status":400}', "a"), (b'{"error":"a"}', ""), (b"<", ""), (b"", "")],
)
def test_error_types(body: bytes, kind: str) -> None:
    assert error_type(body) == kind
